//! Petrel's configuration: read from YAML once, checked whole, and plain values from then on.
//!
//! Keys and defaults are the Collector's where the Collector has them. Every error is reported with
//! its place and what to do; an unknown key is an error.

mod diagnostic;
mod node;
mod read;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

pub use diagnostic::{Diagnostic, render};
use node::Node;
use read::{Field, Section};

/// Names of the built-in detectors.
pub const BUILT_IN: [&str; 4] = ["frequency", "latency", "novelty", "silence"];

const MIB: u64 = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything that `petrel run` needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where OTLP comes in.
    pub receivers: Receivers,
    /// Where records go; none = they end here and anomalies are printed.
    pub exporter: Option<Exporter>,
    /// Which resource attributes make up a stream.
    pub streams: Streams,
    /// What is added to records that pass.
    pub enrichment: Enrichment,
    /// Whether bodies are mined for templates.
    pub templates: bool,
    /// Whether records that come from a Petrel are analysed again.
    pub accept_enriched: bool,
    /// Detectors and their limits.
    pub detectors: Detectors,
    /// What is kept over a restart; none = nothing.
    pub state: Option<State>,
    /// Worker threads.
    pub workers: usize,
    /// Bounds on what is held.
    pub limits: Limits,
    /// Own metrics, health and logs.
    pub telemetry: Telemetry,
    /// How long a shutdown may take to finish what was admitted.
    pub drain_timeout: Duration,
    /// Whether events repeat their name as the attribute `otel.event.name`.
    pub event_name_attribute: bool,
    /// Where the values stand that only the machine can judge, by path.
    pub places: BTreeMap<&'static str, Range<usize>>,
}

/// Endpoints of the OTLP receiver; none = that protocol is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// `receivers.otlp.protocols.grpc.endpoint`.
    pub grpc: Option<String>,
    /// `receivers.otlp.protocols.http.endpoint`.
    pub http: Option<String>,
    /// Path of the HTTP endpoint for logs, `logs_url_path`.
    pub logs_url_path: String,
    /// Largest request over gRPC in bytes, `max_recv_msg_size_mib`; none = that of [`Limits`].
    pub grpc_request_bytes_max: Option<usize>,
    /// Largest request over HTTP in bytes, `max_request_body_size`; none = that of [`Limits`].
    pub http_request_bytes_max: Option<usize>,
}

/// The protocol of an exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `otlp_grpc`.
    Grpc,
    /// `otlp_http`.
    Http,
}

/// An OTLP exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// gRPC or HTTP.
    pub protocol: Protocol,
    /// `http://host:port`; for HTTP the whole address of the logs endpoint.
    pub endpoint: String,
    /// Longest wait for an answer where the caller brings no deadline of its own.
    pub timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Largest request in bytes; what is larger is split.
    pub request_bytes_max: usize,
    /// Retries of anomaly events; records are retried by their sender.
    pub retry: Retry,
}

/// Backoff between tries: the Collector's `retry_on_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Wait after the first failure.
    pub initial_interval: Duration,
    /// Longest wait.
    pub max_interval: Duration,
    /// After so long an event is dropped and counted; zero, the default, is never: the outbox has a bound
    /// of its own.
    pub max_elapsed_time: Duration,
}

/// Which resource attributes make up a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// The key.
    pub key: Vec<String>,
    /// What stands in for `service.name`, the first that is present.
    pub fallback: Vec<String>,
}

/// What is added to records that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrichment {
    /// Nothing: events only.
    None,
    /// Only what an anomaly names.
    Anomalies,
    /// The template's id.
    Id,
    /// The template's id and text.
    Template,
}

/// Detectors and their limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Detectors {
    /// Every `.wasm` file here is loaded, and again when it changes.
    pub directory: Option<PathBuf>,
    /// How often the directory's digests are compared when nothing told of a change.
    pub rescan_interval: Duration,
    /// Settings by name of detector.
    pub settings: BTreeMap<String, DetectorSettings>,
    /// How long detection may hold a request.
    pub budget: Duration,
    /// CPU time of one call.
    pub call_cpu_max: Duration,
    /// Memory of one instance in bytes.
    pub memory_bytes_max: usize,
    /// Built-ins run as native code, without the sandbox; for measuring what it costs.
    pub native: bool,
    /// Calibrated score from which an anomaly opens.
    pub threshold: f64,
}

/// Settings of one detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorSettings {
    /// `false` takes it out.
    pub enabled: bool,
    /// JSON object that the detector gets.
    pub json: String,
    /// Where they stand in the file.
    pub span: Range<usize>,
}

