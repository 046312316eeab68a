//! Names of metrics, each spelled here only. Those that begin with `otelcol_` are the Collector's, so
//! that its dashboards work.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use petrel_otlp::Signal;

/// A metric that a Collector has once for each signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSignal([&'static str; 3], &'static str);

impl PerSignal {
    /// Its name for a signal.
    #[must_use]
    pub const fn of(self, signal: Signal) -> &'static str {
        match signal {
            Signal::Logs => self.0[0],
            Signal::Traces => self.0[1],
            Signal::Metrics => self.0[2],
        }
    }
}

macro_rules! per_signal {
    ($prefix:literal, $help:literal) => {
        PerSignal(
            [
                concat!("otelcol_", $prefix, "_log_records"),
                concat!("otelcol_", $prefix, "_spans"),
                concat!("otelcol_", $prefix, "_metric_points"),
            ],
            $help,
        )
    };
}

/// Taken in and answered with success.
pub const ACCEPTED: PerSignal = per_signal!(
    "receiver_accepted",
    "Items taken in and answered with success"
);
/// Refused, to be sent again later or never.
pub const REFUSED: PerSignal = per_signal!("receiver_refused", "Items refused");
/// Accepted by the next hop.
pub const SENT: PerSignal = per_signal!("exporter_sent", "Items that the next hop accepted");
/// Not accepted by the next hop.
pub const SEND_FAILED: PerSignal = per_signal!(
    "exporter_send_failed",
    "Items that the next hop did not accept"
);
/// Not taken by a sending queue.
pub const ENQUEUE_FAILED: PerSignal = per_signal!(
    "exporter_enqueue_failed",
    "Items that a sending queue did not take"
);

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident = $text:literal, $unit:ident;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Describes all metrics to the recorder.
        pub(super) fn describe() {
            for PerSignal(names, help) in [ACCEPTED, REFUSED, SENT, SEND_FAILED, ENQUEUE_FAILED] {
                for name in names {
                    describe_counter!(name, Unit::Count, help);
                }
            }
            $(names!(@describe $kind $name, $unit, concat!($($doc),+).trim());)+
        }
    };
    (@describe counter $name:ident, $unit:ident, $help:expr) => {
        describe_counter!($name, Unit::$unit, $help);
    };
    (@describe gauge $name:ident, $unit:ident, $help:expr) => {
        describe_gauge!($name, Unit::$unit, $help);
    };
    (@describe histogram $name:ident, $unit:ident, $help:expr) => {
        describe_histogram!($name, Unit::$unit, $help);
    };
}

names! {
    /// Requests, by outcome.
    counter RECEIVER_REQUESTS = "otelcol_receiver_requests", Count;
    /// Requests that the next hop has not answered yet.
    gauge IN_FLIGHT = "otelcol_exporter_in_flight_requests", Count;
    /// What a sending queue holds, in the unit of its size.
    gauge QUEUE_SIZE = "otelcol_exporter_queue_size", Count;
    /// What a sending queue may hold, in the unit of its size.
    gauge QUEUE_CAPACITY = "otelcol_exporter_queue_capacity", Count;
    /// Seconds since the process began.
    gauge UPTIME = "otelcol_process_uptime", Seconds;
    /// Seconds of CPU that the process took.
    gauge CPU_SECONDS = "otelcol_process_cpu_seconds", Seconds;
    /// Memory of the process in RAM.
    gauge MEMORY_RSS = "otelcol_process_memory_rss", Bytes;
    /// Memory that the process should not take more than.
    gauge MEMORY_LIMIT = "petrel_memory_limit_bytes", Bytes;
    /// 1 for the mode that Petrel is in.
    gauge MODE = "petrel_mode", Count;
    /// 1 for a detector that is switched off.
    gauge DETECTOR_OFF = "petrel_detector_switched_off", Count;
    /// Whether the last reload of the configuration was taken.
    gauge RELOAD_SUCCESS = "petrel_config_last_reload_success", Count;
    /// Items that were accepted and then lost, by reason.
    counter LOST = "petrel_items_lost", Count;
    /// Faults of the file of a sending queue, by reason.
    counter QUEUE_ERRORS = "petrel_queue_file_errors", Count;
    /// Own log lines that were left out as repeats.
    counter LOG_LINES_LEFT_OUT = "petrel_log_lines_left_out", Count;
    /// Log records that went on without what detection would have added, by reason.
    counter SKIPPED = "petrel_records_skipped", Count;
    /// Log records (for `invalid_utf8`: texts) that are not as they should be and pass all the same, by
    /// reason.
    counter ODD = "petrel_records_odd", Count;
    /// Log records that came again and were not learnt twice.
    counter RETRIES = "petrel_records_repeated", Count;
    /// Log records that detectors were shown, by detector.
    counter DETECTOR_RECORDS = "petrel_detector_records", Count;
    /// Faults of detectors, by detector and class.
    counter DETECTOR_ERRORS = "petrel_detector_errors", Count;
    /// Modules loaded from the directory, by outcome.
    counter MODULE_RELOADS = "petrel_module_reloads", Count;
    /// 1 for each module that runs, with name, version and digest.
    gauge MODULE_INFO = "petrel_module_info", Count;
    /// Anomalies detected, by type and detector.
    counter ANOMALIES = "petrel_anomalies", Count;
    /// Templates, by what became of them.
    counter TEMPLATES = "petrel_templates", Count;
    /// Findings that did not become an anomaly, by reason.
    counter SUPPRESSED = "petrel_findings_suppressed", Count;
    /// Records whose event time lay below their stream's watermark.
    counter LATE = "petrel_late_records", Count;
    /// Anomaly events dropped, by reason.
    counter EVENTS_DROPPED = "petrel_events_dropped", Count;
    /// Anomaly events that wait to be sent.
    gauge OUTBOX_BYTES = "petrel_outbox_bytes", Bytes;
    /// Streams that have state.
    gauge STREAMS = "petrel_streams", Count;
    /// How long detection held a request.
    histogram DETECTION_SECONDS = "petrel_detection_duration_seconds", Seconds;
    /// Bytes written by the last snapshot.
    gauge SNAPSHOT_BYTES = "petrel_state_snapshot_bytes", Bytes;
    /// Snapshots that failed.
    counter SNAPSHOT_ERRORS = "petrel_state_snapshot_errors", Count;
}
