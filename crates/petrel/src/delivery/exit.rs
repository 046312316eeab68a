//! An exporter with its name and its rules for trying again, and what is counted of what it sends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use petrel_batch::EventTime;
use petrel_otlp::export::{Exporter, Outcome, Request, RetrySettings};
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
    losses: Arc<Mutex<Losses>>,
}

/// What was accepted and will not arrive.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Losses {
    /// Log records, spans and data points.
    pub items: u64,
    /// Why the last ones were refused.
    pub last_reason: String,
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
            losses: Arc::default(),
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
        let outcome = self
            .exporter
            .export_waiting(head.signal, counted(&head, body), &head.metadata, timeout)
            .await;
        self.count(&head, &outcome);
        let told = outcome.into_result().map_err(Refusal::from);
        if let Err(refusal) = &told
            && self.complaints.is_due(now())
        {
            tracing::warn!(
                exporter = &*self.id,
                "the next hop does not take {}, their senders are told so: {refusal}",
                head.signal.name()
            );
        }
        told
    }

    /// Sends what nobody waits for, again and again by `retry`, or once without.
    pub async fn deliver(&self, head: &Head, body: Bytes, retry: Option<RetrySettings>) -> Outcome {
        let _in_flight = InFlight::of(&self.id);
        self.exporter
            .export_queued(head.signal, counted(head, body), &head.metadata, retry)
            .await
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

    /// What was lost since the exporter was built.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.lost().clone()
    }

    fn lost(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts items that were accepted and that the next hop refuses for good.
    pub fn lose(&self, n_items: u64, why: &str) {
        {
            let mut lost = self.lost();
            lost.items += n_items;
            why.clone_into(&mut lost.last_reason);
        }
        metrics::counter!(name::LOST, "reason" => "refused").increment(n_items);
    }

    /// Counts what became of a request, and says when the next hop takes requests that it did not before.
    pub fn count(&self, head: &Head, outcome: &Outcome) {
        let signal = head.signal;
        let labels = [("exporter", self.id.to_string())];
        metrics::counter!(name::SENT.of(signal), &labels).increment(outcome.accepted);
        let failed = head.n_items.saturating_sub(outcome.accepted);
        if failed > 0 {
            metrics::counter!(name::SEND_FAILED.of(signal), &labels).increment(failed);
        }
        if outcome.error.is_none() && self.complaints.are_over() {
            let signal = signal.name();
            tracing::info!(exporter = &*self.id, "the next hop takes {signal} again");
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

/// When the next hop was complained about last.
#[derive(Debug, Default)]
struct Complaints {
    /// In nanoseconds since the epoch.
    last: AtomicU64,
    /// Whether nothing has been taken since.
    is_open: AtomicBool,
}

impl Complaints {
    /// Whether it is time for another one, which counts as made.
    fn is_due(&self, now: EventTime) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let is_due = (last == 0 || now.since(EventTime(last)) >= COMPLAIN_EVERY)
            && self
                .last
                .compare_exchange(last, now.nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_due {
            self.is_open.store(true, Ordering::Relaxed);
        }
        is_due
    }

    /// Whether there is one that is answered with this; the next one is due at once then.
    fn are_over(&self) -> bool {
        let are_over =
            self.is_open.load(Ordering::Relaxed) && self.is_open.swap(false, Ordering::Relaxed);
        if are_over {
            self.last.store(0, Ordering::Relaxed);
        }
        are_over
    }
}
