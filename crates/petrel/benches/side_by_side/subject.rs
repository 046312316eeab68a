//! What is measured: each variant's process on a core of its own, and what the system says it used.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::collector::Collector;
use crate::process::{Process, Scratch};
use crate::variants::{Kind, Variant};
use crate::{petrel, wait};

/// A running variant.
pub(crate) struct Subject {
    process: Process,
    pub(crate) address: String,
    pub(crate) is_gzip: bool,
    _scratch: Scratch,
}

impl Subject {
    /// Starts `variant` between the load and `sink`, on a core of its own.
    pub(crate) fn start(
        variant: &Variant,
        otelcol: Collector,
        sink: &str,
        cores: &Cores,
    ) -> Result<Self> {
        let scratch = Scratch::new(variant.name);
        let address = wait::free_address();
        let config = variant.kind.config(&scratch, &address, sink);
        let (path, ports) = (
            scratch.write("config.yaml", config),
            [wait::port_of(&address)],
        );
        cores.pin_to_subject()?;
        let process = match &variant.kind {
            Kind::Collector(setup) => {
                let variables: Vec<(&str, &str)> =
                    setup.gogc.iter().map(|gogc| ("GOGC", *gogc)).collect();
                otelcol.start_files(&scratch, variant.name, &[&path], &variables, &ports)
            }
            Kind::Petrel(_) => petrel::start_file(&scratch, variant.name, &path, &[], &ports),
        };
        cores.pin_to_load()?;
        Ok(Self {
            process,
            address,
            is_gzip: variant.is_gzip,
            _scratch: scratch,
        })
    }

    /// CPU seconds that all its threads have used, in user and system mode.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(&format!("/proc/{}/stat", self.process.id()))
    }

    /// The most resident memory it has had, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        self.status_mib("VmHWM:")
    }

    /// The resident memory that it has now, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        self.status_mib("VmRSS:")
    }

    fn status_mib(&self, key: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib = kib.with_context(|| format!("/proc/PID/status without {key}"))?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    pub(crate) fn stop(self) {
        self.process.stop();
    }

    pub(crate) fn kill(self) {
        self.process.kill();
    }
}

/// CPU seconds in user and system mode by a `stat` file of `/proc`.
pub(crate) fn cpu_seconds_of(path: &str) -> Result<f64> {
    let stat = fs::read_to_string(path)?;
    // The command's name, in parentheses, may hold anything; user and system time are the twelfth and
    // thirteenth field behind it.
    let (_, fields) = stat
        .rsplit_once(')')
        .with_context(|| format!("{path} without a name"))?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(ticks.iter().sum::<u64>() as f64 / per_second as f64)
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
        pin(&[self.subject])
    }

    /// Moves this thread to the core of the load.
    pub(crate) fn pin_to_load(&self) -> Result<()> {
        pin(&[self.load])
    }

    /// Lets this thread, and what it starts, run on both.
    pub(crate) fn pin_to_both(&self) -> Result<()> {
        pin(&[self.subject, self.load])
    }
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}
