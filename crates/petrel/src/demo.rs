//! `petrel demo`: a generator, the real pipeline and a sink in one process, joined by OTLP over
//! loopback. The generator knows what it makes go wrong; the pipeline sees log records and nothing
//! else; the sink sees what the pipeline sends on; the score compares the two.
//!
//! The pipeline is passed in, so nothing here depends on how it is built.

mod anomaly;
mod catalogue;
mod encode;
mod generator;
mod grpc;
mod pattern;
mod report;
mod score;
mod sink;
mod source;
mod story;
mod traffic;
mod view;
mod wiring;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use petrel_batch::EventTime;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;

use generator::{Generator, Request};
use report::{Document, Ledger, Verdict};
use sink::{Sink, Tally};
use story::Story;
use view::View;

use crate::clock::now;

pub use wiring::demo;

/// The shop's first midnight with `--once`, Monday 2026-01-05 in UTC: a fixed one, so that a seed gives
/// the same document on every day.
const ONCE_MIDNIGHT: EventTime = EventTime::from_seconds(1_767_571_200);
/// Event time of one `ResourceLogs` in the replay, and live.
const REPLAY_SLICE: Duration = Duration::from_secs(30);
const LIVE_SLICE: Duration = Duration::from_secs(5);
/// How often live traffic is sent.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Seconds of event time a second while somebody watches the story; the history is not slowed down.
const STORY_PACE: f64 = 1_200.0;
/// Requests that are made before they are needed.
const REQUESTS_AHEAD: usize = 4;
/// What is still on its way when the story ends gets this long before the table is printed.
const SETTLE: Duration = Duration::from_secs(2);
/// Ports of OTLP, taken where they are free.
const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;
/// Exit codes, see `petrel --help`.
const EXIT_CHECK_FAILED: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// End after the story.
    pub once: bool,
    /// Print one JSON document; with `once` only.
    pub json: bool,
    /// Draws services, times and sizes.
    pub seed: u64,
    /// Print all evidence.
    pub explain: bool,
    /// When the process started.
    pub process_start: Instant,
}

/// What the demo wants of a pipeline: all built-in detectors, gRPC and HTTP receivers at these
/// addresses (port 0 for any), records and events to `export_to` over gRPC without compression, no
/// state directory, and no patience limit that a busy machine could break.
#[derive(Clone, Debug)]
pub struct PipelineRequest {
    /// As `http://127.0.0.1:40123`.
    pub export_to: String,
    /// Where to listen for OTLP/gRPC.
    pub grpc: SocketAddr,
    /// Where to listen for OTLP/HTTP.
    pub http: SocketAddr,
}

