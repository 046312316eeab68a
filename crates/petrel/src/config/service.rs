//! `service`: which exporter each kind of telemetry goes to.

use std::collections::BTreeMap;

use petrel_otlp::Signal;

use super::diagnostic::Diagnostic;
use super::extensions::Extensions;
use super::field::Field;
use super::model::{Exporter, Pipelines};
use super::read::{Report, Section, nearest};
use super::wire::Endpoints;

type Exporters = BTreeMap<String, Exporter>;

pub(crate) fn read_service(
    mut section: Section<'_>,
    exporters: &Exporters,
    extensions: &Extensions,
    report: &mut Report,
) -> Option<Pipelines> {
    if let Some(field) = section.get("extensions", report) {
        for item in field.items(report).into_iter().flatten() {
            let known = item
                .scalar(report)
                .is_none_or(|id| extensions.is_known(&id.text));
            if !known {
                let message = format!("{} is no extension of this file", item.path);
                let help = "name it under extensions, or take it out here";
                report.push(item.error("PTL-C021", message).help(help));
            }
        }
    }
    let instead =
        "Petrel's own metrics, health and logs are under telemetry, a key of the whole file";
    section.unsupported("telemetry", instead, report);
    let pipelines = section
        .section("pipelines", report)
        .map(|pipelines| read_pipelines(pipelines, exporters, report));
    section.finish(report);
    pipelines
}

fn read_pipelines(
    mut section: Section<'_>,
    exporters: &Exporters,
    report: &mut Report,
) -> Pipelines {
    let mut pipelines = Pipelines::default();
    let mut has_logs = false;
    for (key, target) in [
        ("logs", &mut pipelines.logs),
        ("traces", &mut pipelines.traces),
        ("metrics", &mut pipelines.metrics),
        ("anomalies", &mut pipelines.anomalies),
    ] {
        let pipeline = section.section(key, report);
        has_logs |= key == "logs" && pipeline.is_some();
        *target = pipeline.and_then(|pipeline| read_pipeline(pipeline, key, exporters, report));
    }
    for entry in section.rest() {
        let kind = entry.key.split('/').next().unwrap_or_default();
        let known = ["logs", "traces", "metrics", "anomalies"];
        let help = match nearest(kind, known) {
            Some(known) if kind == known => {
                format!("one pipeline a kind: call it `{known}`")
            }
            Some(known) => format!("did you mean `{known}`?"),
            None => "known here: logs, traces, metrics, anomalies".to_owned(),
        };
        let message = format!("unknown pipeline {}", section.join(&entry.key));
        report.push(Diagnostic::new("PTL-C003", entry.key_span.clone(), message).help(help));
        // Whoever meant logs is not told as well that there are none.
        has_logs |= nearest(kind, known) == Some("logs");
    }
    if !has_logs && !exporters.is_empty() {
        let message = format!("{} is missing", section.join("logs"));
        report.push(
            Diagnostic::new("PTL-C011", section.span(), message)
                .help("where logs go: logs: {receivers: [otlp], exporters: [otlp_grpc]}"),
        );
    }
    if pipelines.anomalies.is_none() {
        pipelines.anomalies.clone_from(&pipelines.logs);
    }
    pipelines
}

fn read_pipeline(
    mut section: Section<'_>,
    kind: &str,
    exporters: &Exporters,
    report: &mut Report,
) -> Option<String> {
    if kind == "anomalies" {
        let instead = "take it out: anomalies are Petrel's own";
        section.unsupported("receivers", instead, report);
    } else if let Some(field) = section.get("receivers", report) {
        for item in field.items(report).into_iter().flatten() {
            if item.scalar(report).is_some_and(|id| id.text != "otlp") {
                let message = format!("{} is no receiver of this file", item.path);
                let help = "otlp is the only one";
                report.push(item.error("PTL-C021", message).help(help));
            }
        }
    }
    if let Some(field) = section.get("processors", report)
        && field.items(report).is_some_and(|items| !items.is_empty())
    {
        let message = format!("{}: there are no processors here", field.path);
        report.push(
            field
                .error("PTL-C020", message)
                .help("take them out; run them in a Collector before or behind Petrel"),
        );
    }
    let field = section.get("exporters", report);
    if field.is_none() {
        let message = format!("{} is missing", section.join("exporters"));
        report.push(
            Diagnostic::new("PTL-C011", section.span(), message)
                .help("one of the exporters of this file, as exporters: [otlp_grpc]"),
        );
    }
    section.finish(report);
    let field = field?;
    match field.items(report)?.as_slice() {
        [item] => exporter_id(item, exporters, report),
        items => {
            let message = format!("{} names {} exporters", field.path, items.len());
            report.push(
                field
                    .error("PTL-C010", message)
                    .help("exactly one; a Collector behind Petrel can send to several"),
            );
            None
        }
    }
}

