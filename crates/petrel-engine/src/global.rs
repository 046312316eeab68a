//! The global stage: the parts of a request meet again, in the order of sequence numbers, so that
//! results do not depend on the number of workers.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use petrel_batch::{Attribute, EventRecord, EventTime, RowEdits, Severity};
use xxhash_rust::xxh3::Xxh3;

use crate::event::iso_time;
use crate::pass::Judgement;
use crate::sentence::duration;
use crate::{Gap, HealthChange, Settings, StateError, StreamState, Tally, state};

/// Detector, and scope, of what Petrel says of its whole input.
const DETECTOR: &str = "petrel";
/// Score of the whole input gone quiet: a warning, since it says that Petrel sees nothing.
const SCORE: f64 = 0.7;

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Number of the request.
    pub sequence: u64,
    /// Edits of each part, in the order in which the judgements were given.
    pub edits: Vec<RowEdits>,
    /// Events, ordered by stream, each once.
    pub events: Vec<EventRecord>,
    /// What was counted.
    pub tally: Tally,
    /// Instances whose health changed.
    pub changes: Vec<HealthChange>,
    /// Streams that made room for others, to be stored.
    pub evicted: Vec<StreamState>,
}

/// Joins the parts of requests.
#[derive(Debug)]
pub struct GlobalStage {
    settings: Arc<Settings>,
    /// Events that have passed: anomaly, event name, time.
    passed: LruCache<u128, ()>,
    /// Since when the whole input is announced as quiet.
    quiet_since: Option<u64>,
}

