//! What a stream has written so far: its templates, how rare new ones have become, and so how far its
//! silence about new ones can be trusted.

use std::time::Duration;

use petrel_detector::{Cold, EventTime, Level, Readiness, SeriesTable, TemplateId, math};
use serde::{Deserialize, Serialize};

use crate::deploy::{BANNER_QUIET, cut};
use crate::words;

/// Templates of one stream that are known at most (the miner keeps 2,000); the least recently seen stay
/// as tombstones.
const KNOWN_MAX: usize = 2_560;
/// Tombstones at most.
const TOMBSTONES_MAX: usize = 4_096;
/// Bytes of a template's text that are kept.
const TEXT_BYTES_MAX: usize = 160;
/// A template not seen for so long is forgotten: seen again it is new.
const FORGOTTEN: Duration = Duration::from_secs(30 * 86_400);
/// A template counts in what is known of new ones once it is so old: a burst of new templates is
/// judged by what was before it.
pub(crate) const SETTLED: Duration = Duration::from_secs(600);
/// Templates that wait to be settled at most; further ones are settled at once.
const UNSETTLED_MAX: usize = 256;
/// Records over which the share of new templates is taken.
const GROWTH_RECORDS: f64 = 1_000.0;
/// Days of record counts that are kept, for a half-life of a week.
const DAYS_MAX: usize = 30;
pub(crate) const DAY_SECONDS: u64 = 86_400;
/// OTLP's first severity number of ERROR.
pub(crate) const ERROR: u8 = 17;
/// Records for which a stream is not judged after the bound on templates left one without.
const OVERFLOW_RECORDS: u64 = 10_000;

/// New templates in a thousand records: up to here a stream is ready, or provisional; going back
/// takes five times as many.
const READY_GROWTH: f64 = 2.0;
const PROVISIONAL_GROWTH: f64 = 10.0;
const FALL_BACK: f64 = 5.0;
/// Records and event time that each level takes.
const READY_AFTER: (u64, Duration) = (1_000, Duration::from_secs(90 * 60));
const PROVISIONAL_AFTER: (u64, Duration) = (500, Duration::from_secs(60 * 60));

/// A template of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Start of its text.
    pub(crate) text: String,
    pub(crate) failure: bool,
    /// Highest severity number.
    pub(crate) severity: u8,
    pub(crate) first: EventTime,
    pub(crate) last: EventTime,
    /// Records; 0 = its text was told, but no record has come.
    pub(crate) n_records: u64,
    /// Stands for many bodies: never new.
    pub(crate) is_catch_all: bool,
    /// Announces that a process starts.
    pub(crate) is_banner: bool,
    /// Whether a [`Candidate`](crate::candidate::Candidate) tells more of it.
    pub(crate) is_candidate: bool,
}

impl Known {
    fn new(text: &str, failure: bool, now: EventTime) -> Self {
        Self {
            text: cut(text, TEXT_BYTES_MAX).to_owned(),
            failure,
            severity: 0,
            first: now,
            last: now,
            n_records: 0,
            is_catch_all: words::is_catch_all(text),
            is_banner: words::is_banner(text),
            is_candidate: false,
        }
    }

    /// Whether it tells of a failure.
    pub(crate) fn is_failing(&self) -> bool {
        self.failure || self.severity >= ERROR
    }
}

/// What a tombstone keeps.
fn bury(known: &Known, tombstone: &mut Cold) {
    (tombstone.first, tombstone.last) = (known.first, known.last);
    tombstone.count = known.n_records as f64;
}

/// How a record's template was met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Meeting {
    pub(crate) met: Met,
    pub(crate) is_candidate: bool,
    /// It announces that a process starts, and has not been seen of late.
    pub(crate) is_start: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Met {
    /// Seen before.
    Again,
    /// Never seen, or forgotten since the time that is given.
    First(Option<EventTime>),
}

