//! An exporter with its name and its rules for trying again, and what is counted of what it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use petrel_batch::EventTime;
use petrel_otlp::Signal;
use petrel_otlp::export::{Exporter, Request, RetrySettings};
use petrel_otlp::receive::{ExportReply, Refusal};

use super::outgoing::{Head, Outgoing};
use crate::clock::now;
use crate::telemetry::name;

/// One complaint of an exporter in so long a time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// A way out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its name in the configuration, `otlp_grpc/backup`; label of its metrics.
    pub id: Arc<str>,
    /// The client.
    pub exporter: Exporter,
    /// How a queue tries again; none = once.
    pub retry: Option<RetrySettings>,
    complaints: Arc<Complaints>,
}

impl Exit {
    /// A way out through `exporter`.
    #[must_use]
    pub fn new(id: &str, exporter: Exporter, retry: Option<RetrySettings>) -> Self {
        Self {
            id: id.into(),
            exporter,
            retry,
            complaints: Arc::default(),
        }
    }

    /// Sends a request whose sender waits for at most `timeout`; it hears what the next hop said.
    ///
    /// # Errors
    /// What the next hop said, in words for the sender.
    pub async fn send(
        &self,
        outgoing: Outgoing,
        timeout: Option<Duration>,
    ) -> Result<ExportReply, Refusal> {
        let Outgoing { head, body } = outgoing;
        let _in_flight = InFlight::of(&self.id);
        let sent = self
            .exporter
            .export(head.signal, counted(&head, body), &head.metadata, timeout)
            .await;
        let outcome = sent.map_err(Refusal::from);
        self.count(head.signal, head.n_items, &outcome);
        if let Err(refusal) = &outcome
            && self.complaints.is_due(now())
        {
            tracing::warn!(
                exporter = &*self.id,
                "the next hop does not take {}, their senders are told so: {refusal}",
                head.signal.name()
            );
        }
        outcome
    }

    /// Sends what nobody waits for, again and again by `retry`, or once without.
    ///
    /// # Errors
    /// The last answer of the next hop, after which the request is given up.
    pub async fn deliver(
        &self,
        head: &Head,
        body: Bytes,
        retry: Option<RetrySettings>,
    ) -> Result<ExportReply, Refusal> {
        let _in_flight = InFlight::of(&self.id);
        let outcome = self
            .exporter
            .export_queued(head.signal, counted(head, body), &head.metadata, retry)
            .await;
        outcome.into_result().map_err(Refusal::from)
    }

    /// Says, once in a while, why what waits in a queue does not leave.
    pub fn complain(&self) {
        if let Some(trouble) = self.exporter.trouble()
            && self.complaints.is_due(now())
        {
            tracing::warn!(
                exporter = &*self.id,
                "the next hop takes nothing for now, what is queued waits: {trouble}"
            );
        }
    }

    /// Counts what became of `n_items`.
    pub fn count(&self, signal: Signal, n_items: u64, outcome: &Result<ExportReply, Refusal>) {
        let failed = match outcome {
            Ok(reply) => reply.rejected.min(n_items),
            Err(_) => n_items,
        };
        let labels = [("exporter", self.id.to_string())];
        metrics::counter!(name::SENT.of(signal), &labels).increment(n_items - failed);
        if failed > 0 {
            metrics::counter!(name::SEND_FAILED.of(signal), &labels).increment(failed);
        }
    }
}

fn counted(head: &Head, bytes: Bytes) -> Request {
    Request {
        bytes,
        n_items: Some(head.n_items),
    }
}

/// Counts a request among those in flight until it is dropped.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn of(exporter: &str) -> Self {
        let gauge = metrics::gauge!(name::IN_FLIGHT, "exporter" => exporter.to_owned());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// When the next hop was complained about last, in nanoseconds since the epoch.
#[derive(Debug, Default)]
struct Complaints {
    last: AtomicU64,
}

impl Complaints {
    /// Whether it is time for another one, which counts as made.
    fn is_due(&self, now: EventTime) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(EventTime(last)) >= COMPLAIN_EVERY;
        is_due
            && self
                .last
                .compare_exchange(last, now.nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
