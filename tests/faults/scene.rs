//! Petrel between senders and a real Collector, with a wire that fails between the two.

use std::time::Duration;

use crate::collector::{self, Collector};
use crate::load::{self, Load, Shape, Told};
use crate::metrics::Metrics;
use crate::petrel::Setup;
use crate::process::{Process, Scratch};
use crate::records::Output;
use crate::relay::Relay;
use crate::table::Row;
use crate::{edge, wait};

/// How long what was acknowledged may take to arrive once the fault is over.
const ARRIVAL: Duration = Duration::from_secs(120);

/// What Petrel promises when it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The next hop has it.
    Wait,
    /// It is in memory.
    Memory,
    /// It is on disk.
    File,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Wait, Self::Memory, Self::File];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Memory => "memory",
            Self::File => "file",
        }
    }
}

/// Who sends to Petrel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// A client that tries again by itself.
    Client,
    /// A Collector with a queue, which takes what the client sends.
    Collector,
}

/// See the head of this file.
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    pub(crate) setup: Setup,
    pub(crate) scratch: Scratch,
    pub(crate) petrel: Option<Process>,
    address: String,
    mode: Mode,
    upstream: Upstream,
    output: Output,
    _neighbours: Vec<Process>,
}

impl Scene {
    /// Starts everything; `more` are further top-level keys of Petrel's configuration.
    pub(crate) fn start(collector: Collector, mode: Mode, upstream: Upstream, more: &str) -> Self {
        let scratch = Scratch::new("faults");
        let [sink, wire] = std::array::from_fn(|_| wait::free_address());
        let path = scratch.path("arrived.binpb");
        let config = collector::sink_config(&sink, &path);
        let mut neighbours =
            vec![collector.start(&scratch, "sink", &config, &[wait::port_of(&sink)])];
        let relay = Relay::start(&wire, &sink);
        let queue = match mode {
            Mode::Wait => "",
            Mode::Memory => ", sending_queue: { wait_for_result: false }",
            Mode::File => ", sending_queue: { wait_for_result: false, storage: file_storage }",
        };
        let exporter = format!(
            "endpoint: '{wire}', timeout: 2s, \
             retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms }}{queue}"
        );
        let storage = scratch.directory("queue");
        let more = format!(
            "extensions: {{ file_storage: {{ directory: '{}' }} }}\n{more}",
            storage.display()
        );
        let setup = Setup::exporting(&scratch, "petrel", &exporter, "60s", &more);
        let petrel = Some(setup.start(&scratch));
        let mut address = setup.grpc.clone();
        if upstream == Upstream::Collector {
            let edge = wait::free_address();
            let config = edge::config(&edge, &address);
            neighbours.push(collector.start(&scratch, "edge", &config, &[wait::port_of(&edge)]));
            address = edge;
        }
        Self {
            relay,
            setup,
            scratch,
            petrel,
            address,
            mode,
            upstream,
            output: Output::new(path),
            _neighbours: neighbours,
        }
    }

    /// Starts to send to whoever is first.
    pub(crate) fn load(&self, shape: Shape) -> Load {
        Load::start(&self.address, shape)
    }

    /// Ends Petrel as a crash would, and starts it again.
    pub(crate) fn crash(&mut self) {
        if let Some(petrel) = self.petrel.take() {
            petrel.kill();
        }
        self.petrel = Some(self.setup.start(&self.scratch));
    }

    /// Petrel's metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(&self.setup.metrics)
    }

    /// Waits until all that was acknowledged has arrived or is said to be lost, or for a while.
    pub(crate) fn balance(mut self, fault: &str, told: &Told) -> Row {
        let fault = format!(
            "{fault}, {} before it, {}",
            self.upstream.name(),
            self.mode.name()
        );
        let deadline = wait::Deadline::after(ARRIVAL);
        loop {
            let said_lost = self.metrics().sum("petrel_items_lost", &[]) as u64;
            let arrivals = load::arrivals(self.output.read());
            let row = Row::balance(&*fault, told, &arrivals, said_lost);
            if row.lost == 0 || deadline.is_over() {
                if let Some(petrel) = self.petrel.take() {
                    assert!(
                        petrel.stop().success(),
                        "{fault}: it does not end in good order"
                    );
                }
                return row;
            }
            wait::a_moment();
        }
    }
}

impl Upstream {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Collector => "Collector",
        }
    }
}
