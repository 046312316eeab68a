//! Petrel between senders and a real Collector, with a wire that fails between the two.

use std::path::PathBuf;
use std::time::Duration;

use crate::collector::{self, Collector};
use crate::load::{self, Load, Shape, Told};
use crate::metrics::Metrics;
use crate::petrel::Setup;
use crate::process::{Process, Scratch};
use crate::records::{Output, Record};
use crate::relay::Relay;
use crate::sdks::{python, rust, telemetrygen};
use crate::table::Row;
use crate::wait;

/// How long what was acknowledged may take to arrive once the fault is over.
const ARRIVAL: Duration = Duration::from_secs(240);
/// Of what may be lost nothing more arrives when nothing did for so long.
const QUIET: Duration = Duration::from_secs(2);
/// The same behind a Collector, which waits so long before it connects again.
const QUIET_BEHIND_COLLECTOR: Duration = Duration::from_secs(12);

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
    pub(crate) const QUEUES: [Self; 2] = [Self::Memory, Self::File];

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
    /// Programs with the Rust SDK.
    RustSdk(Protocol),
    /// A program with the Python SDK.
    PythonSdk(Protocol),
    /// telemetrygen, which has the Go SDK.
    Telemetrygen(Protocol),
}

impl Upstream {
    /// Who is before Petrel in the rows of every fault; `sdks` has those of the others.
    pub(crate) const USUAL: [Self; 2] = [Self::Client, Self::Collector];

    fn name(self) -> String {
        match self {
            Self::Client => "client".to_owned(),
            Self::Collector => "Collector".to_owned(),
            Self::RustSdk(protocol) => format!("Rust SDK ({})", protocol.name()),
            Self::PythonSdk(protocol) => format!("Python SDK ({})", protocol.name()),
            Self::Telemetrygen(protocol) => format!("telemetrygen ({})", protocol.name()),
        }
    }
}

/// How an SDK sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    /// Protobuf in HTTP/1.1.
    Http,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        }
    }
}

/// How a scene is set up.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) upstream: Upstream,
    /// Further keys of the exporter.
    pub(crate) exporter: &'static str,
    /// Further keys of its queue.
    pub(crate) queue: &'static str,
    /// Further top-level keys of Petrel's configuration.
    pub(crate) more: &'static str,
    /// Whether Petrel sends OTLP over HTTP.
    pub(crate) is_http: bool,
    /// Where a file queue keeps its file, when not in the scratch directory.
    pub(crate) storage: Option<PathBuf>,
}

impl Plan {
    /// Nothing out of the ordinary.
    pub(crate) fn new(mode: Mode, upstream: Upstream) -> Self {
        Self {
            mode,
            upstream,
            exporter: "",
            queue: "",
            more: "",
            is_http: false,
            storage: None,
        }
    }

    /// The keys of Petrel's exporter, which sends to `address`.
    pub(crate) fn exporter(&self, address: &str) -> String {
        let queue = match self.mode {
            Mode::Wait => "",
            Mode::Memory => "wait_for_result: false",
            Mode::File => "wait_for_result: false, storage: file_storage",
        };
        let scheme = if self.is_http { "http://" } else { "" };
        let separator = if self.exporter.is_empty() { "" } else { ", " };
        let sending_queue = match (queue, self.queue) {
            ("", "") => String::new(),
            (queue, "") => format!(", sending_queue: {{ {queue} }}"),
            (queue, more) => format!(", sending_queue: {{ {queue}, {more} }}"),
        };
        format!(
            "endpoint: '{scheme}{address}', timeout: 2s{separator}{}, \
             retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms }}{sending_queue}",
            self.exporter
        )
    }

    /// What stands in the table.
    pub(crate) fn title(&self, fault: &str) -> String {
        format!(
            "{fault}, {} before it, {}",
            self.upstream.name(),
            self.mode.name()
        )
    }
}

