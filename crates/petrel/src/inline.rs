//! What happens to one request between the receiver and the next hop, in the order of its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use petrel_batch::EventTime;
use petrel_otlp::receive::{ExportReply, Handler, Received, Refusal, Transport};
use petrel_otlp::{Buffers, Code, ResourceCache, Signal, Walked, count_items, splice, walk};
use tokio::sync::{RwLock, RwLockWriteGuard};

use crate::analysis::{Edits, worker_of};
use crate::clock::now;
use crate::config::Mode;
use crate::control::Control;
use crate::delivery::{Head, Metadata, Outgoing, StreamSet};
use crate::pipeline::Pipeline;
use crate::telemetry::name;

/// Takes requests in: walk, analyse, splice, send on, answer.
#[derive(Debug)]
pub struct Inline {
    pipeline: ArcSwap<Pipeline>,
    control: Arc<Control>,
    resources: ResourceCache,
    buffers: Buffers,
    /// Milliseconds from `began` to the last request with logs, and one more; 0 before the first.
    last_arrival_ms: AtomicU64,
    began: Instant,
    /// Held by requests in detection; a reload waits for them and holds further ones.
    gate: RwLock<()>,
}

impl Inline {
    /// The path of requests through `pipeline`.
    #[must_use]
    pub fn new(pipeline: Pipeline, control: Arc<Control>) -> Self {
        Self {
            pipeline: ArcSwap::from_pointee(pipeline),
            control,
            resources: ResourceCache::default(),
            buffers: Buffers::default(),
            last_arrival_ms: AtomicU64::new(0),
            began: started(),
            gate: RwLock::new(()),
        }
    }

    /// What requests pass through now.
    #[must_use]
    pub fn pipeline(&self) -> Arc<Pipeline> {
        self.pipeline.load_full()
    }

    /// Waits until nothing is in detection, and holds what comes: for at most the budget of a request,
    /// which then goes on as it is.
    pub async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Sends requests through another pipeline from now on; returns the one before.
    pub fn swap(&self, pipeline: Pipeline) -> Arc<Pipeline> {
        self.pipeline.swap(Arc::new(pipeline))
    }

    /// How long no request with logs has come in, whatever becomes of the wall clock meanwhile; `None`
    /// before the first.
    #[must_use]
    pub fn quiet_for(&self) -> Option<Duration> {
        let last = self
            .last_arrival_ms
            .load(Ordering::Relaxed)
            .checked_sub(1)?;
        Some(
            self.began
                .elapsed()
                .saturating_sub(Duration::from_millis(last)),
        )
    }

    fn arrived(&self) {
        let since = self.began.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last_arrival_ms
            .store(since.saturating_add(1), Ordering::Relaxed);
    }

    async fn logs(&self, pipeline: &Pipeline, received: &Received) -> Result<Taken, Refusal> {
        let arrival = now();
        self.arrived();
        let mode = self.control.mode();
        if mode == Mode::Off {
            let n_items = count_items(Signal::Logs, &received.request)?;
            count(name::SKIPPED, "off", n_items);
            return Ok(Taken::AsItIs(n_items, StreamSet::ALL));
        }
        let walked = self.walk(pipeline, received, arrival)?;
        let n_items = walked.counts.records;
        let streams = match pipeline.ways.has_queues() {
            true => streams_of(&walked),
            false => StreamSet::default(),
        };
        Ok(Taken::Read(
            Box::new(walked),
            n_items,
            streams,
            arrival,
            mode,
        ))
    }

    fn walk(
        &self,
        pipeline: &Pipeline,
        received: &Received,
        arrival: EventTime,
    ) -> Result<Walked, Refusal> {
        let n_workers = pipeline.analysis.n_workers();
        let workers = petrel_otlp::Workers {
            worker_of: &|stream| worker_of(stream, n_workers),
            n_workers,
        };
        let (plan, tenant) = (pipeline.plan(), pipeline.tenancy.tenant(received));
        let walked = walk(
            &received.request,
            &plan,
            &self.resources,
            &tenant,
            arrival,
            workers,
        )?;
        let counts = &walked.counts;
        count(name::SKIPPED, "enriched", counts.skipped_enriched);
        count(name::SKIPPED, "excluded", counts.skipped_excluded);
        count(name::SKIPPED, "unlisted", counts.unlisted);
        count(name::ODD, "invalid_utf8", counts.invalid_utf8);
        count(name::ODD, "without_time", counts.without_time);
        count(name::ODD, "ahead_of_arrival", counts.ahead_of_arrival);
        Ok(walked)
    }