/// A running pipeline.
pub struct Pipeline {
    /// Where it listens for OTLP/gRPC.
    pub grpc: SocketAddr,
    /// Where it listens for OTLP/HTTP.
    pub http: SocketAddr,
    /// Finishes what was taken in, sends the outbox and ends.
    pub drain: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

/// Runs the demo on the pipeline that `start_pipeline` starts.
///
/// Exit code 0 when every incident was found, nothing else was reported and every record came out
/// unchanged; 4 when not; 130 when interrupted before the end of the story. Without `once` it goes on
/// with live traffic until Ctrl-C, and ends with 0.
///
/// # Errors
/// When a part cannot be started or a request is refused for good.
pub async fn run<F, Fut>(options: DemoOptions, start_pipeline: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(PipelineRequest) -> Fut,
    Fut: Future<Output = anyhow::Result<Pipeline>>,
{
    let story = Story::new(options.seed, history_start(options.once));
    let view = Arc::new(View::new(
        options.json,
        options.explain,
        story.history_start,
    ));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (sink, export_to) = start_sink(&view, &ledger, options.process_start).await?;
    let pipeline = start_pipeline(pipeline_request(options.once, export_to)).await?;
    view.opening(options.seed);

    let mut player = Player {
        client: grpc::Client::connect(pipeline.grpc).await?,
        view: Arc::clone(&view),
        sent: Tally::default(),
        process_start: options.process_start,
    };
    let generator = Generator::new(options.seed, story.clone());
    let replay = player.replay(generator, &story, (!options.once).then_some(STORY_PACE));
    let generator = tokio::select! {
        generator = replay => Some(generator?),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| None)?,
    };
    let is_partial = generator.is_none();

    let mut drain = Some(pipeline.drain);
    if options.once || is_partial {
        drain.take().context("a pipeline drains once")?.await?;
    } else {
        tokio::time::sleep(SETTLE).await;
    }
    let exit_code = {
        let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let tallies = (player.sent, sink.tally());
        let elapsed = options.process_start.elapsed();
        let document = Document::new(options.seed, &story, &ledger, tallies, elapsed, is_partial);
        conclude(&document, options.json, &view)?
    };
    if let (Some(generator), Some(drain)) = (generator, drain) {
        let is_moved = (pipeline.grpc.port(), pipeline.http.port()) != (GRPC_PORT, HTTP_PORT);
        view.invitation(pipeline.grpc, pipeline.http, is_moved);
        tokio::select! {
            ended = player.live(generator) => ended?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        drain.await?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(exit_code)
}

/// Sends what the generator makes.
struct Player {
    client: grpc::Client,
    view: Arc<View>,
    sent: Tally,
    process_start: Instant,
}

impl Player {
    /// Sends everything up to the end of the story, one request after the other, and hands the
    /// generator back. `pace` is how many seconds of the story a second may show.
    async fn replay(
        &mut self,
        mut generator: Generator,
        story: &Story,
        pace: Option<f64>,
    ) -> anyhow::Result<Generator> {
        let (sender, mut requests) = mpsc::channel::<Request>(REQUESTS_AHEAD);
        let end = story.end;
        let producer = tokio::task::spawn_blocking(move || {
            while let Some(request) = generator.next_request(end, REPLAY_SLICE) {
                if sender.blocking_send(request).is_err() {
                    break;
                }
            }
            generator
        });
        let mut reached = story.history_start;
        while let Some(request) = requests.recv().await {
            for scene in story
                .scenes
                .iter()
                .filter(|scene| (reached..request.end).contains(&scene.start))
            {
                self.view.scene(scene);
            }
            self.send(&request).await?;
            if let Some(pace) = pace.filter(|_| story.start() <= reached) {
                tokio::time::sleep(request.end.since(reached).div_f64(pace)).await;
            }
            reached = request.end;
            self.view
                .progress(reached, self.sent.n_records, self.process_start.elapsed());
        }
        producer.await.context("the generator failed")
    }

    /// Keeps up with the wall clock until it is cancelled.
    async fn live(&mut self, mut generator: Generator) -> anyhow::Result<()> {
        let mut interval = tokio::time::interval(LIVE_INTERVAL);
        loop {
            interval.tick().await;
            while let Some(request) = generator.next_request(now(), LIVE_SLICE) {
                self.send(&request).await?;
            }
        }
    }

    async fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        self.client.send(&request.body).await?;
        self.sent.add(Tally {
            n_records: request.n_records,
            fingerprint: request.fingerprint,
        });
        Ok(())
    }
}

/// Prints the outcome and gives the exit code that it deserves.
fn conclude(document: &Document<'_>, json: bool, view: &View) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(document)?);
    }
    view.summary(document);
    Ok(match document.verdict() {
        _ if document.partial => ExitCode::from(EXIT_INTERRUPTED),
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(EXIT_CHECK_FAILED),
    })
}

/// Starts the sink and gives its address as an endpoint.
async fn start_sink(
    view: &Arc<View>,
    ledger: &Arc<Mutex<Ledger>>,
    process_start: Instant,
) -> anyhow::Result<(Arc<Sink>, String)> {
    let (view, ledger) = (Arc::clone(view), Arc::clone(ledger));
    let sink = Sink::new(move |event| {
        ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&event, process_start.elapsed());
        view.event(&event);
    });
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let export_to = format!("http://{}", listener.local_addr()?);
    let receiver = Arc::clone(&sink);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(grpc::serve(
        incoming,
        Arc::new(move |request| receiver.receive(&request)),
    ));
    Ok((sink, export_to))
}

fn pipeline_request(once: bool, export_to: String) -> PipelineRequest {
    let address = |port: u16| {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let is_free = !once && TcpListener::bind(wanted).is_ok();
        if is_free {
            wanted
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        }
    };
    PipelineRequest {
        export_to,
        grpc: address(GRPC_PORT),
        http: address(HTTP_PORT),
    }
}

/// The shop's first midnight: a fixed one with `once`, else so that the story ends about now.
fn history_start(once: bool) -> EventTime {
    if once {
        return ONCE_MIDNIGHT;
    }
    let now = now().floor_to(Duration::from_secs(60));
    now.saturating_sub(story::HISTORY + story::STORY)
}
