//! Petrel's configuration: read from YAML once, checked whole, and plain values from then on.
//!
//! Keys and defaults are the Collector's where the Collector has them. Every error is reported with
//! its place and what to do; an unknown key is an error. A file for each section; `default.yaml` lists
//! all keys, and a test holds it against those that are read.

mod address;
mod default_file;
mod defaults;
mod detectors;
mod diagnostic;
mod duration;
mod environment;
mod exporters;
mod extensions;
mod field;
mod hide;
mod limits;
mod model;
mod node;
mod print;
mod queue;
mod read;
mod receivers;
mod reference;
mod security;
mod service;
mod streams;
mod telemetry;
mod wire;

use std::ops::Range;
use std::time::Duration;

pub use default_file::TEXT as DEFAULT_FILE;
pub use diagnostic::{Diagnostic, Severity, render, to_json};
pub use environment::{FromEnvironment, exporter_from_env};
pub use limits::memory_total;
pub use model::*;
pub use print::effective;
pub use reference::reference;
pub use wire::{
    BearerAuth, ClientKeepalive, ClientTls, Compression, Encoding, Endpoints, ExporterSettings,
    Identity, Protocol, ReceiveSettings, RetrySettings, Secret, ServerKeepalive, ServerTls,
    SignalPaths, Source, TlsVersion,
};

use node::Node;
use read::{Report, Section};

/// Names of the built-in detectors.
pub const BUILT_IN: [&str; 4] = ["frequency", "latency", "novelty", "silence"];

/// What came of reading a file: a configuration in any case, and all that is to be said of it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The configuration, with defaults in place of what is wrong; its warnings are empty.
    pub config: Config,
    /// Errors, warnings and notes, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the file is YAML at all: nothing of it is in `config` otherwise.
    pub is_yaml: bool,
    /// The file's text with secrets blanked: what excerpts may be taken from.
    pub shown: String,
    secrets: Vec<Range<usize>>,
}

impl Reading {
    /// Whether the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.of(Severity::Error).next().is_some()
    }

    /// The diagnostics of a severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Diagnostic> {
        let of_severity = move |it: &&Diagnostic| it.severity == severity;
        self.diagnostics.iter().filter(of_severity)
    }
}

impl Config {
    /// Reads a configuration with the variables of an environment and the memory of this machine.
    #[must_use]
    pub fn read(source: &str, env: &dyn Fn(&str) -> Option<String>) -> Reading {
        read_whole(source, env, &memory_total)
    }

    /// Reads a configuration that must be right.
    ///
    /// # Errors
    /// All errors that can be found in the text alone, in the order in which they stand.
    pub fn parse(
        source: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let Reading {
            mut config,
            mut diagnostics,
            ..
        } = Self::read(source, env);
        if diagnostics.iter().all(|it| it.severity != Severity::Error) {
            config.warnings = diagnostics;
            return Ok(config);
        }
        diagnostics.retain(|it| it.severity == Severity::Error);
        Err(diagnostics)
    }

    /// Whether a detector is on.
    #[must_use]
    pub fn is_enabled(&self, detector: &str) -> bool {
        self.detectors
            .settings
            .get(detector)
            .is_none_or(|settings| settings.enabled)
    }

    /// The settings that a detector gets, a JSON object.
    #[must_use]
    pub fn settings_of(&self, detector: &str) -> &str {
        self.detectors
            .settings
            .get(detector)
            .map_or("{}", |settings| &settings.json)
    }

    /// The exporter of logs.
    #[must_use]
    pub fn logs_exporter(&self) -> Option<&Exporter> {
        self.exporters.get(self.pipelines.logs.as_ref()?)
    }

    /// Sends everything to one exporter, in place of those that are configured: `petrel run --to`.
    pub fn send_all_to(&mut self, exporter: Exporter) {
        let id = "otlp_grpc".to_owned();
        self.pipelines = Pipelines {
            logs: Some(id.clone()),
            traces: Some(id.clone()),
            metrics: Some(id.clone()),
            anomalies: Some(id.clone()),
        };
        self.telemetry.otlp = None;
        self.exporters = [(id, exporter)].into();
    }
}