    /// What detection has to say in time; none when it has not, or is not asked to wait for it.
    async fn analyse(
        &self,
        pipeline: &Pipeline,
        walked: &mut Walked,
        arrival: EventTime,
        mode: Mode,
    ) -> Option<Edits> {
        let started = started();
        let parts = std::mem::take(&mut walked.batches);
        let n_bytes = walked.request.len();
        let budget = pipeline.analysis.budget();
        let through = tokio::time::timeout(budget, self.gate.read()).await;
        // Who was walked for another set of workers, and waited for a reload, is not theirs.
        let is_current = std::ptr::eq(&**self.pipeline.load(), pipeline);
        let analysis = &pipeline.analysis;
        let judged = match (through, mode) {
            (Ok(_through), Mode::Observe) if is_current => {
                let observed = analysis.observe(parts, n_bytes, arrival).await;
                observed.map(|()| None).map_err(|skipped| skipped.as_str())
            }
            (Ok(_through), _) if is_current => {
                let edits = analysis.analyse(parts, n_bytes, arrival).await;
                edits.map(Some).map_err(|skipped| skipped.as_str())
            }
            _ => Err("reload"),
        };
        metrics::histogram!(name::DETECTION_SECONDS).record(started.elapsed().as_secs_f64());
        judged.unwrap_or_else(|reason| {
            count(name::SKIPPED, reason, walked.counts.rows);
            None
        })
    }

    /// The request's bytes with what detection adds; as they came when it has nothing to say.
    fn enriched(&self, walked: Walked, edits: Option<Edits>) -> Bytes {
        let Some(edits) = edits else {
            return walked.request;
        };
        let edits: Vec<_> = edits
            .iter()
            .map(|(log_batch, edits)| (log_batch.places(), edits))
            .collect();
        splice(&walked.request, &walked.layout, &edits, &self.buffers)
    }

    async fn take(&self, mut received: Received) -> Result<ExportReply, Refusal> {
        let pipeline = self.pipeline();
        let signal = received.signal;
        let taken = match signal {
            Signal::Logs => self.logs(&pipeline, &received).await,
            Signal::Traces | Signal::Metrics => without_a_look(&pipeline, &received),
        };
        let taken = taken.inspect_err(|refusal| {
            self.refused(refusal, signal, received.transport);
        })?;
        let n_items = taken.n_items();
        // A request without a record says nothing; of other signals that is not ours to judge.
        if n_items == 0 && (signal == Signal::Logs || received.request.is_empty()) {
            return Ok(ExportReply::default());
        }
        if let Taken::Read(walked, ..) = &taken {
            // Once it is enriched nobody needs the bytes as they came: they are not kept beside those.
            received.request = Bytes::new();
            received.in_flight.hold(walked.held_bytes());
        }
        let outcome = self.send(&pipeline, &mut received, taken).await;
        let (counter, word) = match outcome {
            Ok(_) => (name::ACCEPTED, "success"),
            Err(_) => (name::REFUSED, "refused"),
        };
        let transport = received.transport.name();
        count_request(transport, word);
        metrics::counter!(counter.of(signal), "receiver" => "otlp", "transport" => transport)
            .increment(n_items);
        outcome
    }

