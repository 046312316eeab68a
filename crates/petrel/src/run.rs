//! `petrel run`: reads the configuration, starts, listens to signals, drains.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, Shared};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::running::Running;
use crate::status;
use crate::telemetry::{self, OwnTelemetry, name};
use crate::validate::{self, Invalid, Loaded};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What could not be started or saved.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let source = Source::of(args);
    let loaded = match source.load()? {
        Ok(loaded) => loaded,
        Err(invalid) => return Ok(invalid.complain()),
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

    /// Reads it.
    fn load(&self) -> anyhow::Result<Result<Loaded, Invalid>> {
        let mut loaded = match validate::load(self.file.as_deref())? {
            Ok(loaded) => loaded,
            Err(invalid) => return Ok(Err(invalid)),
        };
        if let Some(to) = &self.to {
            let endpoint = match to.contains("://") {
                true => to.clone(),
                false => format!("http://{to}"),
            };
            // Checked as if it stood in the file.
            let endpoint = serde_json::Value::from(endpoint);
            let exporters = format!("exporters: {{otlp_grpc: {{endpoint: {endpoint}}}}}");
            match validate::parse(&exporters, "--to") {
                Ok(Loaded { config, .. }) => {
                    let exporter = config.exporters.into_values().next();
                    loaded.config.send_all_to(exporter.context("--to")?);
                }
                Err(invalid) => return Ok(Err(invalid)),
            }
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
    let status = status::Source::of(&running);
    shared.is_ready(status.clone());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "petrel is ready");
    while signals.is_reload().await {
        let refused = reload(&mut running, source).await.err();
        reload_success.set(if refused.is_none() { 1.0 } else { 0.0 });
        status.reloaded(refused);
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
async fn reload(running: &mut Running, source: &Source) -> Result<(), String> {
    let why = match source.load() {
        Ok(Ok(loaded)) => match running.reload(&loaded.config).await {
            Ok(()) => {
                loaded.log_warnings();
                tracing::info!("the configuration was read again and is in force");
                return Ok(());
            }
            Err(error) => format!("{error:#}"),
        },
        Ok(Err(invalid)) => {
            if running.logs_json() {
                invalid.log();
            } else {
                invalid.complain();
            }
            invalid.to_string()
        }
        Err(error) => format!("{error:#}"),
    };
    tracing::error!("the configuration was not taken, the one before stays in force: {why}");
    Err(why)
}
