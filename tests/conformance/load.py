"""Sends numbered log records with the Python SDK and prints what its exporter reports of each batch.

    load.py ENDPOINT FIRST END SENDERS TIMEOUT PAUSE

ENDPOINT is that of the HTTP exporter when it begins with http://, else that of the gRPC exporter. Requests
FIRST to END have 20 records each, as those of tests/faults/load.rs; SENDERS providers take turns with them and
wait PAUSE seconds after each; an export may take TIMEOUT seconds. A line `acknowledged` or `failed` with the
numbers of the records follows each export. SIGTERM ends it after the exports under way.
"""

import itertools
import logging
import signal
import sys
import threading

from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.resources import Resource

RECORDS_A_REQUEST = 20
FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
RETRY_SECONDS = 0.02
# A batch is exported when it is full, never because of its age, so that each is one request.
NEVER_MILLIS = 24 * 60 * 60 * 1000

endpoint, (first, end, senders) = sys.argv[1], map(int, sys.argv[2:5])
timeout, pause = map(float, sys.argv[5:7])
requests = itertools.count(first)
finishing = threading.Event()
printing = threading.Lock()


class Telling(LogRecordExporter):
    """The SDK's exporter, which also prints what it reports."""

    def __init__(self):
        if endpoint.startswith("http://"):
            self.exporter = http_logs.OTLPLogExporter(endpoint=endpoint, timeout=timeout)
        else:
            self.exporter = grpc_logs.OTLPLogExporter(
                endpoint=endpoint, insecure=True, timeout=timeout
            )

    def export(self, batch):
        """Exports until it is a success.

        The SDK tries again by itself until its timeout; what then has failed its processor would drop.
        """
        numbers = " ".join(it.log_record.body.split(" ")[1] for it in batch)
        while True:
            result = self.exporter.export(batch)
            is_success = result is LogRecordExportResult.SUCCESS
            with printing:
                print("acknowledged" if is_success else "failed", numbers, flush=True)
            if is_success or finishing.wait(RETRY_SECONDS):
                return result

    def shutdown(self):
        self.exporter.shutdown()

    def force_flush(self, timeout_millis=10_000):
        return self.exporter.force_flush(timeout_millis)


def send(sender):
    provider = LoggerProvider(resource=Resource.create({"service.name": f"load-{sender}"}))
    processor = BatchLogRecordProcessor(
        Telling(), schedule_delay_millis=NEVER_MILLIS, max_export_batch_size=RECORDS_A_REQUEST
    )
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("load")
    while not finishing.is_set() and (request := next(requests)) < end:
        for number in range(request * RECORDS_A_REQUEST, (request + 1) * RECORDS_A_REQUEST):
            time = FIRST_NS + number * STEP_NS
            logger.emit(LogRecord(timestamp=time, body=f"record {number} of the load "))
        # Returns when the batch has been exported.
        provider.force_flush()
        finishing.wait(pause)
    provider.shutdown()


signal.signal(signal.SIGTERM, lambda *_: finishing.set())
logging.basicConfig(level=logging.WARNING)
threads = [threading.Thread(target=send, args=[sender]) for sender in range(senders)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