/// What is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Directory of Petrel's own.
    pub directory: PathBuf,
    /// How often what changed is written.
    pub interval: Duration,
}

/// Bounds on what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request after decompression.
    pub request_bytes_max: usize,
    /// Bytes of requests in flight; beyond that senders are told to come again later.
    pub in_flight_bytes_max: usize,
    /// Bytes of anomaly events that wait to be sent.
    pub outbox_bytes_max: usize,
}

/// Own metrics, health and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Prometheus metrics at `/metrics`; none = off.
    pub metrics: Option<Endpoint>,
    /// Health at `/`; none = off.
    pub health: Option<Endpoint>,
    /// Level of own logs, a filter of `tracing`.
    pub log_level: String,
    /// Own logs as JSON lines.
    pub log_json: bool,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Whether the user asked for it: a taken port is then an error, else a warning.
    pub explicit: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receivers: Receivers {
                grpc: Some("localhost:4317".into()),
                http: Some("localhost:4318".into()),
                logs_url_path: "/v1/logs".into(),
                grpc_request_bytes_max: None,
                http_request_bytes_max: None,
            },
            exporter: None,
            streams: Streams {
                key: [
                    "service.namespace",
                    "service.name",
                    "deployment.environment.name",
                ]
                .map(str::to_owned)
                .to_vec(),
                fallback: [
                    "k8s.deployment.name",
                    "k8s.pod.name",
                    "log.file.name",
                    "host.name",
                ]
                .map(str::to_owned)
                .to_vec(),
            },
            enrichment: Enrichment::Template,
            templates: true,
            accept_enriched: false,
            detectors: Detectors {
                directory: None,
                rescan_interval: SECOND,
                settings: BTreeMap::new(),
                budget: Duration::from_millis(200),
                call_cpu_max: Duration::from_millis(50),
                memory_bytes_max: 64 * MIB as usize,
                native: false,
                threshold: 6.0,
            },
            state: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            limits: Limits {
                request_bytes_max: 64 * MIB as usize,
                in_flight_bytes_max: 96 * MIB as usize,
                outbox_bytes_max: 16 * MIB as usize,
            },
            telemetry: Telemetry {
                metrics: Some(Endpoint {
                    address: "localhost:8888".into(),
                    explicit: false,
                }),
                health: Some(Endpoint {
                    address: "localhost:13133".into(),
                    explicit: false,
                }),
                log_level: "info".into(),
                log_json: false,
            },
            drain_timeout: Duration::from_secs(10),
            event_name_attribute: true,
            places: BTreeMap::new(),
        }
    }
}

