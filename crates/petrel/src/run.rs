//! `petrel run`: reads the configuration, starts, listens to signals, drains.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, Shared};
use crate::cli::RunArgs;
use crate::config::{Config, Exporter, Protocol};
use crate::running::Running;
use crate::status;
use crate::telemetry::{self, OwnTelemetry, name};
use crate::validate::{self, Loaded};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What could not be started or saved.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let source = Source::of(args);
    let loaded = match source.load()? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let own = runtime.block_on(async { OwnTelemetry::of(&loaded.config) })?;
    telemetry::init_logs(&loaded.config.telemetry, own.as_ref());
    let metrics = telemetry::init_metrics(own.as_ref())?;
    loaded.log_warnings();
    let ended = runtime.block_on(run_until_signal(&loaded.config, &source, metrics));
    if let Some(own) = own {
        own.shutdown();
    }
    // What is still printed to somebody who does not read must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Where the configuration comes from, again at each reload.
#[derive(Debug)]
struct Source {
    file: Option<PathBuf>,
    to: Option<String>,
}

impl Source {
    fn of(args: &RunArgs) -> Self {
        Self {
            file: args.config.clone(),
            to: args.to.clone(),
        }
    }

    /// Reads it; errors are printed as `validate` prints them, and the exit code returned.
    fn load(&self) -> anyhow::Result<Result<Loaded, ExitCode>> {
        let mut loaded = match validate::load(self.file.as_deref())? {
            Ok(loaded) => loaded,
            Err(exit) => return Ok(Err(exit)),
        };
        if let Some(to) = &self.to {
            let endpoint = match to.contains("://") {
                true => to.clone(),
                false => format!("http://{to}"),
            };
            let exporter = Exporter::to(Protocol::Grpc, &endpoint);
            loaded.config.send_all_to(exporter);
        }
        Ok(Ok(loaded))
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            hang_up: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }

    /// Whether the configuration is to be read again; else it is over.
    async fn is_reload(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
            _ = self.hang_up.recv() => true,
        }
    }
}

async fn run_until_signal(
    config: &Config,
    source: &Source,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let shared = Arc::new(Shared::default());
    let admin = admin::serve(&config.telemetry, metrics, Arc::clone(&shared)).await?;
    let mut running = Running::start(config).await?;
    if config.exporters.is_empty() {
        tracing::warn!(
            "no exporter is named: records end here, anomalies are printed on stdout; \
             `--to http://host:4317` or exporters.otlp_grpc.endpoint sends both on"
        );
    }
    let reload_success = metrics::gauge!(name::RELOAD_SUCCESS);
    reload_success.set(1.0);
    shared.is_ready(status::Source::of(&running));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "petrel is ready");
    while signals.is_reload().await {
        let is_done = reload(&mut running, source).await;
        reload_success.set(if is_done { 1.0 } else { 0.0 });
    }
    tracing::info!("draining");
    shared.is_ending();
    let drained = running.drain().await;
    admin.iter().for_each(tokio::task::JoinHandle::abort);
    if drained.is_ok() {
        tracing::info!("stopped");
    }
    drained
}

/// Reads the configuration again; a bad one leaves the old one in force.
async fn reload(running: &mut Running, source: &Source) -> bool {
    let error = match source.load() {
        Ok(Ok(loaded)) => match running.reload(&loaded.config).await {
            Ok(()) => {
                loaded.log_warnings();
                tracing::info!("the configuration was read again and is in force");
                return true;
            }
            Err(error) => format!("{error:#}"),
        },
        Ok(Err(_)) => "the file has errors, see above".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    tracing::error!("the configuration was not taken, the one before stays in force: {error}");
    false
}
