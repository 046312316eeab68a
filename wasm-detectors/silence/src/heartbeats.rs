//! Templates that come as regularly as a heartbeat: which they are, and which have stopped while their
//! source goes on.

use petrel_detector::{Direction, EventTime, Finding, Findings, SeriesTable, TemplateId, math};
use serde::{Deserialize, Serialize};

use crate::cells::SECOND_NANOS;
use crate::source::{MINUTE_NANOS, REPORT_FROM};

/// Templates watched at most; the least recently used leave.
const TEMPLATES_MAX: usize = 256;
/// Beats that a heartbeat is known by, and minutes that it must have been watched.
const BEATS_MIN: u32 = 200;
const WATCHED_MINUTES: u64 = 24 * 60;
/// A beat is regular within this share of the mean beat, or within a second and a half.
const REGULAR_SHARE: f64 = 0.25;
const REGULAR_SECONDS: f64 = 1.5;
/// Share of irregular beats up to which it is a heartbeat.
const IRREGULAR_MAX: f64 = 0.01;
/// Share of a beat in what is known, from so many beats on.
const RATE_MIN: f64 = 1.0 / 200.0;
/// Beats that must be missing.
const MISSING_MIN: f64 = 5.0;
/// A template that was silent for so long is gone.
const GONE_MINUTES: u64 = 24 * 60;
const SURPRISE_MAX: f64 = 12.0;

/// The regular templates of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeats {
    table: SeriesTable<u64, Beat>,
}

/// What is known of a template's beat.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Beat {
    first: u64,
    /// Newest event time, nanoseconds.
    last: u64,
    n: u32,
    /// Seconds.
    mean: f64,
    /// Share of beats that came off the mean.
    irregular: f64,
    /// The gap that is open is no evidence: a part of it was not watched.
    torn: bool,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self {
            table: SeriesTable::new(TEMPLATES_MAX, 1),
        }
    }
}

impl Heartbeats {
    /// Takes a record in.
    #[inline]
    pub(crate) fn observe(&mut self, template: u64, time: u64) {
        let now = EventTime(time);
        self.table
            .get_or_insert_with(template, now, |_| Beat::new(time), |_, _| {})
            .add(time);
    }

    /// What is known of the source belongs to the target: a beat of two is none.
    pub(crate) fn merge(&mut self, source: u64, target: u64) {
        self.table.merge(source, target, |beat, other| {
            beat.last = beat.last.max(other.last);
            beat.n = 0;
        });
    }

    /// A span was not watched.
    pub(crate) fn tear(&mut self) {
        self.table.iter_mut().for_each(|(_, beat)| beat.torn = true);
    }

    /// Judges at the end of a minute, in a source that talks.
    pub(crate) fn judge(&self, minute: u64, floor: f64, out: &mut Findings) {
        for (template, beat) in self.table.iter() {
            if let Some(score) = beat.judge(minute, floor) {
                out.push(beat.finding(template, minute, score));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}
