//! The clock of one stream: how far its own event time has come, what is late, and how an idle stream
//! is moved along with the frontier.

use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::reach::{Offer, Reach};
use crate::settings::nanos;

/// A stream's distance to the frontier is the largest of the last one to two such spans of its own
/// time: 10 minutes, longer than exporters hold records back.
const DISTANCE_SPAN: u64 = 600_000_000_000;

/// The durations that clocks of streams go by, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockSettings {
    lateness: u64,
    late_use: u64,
    ahead: u64,
}

impl ClockSettings {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            lateness: nanos(settings.lateness),
            late_use: nanos(settings.late_use),
            ahead: nanos(settings.ahead),
        }
    }
}

/// What a record is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In time.
    InTime,
    /// Below the watermark; detectors see it.
    Late,
    /// So far below that nobody can use it.
    BeyondUse,
    /// So far ahead that it waits for others to agree; detectors do not see it.
    InDoubt,
}

/// Event time of one stream.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StreamClock {
    reach: Reach,
    /// All records below it are held to have come; never moves back.
    pub(crate) watermark: u64,
    /// Event time of the first record.
    pub(crate) first: u64,
    distance: u64,
    distance_before: u64,
    distance_since: u64,
}

impl StreamClock {
    /// The clock of a stream that was here before.
    pub(crate) fn returned(first: u64, newest: u64, watermark: u64) -> Self {
        Self {
            reach: Reach::from(newest),
            watermark,
            first,
            ..Self::default()
        }
    }

    /// The largest believed event time.
    pub(crate) fn newest(&self) -> u64 {
        self.reach.newest
    }

    /// Takes the next record; `frontier` is zero while it is unknown, `latest` the frontier's own bound.
    #[inline]
    pub(crate) fn arrive(
        &mut self,
        time: u64,
        frontier: u64,
        latest: u64,
        by: &ClockSettings,
    ) -> Arrival {
        // A frontier vouches for what is not far ahead of it; without one the first record is
        // believed, unless it comes from the future.
        let is_first = frontier == 0 && self.reach.newest == 0 && time <= latest;
        let vouched = time <= frontier.saturating_add(by.ahead) || is_first;
        if time > self.reach.newest && vouched {
            self.reach.vouch(time, by.ahead);
        } else {
            match self.reach.offer(time, by.ahead) {
                Offer::InDoubt => return Arrival::InDoubt,
                Offer::Agreed => {
                    self.reach.confirm(by.ahead);
                    if self.reach.offer(time, by.ahead) == Offer::InDoubt {
                        return Arrival::InDoubt;
                    }
                }
                Offer::Newest | Offer::Behind => {}
            }
        }
        if self.first == 0 {
            self.first = time;
        }
        if time < self.watermark {
            if time.saturating_add(by.late_use) < self.watermark {
                return Arrival::BeyondUse;
            }
            // The stream has fallen behind the others: from now on it is waited for that long.
            self.keep_distance(frontier.saturating_sub(time));
            return Arrival::Late;
        }
        self.keep_distance(frontier.saturating_sub(time));
        self.watermark = self
            .watermark
            .max(self.reach.newest.saturating_sub(by.lateness));
        Arrival::InTime
    }

    #[inline]
    fn keep_distance(&mut self, distance: u64) {
        if self.reach.newest >= self.distance_since.saturating_add(DISTANCE_SPAN) {
            self.distance_before = self.distance;
            self.distance = 0;
            self.distance_since = self.reach.newest;
        }
        self.distance = self.distance.max(distance);
    }

    /// How far behind the frontier the stream's records come.
    pub(crate) fn distance(&self) -> u64 {
        self.distance.max(self.distance_before)
    }

    /// Moves an idle stream along with the frontier; returns whether the watermark moved.
    #[inline]
    pub(crate) fn follow(&mut self, frontier: u64, by: &ClockSettings) -> bool {
        let watermark = frontier.saturating_sub(self.distance().saturating_add(by.lateness));
        let moved = self.reach.newest > 0 && watermark > self.watermark;
        if moved {
            self.watermark = watermark;
        }
        moved
    }
}
