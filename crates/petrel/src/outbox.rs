//! Anomaly events on their way out: one bounded queue, sent in requests of their own, kept in the
//! store until the next hop has accepted them. At least once; consumers tell repeats by the id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use petrel_batch::{AttributeValue, EventRecord};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::database::DatabaseError;
use crate::store::Store;
use crate::telemetry::name;

/// Attribute by which the events of one anomaly are known.
const ID: &str = "anomaly.id";
/// Events of this name may be folded into a newer one of the same anomaly.
const UPDATED: &str = "anomaly.updated";
/// Events of this name are the first to be dropped.
const RESOLVED: &str = "anomaly.resolved";
/// Largest request of events: small beside what a Collector takes.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// How events are written; what is kept in one format is no use to a next hop that wants the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// OTLP requests.
    Otlp,
    /// Lines of JSON.
    JsonLines,
}

/// Writes events in a format.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Which.
    pub format: Format,
    /// The bytes of an event; those of several in a row are one request.
    pub encode: fn(&EventRecord) -> Bytes,
}

/// An event that waits, encoded as a request of its own; requests of several are their bytes in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    number: u64,
    tenant: String,
    id: String,
    event_name: String,
    bytes: Bytes,
}

/// An event as the store keeps it: format, tenant, id, name, bytes.
type Kept = (Format, String, String, String, Vec<u8>);

/// The queue. Cheap to share.
#[derive(Clone, Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    /// Something is not in the store yet.
    unsaved: Notify,
    /// Held while the store is written: who finds nothing to save must not go on before what another
    /// saves is there.
    saving: tokio::sync::Mutex<()>,
    store: Option<Arc<Store>>,
    encoder: Encoder,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    bytes_max: usize,
    next_number: u64,
    /// Not yet in the store: to put and to drop.
    unsaved: Vec<u64>,
    gone: Vec<u64>,
    closed: bool,
}

