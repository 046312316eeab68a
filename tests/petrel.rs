//! Petrel itself as a test runs it: the built binary with a configuration file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, Scratch};
use crate::wait;

/// How one Petrel of a test is set up. Kept by the test, so that it can be started again after a crash
/// with the same ports and the same state.
pub(crate) struct Setup {
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) metrics: String,
    /// The directory of its state.
    pub(crate) state: PathBuf,
    name: String,
    pub(crate) config: PathBuf,
}

impl Setup {
    /// Receives on free ports, exports to the gRPC address `downstream`; `more` is appended to the
    /// configuration and may hold any other top-level keys.
    pub(crate) fn new(scratch: &Scratch, name: &str, downstream: &str, more: &str) -> Self {
        Self::saving(scratch, name, downstream, "60s", more)
    }

    /// The same, writing what has changed of its state every `interval`.
    pub(crate) fn saving(
        scratch: &Scratch,
        name: &str,
        downstream: &str,
        interval: &str,
        more: &str,
    ) -> Self {
        let exporter = format!("endpoint: '{downstream}', timeout: 60s");
        Self::exporting(scratch, name, &exporter, interval, more)
    }

    /// The same with the keys of a gRPC exporter given as text.
    pub(crate) fn exporting(
        scratch: &Scratch,
        name: &str,
        exporter: &str,
        interval: &str,
        more: &str,
    ) -> Self {
        let [grpc, http, metrics, health, admin] = std::array::from_fn(|_| wait::free_address());
        let state = scratch.directory(&format!("{name}-state"));
        let directory = state.display();
        let config = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }}, http: {{ endpoint: '{http}' }} }} }} }}
exporters: {{ otlp_grpc: {{ {exporter}, compression: none, tls: {{ insecure: true }} }} }}
state: {{ directory: '{directory}', interval: {interval} }}
telemetry: {{ metrics: {{ endpoint: '{metrics}' }}, health: {{ endpoint: '{health}' }}, admin: {{ endpoint: '{admin}' }} }}
{more}"
        );
        let config = scratch.write(&format!("{name}.yaml"), config);
        Self {
            grpc,
            http,
            metrics,
            state,
            name: name.to_owned(),
            config,
        }
    }

    /// Starts it; ready when both OTLP ports accept.
    #[track_caller]
    pub(crate) fn start(&self, scratch: &Scratch) -> Process {
        self.start_as(scratch, command(&[]))
    }

    /// The same by another command, which hands its arguments on to Petrel.
    #[track_caller]
    pub(crate) fn start_as(&self, scratch: &Scratch, mut command: Command) -> Process {
        command.arg("run").arg("-c").arg(&self.config);
        let ports = [&self.grpc, &self.http].map(|address| wait::port_of(address));
        Process::start(scratch, &self.name, command, &ports)
    }
}

/// The binary under test, with no environment but `variables`.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_petrel"));
    command.env_clear().envs(variables.iter().copied());
    command
}

/// The same with so many files and sockets at most.
pub(crate) fn short_of_files(n_files: usize) -> Command {
    let script = format!("ulimit -n {n_files}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", &script]);
    command.arg(env!("CARGO_BIN_EXE_petrel"));
    command
}

/// Runs a file of a directory of examples; `variables` move its endpoints.
#[track_caller]
pub(crate) fn start_file(
    scratch: &Scratch,
    name: &str,
    file: &Path,
    variables: &[(&str, &str)],
    ports: &[u16],
) -> Process {
    let mut command = command(variables);
    command.arg("run").arg("-c").arg(file);
    Process::start(scratch, name, command, ports)
}

/// What `petrel validate` says of a file: nothing, or the complaint.
pub(crate) fn validate(file: &Path, variables: &[(&str, &str)]) -> Result<(), String> {
    let output = command(variables)
        .arg("validate")
        .arg("-c")
        .arg(file)
        .output();
    let output = output.expect("the binary under test runs");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
