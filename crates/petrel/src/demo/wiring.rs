//! The demo on the real pipeline: the same parts as `petrel run`, with a budget that time in fast
//! motion cannot break.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use petrel_otlp::receive::Address;

use super::{DemoOptions, Pipeline, PipelineRequest, run};
use crate::cli::DemoArgs;
use crate::config::{Config, Exporter, Protocol, Receiver};
use crate::running::Running;
use crate::telemetry;

/// A request of the replay covers minutes of event time: what would hold a live request for too long
/// is here the work of many requests.
const BUDGET: Duration = Duration::from_secs(60);

/// Runs the demo.
///
/// # Errors
/// What cannot be started.
pub fn demo(args: &DemoArgs, process_start: Instant) -> anyhow::Result<ExitCode> {
    let options = DemoOptions {
        once: args.once,
        json: args.json,
        seed: args.seed,
        explain: args.explain,
        process_start,
    };
    let mut config = Config::default();
    config.telemetry.log_level = "warn".to_owned();
    telemetry::init_logs(&config.telemetry, None);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(run(options, |request| start(config, request)))
}

async fn start(mut config: Config, request: PipelineRequest) -> anyhow::Result<Pipeline> {
    config.receivers.grpc = Some(Receiver::at(request.grpc.to_string()));
    config.receivers.http = Some(Receiver::at(request.http.to_string()));
    let mut exporter = Exporter::to(Protocol::Grpc, &request.export_to);
    exporter.settings.timeout = BUDGET;
    config.send_all_to(exporter);
    config.detectors.budget = BUDGET;
    let running = Running::start(&config).await?;
    Ok(Pipeline {
        grpc: port(running.grpc())?,
        http: port(running.http())?,
        drain: Box::pin(running.drain()),
    })
}

fn port(address: Option<&Address>) -> anyhow::Result<SocketAddr> {
    match address {
        Some(Address::Tcp(address)) => Ok(*address),
        _ => anyhow::bail!("the demo listens on ports"),
    }
}
