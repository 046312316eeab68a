"""Counts what a Collector's file exporter has written, by signal and sender, and says what is wrong."""

import json
import pathlib
import sys
from collections import Counter

directory, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
PARTS = {
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}
KINDS = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"]


def service(resource):
    for attribute in resource.get("resource", {}).get("attributes", []):
        if attribute["key"] == "service.name":
            return attribute["value"].get("stringValue")
    return None


def items(signal, item):
    if signal != "metrics":
        return 1
    return sum(len(item[kind]["dataPoints"]) for kind in KINDS if kind in item)


bad = 0
for signal, (resources, scopes, kind) in PARTS.items():
    counts = Counter()
    for line in (directory / f"{signal}.jsonl").read_text().splitlines():
        for resource in json.loads(line).get(resources, []):
            for scope in resource.get(scopes, []):
                if scope.get("scope", {}).get("name", "").startswith("petrel/"):
                    continue
                counts[service(resource)] += sum(items(signal, it) for it in scope.get(kind, []))
    for client in ["telemetrygen", "python"]:
        for protocol in ["grpc", "http"]:
            # A trace of telemetrygen is two spans.
            times = 2 if (client, signal) == ("telemetrygen", "traces") else 1
            arrived, expected = counts[f"{client}-{protocol}"], count * times
            bad += arrived != expected
            print(f"{client:13} {signal:8} {protocol:5} sent {expected:5} arrived {arrived:5}")
sys.exit(1 if bad else 0)