    async fn send(
        &self,
        pipeline: &Pipeline,
        received: &mut Received,
        taken: Taken,
    ) -> Result<ExportReply, Refusal> {
        let signal = received.signal;
        let way = pipeline.ways.of(signal).ok_or_else(|| no_way(signal))?;
        let timeout = received.timeout;
        let metadata: Metadata = received.metadata.as_slice().into();
        let outgoing = |body: Bytes, n_items, streams| Outgoing {
            head: Head {
                signal,
                n_items,
                n_bytes: body.len(),
                streams,
                metadata,
            },
            body,
        };
        match taken {
            Taken::AsItIs(n_items, streams) => {
                let outgoing = outgoing(received.request.clone(), n_items, streams);
                way.send(outgoing, timeout).await
            }
            Taken::Read(mut walked, n_items, streams, arrival, Mode::Observe) => {
                let outgoing = outgoing(walked.request.clone(), n_items, streams);
                // Nothing is added, so no answer is waited for.
                let analysing = self.analyse(pipeline, &mut walked, arrival, Mode::Observe);
                let (outcome, _) = tokio::join!(way.send(outgoing, timeout), analysing);
                outcome
            }
            Taken::Read(mut walked, n_items, streams, arrival, mode) => {
                let (n_held, n_bytes) = (walked.held_bytes(), walked.request.len());
                let edits = self.analyse(pipeline, &mut walked, arrival, mode).await;
                let body = self.enriched(*walked, edits);
                received.in_flight.shrink(n_held);
                received.in_flight.hold(body.len().saturating_sub(n_bytes));
                way.send(outgoing(body, n_items, streams), timeout).await
            }
        }
    }
}

/// A request that is not refused for what it is.
enum Taken {
    /// Passed on as it came, with so many items.
    AsItIs(u64, StreamSet),
    /// Walked: items, streams, arrival, and what is to be done with it.
    Read(Box<Walked>, u64, StreamSet, EventTime, Mode),
}

impl Taken {
    fn n_items(&self) -> u64 {
        match self {
            Self::AsItIs(n_items, _) | Self::Read(_, n_items, ..) => *n_items,
        }
    }
}

fn without_a_look(pipeline: &Pipeline, received: &Received) -> Result<Taken, Refusal> {
    if pipeline.ways.of(received.signal).is_none() {
        return Err(no_way(received.signal));
    }
    let n_items = count_items(received.signal, &received.request)?;
    Ok(Taken::AsItIs(n_items, StreamSet::default()))
}

fn no_way(signal: Signal) -> Refusal {
    let signal = signal.name();
    let message = format!(
        "Petrel has no exporter for {signal}: name one in service.pipelines.{signal}.exporters, \
         or send {signal} elsewhere"
    );
    Refusal::new(Code::Unimplemented, message)
}

/// The streams of a request. What has no row has no stream that is known: it keeps order with all.
fn streams_of(walked: &Walked) -> StreamSet {
    let counts = &walked.counts;
    if counts.rows < counts.records {
        return StreamSet::ALL;
    }
    let mut streams = StreamSet::default();
    for log_batch in walked.batches.iter().flatten() {
        for run in log_batch.runs() {
            streams.insert(&run.resource.stream);
        }
    }
    streams
}

impl Handler for Inline {
    async fn export(&self, received: Received) -> Result<ExportReply, Refusal> {
        self.take(received).await
    }

    fn refused(&self, refusal: &Refusal, signal: Signal, transport: Transport) {
        let (signal, transport_name) = (signal.name(), transport.name());
        // What comes again is no news; what its sender has to mend is.
        if refusal.is_retryable() {
            tracing::debug!(%refusal, signal, transport = transport_name, "a request was refused");
        } else {
            tracing::warn!(%refusal, signal, transport = transport_name, "a request was refused for good");
        }
        count_request(transport.name(), "refused");
    }
}

fn count_request(transport: &'static str, outcome: &'static str) {
    metrics::counter!(name::RECEIVER_REQUESTS, "receiver" => "otlp", "transport" => transport, "outcome" => outcome)
        .increment(1);
}

fn count(counter: &'static str, reason: &'static str, n_records: u64) {
    if n_records > 0 {
        metrics::counter!(counter, "reason" => reason).increment(n_records);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures what lasts: detection of a request, silence of the input"
)]
fn started() -> Instant {
    Instant::now()
}
