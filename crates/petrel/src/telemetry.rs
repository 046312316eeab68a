//! Petrel's own logs and metrics: their set-up, and the names of metrics, each spelled here only.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::Telemetry;

/// Names of metrics. Those that begin with `otelcol_` are the Collector's, so that its dashboards work.
pub mod name {
    /// Log records taken in and answered with success.
    pub const ACCEPTED: &str = "otelcol_receiver_accepted_log_records";
    /// Log records refused, to be sent again later or never.
    pub const REFUSED: &str = "otelcol_receiver_refused_log_records";
    /// Log records that the next hop accepted.
    pub const SENT: &str = "otelcol_exporter_sent_log_records";
    /// Log records that the next hop did not accept.
    pub const SEND_FAILED: &str = "otelcol_exporter_send_failed_log_records";
    /// Log records that went on without what detection would have added, by reason.
    pub const SKIPPED: &str = "petrel_records_skipped";
    /// Log records (for `invalid_utf8`: texts) that are not as they should be and pass all the same, by
    /// reason.
    pub const ODD: &str = "petrel_records_odd";
    /// Log records that detectors were shown, by detector.
    pub const DETECTOR_RECORDS: &str = "petrel_detector_records";
    /// Faults of detectors, by detector and class.
    pub const DETECTOR_ERRORS: &str = "petrel_detector_errors";
    /// Modules loaded from the directory, by outcome.
    pub const MODULE_RELOADS: &str = "petrel_module_reloads";
    /// 1 for each module that runs, with name, version and digest.
    pub const MODULE_INFO: &str = "petrel_module_info";
    /// Anomalies detected, by type and detector.
    pub const ANOMALIES: &str = "petrel_anomalies";
    /// Templates, by what became of them.
    pub const TEMPLATES: &str = "petrel_templates";
    /// Findings that did not become an anomaly, by reason.
    pub const SUPPRESSED: &str = "petrel_findings_suppressed";
    /// Records whose event time lay below their stream's watermark.
    pub const LATE: &str = "petrel_late_records";
    /// Anomaly events dropped, by reason.
    pub const EVENTS_DROPPED: &str = "petrel_events_dropped";
    /// Bytes of anomaly events that wait to be sent.
    pub const OUTBOX_BYTES: &str = "petrel_outbox_bytes";
    /// Streams that have state.
    pub const STREAMS: &str = "petrel_streams";
    /// Seconds that detection held a request.
    pub const DETECTION_SECONDS: &str = "petrel_detection_duration_seconds";
    /// Bytes written by the last snapshot.
    pub const SNAPSHOT_BYTES: &str = "petrel_state_snapshot_bytes";
    /// Snapshots that failed.
    pub const SNAPSHOT_ERRORS: &str = "petrel_state_snapshot_errors";
}

/// Sends Petrel's own logs to stderr; `RUST_LOG` takes precedence over the configured level.
///
/// A second call in the same process changes nothing.
pub fn init_logs(telemetry: &Telemetry) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(format!(
            "{},h2=warn,tonic=warn,hyper=warn",
            telemetry.log_level
        ))
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber is refused, which is what we want.
    let _ = if telemetry.log_json {
        builder.json().try_init()
    } else {
        // Colours are for people: who reads a file should not have to see their codes.
        let is_for_people =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        builder
            .with_target(false)
            .with_ansi(is_for_people)
            .try_init()
    };
}

/// A text of many lines as one: a backtrace must not tear a log entry apart, nor words of a guest look
/// like entries of ours.
#[must_use]
pub fn one_line(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Installs the recorder behind the `metrics` macros and returns what renders it.
///
/// # Errors
/// When the process has one already.
pub fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&[
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
        ])
        .context("buckets of histograms")?
        .install_recorder()
        .context("the metrics recorder")?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        name::ACCEPTED,
        Unit::Count,
        "Log records taken in and answered with success"
    );
    describe_counter!(name::REFUSED, Unit::Count, "Log records refused");
    describe_counter!(
        name::SENT,
        Unit::Count,
        "Log records that the next hop accepted"
    );
    describe_counter!(
        name::SEND_FAILED,
        Unit::Count,
        "Log records that the next hop did not accept"
    );
    describe_counter!(
        name::ODD,
        Unit::Count,
        "Log records without a time, ahead of their arrival, or with text that is not UTF-8"
    );
    describe_counter!(
        name::SKIPPED,
        Unit::Count,
        "Log records that went on without what detection would have added"
    );
    describe_counter!(
        name::DETECTOR_RECORDS,
        Unit::Count,
        "Log records that detectors were shown"
    );
    describe_counter!(name::DETECTOR_ERRORS, Unit::Count, "Faults of detectors");
    describe_counter!(
        name::MODULE_RELOADS,
        Unit::Count,
        "Modules loaded from the directory"
    );
    describe_gauge!(name::MODULE_INFO, "1 for each module that runs");
    describe_counter!(name::ANOMALIES, Unit::Count, "Anomalies detected");
    describe_counter!(
        name::TEMPLATES,
        Unit::Count,
        "Templates created, merged and evicted"
    );
    describe_counter!(
        name::SUPPRESSED,
        Unit::Count,
        "Findings that did not become an anomaly"
    );
    describe_counter!(
        name::LATE,
        Unit::Count,
        "Records below their stream's watermark"
    );
    describe_counter!(name::EVENTS_DROPPED, Unit::Count, "Anomaly events dropped");
    describe_gauge!(
        name::OUTBOX_BYTES,
        Unit::Bytes,
        "Anomaly events that wait to be sent"
    );
    describe_gauge!(name::STREAMS, Unit::Count, "Streams that have state");
    describe_histogram!(
        name::DETECTION_SECONDS,
        Unit::Seconds,
        "How long detection held a request"
    );
    describe_gauge!(
        name::SNAPSHOT_BYTES,
        Unit::Bytes,
        "Bytes of the last snapshot"
    );
    describe_counter!(name::SNAPSHOT_ERRORS, Unit::Count, "Snapshots that failed");
}
