//! The real OpenTelemetry Collector as a test's neighbour: built once, run with a configuration.

pub(crate) mod build;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Process, Scratch};

/// The built Collector; `None`, with one line that says so, where there is none to build.
///
/// # Panics
/// When the build fails, and with `CI=true` also when Go is missing.
#[track_caller]
pub(crate) fn available(test: &str) -> Option<Collector> {
    static BINARY: OnceLock<Result<Option<PathBuf>, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| build::binary().map_err(|error| format!("{error:#}")));
    match built {
        Ok(Some(binary)) => Some(Collector { binary }),
        Ok(None) => {
            let why = "no Go on this machine to build the Collector with";
            assert!(!is_ci(), "{test} must run where CI=true: {why}");
            did_not_run(test, why);
            None
        }
        Err(error) => panic!("cannot build the Collector: {error}"),
    }
}

fn is_ci() -> bool {
    std::env::var("CI").as_deref() == Ok("true")
}

/// Says in one line that a test did not run.
pub(crate) fn did_not_run(test: &str, why: &str) {
    build::announce(&format!("did not run: {test}: {why}"));
}

/// The Collector's binary.
#[derive(Clone, Copy)]
pub(crate) struct Collector {
    binary: &'static Path,
}

impl Collector {
    /// A command with no environment but `variables` and `PATH`.
    pub(crate) fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(self.binary);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(variables.iter().copied());
        command
    }

    /// Runs with a configuration given as text; ready when all `ports` listen.
    #[track_caller]
    pub(crate) fn start(
        &self,
        scratch: &Scratch,
        name: &str,
        config: &str,
        ports: &[u16],
    ) -> Process {
        let path = scratch.write(&format!("{name}.yaml"), config);
        let mut command = self.command(&[]);
        command.arg("--config").arg(path);
        Process::start(scratch, name, quiet(command), ports)
    }

    /// Runs with the files of a directory of examples; `variables` move its endpoints.
    #[track_caller]
    pub(crate) fn start_files(
        &self,
        scratch: &Scratch,
        name: &str,
        files: &[&Path],
        variables: &[(&str, &str)],
        ports: &[u16],
    ) -> Process {
        let mut command = self.command(variables);
        for file in files {
            command.arg("--config").arg(file);
        }
        Process::start(scratch, name, quiet(command), ports)
    }

    /// What `validate` says of these files: nothing, or the complaint.
    pub(crate) fn validate(
        &self,
        files: &[&Path],
        variables: &[(&str, &str)],
    ) -> Result<(), String> {
        let mut command = self.command(variables);
        command.arg("validate");
        for file in files {
            command.arg("--config").arg(file);
        }
        let output = command.output().expect("the Collector's binary runs");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// Two Collectors on one host would fight for `localhost:8888`: none of them serves metrics.
fn quiet(mut command: Command) -> Command {
    command.args(["--config", "yaml:service::telemetry::metrics::level: none"]);
    command.args(["--config", "yaml:service::telemetry::logs::level: warn"]);
    command
}

/// A Collector that writes what arrives at `address` to the file `path`, as [`crate::records::Output`] reads it.
pub(crate) fn sink_config(address: &str, path: &Path) -> String {
    let path = path.display();
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters: {{ file: {{ path: '{path}', format: proto, flush_interval: 50ms }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [file] }} }} }}
"
    )
}

/// A Collector before Petrel, listening on `address`: takes everything at once and keeps it until Petrel has
/// it.
pub(crate) fn edge_config(address: &str, petrel: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters:
  otlp_grpc:
    endpoint: '{petrel}'
    compression: none
    tls: {{ insecure: true }}
    sending_queue: {{ queue_size: 100000, num_consumers: 4 }}
    retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0s }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp_grpc] }} }} }}
"
    )
}
