//! `petrel run`: reads the configuration, starts, waits for a signal, drains.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Readiness};
use crate::cli::RunArgs;
use crate::config::{Config, Exporter, Protocol};
use crate::running::Running;
use crate::{telemetry, validate};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What could not be started or saved.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut loaded = match validate::load(args.config.as_deref())? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let config = &mut loaded.config;
    if let Some(to) = &args.to {
        let endpoint = if to.contains("://") {
            to.clone()
        } else {
            format!("http://{to}")
        };
        anyhow::ensure!(
            endpoint.starts_with("http://"),
            "--to {to}: only http:// is spoken yet"
        );
        config.send_all_to(Exporter::to(Protocol::Grpc, &endpoint));
    }
    telemetry::init_logs(&config.telemetry);
    loaded.log_warnings();
    let config = &loaded.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(run_until_signal(config));
    // What is still printed to somebody who does not read must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

async fn run_until_signal(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let metrics = telemetry::init_metrics()?;
    let readiness = Readiness::default();
    let admin = admin::serve(&config.telemetry, metrics, readiness.clone()).await?;
    let running = Running::start(config).await?;
    if config.pipelines.logs.is_none() {
        tracing::warn!(
            "no exporter is named: records end here, anomalies are printed on stdout; \
             `--to http://host:4317` or exporters.otlp_grpc.endpoint sends both on"
        );
    }
    readiness.set(true);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "petrel is ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    readiness.set(false);
    let drained = running.drain().await;
    admin.iter().for_each(tokio::task::JoinHandle::abort);
    if drained.is_ok() {
        tracing::info!("stopped");
    }
    drained
}
