//! Petrel's own logs and metrics: their set-up, and the names of metrics.

pub mod name;
mod own;
mod sampling;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

pub use self::own::OwnTelemetry;
use self::sampling::Sampler;
use crate::config::Telemetry;
use crate::limiter::resident_bytes;

/// Sends Petrel's own logs to stderr, and to `own` where that is configured; `RUST_LOG` takes precedence
/// over the configured level.
///
/// A second call in the same process changes nothing.
pub fn init_logs(telemetry: &Telemetry, own: Option<&OwnTelemetry>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(format!(
            "{},h2=warn,tonic=warn,hyper=warn,opentelemetry=warn,opentelemetry_sdk=warn",
            telemetry.log_level
        ))
    });
    let stderr = fmt::layer().with_writer(std::io::stderr);
    let stderr: Box<dyn Layer<Registry> + Send + Sync> = if telemetry.log_json {
        Box::new(stderr.json())
    } else {
        // Colours are for people: who reads a file should not have to see their codes.
        let is_for_people =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Box::new(stderr.with_target(false).with_ansi(is_for_people))
    };
    let mut layers = vec![stderr];
    layers.extend(own.map(OwnTelemetry::log_layer));
    let sampled: Box<dyn Layer<Registry> + Send + Sync> = match telemetry.log_sampling {
        Some(sampling) => Box::new(layers.with_filter(Sampler::new(sampling))),
        None => Box::new(layers),
    };
    // A second subscriber is refused, which is what we want.
    let _ = Registry::default()
        .with(sampled.with_filter(filter))
        .try_init();
}

/// A text of many lines as one: a backtrace must not tear a log entry apart, nor words of a guest look
/// like entries of ours.
#[must_use]
pub fn one_line(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Installs the recorder behind the `metrics` macros and returns what renders it.
///
/// # Errors
/// When the process has one already.
pub fn init_metrics(own: Option<&OwnTelemetry>) -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
        ])
        .context("buckets of histograms")?
        .build_recorder();
    let handle = recorder.handle();
    match own {
        Some(own) => {
            let both = metrics_util::layers::FanoutBuilder::default()
                .add_recorder(recorder)
                .add_recorder(own.recorder())
                .build();
            metrics::set_global_recorder(both)
                .map_err(|error| anyhow::anyhow!("the metrics recorder: {error}"))?;
        }
        None => {
            metrics::set_global_recorder(recorder)
                .map_err(|error| anyhow::anyhow!("the metrics recorder: {error}"))?;
        }
    }
    name::describe();
    report_process();
    Ok(handle)
}

/// Brings the figures of the process up to date.
pub fn report_process() {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let began = *BEGAN.get_or_init(began);
    metrics::gauge!(name::UPTIME).set(began.elapsed().as_secs_f64());
    if let Some(resident) = resident_bytes() {
        metrics::gauge!(name::MEMORY_RSS).set(resident as f64);
    }
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    metrics::gauge!(name::CPU_SECONDS).set(seconds);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process lasts whatever becomes of the wall clock"
)]
fn began() -> Instant {
    Instant::now()
}