/// See the head of this file.
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    pub(crate) setup: Setup,
    pub(crate) scratch: Scratch,
    pub(crate) petrel: Option<Process>,
    pub(crate) plan: Plan,
    /// Where the Collector behind the wire listens.
    pub(crate) sink: String,
    /// Where Petrel sends to: the wire.
    pub(crate) wire: String,
    /// Directory of the file queue.
    pub(crate) storage: PathBuf,
    address: String,
    output: Output,
    neighbours: Vec<Process>,
}

impl Scene {
    /// Starts everything.
    pub(crate) fn start(collector: Collector, plan: Plan) -> Self {
        let mut scene = Self::before_petrel(collector, plan, |sink| sink);
        scene.petrel = Some(scene.setup.start(&scene.scratch));
        scene.start_upstream(collector);
        scene
    }

    /// Starts everything but Petrel and what is before it. `front` is given the address of the Collector
    /// behind the wire, and says where the wire leads to.
    pub(crate) fn before_petrel(
        collector: Collector,
        plan: Plan,
        front: impl FnOnce(String) -> String,
    ) -> Self {
        let scratch = Scratch::new("faults");
        let [sink, wire] = std::array::from_fn(|_| wait::free_address());
        let path = scratch.path("arrived.binpb");
        let config = collector::sink_config(&sink, &path);
        let neighbours = vec![collector.start(&scratch, "sink", &config, &[wait::port_of(&sink)])];
        let relay = Relay::start(&wire, &front(sink.clone()));
        let storage = plan.storage.clone();
        let storage = storage.unwrap_or_else(|| scratch.directory("queue"));
        let more = format!(
            "extensions: {{ file_storage: {{ directory: '{}' }} }}\n{}",
            storage.display(),
            plan.more
        );
        let setup = Setup::exporting(&scratch, "petrel", &plan.exporter(&wire), "60s", &more);
        let scene = Self {
            relay,
            address: setup.grpc.clone(),
            setup,
            scratch,
            petrel: None,
            plan,
            sink,
            wire,
            storage,
            output: Output::new(path),
            neighbours,
        };
        if scene.plan.is_http {
            scene.rewrite("otlp_grpc:", "otlp_http:");
        }
        scene
    }

    /// Starts the Collector before Petrel, where there is one.
    pub(crate) fn start_upstream(&mut self, collector: Collector) {
        self.start_upstream_as(collector, |config| config);
    }

    /// The same with another configuration, made from the usual one.
    pub(crate) fn start_upstream_as(
        &mut self,
        collector: Collector,
        change: impl FnOnce(String) -> String,
    ) {
        if self.plan.upstream == Upstream::Collector {
            let edge = wait::free_address();
            let config = change(collector::edge_config(&edge, &self.setup.grpc));
            let ports = [wait::port_of(&edge)];
            let edge_process = collector.start(&self.scratch, "edge", &config, &ports);
            self.neighbours.push(edge_process);
            self.address = edge;
        }
    }