/// Reads a configuration; `memory_total` is asked for the bytes of memory that percentages are of.
pub(crate) fn read_whole(
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    memory_total: &dyn Fn() -> Option<u64>,
) -> Reading {
    let mut report = Report::default();
    let mut config = Config::default();
    let tree = node::parse(source, env, &mut report);
    let is_yaml = tree.is_ok();
    match tree {
        Ok(root) => config = read_config(&root, env, memory_total, &mut report),
        Err(fault) => report.push(fault),
    }
    let Report {
        mut diagnostics,
        secrets,
        places,
        ..
    } = report;
    config.places = places;
    if diagnostics.iter().any(|it| it.severity == Severity::Error) {
        // What is unused, or has no effect, may be so for the sake of an error alone.
        let follows = ["PTL-W005", "PTL-W006", "PTL-W007", "PTL-W008"];
        diagnostics.retain(|it| !follows.contains(&it.code));
    }
    // Nothing more is known of a value whose variable is not set.
    let unset: Vec<_> = diagnostics
        .iter()
        .filter(|it| it.code == "PTL-C002")
        .cloned()
        .collect();
    let is_unset = |it: &Diagnostic| unset.iter().any(|unset| unset.span == it.span);
    diagnostics.retain(|it| it.code == "PTL-C002" || !is_unset(it));
    // What has no place is said last.
    diagnostics.sort_by_key(|it| it.span.as_ref().map_or(usize::MAX, |span| span.start));
    Reading {
        config,
        diagnostics,
        is_yaml,
        shown: hide::blank(source, is_yaml.then_some(&secrets)),
        secrets,
    }
}

fn read_config(
    root: &Node,
    env: &dyn Fn(&str) -> Option<String>,
    memory_total: &dyn Fn() -> Option<u64>,
    report: &mut Report,
) -> Config {
    let mut config = Config::default();
    let mut top = Section::new("", root, report);
    let extensions = top.section("extensions", report);
    let mut extensions = extensions
        .map(|section| extensions::read_extensions(&section, report))
        .unwrap_or_default();
    if let Some(section) = top.section("limits", report) {
        limits::read_limits(section, &mut config.limits, report);
    }
    let receivers = [&mut config.receivers.grpc, &mut config.receivers.http];
    for receiver in receivers.into_iter().flatten() {
        receiver.settings.request_bytes_max = config.limits.request_bytes_max;
    }
    if let Some(section) = top.section("receivers", report) {
        let mut common = receivers::Common {
            limits: &config.limits,
            extensions: &mut extensions,
        };
        receivers::read_receivers(section, &mut config.receivers, &mut common, report);
    }
    if let Some(section) = top.section("exporters", report) {
        config.exporters = exporters::read_exporters(&section, &mut extensions, report);
    }
    let service = top.section("service", report);
    let pipelines =
        service.and_then(|it| service::read_service(it, &config.exporters, &extensions, report));
    config.pipelines = match pipelines {
        Some(pipelines) => pipelines,
        None => service::without_service(&config.exporters, report),
    };
    service::check_endpoints(&config.exporters, &config.pipelines, report);
    read_detection(&mut top, &mut config, report);
    read_operation(&mut top, &mut config, memory_total, report);
    let own = config
        .telemetry
        .otlp
        .as_ref()
        .map(|own| own.exporter.as_str());
    service::warn_of_unused(&config.exporters, &config.pipelines, own, report);
    config.storages = extensions.storages();
    extensions.warn_of_unused(report);
    refuse_foreign(&mut top, report);
    top.finish(report);
    if config.exporters.is_empty() && !report.has_errors() {
        take_from_environment(&mut config, env, report);
    }
    share_metadata_keys(&mut config);
    add_advice(&config, report);
    config
}

/// What is found in records, and how.
fn read_detection(top: &mut Section<'_>, config: &mut Config, report: &mut Report) {
    if let Some(section) = top.section("streams", report) {
        streams::read_streams(section, &mut config.streams, report);
    }
    let modes = [
        ("enrich", Mode::Enrich),
        ("observe", Mode::Observe),
        ("off", Mode::Off),
    ];
    set(top.choice("mode", &modes, report), &mut config.mode);
    let enrichments = [
        ("none", Enrichment::None),
        ("anomalies", Enrichment::Anomalies),
        ("id", Enrichment::Id),
        ("template", Enrichment::Template),
    ];
    set(
        top.choice("enrichment", &enrichments, report),
        &mut config.enrichment,
    );
    for (key, inner, target) in [
        ("templates", "enabled", &mut config.templates),
        ("input", "accept_enriched", &mut config.accept_enriched),
        (
            "compat",
            "event_name_attribute",
            &mut config.event_name_attribute,
        ),
    ] {
        if let Some(mut section) = top.section(key, report) {
            set(section.boolean(inner, report), target);
            section.finish(report);
        }
    }
    if let Some(section) = top.section("privacy", report) {
        streams::read_privacy(section, &mut config.privacy, report);
    }
    if let Some(section) = top.section("detectors", report) {
        detectors::read_detectors(section, &mut config.detectors, report);
    }
}

