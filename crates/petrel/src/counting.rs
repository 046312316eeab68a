//! What the engine counted, as metrics and log lines.

use petrel_engine::{Health, HealthChange, Tally};

use crate::telemetry::{name, one_line};

/// Adds the counts of one request to the metrics.
pub fn tally(tally: &Tally) {
    if tally.late > 0 {
        metrics::counter!(name::LATE).increment(tally.late);
    }
    let skipped = [
        ("too_late", tally.beyond_use),
        ("too_far_ahead", tally.in_doubt),
        ("over_budget", tally.over_budget),
        ("retry", tally.retries),
        ("retry_unenriched", tally.retries_unenriched),
    ];
    for (reason, count) in skipped.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!(name::SKIPPED, "reason" => reason).increment(count);
    }
    for (detector, count) in &tally.shown {
        metrics::counter!(name::DETECTOR_RECORDS, "detector" => detector.to_string())
            .increment(*count);
    }
    for ((detector, kind), count) in &tally.detected {
        let (detector, kind) = (detector.to_string(), kind.to_string());
        metrics::counter!(name::ANOMALIES, "detector" => detector, "type" => kind)
            .increment(*count);
    }
    for (reason, count) in &tally.suppressed {
        metrics::counter!(name::SUPPRESSED, "reason" => reason.as_str()).increment(*count);
    }
    let templates = [
        ("created", tally.templates_created),
        ("merged", tally.templates_merged),
        ("evicted", tally.templates_evicted),
    ];
    for (what, count) in templates.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!(name::TEMPLATES, "event" => what).increment(count);
    }
}

/// Says which detectors were set aside and which are back, and counts the faults that did it: here, where
/// also those are seen that come while a detector saves, outside of any request.
pub fn health(changes: &[HealthChange]) {
    for HealthChange { detector, health } in changes {
        match health {
            Health::Live => tracing::info!(%detector, "detector is live again"),
            Health::Disabled => {
                tracing::warn!(%detector, "detector is switched off, records go on without it");
            }
            Health::Quarantined {
                kind,
                reason,
                until,
            } => {
                tracing::error!(
                    %detector,
                    class = kind.as_str(),
                    %until,
                    "detector is set aside after a fault, records go on: {}",
                    one_line(reason)
                );
                let detector = detector.to_string();
                metrics::counter!(name::DETECTOR_ERRORS, "detector" => detector, "error_type" => kind.as_str())
                    .increment(1);
            }
        }
    }
}