    /// Replaces text of Petrel's configuration, which it reads when it starts or reloads.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let config = self.config();
        // The receiver has the same keys.
        let (receivers, rest) = config.split_once("exporters:").expect("it exports");
        assert!(rest.contains(from), "{from} is not in {rest}");
        self.write_config(&format!("{receivers}exporters:{}", rest.replace(from, to)));
    }

    /// Petrel's configuration.
    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(&self.setup.config).expect("we wrote it")
    }

    /// Writes another one, which it reads when it starts or reloads.
    pub(crate) fn write_config(&self, config: &str) {
        std::fs::write(&self.setup.config, config).expect("we wrote it");
    }

    /// Starts to send to whoever is first.
    pub(crate) fn load(&self, shape: Shape) -> Load {
        let scratch = &self.scratch;
        match self.plan.upstream {
            Upstream::Client | Upstream::Collector => Load::start(&self.address, shape),
            Upstream::RustSdk(protocol) => rust::load(protocol, self.receiver(protocol), shape),
            Upstream::PythonSdk(protocol) => {
                python::load(scratch, protocol, self.receiver(protocol), shape)
            }
            Upstream::Telemetrygen(protocol) => {
                telemetrygen::load(scratch, protocol, self.receiver(protocol), shape)
            }
        }
    }

    /// Where Petrel receives.
    fn receiver(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Grpc => &self.setup.grpc,
            Protocol::Http => &self.setup.http,
        }
    }

    /// The file of the queue.
    pub(crate) fn queue_file(&self) -> PathBuf {
        self.storage.join("otlp_grpc").join("queue.redb")
    }

    /// Ends Petrel as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(petrel) = self.petrel.take() {
            petrel.kill();
        }
    }

    /// Ends Petrel as a crash would, and starts it again.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.petrel = Some(self.setup.start(&self.scratch));
    }

    /// Tells Petrel to read its configuration again.
    pub(crate) fn reload(&self) {
        self.process().hang_up();
    }

    /// What Petrel has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.process().stderr()
    }

    /// Petrel, which runs.
    pub(crate) fn process(&self) -> &Process {
        self.petrel.as_ref().expect("it runs")
    }

    /// Petrel's metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(&self.setup.metrics)
    }

    /// Waits until a metric is at least this.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let what = format!("{name} {labels:?} to be {least}");
        tokio::task::block_in_place(|| {
            wait::until(&what, wait::SOON, || {
                (self.metrics().sum(name, labels) >= least).then_some(())
            });
        });
    }

    /// What arrived so far, anomaly events included, in that order.
    pub(crate) fn arrived(&mut self) -> &[Record] {
        self.output.read()
    }

    /// Waits until all that was acknowledged has arrived or is said to be lost, or for a while.
    pub(crate) fn balance_running(&mut self, fault: &str, told: &Told) -> Row {
        tokio::task::block_in_place(|| {
            let deadline = wait::Deadline::after(ARRIVAL);
            loop {
                let row = self.row(fault, told, 0);
                if row.lost == 0 || deadline.is_over() {
                    return row;
                }
                wait::a_moment();
            }
        })
    }

    /// The same, and ends Petrel.
    pub(crate) fn balance(&mut self, fault: &str, told: &Told) -> Row {
        let row = self.balance_running(fault, told);
        tokio::task::block_in_place(|| self.stop(fault));
        row
    }

    /// The same where the mode's promise allows that some, `most` at most, is missing.
    pub(crate) fn balance_allowing(&mut self, fault: &str, told: &Told, most: u64) -> Row {
        tokio::task::block_in_place(|| {
            let deadline = wait::Deadline::after(ARRIVAL);
            // A Collector that found nobody for long waits longer still before it sends what it has.
            while self.row(fault, told, most).lost > 0 && !deadline.is_over() {
                wait::a_moment();
            }
            let mut n_arrived = usize::MAX;
            let quiet = match self.plan.upstream {
                Upstream::Collector => QUIET_BEHIND_COLLECTOR,
                _ => QUIET,
            };
            loop {
                let quiet = wait::Deadline::after(quiet);
                while n_arrived != self.output.read().len() || !self.is_empty() {
                    n_arrived = self.output.read().len();
                    if deadline.is_over() {
                        break;
                    }
                    wait::a_moment();
                }
                while !quiet.is_over() {
                    wait::a_moment();
                }
                if n_arrived == self.output.read().len() || deadline.is_over() {
                    let row = self.row(fault, told, most);
                    self.stop(fault);
                    return row;
                }
            }
        })
    }

    fn is_empty(&self) -> bool {
        self.metrics().sum("otelcol_exporter_queue_size", &[]) == 0.0
    }

    fn row(&mut self, fault: &str, told: &Told, allowed: u64) -> Row {
        let said_lost = self.metrics().sum("petrel_items_lost", &[]) as u64;
        let mut arrivals = load::arrivals(self.output.read());
        if let Upstream::Telemetrygen(_) = self.plan.upstream {
            arrivals = telemetrygen::numbered(arrivals);
        }
        Row::balance(self.plan.title(fault), told, &arrivals, said_lost, allowed)
    }

    /// Asks Petrel to end, which it must do in good order.
    pub(crate) fn stop(&mut self, fault: &str) {
        let petrel = self.petrel.take().expect("it runs");
        let status = petrel.stop();
        assert!(status.success(), "{fault}: it does not end in good order");
    }
}