/// How Petrel runs on its machine.
fn read_operation(
    top: &mut Section<'_>,
    config: &mut Config,
    memory_total: &dyn Fn() -> Option<u64>,
    report: &mut Report,
) {
    if let Some(section) = top.section("state", report) {
        config.state = limits::read_state(section, report);
    }
    set(top.size("workers", (1, 256), report), &mut config.workers);
    if let Some(section) = top.section("memory_limiter", report) {
        config.memory_limiter = limits::read_memory_limiter(section, memory_total, report);
    }
    if let Some(section) = top.section("telemetry", report) {
        telemetry::read_telemetry(section, &mut config.telemetry, &config.exporters, report);
    }
    let bounds = (Duration::ZERO, limits::DAY);
    set(
        top.duration("drain_timeout", bounds, report),
        &mut config.drain_timeout,
    );
}

/// Keys of a Collector's file that have no place in this one.
fn refuse_foreign(top: &mut Section<'_>, report: &mut Report) {
    for (key, instead) in [
        (
            "processors",
            "run processors in a Collector before or behind Petrel; memory_limiter is a key of the whole file here",
        ),
        (
            "connectors",
            "run connectors in a Collector before or behind Petrel",
        ),
    ] {
        if top.has(key) {
            top.unsupported(key, instead, report);
        }
    }
}

fn take_from_environment(
    config: &mut Config,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) {
    match exporter_from_env(env) {
        Ok(Some(found)) => {
            config.exporters = found.exporters;
            config.pipelines = found.pipelines;
        }
        Ok(None) => {}
        Err(errors) => report.diagnostics.extend(errors),
    }
}

/// Receivers hand over the headers that anything asks for.
fn share_metadata_keys(config: &mut Config) {
    let mut keys = config.streams.metadata_keys.clone();
    for exporter in config.exporters.values() {
        if let Some(batch) = &exporter.queue.batch {
            keys.extend(batch.metadata_keys.iter().cloned());
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let receivers = [&mut config.receivers.grpc, &mut config.receivers.http];
    for receiver in receivers.into_iter().flatten() {
        receiver.settings.metadata_keys.clone_from(&keys);
    }
}

/// What is right and may yet surprise.
fn add_advice(config: &Config, report: &mut Report) {
    for (path, receiver) in [
        ("receivers.otlp.protocols.grpc", &config.receivers.grpc),
        ("receivers.otlp.protocols.http", &config.receivers.http),
    ] {
        let Some(receiver) = receiver else { continue };
        if receiver.settings.tls.is_none() && !address::is_loopback(&receiver.endpoint) {
            let place = report.places.get(&format!("{path}.endpoint")).cloned();
            let message = format!(
                "{path} takes plaintext from whoever can reach {}",
                where_to(place.as_ref())
            );
            let help =
                "tls: {cert_file, key_file}; or listen on localhost behind something that has TLS";
            report.push(Diagnostic::warning("PTL-W003", place, message).help(help));
        }
    }
    if config.exporters.is_empty() {
        return;
    }
    let marks = config.mode == Mode::Enrich
        && !matches!(config.enrichment, Enrichment::None | Enrichment::Anomalies);
    if !marks {
        let key = if config.mode == Mode::Enrich {
            "enrichment"
        } else {
            "mode"
        };
        let place = report.places.get(key).cloned();
        let message = format!(
            "with this {key} records carry no mark, so a loop back to Petrel is not noticed"
        );
        report.push(note("PTL-W007", place, message).help(
            "a Collector behind Petrel must not send to a pipeline that leads to Petrel: two otlp receivers, two pipelines",
        ));
    }
    let refused = match (&config.pipelines.traces, &config.pipelines.metrics) {
        (None, None) => "traces and metrics are",
        (None, Some(_)) => "traces are",
        (Some(_), None) => "metrics are",
        (Some(_), Some(_)) => return,
    };
    let message = format!("{refused} refused: no pipeline says where they go");
    report.push(note("PTL-W008", None, message).help(
        "to send them on as they are, name exporters for all: service: {pipelines: {logs: {exporters: [otlp_grpc]}, traces: {exporters: [otlp_grpc]}, metrics: {exporters: [otlp_grpc]}}}",
    ));
}

fn where_to(place: Option<&Range<usize>>) -> &'static str {
    if place.is_some() {
        "this address"
    } else {
        "it"
    }
}

fn note(code: &'static str, span: Option<Range<usize>>, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Note,
        ..Diagnostic::warning(code, span, message)
    }
}

fn set<T>(value: Option<T>, target: &mut T) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests;
