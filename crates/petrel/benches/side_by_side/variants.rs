//! What is compared: how Petrel and the Collector are set up in each variant.

use crate::load::Shape;
use crate::process::Scratch;
use crate::wait;

/// One thing to measure.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// Whether senders pack what they send.
    pub(crate) is_gzip: bool,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Collector(CollectorSetup),
    Petrel(PetrelSetup),
}

/// Parts of a Collector's configuration.
#[derive(Clone, Copy)]
pub(crate) struct CollectorSetup {
    /// Processors of the pipeline.
    pub(crate) processors: &'static str,
    /// Keys of the exporter beside its endpoint.
    pub(crate) exporter: &'static str,
    /// Keys of `file_storage` beside its directory, where there is one.
    pub(crate) file_storage: Option<&'static str>,
    /// The value of `GOGC`, when it is set.
    pub(crate) gogc: Option<&'static str>,
}

/// Parts of Petrel's configuration.
#[derive(Clone, Copy)]
pub(crate) struct PetrelSetup {
    /// Keys of the exporter beside its endpoint.
    pub(crate) exporter: &'static str,
    pub(crate) has_file_storage: bool,
    /// Top-level keys beside its endpoints.
    pub(crate) more: &'static str,
}

const NO_DETECTORS: &str = "detectors: { frequency: { enabled: false }, latency: { enabled: false }, \
     novelty: { enabled: false }, silence: { enabled: false } }\n";
const NO_DETECTORS_NO_TEMPLATES: &str = "templates: { enabled: false }\n\
     detectors: { frequency: { enabled: false }, latency: { enabled: false }, \
     novelty: { enabled: false }, silence: { enabled: false } }\n";

/// Nothing but receiving and sending: no queue, so that an answer means that the sink has it, as with
/// Petrel; no compression, as both are on one host.
pub(crate) const SYNCHRONOUS: CollectorSetup = CollectorSetup {
    processors: "",
    exporter: "compression: none, sending_queue: { enabled: false }, retry_on_failure: { enabled: false }",
    file_storage: None,
    gogc: None,
};
const COLLECTOR_PASS: Kind = Kind::Collector(SYNCHRONOUS);
const COLLECTOR_INSERT: CollectorSetup = CollectorSetup {
    processors: "attributes",
    ..SYNCHRONOUS
};
/// What a Collector does that is told nothing: gzip, and a queue in memory.
const COLLECTOR_DEFAULT: CollectorSetup = CollectorSetup {
    exporter: "",
    ..SYNCHRONOUS
};
const COLLECTOR_MEMORY_QUEUE: CollectorSetup = CollectorSetup {
    exporter: "compression: none",
    ..SYNCHRONOUS
};
const COLLECTOR_FILE_QUEUE: CollectorSetup = CollectorSetup {
    exporter: "compression: none, sending_queue: { storage: file_storage }",
    file_storage: Some(""),
    ..SYNCHRONOUS
};

const PETREL_ALL: PetrelSetup = PetrelSetup {
    exporter: "compression: none",
    has_file_storage: false,
    more: "",
};
const PETREL_PASS: PetrelSetup = PetrelSetup {
    more: NO_DETECTORS_NO_TEMPLATES,
    ..PETREL_ALL
};

impl Variant {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            shape: Shape::LARGE,
            is_gzip: false,
            kind,
        }
    }

    const fn small(name: &'static str, kind: Kind) -> Self {
        Self {
            shape: Shape::SMALL,
            ..Self::new(name, kind)
        }
    }

    const fn gzip(name: &'static str, kind: Kind) -> Self {
        Self {
            is_gzip: true,
            ..Self::new(name, kind)
        }
    }
}

/// Both, each with what it does with a record.
pub(crate) const PLAIN: [Variant; 7] = [
    Variant::new("collector_pass", COLLECTOR_PASS),
    Variant::new("collector_insert", Kind::Collector(COLLECTOR_INSERT)),
    Variant::new(
        "collector_insert_tuned",
        Kind::Collector(CollectorSetup {
            gogc: Some("400"),
            ..COLLECTOR_INSERT
        }),
    ),
    Variant::new("petrel_pass", Kind::Petrel(PETREL_PASS)),
    Variant::new(
        "petrel_templates",
        Kind::Petrel(PetrelSetup {
            more: NO_DETECTORS,
            ..PETREL_ALL
        }),
    ),
    Variant::new("petrel_all", Kind::Petrel(PETREL_ALL)),
    Variant::new(
        "petrel_all_native",
        Kind::Petrel(PetrelSetup {
            more: "detectors: { native: true }\n",
            ..PETREL_ALL
        }),
    ),
];