/// The id of an exporter that is there.
pub(crate) fn exporter_id(
    field: &Field<'_>,
    exporters: &Exporters,
    report: &mut Report,
) -> Option<String> {
    let scalar = field.scalar(report)?;
    if exporters.contains_key(&scalar.text) {
        return Some(scalar.text.clone());
    }
    let ids: Vec<&str> = exporters.keys().map(String::as_str).collect();
    let help = match (nearest(&scalar.text, ids.iter().copied()), ids.as_slice()) {
        (Some(id), _) => format!("did you mean `{id}`?"),
        (None, []) => "name it under exporters first".to_owned(),
        (None, ids) => format!("known: {}", ids.join(", ")),
    };
    let message = format!("{}: no such exporter: `{}`", field.path, scalar.shown());
    report.push(field.error("PTL-C021", message).help(help));
    None
}

/// Where everything goes that `service` says nothing about: logs and anomalies to the only exporter.
pub(crate) fn without_service(exporters: &Exporters, report: &mut Report) -> Pipelines {
    let mut ids = exporters.keys();
    let (first, second) = (ids.next(), ids.next());
    if let (Some(first), Some(second)) = (first, second) {
        let place = report.places.get(&format!("exporters.{second}")).cloned();
        let message = "there are several exporters, and nothing says which one logs go to";
        report.push(
            Diagnostic::new("PTL-C010", place.unwrap_or(0..0), message).help(format!(
                "service: {{pipelines: {{logs: {{receivers: [otlp], exporters: [{first}]}}}}}}"
            )),
        );
    }
    Pipelines {
        logs: first.cloned(),
        anomalies: first.cloned(),
        ..Pipelines::default()
    }
}

/// Each pipeline's exporter must have somewhere to send what comes through it.
pub(crate) fn check_endpoints(exporters: &Exporters, pipelines: &Pipelines, report: &mut Report) {
    let signals = pipelines.by_signal().into_iter();
    let signals = signals.map(|(signal, id)| (signal, signal.name(), id));
    let anomalies = (Signal::Logs, "anomalies", &pipelines.anomalies);
    for (signal, pipeline, id) in signals.chain([anomalies]) {
        let Some((id, exporter)) = id.as_ref().and_then(|id| exporters.get_key_value(id)) else {
            continue;
        };
        let endpoints = &exporter.settings.endpoints;
        // One without any is an error of its own.
        if !endpoints.of(signal).is_empty() || *endpoints == Endpoints::none() {
            continue;
        }
        let section = format!("exporters.{id}");
        let message = format!("{section} has no endpoint for {pipeline}");
        let help = format!("endpoint, or {}_endpoint", signal.name());
        let place = report.places.get(&section).cloned();
        let error = match place {
            Some(place) => Diagnostic::new("PTL-C011", place, message),
            None => Diagnostic::without_place("PTL-C011", message),
        };
        report.push(error.help(help));
    }
}

/// A warning for each exporter that nothing goes to.
pub(crate) fn warn_of_unused(
    exporters: &Exporters,
    pipelines: &Pipelines,
    own: Option<&str>,
    report: &mut Report,
) {
    let Pipelines {
        logs,
        traces,
        metrics,
        anomalies,
    } = pipelines;
    let used = [
        logs.as_deref(),
        traces.as_deref(),
        metrics.as_deref(),
        anomalies.as_deref(),
        own,
    ];
    for id in exporters.keys() {
        if used.contains(&Some(id.as_str())) {
            continue;
        }
        let place = report.places.get(&format!("exporters.{id}")).cloned();
        let message = format!("nothing goes to exporters.{id}");
        report.push(
            Diagnostic::warning("PTL-W005", place, message)
                .help("name it in a pipeline under service, or take it out"),
        );
    }
}
