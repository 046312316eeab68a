//! What happens to one request between the receiver and the next hop, in the order of its steps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use petrel_batch::EventTime;
use petrel_otlp::receive::{ExportReply, Handler, Received, Refusal, Transport};
use petrel_otlp::{Buffers, ResourceCache, WalkPlan, Walked, splice, walk};
use petrel_otlp::{Code, Signal};

use crate::analysis::{Analysis, worker_of};
use crate::clock::now;
use crate::next_hop::NextHop;
use crate::telemetry::name;

/// Takes requests in: walk, analyse, splice, export, answer.
#[derive(Debug)]
pub struct Inline {
    plan: RwLock<Arc<WalkPlan>>,
    resources: ResourceCache,
    buffers: Buffers,
    analysis: Arc<Analysis>,
    next_hop: NextHop,
    last_arrival: AtomicU64,
}

impl Inline {
    /// The path between a receiver and `next_hop`.
    #[must_use]
    pub fn new(
        plan: WalkPlan,
        resources: ResourceCache,
        analysis: Arc<Analysis>,
        next_hop: NextHop,
    ) -> Self {
        Self {
            plan: RwLock::new(Arc::new(plan)),
            resources,
            buffers: Buffers::default(),
            analysis,
            next_hop,
            last_arrival: AtomicU64::new(0),
        }
    }

    /// Reads other columns from now on.
    pub fn set_plan(&self, plan: WalkPlan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }

    /// When the last request came in; the epoch before the first.
    #[must_use]
    pub fn last_arrival(&self) -> EventTime {
        EventTime(self.last_arrival.load(Ordering::Relaxed))
    }

    async fn take(&self, received: Received) -> Result<ExportReply, Refusal> {
        let arrival = now();
        self.last_arrival.store(arrival.nanos(), Ordering::Relaxed);
        let plan = Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner));
        let n_workers = self.analysis.n_workers();
        let workers = petrel_otlp::Workers {
            worker_of: &|stream| worker_of(stream, n_workers),
            n_workers,
        };
        let walked = walk(
            &received.request,
            &plan,
            &self.resources,
            "",
            arrival,
            workers,
        );
        let walked = walked.map_err(|malformed| {
            let refusal = Refusal::from(malformed);
            self.refused(&refusal, received.signal, received.transport);
            refusal
        })?;
        let transport = received.transport.name();
        let n_records = walked.counts.records;
        if n_records == 0 {
            return Ok(ExportReply::default());
        }
        let request = self.analyse(walked, arrival).await;
        let outcome = self
            .next_hop
            .export(request, n_records, received.timeout)
            .await;
        let counter = if outcome.is_ok() {
            name::ACCEPTED
        } else {
            name::REFUSED
        };
        metrics::counter!(counter, "receiver" => "otlp", "transport" => transport)
            .increment(n_records);
        outcome
    }

    /// The request's bytes with what detection adds; as they came when it has nothing to say in time.
    async fn analyse(&self, mut walked: Walked, arrival: EventTime) -> bytes::Bytes {
        count(name::SKIPPED, "enriched", walked.counts.skipped_enriched);
        count(name::SKIPPED, "unlisted", walked.counts.unlisted);
        count(name::ODD, "invalid_utf8", walked.counts.invalid_utf8);
        count(name::ODD, "without_time", walked.counts.without_time);
        count(
            name::ODD,
            "ahead_of_arrival",
            walked.counts.ahead_of_arrival,
        );
        let started = started();
        let parts = std::mem::take(&mut walked.batches);
        let n_bytes = walked.request.len();
        let edits = self.analysis.analyse(parts, n_bytes, arrival).await;
        metrics::histogram!(name::DETECTION_SECONDS).record(started.elapsed().as_secs_f64());
        match edits {
            Ok(edits) => {
                let edits: Vec<_> = edits
                    .iter()
                    .map(|(log_batch, edits)| (log_batch.places(), edits))
                    .collect();
                splice(&walked.request, &walked.layout, &edits, &self.buffers)
            }
            Err(skipped) => {
                count(name::SKIPPED, skipped.as_str(), walked.counts.rows);
                walked.request
            }
        }
    }
}

impl Handler for Inline {
    async fn export(&self, received: Received) -> Result<ExportReply, Refusal> {
        if received.signal != Signal::Logs {
            let message = format!(
                "{} are not taken: set service.pipelines.{0} to send them on",
                received.signal.name()
            );
            return Err(Refusal::new(Code::Unimplemented, message));
        }
        self.take(received).await
    }

    fn refused(&self, refusal: &Refusal, _: Signal, transport: Transport) {
        tracing::debug!(%refusal, transport = transport.name(), "a request was refused");
        metrics::counter!("otelcol_receiver_requests", "receiver" => "otlp", "transport" => transport.name(), "outcome" => "refused")
            .increment(1);
    }
}

fn count(counter: &'static str, reason: &'static str, n_records: u64) {
    if n_records > 0 {
        metrics::counter!(counter, "reason" => reason).increment(n_records);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures how long detection holds a request"
)]
fn started() -> Instant {
    Instant::now()
}
