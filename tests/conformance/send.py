"""Sends logs, traces and metrics with the Python SDK, over gRPC and over HTTP."""

import logging
import sys
import warnings

from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

grpc, http, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
warnings.simplefilter("ignore")


def exporters(protocol):
    if protocol == "grpc":
        settings = {"endpoint": grpc, "insecure": True}
        return (
            grpc_logs.OTLPLogExporter(**settings),
            grpc_traces.OTLPSpanExporter(**settings),
            grpc_metrics.OTLPMetricExporter(**settings),
        )
    return (
        http_logs.OTLPLogExporter(endpoint=f"{http}/v1/logs", compression=Compression.Gzip),
        http_traces.OTLPSpanExporter(endpoint=f"{http}/v1/traces"),
        http_metrics.OTLPMetricExporter(endpoint=f"{http}/v1/metrics"),
    )


for protocol in ["grpc", "http"]:
    resource = Resource.create({"service.name": f"python-{protocol}"})
    log_exporter, span_exporter, metric_exporter = exporters(protocol)

    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    logger = logging.getLogger(f"orders.{protocol}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=loggers))
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    tracer = tracers.get_tracer("orders")
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    meters = MeterProvider(resource=resource, metric_readers=[reader])
    counter = meters.get_meter("orders").create_counter("orders")

    for number in range(count):
        with tracer.start_as_current_span("order"):
            logger.info("order %d accepted", number, extra={"order": number})
        counter.add(1, {"number": number})
    for provider in [loggers, tracers, meters]:
        provider.shutdown()
