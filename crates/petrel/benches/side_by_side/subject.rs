//! What is measured: each variant's process on a core of its own, and what the system says it used.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::collector::Collector;
use crate::petrel::Setup;
use crate::process::{Process, Scratch};
use crate::wait;

/// One thing to measure.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    kind: Kind,
}

enum Kind {
    /// Processors of the pipeline and the value of `GOGC`, when it is set.
    Collector {
        processors: &'static str,
        gogc: Option<&'static str>,
    },
    /// Top-level keys that Petrel's configuration gets beside its endpoints.
    Petrel { config: &'static str },
}

const NO_DETECTORS: &str = "detectors: { frequency: { enabled: false }, latency: { enabled: false }, \
     novelty: { enabled: false }, silence: { enabled: false } }\n";
const NO_DETECTORS_NO_TEMPLATES: &str = "templates: { enabled: false }\n\
     detectors: { frequency: { enabled: false }, latency: { enabled: false }, \
     novelty: { enabled: false }, silence: { enabled: false } }\n";

/// All variants, in the order of the report.
pub(crate) const VARIANTS: [Variant; 7] = [
    Variant {
        name: "collector_pass",
        kind: Kind::Collector {
            processors: "",
            gogc: None,
        },
    },
    Variant {
        name: "collector_insert",
        kind: Kind::Collector {
            processors: "attributes",
            gogc: None,
        },
    },
    Variant {
        name: "collector_insert_tuned",
        kind: Kind::Collector {
            processors: "attributes",
            gogc: Some("400"),
        },
    },
    Variant {
        name: "petrel_pass",
        kind: Kind::Petrel {
            config: NO_DETECTORS_NO_TEMPLATES,
        },
    },
    Variant {
        name: "petrel_templates",
        kind: Kind::Petrel {
            config: NO_DETECTORS,
        },
    },
    Variant {
        name: "petrel_all",
        kind: Kind::Petrel { config: "" },
    },
    Variant {
        name: "petrel_all_native",
        kind: Kind::Petrel {
            config: "detectors: { native: true }\n",
        },
    },
];

impl Variant {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        VARIANTS.iter().find(|variant| variant.name == name)
    }
}

/// A running variant.
pub(crate) struct Subject {
    process: Process,
    pub(crate) address: String,
    _scratch: Scratch,
}

impl Subject {
    /// Starts `variant` between the load and `sink`.
    pub(crate) fn start(
        variant: &Variant,
        otelcol: Collector,
        sink: &str,
        cores: &Cores,
    ) -> Result<Self> {
        let scratch = Scratch::new(variant.name);
        cores.pin_to_subject()?;
        let (process, address) = match &variant.kind {
            Kind::Collector { processors, gogc } => {
                let address = wait::free_address();
                let path =
                    scratch.write("otelcol.yaml", collector_config(&address, sink, processors));
                let variables: Vec<(&str, &str)> =
                    gogc.iter().map(|gogc| ("GOGC", *gogc)).collect();
                let ports = [wait::port_of(&address)];
                (
                    otelcol.start_files(&scratch, variant.name, &[&path], &variables, &ports),
                    address,
                )
            }
            Kind::Petrel { config } => {
                let setup = Setup::new(&scratch, variant.name, sink, config);
                (setup.start(&scratch), setup.grpc)
            }
        };
        cores.pin_to_load()?;
        Ok(Self {
            process,
            address,
            _scratch: scratch,
        })
    }

    /// CPU seconds that all its threads have used, in user and system mode.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The command's name, in parentheses, may hold anything; user and system time are the twelfth and
        // thirteenth field behind it.
        let (_, fields) = stat
            .rsplit_once(')')
            .context("/proc/PID/stat without a name")?;
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>);
        let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(ticks.iter().sum::<u64>() as f64 / per_second as f64)
    }

    /// The most resident memory it has had, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib
            .context("/proc/PID/status without VmHWM")?
            .parse::<f64>()?
            / 1024.0)
    }

    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

/// Nothing but receiving, perhaps one attribute more, and sending: no queue, so that an answer means that
/// the sink has it, as with Petrel; no compression, as both are on one host.
pub(crate) fn collector_config(address: &str, sink: &str, processors: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
processors: {{ attributes: {{ actions: [{{ key: petrel.template.id, value: 0123456789abcdef, action: insert }}] }} }}
exporters:
  otlp_grpc:
    endpoint: '{sink}'
    compression: none
    tls: {{ insecure: true }}
    sending_queue: {{ enabled: false }}
    retry_on_failure: {{ enabled: false }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], processors: [{processors}], exporters: [otlp_grpc] }} }} }}
"
    )
}

/// One core for the process under test, another for the load and the sink.
pub(crate) struct Cores {
    subject: usize,
    load: usize,
}

impl Cores {
    pub(crate) fn of_this_process() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (subject, load) = (cores.next(), cores.next());
        ensure!(
            load.is_some(),
            "two cores are needed, one of them for the load"
        );
        Ok(Self {
            subject: subject.unwrap_or_default(),
            load: load.unwrap_or_default(),
        })
    }

    /// Moves this thread, and so what it starts, to the core of the process under test.
    fn pin_to_subject(&self) -> Result<()> {
        pin(self.subject)
    }

    /// Moves this thread to the core of the load.
    pub(crate) fn pin_to_load(&self) -> Result<()> {
        pin(self.load)
    }
}

fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}
