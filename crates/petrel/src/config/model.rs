//! What a configuration says, as plain values.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use petrel_otlp::Signal;

use super::diagnostic::Diagnostic;
use super::wire::{ExporterSettings, Protocol, ReceiveSettings, RetrySettings};

const MIB: usize = 1024 * 1024;

/// Everything that `petrel run` needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where OTLP comes in.
    pub receivers: Receivers,
    /// Exporters by id, as `otlp_grpc` and `otlp_http/backup`: type, and a name where there are several.
    pub exporters: BTreeMap<String, Exporter>,
    /// Directories of `file_storage`, whether a queue is in them or not.
    pub storages: Vec<PathBuf>,
    /// Which exporter each kind of telemetry goes to.
    pub pipelines: Pipelines,
    /// What a stream is, and which streams are looked into.
    pub streams: Streams,
    /// What detection may do.
    pub mode: Mode,
    /// What is added to records that pass.
    pub enrichment: Enrichment,
    /// Whether bodies are mined for templates.
    pub templates: bool,
    /// Whether records that come from a Petrel are analysed again.
    pub accept_enriched: bool,
    /// What may leave in templates, samples and evidence.
    pub privacy: Privacy,
    /// Detectors and their limits.
    pub detectors: Detectors,
    /// What is kept over a restart; none = nothing.
    pub state: Option<State>,
    /// Worker threads.
    pub workers: usize,
    /// Bounds on what is held.
    pub limits: Limits,
    /// When requests are refused for lack of memory; none = never.
    pub memory_limiter: Option<MemoryLimiter>,
    /// Own metrics, health and logs.
    pub telemetry: Telemetry,
    /// How long a shutdown may take to finish what was admitted.
    pub drain_timeout: Duration,
    /// Whether events repeat their name as the attribute `otel.event.name`.
    pub event_name_attribute: bool,
    /// Where each value stands that the file names, by path.
    pub places: BTreeMap<String, Range<usize>>,
    /// Warnings and notes.
    pub warnings: Vec<Diagnostic>,
}

/// The protocols of the OTLP receiver; none = that one is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// `receivers.otlp.protocols.grpc`.
    pub grpc: Option<Receiver>,
    /// `receivers.otlp.protocols.http`.
    pub http: Option<Receiver>,
}

/// One protocol of the OTLP receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// `host:port`, or `unix:///path`.
    pub endpoint: String,
    /// How it is served.
    pub settings: ReceiveSettings,
}

impl Receiver {
    /// A receiver with every other value at its default.
    #[must_use]
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            settings: ReceiveSettings::default(),
        }
    }
}

/// An OTLP exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    /// Where requests go, and how.
    pub settings: ExporterSettings,
    /// How requests of a queue, and anomaly events, are tried again.
    pub retry: RetrySettings,
    /// Whether they are.
    pub retry_enabled: bool,
    /// What stands between a request and its reply.
    pub queue: Queue,
}

impl Exporter {
    /// An exporter to an endpoint with every other value at its default.
    #[must_use]
    pub fn to(protocol: Protocol, endpoint: &str) -> Self {
        Self {
            settings: ExporterSettings::new(protocol, endpoint),
            retry: RetrySettings {
                // Logs and events wait in something that has a bound of its own: time drops nothing.
                max_elapsed_time: Duration::ZERO,
                ..RetrySettings::default()
            },
            retry_enabled: true,
            queue: Queue::default(),
        }
    }
}

/// The Collector's `sending_queue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// What a reply to the sender promises.
    pub mode: QueueMode,
    /// How much it holds, counted by `sizer`. Default 64 MiB in memory, 1 GiB in files, 1000 requests,
    /// 1,000,000 items.
    pub capacity: usize,
    /// What `capacity` counts.
    pub sizer: Sizer,
    /// Requests that are sent at a time. Default 10.
    pub consumers: usize,
    /// Full: wait for room (true), or refuse with a retryable status (false, the default).
    pub block_on_overflow: bool,
    /// How requests are put together; none = each is sent as it came.
    pub batch: Option<Batch>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            mode: QueueMode::Wait,
            capacity: Self::MEMORY_BYTES_DEFAULT,
            sizer: Sizer::Bytes,
            consumers: 10,
            block_on_overflow: false,
            batch: None,
        }
    }
}

impl Queue {
    /// Bytes that a queue in memory holds by default.
    pub const MEMORY_BYTES_DEFAULT: usize = 64 * MIB;
    /// Bytes that a queue in files holds by default.
    pub const FILE_BYTES_DEFAULT: usize = 1024 * MIB;
    /// Requests that a queue holds by default, where these are counted: the Collector's.
    pub const REQUESTS_DEFAULT: usize = 1000;
    /// Records that a queue holds by default, where these are counted.
    pub const ITEMS_DEFAULT: usize = 1_000_000;

    /// The default capacity of a mode, counted by a sizer.
    #[must_use]
    pub const fn capacity_default(mode: &QueueMode, sizer: Sizer) -> usize {
        match (sizer, mode) {
            (Sizer::Bytes, QueueMode::File { .. }) => Self::FILE_BYTES_DEFAULT,
            (Sizer::Bytes, _) => Self::MEMORY_BYTES_DEFAULT,
            (Sizer::Items, _) => Self::ITEMS_DEFAULT,
            (Sizer::Requests, _) => Self::REQUESTS_DEFAULT,
        }
    }
}

/// What a reply to the sender promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueMode {
    /// The next hop has accepted it.
    Wait,
    /// It is in memory.
    Memory,
    /// It is on disk.
    File {
        /// The directory of the `file_storage` extension.
        directory: PathBuf,
    },
}