impl GlobalStage {
    /// A stage that has seen nothing.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let size = NonZeroUsize::new(settings.limits.event_ids).unwrap_or(NonZeroUsize::MIN);
        Self {
            passed: LruCache::new(size),
            settings,
            quiet_since: None,
        }
    }

    /// Joins the judgements of all parts of one request; requests come in the order of their
    /// sequence numbers.
    pub fn settle(&mut self, sequence: u64, judgements: Vec<Judgement>) -> Settled {
        let mut settled = Settled {
            sequence,
            ..Settled::default()
        };
        let mut events = Vec::new();
        let mut gaps: Vec<Gap> = Vec::new();
        for mut judgement in judgements {
            settled.edits.push(judgement.edits);
            settled.tally.add(&judgement.tally);
            settled.changes.append(&mut judgement.changes);
            settled.evicted.append(&mut judgement.evicted);
            events.append(&mut judgement.events);
            gaps.append(&mut judgement.gaps);
        }
        gaps.sort_by_key(|gap| (gap.from, gap.to));
        gaps.dedup();
        for gap in gaps {
            self.close_gap(gap, &mut settled);
        }
        // Stable: within a stream the order in which its worker made them stays.
        events.sort_by_key(|event| event.stream);
        for event in events {
            self.pass(&event.anomaly_id, event.record, &mut settled);
        }
        settled
    }

    /// The whole input has gone quiet, by the clock of whoever runs the engine: `since` is
    /// [`FrontierClock::time`](crate::FrontierClock::time), `lasted` how long nothing has come.
    /// Announces once what a recording shows as a gap, under the same id.
    pub fn quiet(&mut self, since: EventTime, lasted: Duration) -> Option<EventRecord> {
        if self.quiet_since == Some(since.0) || since == EventTime::UNKNOWN {
            return None;
        }
        self.quiet_since = Some(since.0);
        let gap = Gap {
            from: since.0,
            to: since.saturating_add(lasted).0,
        };
        let mut settled = Settled::default();
        self.pass(&id_of(gap), self.quiet_event(gap, false), &mut settled);
        settled.events.pop()
    }

    /// The input has come back without a gap in event time: takes an announced silence back.
    pub fn resumed(&mut self, now: EventTime) -> Option<EventRecord> {
        let from = self.quiet_since.take()?;
        let gap = Gap {
            from,
            to: now.0.max(from + 1),
        };
        let mut settled = Settled::default();
        self.pass(&id_of(gap), self.quiet_event(gap, true), &mut settled);
        settled.events.pop()
    }

    /// A gap ended: detected if nobody announced it, and resolved.
    fn close_gap(&mut self, gap: Gap, settled: &mut Settled) {
        self.quiet_since = None;
        let id = id_of(gap);
        self.pass(&id, self.quiet_event(gap, false), settled);
        self.pass(&id, self.quiet_event(gap, true), settled);
    }

    /// Lets an event pass once.
    fn pass(&mut self, id: &str, record: EventRecord, settled: &mut Settled) {
        let mut hasher = Xxh3::with_seed(0);
        hasher.update(id.as_bytes());
        hasher.update(record.event_name.as_bytes());
        hasher.update(&record.time.0.to_le_bytes());
        if self.passed.put(hasher.digest128(), ()).is_some() {
            settled.tally.duplicates += 1;
        } else {
            settled.events.push(record);
        }
    }

    fn quiet_event(&self, gap: Gap, is_over: bool) -> EventRecord {
        let prefix = &self.settings.attribute_prefix;
        let own = |name: &str| format!("{prefix}.{name}");
        let lasted = gap.to.saturating_sub(gap.from) as f64 / 1e9;
        let event_name = own(if is_over { "resolved" } else { "detected" });
        let mut attributes = vec![
            Attribute::new(own("id"), &*id_of(gap)),
            Attribute::new(own("type"), "silence"),
            Attribute::new(own("state"), if is_over { "resolved" } else { "active" }),
            Attribute::new(own("score"), SCORE),
            Attribute::new(own("tier"), "warning"),
            Attribute::new(own("start.time"), iso_time(gap.from)),
            Attribute::new(own("detector.name"), DETECTOR),
            Attribute::new(own("detector.version"), env!("CARGO_PKG_VERSION")),
            Attribute::new(own("completeness"), 0.0),
            Attribute::new(own("direction"), "disappeared"),
            Attribute::new(own("value.observed"), lasted),
            Attribute::new(own("value.unit"), "s"),
        ];
        if is_over {
            attributes.push(Attribute::new(own("end.time"), iso_time(gap.to)));
        }
        if let Some(key) = &self.settings.event_name_attribute {
            attributes.push(Attribute::new(key.clone(), event_name.as_str()));
        }
        let lasted = duration(lasted);
        EventRecord {
            tenant: String::new(),
            event_name: event_name.into(),
            time: EventTime(if is_over { gap.to } else { gap.from }),
            observed_time: EventTime::UNKNOWN,
            severity: if is_over {
                Severity::Info
            } else {
                Severity::Warning
            },
            body: if is_over {
                format!("The whole input is back after {lasted} of silence")
            } else {
                format!(
                    "The whole input has been silent for {lasted}: nothing was judged in that time"
                )
            },
            scope_name: format!("petrel/detectors/{DETECTOR}"),
            scope_version: env!("CARGO_PKG_VERSION").to_owned(),
            resource: vec![(
                "service.name".to_owned(),
                self.settings.own_service_name.clone(),
            )],
            attributes,
            trace: None,
        }
    }

    /// What the stage remembers, as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let passed: Vec<_> = self.passed.iter().rev().map(|(&key, ())| key).collect();
        state::encode(&(passed, self.quiet_since))
    }

    /// Puts back what was saved.
    ///
    /// # Errors
    /// [`StateError`] when the bytes are damaged or of another version; nothing has changed then.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (passed, quiet_since): (Vec<u128>, Option<u64>) = state::decode(bytes)?;
        self.passed.clear();
        for key in passed {
            self.passed.put(key, ());
        }
        self.quiet_since = quiet_since;
        Ok(())
    }
}

/// The id of a gap: by its beginning, so that the clock and a recording find the same.
fn id_of(gap: Gap) -> Arc<str> {
    let mut hasher = Xxh3::with_seed(0);
    hasher.update(b"petrel\xffsilence\xff");
    hasher.update(&gap.from.to_le_bytes());
    format!("{:032x}", hasher.digest128()).into()
}
