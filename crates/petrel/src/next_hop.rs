//! Where requests and anomaly events go: an OTLP exporter, or nowhere, with anomalies on stdout.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use petrel_batch::EventTime;
use petrel_otlp::Signal;
use petrel_otlp::export::{Exporter, RetrySettings};
use petrel_otlp::receive::{ExportReply, Refusal};
use petrel_otlp::{EventSettings, encode_events};

use crate::clock::now;
use crate::config;
use crate::outbox::{Encoder, Format, Outbox};
use crate::print::json_line;
use crate::telemetry::name;

/// The next hop. Cheap to clone.
#[derive(Clone, Debug)]
pub enum NextHop {
    /// Records end here, each with success.
    Nowhere,
    /// An OTLP receiver.
    Otlp {
        /// Its client.
        exporter: Exporter,
        /// How events are tried again.
        retry: RetrySettings,
        /// Keeps the log readable while it is down.
        complaints: Arc<Complaints>,
    },
}

impl NextHop {
    /// The next hop as configured.
    ///
    /// # Errors
    /// When the endpoint or a header cannot be used.
    pub fn new(exporter: Option<&config::Exporter>) -> anyhow::Result<Self> {
        let Some(exporter) = exporter else {
            return Ok(Self::Nowhere);
        };
        Ok(Self::Otlp {
            exporter: Exporter::new(&exporter.settings)?,
            retry: exporter.retry,
            complaints: Arc::default(),
        })
    }

    /// How anomaly events are written for it: OTLP, or JSON lines where records end.
    #[must_use]
    pub fn encoder(&self) -> Encoder {
        match self {
            Self::Nowhere => Encoder {
                format: Format::JsonLines,
                encode: json_line,
            },
            Self::Otlp { .. } => Encoder {
                format: Format::Otlp,
                encode: |event| {
                    // The engine has set the attribute already, where it is wanted.
                    let settings = EventSettings {
                        event_name_attribute: None,
                        ..EventSettings::default()
                    };
                    encode_events(std::slice::from_ref(event), &settings)
                },
            },
        }
    }

    /// Sends a request of `n_records` records once; its sender hears what the next hop said.
    ///
    /// # Errors
    /// What the next hop said, in words for the sender.
    pub async fn export(
        &self,
        request: Bytes,
        n_records: u64,
        timeout: Option<Duration>,
    ) -> Result<ExportReply, Refusal> {
        let Self::Otlp {
            exporter,
            complaints,
            ..
        } = self
        else {
            return Ok(ExportReply::default());
        };
        let outcome = exporter.export(Signal::Logs, request, &[], timeout).await;
        let (sent, failed) = match &outcome {
            Ok(reply) => (
                n_records.saturating_sub(reply.rejected),
                reply.rejected.min(n_records),
            ),
            Err(_) => (0, n_records),
        };
        metrics::counter!(name::SENT, "exporter" => "otlp").increment(sent);
        if failed > 0 {
            metrics::counter!(name::SEND_FAILED, "exporter" => "otlp").increment(failed);
        }
        if let Err(error) = &outcome
            && complaints.is_due(now())
        {
            tracing::warn!(
                "the next hop does not take records, their senders are told so: {error}"
            );
        }
        outcome.map_err(Refusal::from)
    }

    /// Sends anomaly events until the outbox is closed and empty.
    pub async fn send_events(self, outbox: Outbox) {
        while let Some(request) = outbox.next_request().await {
            if let Self::Nowhere = &self {
                // Whoever reads may be slow, as a pager is.
                let lines = request.bytes.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || print(&lines)).await {
                    tracing::error!(%error, "printing anomalies panicked");
                }
            }
            if let Self::Otlp {
                exporter, retry, ..
            } = &self
            {
                let sent = exporter
                    .export_queued(Signal::Logs, request.bytes.clone(), &[], Some(*retry))
                    .await
                    .into_result();
                if let Err(error) = sent {
                    let n_events = request.n_events();
                    tracing::error!(
                        n_events,
                        "anomaly events were not accepted and are dropped: {error}"
                    );
                    metrics::counter!(name::EVENTS_DROPPED, "reason" => "refused")
                        .increment(n_events as u64);
                }
            }
            outbox.accepted(&request).await;
        }
    }
}

/// One complaint in so long a time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// When the next hop was complained about last, in nanoseconds since the epoch.
#[derive(Debug, Default)]
pub struct Complaints {
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

/// Writes lines to stdout; a closed pipe is no fault of the stream.
fn print(lines: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(lines).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "anomalies could not be printed");
    }
}