impl Exporter {
    /// An exporter to an endpoint with every other value at its default.
    #[must_use]
    pub fn to(protocol: Protocol, endpoint: String) -> Self {
        Self {
            protocol,
            endpoint,
            timeout: match protocol {
                Protocol::Grpc => Duration::from_secs(5),
                Protocol::Http => Duration::from_secs(30),
            },
            // Beside a Collector on the same host, compression costs more than all the rest.
            gzip: false,
            headers: Vec::new(),
            request_bytes_max: 3_670_016, // 3.5 MiB: a Collector refuses more than 4
            retry: Retry {
                initial_interval: Duration::from_secs(5),
                max_interval: Duration::from_secs(30),
                max_elapsed_time: Duration::ZERO,
            },
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// All errors that can be found in the text alone, in the order in which they stand.
    pub fn parse(
        source: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let root = node::parse(source, env)?;
        let mut errors = Vec::new();
        let config = read_config(&root, &mut errors);
        if errors.is_empty() {
            return Ok(config);
        }
        errors.sort_by_key(|error| error.span.start);
        Err(errors)
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
}

fn read_config(root: &Node, errors: &mut Vec<Diagnostic>) -> Config {
    let mut config = Config::default();
    let mut top = Section::new("", root, errors);
    if let Some(section) = top.section("receivers", errors) {
        read_receivers(section, &mut config.receivers, errors);
    }
    if let Some(section) = top.section("exporters", errors) {
        config.exporter = read_exporters(section, errors);
    }
    if let Some(mut section) = top.section("streams", errors) {
        set(
            section.get("key").and_then(|field| field.texts(errors)),
            &mut config.streams.key,
        );
        set(
            section
                .get("fallback")
                .and_then(|field| field.texts(errors)),
            &mut config.streams.fallback,
        );
        section.finish(errors);
    }
    if let Some(field) = top.get("enrichment") {
        set(field.choice(&ENRICHMENTS, errors), &mut config.enrichment);
    }
    if let Some(mut section) = top.section("templates", errors) {
        set(
            section
                .get("enabled")
                .and_then(|field| field.boolean(errors)),
            &mut config.templates,
        );
        section.finish(errors);
    }
    if let Some(mut section) = top.section("input", errors) {
        let field = section.get("accept_enriched");
        set(
            field.and_then(|field| field.boolean(errors)),
            &mut config.accept_enriched,
        );
        section.finish(errors);
    }
    if let Some(section) = top.section("detectors", errors) {
        read_detectors(section, &mut config.detectors, errors);
    }
    if let Some(section) = top.section("state", errors) {
        config.state = read_state(section, errors);
    }
    if let Some(field) = top.get("workers") {
        let workers = field.integer((1, 256), errors);
        set(workers.map(|workers| workers as usize), &mut config.workers);
    }
    if let Some(section) = top.section("limits", errors) {
        read_limits(section, &mut config.limits, errors);
    }
    if let Some(section) = top.section("telemetry", errors) {
        read_telemetry(section, &mut config.telemetry, errors);
    }
    if let Some(field) = top.get("drain_timeout") {
        set(
            field.duration((Duration::ZERO, DAY), errors),
            &mut config.drain_timeout,
        );
    }
    if let Some(mut section) = top.section("compat", errors) {
        if let Some(field) = section.get("event_name_attribute") {
            set(field.boolean(errors), &mut config.event_name_attribute);
        }
        section.finish(errors);
    }
    top.finish(errors);
    config.places = places(root);
    config
}

/// Paths of values that are checked against the machine.
const PLACES: [&str; 10] = [
    "detectors.directory",
    "state.directory",
    "receivers.otlp.protocols.grpc.endpoint",
    "receivers.otlp.protocols.http.endpoint",
    "telemetry.metrics.endpoint",
    "telemetry.health.endpoint",
    "exporters.otlp_grpc.endpoint",
    "exporters.otlp.endpoint",
    "exporters.otlp_http.endpoint",
    "exporters.otlphttp.endpoint",
];

fn places(root: &Node) -> BTreeMap<&'static str, Range<usize>> {
    PLACES
        .into_iter()
        .filter_map(|path| Some((path, root.at(path)?.span.clone())))
        .collect()
}

const ENRICHMENTS: [(&str, Enrichment); 4] = [
    ("none", Enrichment::None),
    ("anomalies", Enrichment::Anomalies),
    ("id", Enrichment::Id),
    ("template", Enrichment::Template),
];

fn set<T>(value: Option<T>, target: &mut T) {
    if let Some(value) = value {
        *target = value;
    }
}

fn read_receivers(
    mut section: Section<'_>,
    receivers: &mut Receivers,
    errors: &mut Vec<Diagnostic>,
) {
    if let Some(mut otlp) = section.section("otlp", errors) {
        // As in the Collector: once protocols are named, one that is not named is off.
        if let Some(mut protocols) = otlp.section("protocols", errors) {
            let grpc = protocols.section("grpc", errors);
            let http = protocols.section("http", errors);
            if grpc.is_some() || http.is_some() {
                receivers.grpc = receivers.grpc.take().filter(|_| grpc.is_some());
                receivers.http = receivers.http.take().filter(|_| http.is_some());
            } else {
                errors.push(
                    Diagnostic::new(
                        "PTL-C008",
                        protocols.span(),
                        "receivers.otlp.protocols names no protocol",
                    )
                    .help("grpc, http, or both"),
                );
            }
            if let Some(mut grpc) = grpc {
                read_endpoint(&mut grpc, &mut receivers.grpc, errors);
                if let Some(field) = grpc.get("max_recv_msg_size_mib") {
                    let mib = field.integer((1, 65_536), errors);
                    receivers.grpc_request_bytes_max = mib.map(|mib| (mib * MIB) as usize);
                }
                grpc.finish(errors);
            }
            if let Some(mut http) = http {
                read_endpoint(&mut http, &mut receivers.http, errors);
                if let Some(field) = http.get("logs_url_path") {
                    set(field.text(errors), &mut receivers.logs_url_path);
                }
                if let Some(field) = http.get("max_request_body_size") {
                    let bytes = field.integer((1024, 65_536 * MIB), errors);
                    receivers.http_request_bytes_max = bytes.map(|bytes| bytes as usize);
                }
                http.finish(errors);
            }
            protocols.finish(errors);
        }
        otlp.finish(errors);
    }
    section.finish(errors);
}

fn read_endpoint(
    section: &mut Section<'_>,
    target: &mut Option<String>,
    errors: &mut Vec<Diagnostic>,
) {
    if let Some(address) = section
        .get("endpoint")
        .and_then(|field| address(&field, errors))
    {
        *target = Some(address);
    }
}

/// `host:port` to listen on.
fn address(field: &Field<'_>, errors: &mut Vec<Diagnostic>) -> Option<String> {
    let text = field.text(errors)?;
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) {
        return Some(text);
    }
    let message = format!("{} is no address to listen on: `{text}`", field.path);
    errors.push(
        field
            .error("PTL-C009", message)
            .help("host:port, as localhost:4317"),
    );
    None
}

fn read_exporters(mut section: Section<'_>, errors: &mut Vec<Diagnostic>) -> Option<Exporter> {
    let grpc = section.get_any(&["otlp_grpc", "otlp"]);
    let http = section.get_any(&["otlp_http", "otlphttp"]);
    let exporter = match (grpc, http) {
        (Some(_), Some(http)) => {
            errors.push(
                http.error("PTL-C010", "two exporters are named")
                    .help("keep otlp_grpc or otlp_http; a Collector behind Petrel can fan out"),
            );
            None
        }
        (Some(field), None) => read_exporter(&field, Protocol::Grpc, errors),
        (None, Some(field)) => read_exporter(&field, Protocol::Http, errors),
        (None, None) => None,
    };
    section.finish(errors);
    exporter
}

fn read_exporter(
    field: &Field<'_>,
    protocol: Protocol,
    errors: &mut Vec<Diagnostic>,
) -> Option<Exporter> {
    let mut section = Section::new(&field.path, field.node, errors);
    let insecure = section.section("tls", errors).and_then(|mut tls| {
        let insecure = tls.get("insecure").and_then(|field| field.boolean(errors));
        tls.finish(errors);
        insecure
    });
    let endpoint = section.get("endpoint");
    let logs_endpoint = (protocol == Protocol::Http)
        .then(|| section.get("logs_endpoint"))
        .flatten();
    let mut exporter = Exporter::to(protocol, String::new());
    if let Some(field) = &logs_endpoint {
        exporter.endpoint = target(field, insecure, errors).unwrap_or_default();
    } else if let Some(field) = &endpoint {
        let base = target(field, insecure, errors).unwrap_or_default();
        exporter.endpoint = match protocol {
            Protocol::Grpc => base,
            Protocol::Http => format!("{}/v1/logs", base.trim_end_matches('/')),
        };
    } else {
        errors.push(
            field
                .error("PTL-C011", format!("{}.endpoint is missing", field.path))
                .help("where records go next: host:port of a Collector or backend"),
        );
    }
    if let Some(field) = section.get("timeout") {
        let bounds = (Duration::from_millis(1), DAY);
        set(field.duration(bounds, errors), &mut exporter.timeout);
    }
    if let Some(field) = section.get("compression") {
        set(
            field.choice(&[("gzip", true), ("none", false)], errors),
            &mut exporter.gzip,
        );
    }
    if let Some(field) = section.get("headers") {
        exporter.headers = field.text_map(errors);
    }
    if let Some(field) = section.get("max_request_bytes") {
        let bytes = field.integer((1024, 64 * MIB), errors);
        set(
            bytes.map(|bytes| bytes as usize),
            &mut exporter.request_bytes_max,
        );
    }
    if let Some(section) = section.section("retry_on_failure", errors) {
        read_retry(section, &mut exporter.retry, errors);
    }
    section.finish(errors);
    Some(exporter)
}

fn read_retry(mut section: Section<'_>, retry: &mut Retry, errors: &mut Vec<Diagnostic>) {
    let bounds = (Duration::ZERO, DAY);
    for (key, target) in [
        ("initial_interval", &mut retry.initial_interval),
        ("max_interval", &mut retry.max_interval),
        ("max_elapsed_time", &mut retry.max_elapsed_time),
    ] {
        if let Some(field) = section.get(key) {
            set(field.duration(bounds, errors), target);
        }
    }
    section.finish(errors);
}

/// Address of the next hop, with its scheme. Without one it is `http://` once `tls.insecure` says so.
fn target(
    field: &Field<'_>,
    insecure: Option<bool>,
    errors: &mut Vec<Diagnostic>,
) -> Option<String> {
    let text = field.text(errors)?;
    if text.starts_with("http://") {
        return Some(text);
    }
    if text.starts_with("https://") || insecure != Some(true) {
        errors.push(
            field
                .error(
                    "PTL-C012",
                    format!(
                        "{} would need TLS, which exporters do not speak yet",
                        field.path
                    ),
                )
                .help("to a neighbour on the same host or in the same pod: tls: {insecure: true}"),
        );
        return None;
    }
    Some(format!("http://{text}"))
}

fn read_detectors(
    mut section: Section<'_>,
    detectors: &mut Detectors,
    errors: &mut Vec<Diagnostic>,
) {
    if let Some(field) = section.get("directory") {
        detectors.directory = field.text(errors).map(PathBuf::from);
    }
    if let Some(field) = section.get("rescan_interval") {
        let bounds = (Duration::from_millis(100), Duration::from_secs(3600));
        set(
            field.duration(bounds, errors),
            &mut detectors.rescan_interval,
        );
    }
    if let Some(field) = section.get("budget") {
        let bounds = (Duration::from_millis(1), Duration::from_secs(3600));
        set(field.duration(bounds, errors), &mut detectors.budget);
    }
    if let Some(field) = section.get("call_cpu_max") {
        let bounds = (Duration::from_millis(5), Duration::from_secs(60));
        set(field.duration(bounds, errors), &mut detectors.call_cpu_max);
    }
    if let Some(field) = section.get("memory_mib_max") {
        let mib = field.integer((1, 4096), errors);
        set(
            mib.map(|mib| (mib * MIB) as usize),
            &mut detectors.memory_bytes_max,
        );
    }
    if let Some(field) = section.get("native") {
        set(field.boolean(errors), &mut detectors.native);
    }
    if let Some(field) = section.get("threshold") {
        let threshold = field.integer((2, 40), errors);
        set(
            threshold.map(|threshold| threshold as f64),
            &mut detectors.threshold,
        );
    }
    // What is left are detectors by name; that a name exists is known once modules are loaded.
    for entry in section.rest() {
        let path = format!("detectors.{}", entry.key);
        let mut settings = Section::new(&path, &entry.node, errors);
        let enabled = settings
            .get("enabled")
            .and_then(|field| field.boolean(errors));
        let object: serde_json::Map<_, _> = settings
            .rest()
            .map(|setting| (setting.key.clone(), read::to_json(&setting.node)))
            .collect();
        detectors.settings.insert(
            entry.key.clone(),
            DetectorSettings {
                enabled: enabled.unwrap_or(true),
                json: serde_json::Value::Object(object).to_string(),
                span: entry.key_span.clone(),
            },
        );
    }
}

fn read_state(mut section: Section<'_>, errors: &mut Vec<Diagnostic>) -> Option<State> {
    let directory = section
        .get("directory")
        .and_then(|field| field.text(errors));
    let mut interval = Duration::from_secs(60);
    if let Some(field) = section.get("interval") {
        set(
            field.duration((Duration::from_millis(100), DAY), errors),
            &mut interval,
        );
    }
    if directory.is_none() {
        errors.push(
            Diagnostic::new("PTL-C011", section.span(), "state.directory is missing")
                .help("a directory that Petrel may write, as /var/lib/petrel"),
        );
    }
    section.finish(errors);
    Some(State {
        directory: directory?.into(),
        interval,
    })
}

fn read_limits(mut section: Section<'_>, limits: &mut Limits, errors: &mut Vec<Diagnostic>) {
    for (key, target) in [
        ("request_mib_max", &mut limits.request_bytes_max),
        ("in_flight_mib_max", &mut limits.in_flight_bytes_max),
        ("outbox_mib_max", &mut limits.outbox_bytes_max),
    ] {
        if let Some(field) = section.get(key) {
            let mib = field.integer((1, 65_536), errors);
            set(mib.map(|mib| (mib * MIB) as usize), target);
        }
    }
    section.finish(errors);
}

fn read_telemetry(
    mut section: Section<'_>,
    telemetry: &mut Telemetry,
    errors: &mut Vec<Diagnostic>,
) {
    for (key, target) in [
        ("metrics", &mut telemetry.metrics),
        ("health", &mut telemetry.health),
    ] {
        let Some(mut part) = section.section(key, errors) else {
            continue;
        };
        if let Some(field) = part.get("endpoint") {
            let address = address(&field, errors);
            *target = address.map(|address| Endpoint {
                address,
                explicit: true,
            });
        }
        if part.get("enabled").and_then(|field| field.boolean(errors)) == Some(false) {
            *target = None;
        }
        part.finish(errors);
    }
    if let Some(mut logs) = section.section("logs", errors) {
        let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
        if let Some(level) = logs
            .get("level")
            .and_then(|field| field.choice(&levels, errors))
        {
            telemetry.log_level = level.to_owned();
        }
        if let Some(field) = logs.get("encoding") {
            set(
                field.choice(&[("console", false), ("json", true)], errors),
                &mut telemetry.log_json,
            );
        }
        logs.finish(errors);
    }
    section.finish(errors);
}

#[cfg(test)]
mod tests;