/// Both passing through requests of different size.
pub(crate) const SMALL: [Variant; 5] = [
    Variant::small("collector_pass_100", COLLECTOR_PASS),
    Variant::small("petrel_pass_100", Kind::Petrel(PETREL_PASS)),
    Variant::small("petrel_all_100", Kind::Petrel(PETREL_ALL)),
    Variant::new("collector_pass_1000", COLLECTOR_PASS),
    Variant::new("petrel_pass_1000", Kind::Petrel(PETREL_PASS)),
];

/// A Collector as it is by default, and Petrel in its place.
pub(crate) const GZIP: [Variant; 3] = [
    Variant::gzip("collector_gzip", Kind::Collector(COLLECTOR_DEFAULT)),
    Variant::gzip("petrel_gzip_pass", Kind::Petrel(PETREL_PASS.gzip())),
    Variant::gzip("petrel_gzip_all", Kind::Petrel(PETREL_ALL.gzip())),
];

/// What stands between a request and its reply, in both.
pub(crate) const QUEUE: [Variant; 7] = [
    Variant::new("collector_no_queue", COLLECTOR_PASS),
    Variant::new(
        "collector_memory_queue",
        Kind::Collector(COLLECTOR_MEMORY_QUEUE),
    ),
    Variant::new(
        "collector_file_queue",
        Kind::Collector(COLLECTOR_FILE_QUEUE),
    ),
    Variant::new(
        "collector_file_queue_fsync",
        Kind::Collector(CollectorSetup {
            file_storage: Some("fsync: true"),
            ..COLLECTOR_FILE_QUEUE
        }),
    ),
    Variant::new("petrel_no_queue", Kind::Petrel(PETREL_PASS)),
    Variant::new(
        "petrel_memory_queue",
        Kind::Petrel(PetrelSetup {
            exporter: "compression: none, sending_queue: { wait_for_result: false }",
            ..PETREL_PASS
        }),
    ),
    Variant::new(
        "petrel_file_queue_fsync",
        Kind::Petrel(PetrelSetup {
            exporter: "compression: none, sending_queue: { wait_for_result: false, storage: file_storage }",
            has_file_storage: true,
            ..PETREL_PASS
        }),
    ),
];

/// What senders that do not wait are sent through.
pub(crate) const OPEN_LOOP: [Variant; 3] = [
    Variant::new("collector_pass", COLLECTOR_PASS),
    Variant::new("petrel_pass", Kind::Petrel(PETREL_PASS)),
    Variant::new("petrel_all", Kind::Petrel(PETREL_ALL)),
];

impl PetrelSetup {
    const fn gzip(self) -> Self {
        Self {
            exporter: "compression: gzip",
            ..self
        }
    }
}

impl Kind {
    /// The configuration that receives at `address` and sends to `sink`.
    pub(crate) fn config(&self, scratch: &Scratch, address: &str, sink: &str) -> String {
        match self {
            Self::Collector(setup) => setup.config(scratch, address, sink),
            Self::Petrel(setup) => setup.config(scratch, address, sink),
        }
    }
}

impl CollectorSetup {
    fn config(&self, scratch: &Scratch, address: &str, sink: &str) -> String {
        let Self {
            processors,
            exporter,
            ..
        } = self;
        let (extensions, named) = match self.file_storage {
            Some(keys) => {
                let directory = scratch.directory("queue");
                let keys = format!("directory: '{}', {keys}", directory.display());
                (
                    format!("extensions: {{ file_storage: {{ {keys} }} }}\n"),
                    "extensions: [file_storage], ",
                )
            }
            None => (String::new(), ""),
        };
        format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
processors: {{ attributes: {{ actions: [{{ key: petrel.template.id, value: 0123456789abcdef, action: insert }}] }} }}
exporters: {{ otlp_grpc: {{ endpoint: '{sink}', tls: {{ insecure: true }}, {exporter} }} }}
{extensions}service: {{ {named}pipelines: {{ logs: {{ receivers: [otlp], processors: [{processors}], exporters: [otlp_grpc] }} }} }}
"
        )
    }
}

impl PetrelSetup {
    fn config(&self, scratch: &Scratch, address: &str, sink: &str) -> String {
        let [metrics, health, admin] = std::array::from_fn(|_| wait::free_address());
        let state = scratch.directory("state");
        let Self { exporter, more, .. } = self;
        let extensions = match self.has_file_storage {
            true => format!(
                "extensions: {{ file_storage: {{ directory: '{}' }} }}\n",
                scratch.directory("queue").display()
            ),
            false => String::new(),
        };
        format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters: {{ otlp_grpc: {{ endpoint: '{sink}', timeout: 60s, tls: {{ insecure: true }}, {exporter} }} }}
state: {{ directory: '{}' }}
telemetry: {{ metrics: {{ endpoint: '{metrics}' }}, health: {{ endpoint: '{health}' }}, admin: {{ endpoint: '{admin}' }} }}
{extensions}{more}",
            state.display()
        )
    }
}
