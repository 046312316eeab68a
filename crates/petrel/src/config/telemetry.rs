//! `telemetry`: Petrel's own metrics, health and logs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::{UNIX, listen_address};
use super::diagnostic::Diagnostic;
use super::limits::DAY;
use super::model::{Endpoint, Exporter, LogSampling, OwnTelemetry, Telemetry};
use super::read::{Report, Section};
use super::service::exporter_id;
use super::set;

pub(crate) fn read_telemetry(
    mut section: Section<'_>,
    telemetry: &mut Telemetry,
    exporters: &BTreeMap<String, Exporter>,
    report: &mut Report,
) {
    for (key, target) in [
        ("metrics", &mut telemetry.metrics),
        ("health", &mut telemetry.health),
    ] {
        if let Some(part) = section.section(key, report) {
            read_listener(part, target, report);
        }
    }
    if let Some(logs) = section.section("logs", report) {
        read_logs(logs, telemetry, report);
    }
    if let Some(own) = section.section("otlp", report) {
        telemetry.otlp = read_own(own, exporters, report);
    }
    section.finish(report);
}

fn read_listener(mut section: Section<'_>, target: &mut Option<Endpoint>, report: &mut Report) {
    let field = section.get("endpoint", report);
    let address = field.and_then(|field| {
        let address = listen_address(&field, false, report)?;
        if address.starts_with(UNIX) {
            let message = format!("{} must be host:port", field.path);
            let help = "Prometheus and probes come by TCP, as localhost:8888";
            report.push(field.error("PTL-C009", message).help(help));
        }
        Some(address)
    });
    if let Some(address) = address {
        *target = Some(Endpoint {
            address,
            explicit: true,
        });
    }
    if section.boolean("enabled", report) == Some(false) {
        *target = None;
    }
    section.finish(report);
}

fn read_logs(mut section: Section<'_>, telemetry: &mut Telemetry, report: &mut Report) {
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    // The Collector writes them in capitals as well.
    let upper = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    let all: Vec<_> = levels
        .into_iter()
        .chain(upper.into_iter().zip(levels.map(|it| it.1)))
        .collect();
    if let Some(field) = section.get("level", report) {
        let is_upper = field
            .scalar(report)
            .is_some_and(|level| upper.contains(&level.text.as_str()));
        let words = if is_upper {
            &all[..]
        } else {
            &all[..levels.len()]
        };
        if let Some(level) = field.choice(words, report) {
            telemetry.log_level = level.to_owned();
        }
    }
    let encodings = [("console", false), ("json", true)];
    set(
        section.choice("encoding", &encodings, report),
        &mut telemetry.log_json,
    );
    if let Some(mut sampling) = section.section("sampling", report) {
        let mut read = LogSampling::default();
        let enabled = sampling.boolean("enabled", report).unwrap_or(true);
        let bounds = (Duration::from_secs(1), DAY);
        set(sampling.duration("tick", bounds, report), &mut read.tick);
        for (key, target) in [
            ("initial", &mut read.initial),
            ("thereafter", &mut read.thereafter),
        ] {
            set(sampling.integer(key, (0, 1_000_000), report), target);
        }
        sampling.finish(report);
        telemetry.log_sampling = enabled.then_some(read);
    }
    section.finish(report);
}

fn read_own(
    mut section: Section<'_>,
    exporters: &BTreeMap<String, Exporter>,
    report: &mut Report,
) -> Option<OwnTelemetry> {
    let field = section.get("exporter", report);
    if field.is_none() {
        report.push(
            Diagnostic::new(
                "PTL-C011",
                section.span(),
                "telemetry.otlp.exporter is missing",
            )
            .help("one of the exporters of this file, as otlp_grpc"),
        );
    }
    let mut interval = Duration::from_secs(60);
    let bounds = (Duration::from_secs(1), DAY);
    set(section.duration("interval", bounds, report), &mut interval);
    section.finish(report);
    let exporter = exporter_id(&field?, exporters, report)?;
    Some(OwnTelemetry { exporter, interval })
}
