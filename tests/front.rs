//! Petrel with a configuration that a test writes whole, and changes while it runs.

use crate::metrics::Metrics;
use crate::process::{Process, Scratch};
use crate::{petrel, wait};

/// Addresses of one Petrel's listeners.
pub(crate) struct Ports {
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) metrics: String,
    pub(crate) health: String,
    pub(crate) admin: String,
}

impl Ports {
    pub(crate) fn new() -> Self {
        let [grpc, http, metrics, health, admin] = std::array::from_fn(|_| wait::free_address());
        Self {
            grpc,
            http,
            metrics,
            health,
            admin,
        }
    }

    /// `receivers`: both protocols in plaintext.
    pub(crate) fn receivers(&self) -> String {
        self.receivers_with("", "")
    }

    /// `receivers` with more keys of either protocol, each with a comma before it.
    pub(crate) fn receivers_with(&self, grpc: &str, http: &str) -> String {
        let (grpc_at, http_at) = (&self.grpc, &self.http);
        format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc_at}'{grpc} }}, http: {{ endpoint: '{http_at}'{http} }} }} }} }}\n"
        )
    }

    /// `telemetry`: metrics, health and admin, and more keys with a comma before each.
    pub(crate) fn telemetry(&self, more: &str) -> String {
        let (metrics, health, admin) = (&self.metrics, &self.health, &self.admin);
        format!(
            "telemetry: {{ metrics: {{ endpoint: '{metrics}' }}, health: {{ endpoint: '{health}' }}, admin: {{ endpoint: '{admin}' }}{more} }}\n"
        )
    }
}

/// `exporters`: gRPC in plaintext to `address`, without a queue.
pub(crate) fn exporters(address: &str) -> String {
    format!(
        "exporters: {{ otlp_grpc: {{ endpoint: '{address}', tls: {{ insecure: true }}, timeout: 30s }} }}\n"
    )
}

/// A running Petrel and its configuration file.
pub(crate) struct Front {
    pub(crate) ports: Ports,
    pub(crate) scratch: Scratch,
    pub(crate) petrel: Process,
}

const FILE: &str = "petrel.yaml";
const TAKEN: &str = "was read again and is in force";
const NOT_TAKEN: &str = "the configuration was not taken";

impl Front {
    /// Runs with this configuration; ready when both OTLP ports of `ports` listen.
    #[track_caller]
    pub(crate) fn start(scratch: Scratch, ports: Ports, config: &str) -> Self {
        let ready = [&ports.grpc, &ports.http].map(|address| wait::port_of(address));
        let file = scratch.write(FILE, config);
        let mut command = petrel::command(&[]);
        command.arg("run").arg("-c").arg(file);
        let petrel = Process::start(&scratch, "petrel", command, &ready);
        Self {
            ports,
            scratch,
            petrel,
        }
    }

    /// Killed in the middle of it, and started again with this configuration.
    #[track_caller]
    pub(crate) fn crashes(self, config: &str) -> Self {
        let Self {
            ports,
            scratch,
            petrel,
        } = self;
        petrel.kill();
        Self::start(scratch, ports, config)
    }

    /// Changes the file and has it read; the configuration must be taken.
    #[track_caller]
    pub(crate) fn reloads(&self, config: &str) {
        let said = self.hang_up(config);
        assert!(said.contains(TAKEN), "{said}");
        assert_eq!(self.reload_metric(), 1.0);
    }

    /// The same with a configuration that must not be taken; what is said of it.
    #[track_caller]
    pub(crate) fn refuses(&self, config: &str) -> String {
        let said = self.hang_up(config);
        assert!(said.contains(NOT_TAKEN), "{said}");
        assert_eq!(self.reload_metric(), 0.0);
        said
    }

    fn hang_up(&self, config: &str) -> String {
        let before = self.petrel.stderr().len();
        self.scratch.write(FILE, config);
        self.petrel.hang_up();
        let said = wait::until("a word about the reload", wait::SOON, || {
            let said = self.petrel.stderr().split_off(before);
            let is_over = said.contains(TAKEN) || said.contains(NOT_TAKEN);
            is_over.then_some(said)
        });
        // The metric is set after the line is written.
        let is_taken = said.contains(TAKEN);
        wait::until("the metric of the reload", wait::SOON, || {
            ((self.reload_metric() > 0.0) == is_taken).then_some(())
        });
        said
    }

    fn reload_metric(&self) -> f64 {
        self.metrics().sum("petrel_config_last_reload_success", &[])
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(&self.ports.metrics)
    }

    /// What `petrel status -o json` says.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        let said = self.tell(&["status", "-o", "json"]);
        serde_json::from_str(&said).expect("the status is JSON")
    }

    /// What a command that talks to this Petrel prints; it must succeed.
    #[track_caller]
    pub(crate) fn tell(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, whatever becomes of it.
    pub(crate) fn ask(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = petrel::command(&[]);
        command.args(arguments).args(["--admin", &self.ports.admin]);
        command.output().expect("the binary under test runs")
    }
}