/// What sizes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizer {
    /// Bytes of requests, unpacked.
    Bytes,
    /// Log records, spans, metric points.
    Items,
    /// Requests.
    Requests,
}

impl Sizer {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Items => "items",
            Self::Requests => "requests",
        }
    }
}

/// The Collector's `sending_queue.batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Longest wait for more. Default 200 ms.
    pub flush_timeout: Duration,
    /// Sent once it is so large. Default 8192 items, or 1 MiB.
    pub min_size: usize,
    /// Cut where it is larger; 0 = only by `part_bytes_max`.
    pub max_size: usize,
    /// What the sizes count.
    pub sizer: Sizer,
    /// Names of headers, in lower case, whose values are never mixed in one request.
    pub metadata_keys: Vec<String>,
}

impl Batch {
    /// Items from which a batch is sent by default: the Collector's.
    pub const MIN_ITEMS_DEFAULT: usize = 8192;
    /// Bytes from which a batch is sent by default.
    pub const MIN_BYTES_DEFAULT: usize = MIB;
}

/// Ids of exporters, each a key of [`Config::exporters`]; none = logs end here, traces and metrics are
/// refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipelines {
    /// Of logs.
    pub logs: Option<String>,
    /// Of traces.
    pub traces: Option<String>,
    /// Of metrics.
    pub metrics: Option<String>,
    /// Of anomaly events; those of the logs where nothing else is said.
    pub anomalies: Option<String>,
}

impl Pipelines {
    /// The exporter of each kind of telemetry that is passed on.
    #[must_use]
    pub fn by_signal(&self) -> [(Signal, &Option<String>); 3] {
        [
            (Signal::Logs, &self.logs),
            (Signal::Traces, &self.traces),
            (Signal::Metrics, &self.metrics),
        ]
    }
}

impl Pipelines {
    /// The exporter of a signal.
    #[must_use]
    pub fn of(&self, signal: Signal) -> Option<&str> {
        match signal {
            Signal::Logs => self.logs.as_deref(),
            Signal::Traces => self.traces.as_deref(),
            Signal::Metrics => self.metrics.as_deref(),
        }
    }
}

/// What a stream is, and which are looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Resource attributes that make up the key.
    pub key: Vec<String>,
    /// What stands in for `service.name`, the first that is present.
    pub fallback: Vec<String>,
    /// Headers of the sender, in lower case, that keep tenants apart.
    pub metadata_keys: Vec<String>,
    /// Only streams that match one of these are looked into; empty = all.
    pub include: Vec<StreamPattern>,
    /// Streams that match one of these are not.
    pub exclude: Vec<StreamPattern>,
}

/// Attributes of the key with what their values look like, `*` standing for any text; all must match.
pub type StreamPattern = BTreeMap<String, String>;

/// What detection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Records are enriched, anomalies sent.
    Enrich,
    /// Records pass as they were, anomalies are sent.
    Observe,
    /// Records pass, nothing is looked into.
    Off,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enrich, Self::Observe, Self::Off];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enrich => "enrich",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }

    /// The mode of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
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

/// What may leave in templates, samples and evidence; records that pass are never changed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Texts that are replaced, in this order.
    pub mask: Vec<Mask>,
    /// Attributes whose values never leave.
    pub deny_attributes: Vec<String>,
}

/// A text that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// A regular expression as the `regex` crate reads it; it is valid.
    pub pattern: String,
    /// What takes its place, `***` by default; `$1` is the first group.
    pub replacement: String,
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
    /// Where its name stands in the file.
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
    /// Bytes of one request after decompression, where the receiver has no bound of its own.
    pub request_bytes_max: usize,
    /// Bytes of requests in flight; beyond that senders are told to come again later.
    pub in_flight_bytes_max: usize,
    /// Bytes of anomaly events that wait to be sent.
    pub outbox_bytes_max: usize,
    /// Digests of `ResourceLogs` that are kept to know retries; the oldest is forgotten beyond.
    pub retry_digests: usize,
    /// How long a digest is kept.
    pub retry_window: Duration,
}

/// When requests are refused for lack of memory: the Collector's `memory_limiter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimiter {
    /// How often resident memory is looked at.
    pub check_interval: Duration,
    /// The hard limit in bytes.
    pub limit_bytes: u64,
    /// What is left free below it: requests are refused above the difference. Less than `limit_bytes`.
    pub spike_limit_bytes: u64,
}

/// Own metrics, health and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Prometheus metrics at `/metrics`; none = off.
    pub metrics: Option<Endpoint>,
    /// Health at `/`; none = off.
    pub health: Option<Endpoint>,
    /// Status and switches, for programs on this host only; none = off.
    pub admin: Option<Endpoint>,
    /// Level of own logs, a filter of `tracing`.
    pub log_level: String,
    /// Own logs as JSON lines.
    pub log_json: bool,
    /// How repeats of own logs are thinned; none = not.
    pub log_sampling: Option<LogSampling>,
    /// Own metrics sent by OTLP; none = not.
    pub otlp: Option<OwnTelemetry>,
}

/// How repeats of one message are thinned, as in the Collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSampling {
    /// Repeats are counted over so long.
    pub tick: Duration,
    /// So many of them are printed,
    pub initial: u64,
    /// then every so many-th; 0 = none.
    pub thereafter: u64,
}

/// Own metrics sent by OTLP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTelemetry {
    /// Id of an exporter.
    pub exporter: String,
    /// How often.
    pub interval: Duration,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// Whether the user asked for it: a taken port is then an error, else a warning.
    pub explicit: bool,
}