/// The templates of a stream and how they grow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Vocabulary {
    pub(crate) known: SeriesTable<u64, Known>,
    /// Event time of the first record.
    pub(crate) since: Option<EventTime>,
    /// Largest event time seen.
    now: EventTime,
    pub(crate) n_records: u64,
    /// Records of the last days, by day since the epoch.
    pub(crate) days: Vec<(u64, u64)>,
    /// First-seen records that settled, fading over [`GROWTH_RECORDS`].
    growth: f64,
    /// Records that `growth` has faded over.
    n_faded: u64,
    /// New templates that have not settled, in order.
    unsettled: Vec<(u64, EventTime)>,
    /// Number of the last record that the bound on templates left without one.
    overflow: Option<u64>,
    level: u8,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            known: SeriesTable::new(KNOWN_MAX, TOMBSTONES_MAX),
            since: None,
            now: EventTime::default(),
            n_records: 0,
            days: Vec::new(),
            growth: 0.0,
            n_faded: 0,
            unsettled: Vec::new(),
            overflow: None,
            level: 0,
        }
    }
}

impl Vocabulary {
    /// A template's text is told, with or before its first record.
    pub(crate) fn tell(&mut self, id: TemplateId, text: &str, failure: bool) {
        let now = self.now;
        let known = self.entry(id.0);
        if known.text.is_empty() {
            let told = Known::new(text, failure, now);
            known.text = told.text;
            known.failure |= failure;
            known.is_catch_all = told.is_catch_all;
            known.is_banner = told.is_banner;
        }
    }

    /// The template, from its tombstone or anew.
    fn entry(&mut self, id: u64) -> &mut Known {
        let now = self.now;
        self.known.get_or_insert_with(
            id,
            now,
            |tombstone| {
                let mut known = Known::new("", false, now);
                known.is_catch_all = false;
                if let Some(tombstone) = tombstone {
                    (known.first, known.last) = (tombstone.first, tombstone.last);
                    known.n_records = tombstone.count.max(1.0) as u64;
                }
                known
            },
            bury,
        )
    }

    /// A known template; it does not count as used.
    pub(crate) fn known_mut(&mut self, id: u64) -> Option<&mut Known> {
        self.known.get_mut(id, EventTime::default())
    }

    /// Lets go of templates until about so many are left.
    pub(crate) fn shed(&mut self, n_max: usize) {
        self.known.shed(n_max, bury);
    }

    /// Counts a record and says how its template was met.
    #[inline]
    pub(crate) fn meet(&mut self, id: u64, time: EventTime, severity: u8) -> Meeting {
        self.now = self.now.max(time);
        self.since.get_or_insert(time);
        self.n_records += 1;
        let n_records = self.n_records;
        self.count_day(time);
        // The common case: a look-up and no more.
        let known = match self.known.get_mut(id, time) {
            Some(known) => known,
            None => self.entry(id),
        };
        let last = known.last;
        let is_new = known.n_records == 0;
        let is_forgotten = !is_new && time.since(last) > FORGOTTEN;
        let mut meeting = Meeting {
            met: Met::Again,
            is_candidate: known.is_candidate,
            is_start: known.is_banner && (is_new || time.since(last) > BANNER_QUIET),
        };
        known.n_records += 1;
        known.severity = known.severity.max(severity);
        known.last = last.max(time);
        if known.is_catch_all {
            if words::is_overflow(&known.text) {
                self.overflow = Some(n_records);
            }
        } else if is_new || is_forgotten {
            (known.first, known.last, known.n_records) = (time, time, 1);
            self.wait_to_settle(id, time);
            meeting.met = Met::First(is_forgotten.then_some(last));
        }
        meeting
    }

