//! Anomaly events on their way from the outbox to the next hop, or to stdout.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use petrel_otlp::{EventSettings, Signal, encode_events};
use tokio::sync::watch;

use crate::delivery::{Exit, Head, StreamSet};
use crate::inline::Inline;
use crate::outbox::{Encoder, Format, Outbox, Request};
use crate::print::json_line;
use crate::telemetry::name;

/// How anomaly events are written: OTLP for an exporter, or JSON lines where records end.
#[must_use]
pub fn encoder(has_exporter: bool) -> Encoder {
    if !has_exporter {
        return Encoder {
            format: Format::JsonLines,
            encode: json_line,
        };
    }
    Encoder {
        format: Format::Otlp,
        encode: |event| {
            // The engine has set the attribute already, where it is wanted.
            let settings = EventSettings {
                event_name_attribute: None,
                ..EventSettings::default()
            };
            encode_events(std::slice::from_ref(event), &settings)
        },
    }
}

/// Sends anomaly events until the outbox is closed and empty; a reload changes the exit.
pub async fn send_events(
    mut exit: watch::Receiver<Option<Exit>>,
    outbox: Outbox,
    inline: Arc<Inline>,
) {
    while let Some(request) = outbox.next_request().await {
        loop {
            let current = exit.borrow_and_update().clone();
            let Some(current) = current else {
                print(request.bytes.clone()).await;
                break;
            };
            tokio::select! {
                () = send(&current, &request, &inline) => break,
                changed = exit.changed() => if changed.is_err() {
                    // Draining: the exit that was last is the one that there is.
                    send(&current, &request, &inline).await;
                    break;
                },
            }
        }
        outbox.accepted(&request).await;
    }
}

async fn send(exit: &Exit, request: &Request, inline: &Inline) {
    let n_events = request.n_events() as u64;
    let head = Head {
        signal: Signal::Logs,
        n_items: n_events,
        n_bytes: request.bytes.len(),
        streams: StreamSet::default(),
        metadata: inline.pipeline().tenancy.headers(&request.tenant),
    };
    // Nobody else has an event: it is tried again even where requests are not.
    let retry = exit.retry.unwrap_or_default();
    let body = request.bytes.clone();
    let outcome = exit.deliver(&head, body, Some(retry)).await;
    let n_dropped = n_events.saturating_sub(outcome.accepted);
    if n_dropped > 0 {
        let why = outcome.reason();
        tracing::error!(
            n_dropped,
            "anomaly events were not accepted and are dropped: {why}"
        );
        metrics::counter!(name::EVENTS_DROPPED, "reason" => "refused").increment(n_dropped);
    }
}

/// Whoever reads may be slow, as a pager is: others are not held up.
async fn print(lines: Bytes) {
    let printing = tokio::task::spawn_blocking(move || {
        let mut stdout = std::io::stdout().lock();
        // A closed pipe is no fault of the stream.
        if let Err(error) = stdout.write_all(&lines).and_then(|()| stdout.flush()) {
            tracing::warn!(%error, "anomalies could not be printed");
        }
    });
    if let Err(error) = printing.await {
        tracing::error!(%error, "printing anomalies panicked");
    }
}