impl Outbox {
    /// An outbox of at most `bytes_max` bytes; begins with what the store still has in the encoder's
    /// format. The rest is dropped and counted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        bytes_max: usize,
        store: Option<Arc<Store>>,
        encoder: Encoder,
    ) -> Result<Self, DatabaseError> {
        let kept = store
            .as_ref()
            .map(|store| store.events())
            .transpose()?
            .unwrap_or_default();
        let next_number = kept.last().map_or(0, |(number, _)| number + 1);
        let mut waiting = VecDeque::new();
        let mut gone = Vec::new();
        for (number, bytes) in kept {
            match postcard::from_bytes::<Kept>(&bytes) {
                Ok((format, tenant, id, event_name, bytes)) if format == encoder.format => {
                    waiting.push_back(Waiting {
                        number,
                        tenant,
                        id,
                        event_name,
                        bytes: bytes.into(),
                    });
                }
                _ => gone.push(number),
            }
        }
        if !gone.is_empty() {
            tracing::warn!(
                n_events = gone.len(),
                "anomaly events were kept for another kind of exporter and are dropped"
            );
            metrics::counter!(name::EVENTS_DROPPED, "reason" => "format")
                .increment(gone.len() as u64);
        }
        let bytes = waiting.iter().map(|event| event.bytes.len()).sum();
        let queue = Queue {
            waiting,
            bytes,
            bytes_max,
            next_number,
            unsaved: Vec::new(),
            gone,
            closed: false,
        };
        let shared = Shared {
            queue: Mutex::new(queue),
            changed: Notify::new(),
            unsaved: Notify::new(),
            saving: tokio::sync::Mutex::new(()),
            store,
            encoder,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Takes events in; never waits. When they do not fit, older ones make room and are counted.
    pub fn push(&self, events: &[EventRecord]) {
        if events.is_empty() {
            return;
        }
        let mut queue = self.lock();
        for event in events {
            queue.push(event, (self.shared.encoder.encode)(event));
        }
        metrics::gauge!(name::OUTBOX_BYTES).set(queue.bytes as f64);
        drop(queue);
        self.shared.changed.notify_one();
        self.shared.unsaved.notify_one();
    }

    /// Brings the store up to date whenever events have come, for as long as it is polled: sending may
    /// be waiting for the next hop all the while.
    pub async fn keep_saved(&self) {
        loop {
            self.shared.unsaved.notified().await;
            self.save().await;
        }
    }

    /// No more events will come: once all have been sent, [`Outbox::next_request`] answers `None`.
    pub fn close(&self) {
        self.lock().closed = true;
        self.shared.changed.notify_one();
    }

    /// Number of events that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether no event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest events as one request; waits for some. They stay until [`Outbox::accepted`].
    ///
    /// What is returned is in the store, where there is one.
    pub async fn next_request(&self) -> Option<Request> {
        loop {
            self.save().await;
            {
                let queue = self.lock();
                if let Some(request) = queue.oldest() {
                    return Some(request);
                }
                if queue.closed {
                    return None;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// The next hop has them, or never will: they are forgotten.
    pub async fn accepted(&self, request: &Request) {
        {
            let mut queue = self.lock();
            queue.forget(&request.numbers);
            metrics::gauge!(name::OUTBOX_BYTES).set(queue.bytes as f64);
        }
        self.save().await;
    }

    /// Brings the store up to date. A failure is logged and tried again with the next events.
    pub async fn save(&self) {
        let Some(store) = self.shared.store.clone() else {
            return;
        };
        let _saving = self.shared.saving.lock().await;
        let (put, gone) = self.lock().take_unsaved(self.shared.encoder.format);
        if put.is_empty() && gone.is_empty() {
            return;
        }
        let numbers: Vec<_> = put.iter().map(|(number, _)| *number).collect();
        let dropped = gone.clone();
        let written = tokio::task::spawn_blocking(move || store.write_events(&put, &dropped)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "anomaly events could not be kept over a restart");
            metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
            let mut queue = self.lock();
            queue.unsaved.extend(numbers);
            queue.gone.extend(gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some events as one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// An `ExportLogsServiceRequest`.
    pub bytes: Bytes,
    /// The tenant of all of them.
    pub tenant: String,
    numbers: Vec<u64>,
}

impl Request {
    /// How many events it holds.
    #[must_use]
    pub fn n_events(&self) -> usize {
        self.numbers.len()
    }
}

impl Queue {
    fn push(&mut self, event: &EventRecord, bytes: Bytes) {
        let id = event
            .attributes
            .iter()
            .find(|attribute| attribute.key == ID);
        let id = match id.map(|attribute| &attribute.value) {
            Some(AttributeValue::Text(id)) => id.to_string(),
            _ => String::new(),
        };
        self.bytes += bytes.len();
        let number = self.next_number;
        self.next_number += 1;
        self.unsaved.push(number);
        self.waiting.push_back(Waiting {
            number,
            tenant: event.tenant.clone(),
            id,
            event_name: event.event_name.to_string(),
            bytes,
        });
        if self.bytes > self.bytes_max {
            self.make_room();
        }
    }

    /// Updates that a newer event of their anomaly replaces go first, then the oldest resolved, then
    /// the oldest of all.
    fn make_room(&mut self) {
        let mut newest: HashMap<&str, u64> = HashMap::new();
        for event in &self.waiting {
            newest.insert(&event.id, event.number);
        }
        let folded: Vec<u64> = self
            .waiting
            .iter()
            .filter(|event| event.event_name == UPDATED && newest[event.id.as_str()] > event.number)
            .map(|event| event.number)
            .collect();
        self.drop_until_it_fits(folded, "folded");
        let is_resolved = |event: &&Waiting| event.event_name == RESOLVED;
        let resolved = self
            .waiting
            .iter()
            .filter(is_resolved)
            .map(|event| event.number)
            .collect();
        self.drop_until_it_fits(resolved, "resolved");
        let all = self.waiting.iter().map(|event| event.number).collect();
        self.drop_until_it_fits(all, "full");
    }

    fn drop_until_it_fits(&mut self, numbers: Vec<u64>, reason: &'static str) {
        for number in numbers {
            if self.bytes <= self.bytes_max {
                return;
            }
            self.forget(&[number]);
            metrics::counter!(name::EVENTS_DROPPED, "reason" => reason).increment(1);
        }
    }

    fn forget(&mut self, numbers: &[u64]) {
        let before = self.waiting.len();
        self.waiting
            .retain(|event| !numbers.contains(&event.number));
        if self.waiting.len() < before {
            self.bytes = self.waiting.iter().map(|event| event.bytes.len()).sum();
            self.unsaved.retain(|number| !numbers.contains(number));
            self.gone.extend_from_slice(numbers);
        }
    }

    fn oldest(&self) -> Option<Request> {
        let tenant = self.waiting.front()?.tenant.clone();
        let mut bytes = BytesMut::new();
        let mut numbers = Vec::new();
        for event in self.waiting.iter().filter(|event| event.tenant == tenant) {
            if !numbers.is_empty() && bytes.len() + event.bytes.len() > REQUEST_BYTES_MAX {
                break;
            }
            bytes.extend_from_slice(&event.bytes);
            numbers.push(event.number);
        }
        Some(Request {
            bytes: bytes.freeze(),
            tenant,
            numbers,
        })
    }

    fn take_unsaved(&mut self, format: Format) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let unsaved = std::mem::take(&mut self.unsaved);
        let put = self
            .waiting
            .iter()
            .filter(|event| unsaved.contains(&event.number))
            .filter_map(|event| {
                let event = event.clone();
                let bytes = event.bytes.to_vec();
                let kept: Kept = (format, event.tenant, event.id, event.event_name, bytes);
                // Texts and bytes are always written; there is nothing that could fail.
                Some((event.number, postcard::to_stdvec(&kept).ok()?))
            })
            .collect();
        (put, std::mem::take(&mut self.gone))
    }
}

#[cfg(test)]
mod tests {
    use petrel_batch::{Attribute, EventTime, Severity};

    use super::*;

    fn event(event_name: &'static str, id: &str) -> EventRecord {
        EventRecord {
            event_name: event_name.into(),
            time: EventTime(1),
            observed_time: EventTime::UNKNOWN,
            severity: Severity::Info,
            body: String::new(),
            scope_name: String::new(),
            scope_version: String::new(),
            resource: Vec::new(),
            attributes: vec![Attribute::new(ID, id)],
            trace: None,
            tenant: String::new(),
        }
    }

    /// Ten bytes an event: the first letter of what happened, then the id.
    fn encode(event: &EventRecord) -> Bytes {
        let AttributeValue::Text(id) = &event.attributes[0].value else {
            panic!("no id")
        };
        format!("{}{id:>9}", &event.event_name[8..9])
            .into_bytes()
            .into()
    }

    fn outbox(bytes_max: usize, store: Option<Arc<Store>>) -> Outbox {
        let format = Format::JsonLines;
        Outbox::new(bytes_max, store, Encoder { format, encode }).unwrap()
    }

    async fn shown(outbox: &Outbox) -> String {
        let request = outbox
            .next_request()
            .await
            .map(|request| request.bytes)
            .unwrap_or_default();
        String::from_utf8(request.to_vec())
            .unwrap()
            .replace("        ", "")
    }

    #[tokio::test]
    async fn events_leave_in_order_and_once() {
        let outbox = outbox(1000, None);
        outbox.push(&[
            event("anomaly.detected", "a"),
            event("anomaly.resolved", "a"),
        ]);
        outbox.close();
        let request = outbox.next_request().await.unwrap();
        assert_eq!(request.n_events(), 2);
        outbox.push(&[event("anomaly.detected", "b")]);
        outbox.accepted(&request).await;
        assert_eq!(shown(&outbox).await, "db");
    }

    #[tokio::test]
    async fn tenants_do_not_share_a_request() {
        let outbox = outbox(1000, None);
        let mut other = event("anomaly.detected", "b");
        other.tenant = "t".to_owned();
        outbox.push(&[event("anomaly.detected", "a"), other]);
        outbox.push(&[event("anomaly.detected", "c")]);
        let request = outbox.next_request().await.unwrap();
        assert_eq!((request.n_events(), request.tenant.as_str()), (2, ""));
        outbox.accepted(&request).await;
        let request = outbox.next_request().await.unwrap();
        assert_eq!((request.n_events(), request.tenant.as_str()), (1, "t"));
    }

    #[tokio::test]
    async fn a_full_outbox_folds_updates_then_drops_what_is_resolved() {
        let outbox = outbox(40, None);
        outbox.push(&[
            event("anomaly.detected", "a"),
            event("anomaly.updated", "a"),
            event("anomaly.resolved", "b"),
            event("anomaly.updated", "a"),
        ]);
        assert_eq!(shown(&outbox).await, "dauarbua");
        outbox.push(&[event("anomaly.detected", "c")]);
        assert_eq!(shown(&outbox).await, "darbuadc");
        outbox.push(&[event("anomaly.detected", "d")]);
        assert_eq!(shown(&outbox).await, "dauadcdd");
        outbox.push(&[event("anomaly.detected", "e")]);
        assert_eq!(shown(&outbox).await, "uadcddde");
    }

    #[tokio::test]
    async fn what_was_not_accepted_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(temp.path()).unwrap().store);
        {
            let outbox = outbox(1000, Some(Arc::clone(&store)));
            outbox.push(&[event("anomaly.detected", "a")]);
            let request = outbox.next_request().await.unwrap();
            outbox.push(&[event("anomaly.detected", "b")]);
            outbox.accepted(&request).await;
        }
        let outbox = outbox(1000, Some(Arc::clone(&store)));
        assert_eq!(shown(&outbox).await, "db");
        let format = Format::Otlp;
        let other = Outbox::new(1000, Some(store), Encoder { format, encode }).unwrap();
        assert!(other.is_empty(), "JSON must not go out as OTLP");
    }
}