    fn wait_to_settle(&mut self, id: u64, time: EventTime) {
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.settle_first();
        }
        self.unsettled.push((id, time));
    }

    fn count_day(&mut self, time: EventTime) {
        let day = time.seconds() / DAY_SECONDS;
        match self.days.iter_mut().rev().find(|(known, _)| *known == day) {
            Some((_, n)) => *n += 1,
            None => {
                let place = self.days.partition_point(|(known, _)| *known < day);
                self.days.insert(place, (day, 1));
                let surplus = self.days.len().saturating_sub(DAYS_MAX);
                self.days.drain(..surplus);
            }
        }
    }

    /// What is known of the source belongs to the target.
    pub(crate) fn merge(&mut self, source: u64, target: u64) {
        self.known.merge(source, target, |target, source| {
            if target.n_records == 0 {
                target.first = source.first;
                target.last = source.last;
            } else if source.n_records > 0 {
                target.first = target.first.min(source.first);
                target.last = target.last.max(source.last);
            }
            target.n_records += source.n_records;
            target.severity = target.severity.max(source.severity);
            target.failure |= source.failure;
        });
        self.unsettled.retain(|(id, _)| *id != source);
    }

    /// The watermark moved: what is old enough settles, and the level follows.
    pub(crate) fn advance(&mut self, watermark: EventTime) {
        let n_new = (self.n_records - self.n_faded) as f64;
        self.n_faded = self.n_records;
        self.growth *= math::exp(-n_new / GROWTH_RECORDS);
        while let Some((_, first)) = self.unsettled.first()
            && watermark.since(*first) >= SETTLED
        {
            self.settle_first();
        }
        self.level = self.next_level(watermark);
    }

    fn settle_first(&mut self) {
        self.unsettled.remove(0);
        self.growth += 1.0;
    }

    /// New templates in a thousand records, of late.
    fn growth(&self) -> f64 {
        let seen = 1.0 - math::exp(-(self.n_records as f64) / GROWTH_RECORDS);
        if seen > 0.0 { self.growth / seen } else { 0.0 }
    }

    fn next_level(&self, now: EventTime) -> u8 {
        let age = self.age(now);
        let reaches = |after: (u64, Duration), growth: f64, is_at_it: bool| {
            let bound = if is_at_it { growth * FALL_BACK } else { growth };
            self.n_records >= after.0 && age >= after.1 && self.growth() <= bound
        };
        if reaches(READY_AFTER, READY_GROWTH, self.level >= 2) {
            2
        } else {
            u8::from(reaches(
                PROVISIONAL_AFTER,
                PROVISIONAL_GROWTH,
                self.level >= 1,
            ))
        }
    }

    pub(crate) fn age(&self, now: EventTime) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether what is new now is worth a word: new templates have become rare.
    pub(crate) fn is_settled(&self) -> bool {
        self.level >= 1 && !self.is_overflowing()
    }

    fn is_overflowing(&self) -> bool {
        let since = |number: u64| self.n_records - number.min(self.n_records);
        self.overflow
            .is_some_and(|number| since(number) < OVERFLOW_RECORDS)
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let level = match self.level {
            _ if self.is_overflowing() => Level::Learning,
            0 => Level::Learning,
            1 => Level::Provisional,
            _ => Level::Ready,
        };
        let missing = if level == Level::Ready {
            String::new()
        } else {
            self.missing(level)
        };
        Readiness { level, missing }
    }

    fn missing(&self, level: Level) -> String {
        let (after, growth) = match level {
            Level::Learning => (PROVISIONAL_AFTER, PROVISIONAL_GROWTH),
            _ => (READY_AFTER, READY_GROWTH),
        };
        let age = self.age(self.now);
        if self.is_overflowing() {
            "more templates than can be kept".to_owned()
        } else if self.n_records < after.0 {
            format!("{} of {} records", self.n_records, after.0)
        } else if age < after.1 {
            format!(
                "{} of {} minutes",
                age.as_secs() / 60,
                after.1.as_secs() / 60
            )
        } else {
            format!(
                "{:.1} new templates in 1,000 records, not yet {growth:.0}",
                self.growth()
            )
        }
    }

    /// The known template most like a text, and how alike they are.
    pub(crate) fn nearest(&self, id: u64, text: &str) -> Option<(&str, f64)> {
        const LIKENESS_MIN: f64 = 0.4;
        let mut best: Option<(u64, &str, f64)> = None;
        for (other, known) in self.known.iter() {
            if other == id || known.is_candidate || known.n_records == 0 {
                continue;
            }
            let likeness = words::likeness(text, &known.text);
            let is_better = best.is_none_or(|(best_id, _, best)| {
                likeness > best || (likeness == best && other < best_id)
            });
            if likeness >= LIKENESS_MIN && is_better {
                best = Some((other, &known.text, likeness));
            }
        }
        best.map(|(_, text, likeness)| (text, likeness))
    }
}
