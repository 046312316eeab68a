//! One series: counts of open minutes, and the model that judges a minute when it closes.
//!
//! Mean of a minute = level x rhythm + slot. The rhythm is learnt by quarter of an hour (`profile.rs`),
//! the level is the ratio of seen to rhythm over the last hours, slots are bursts that recur.

use petrel_detector::{Cold, Direction, EventTime, Finding, math};
use serde::{Deserialize, Serialize};

use crate::calendar::{Minute, NANOS};
use crate::dispersion::{Dispersion, deviation, learning_weight};
use crate::evidence::{Found, Past};
use crate::judge::{REPORT_FROM, Scores, Sums, WINDOWS};
use crate::profile::{Basis, Profile};
use crate::ring::{Closed, MINUTES, Ring};
use crate::slots::{Expected, RUN_MAX, Slots};

/// Minutes that may be open at once: two by the lateness of a minute, the rest for rows ahead of it.
pub(crate) const OPEN: usize = 4;
/// Factor a minute of a memory with a half-life of 3 h: the level where the time of day is known.
const LEVEL_DECAY: f64 = 0.996_156_587_220_575_2;
/// The same for 45 min: where it is not, the level must follow the rhythm itself.
const FREE_DECAY: f64 = 0.984_714_752_934_431_2;
/// The same for 7 d: the usual rate that is shown.
const USUAL_DECAY: f64 = 0.999_931_237_762_985;
/// The usual rate may double in a day, not faster.
const USUAL_GROWTH: f64 = 1.000_481_468_077_287;
/// No series is expected to be quieter than this, in records a minute.
const BASE_MIN: f64 = 1e-3;
/// For learning, a count is cut so many deviations from its mean.
const CLIP_DEVIATIONS: f64 = 3.0;
/// The first minutes are learnt from as they are.
const EAGER_MINUTES: u32 = 60;
/// Records that a bin of the profile is held back by towards the level.
const BIN_PRIOR: f64 = 3.0;
/// Valid minutes that a bin needs to be learnt from.
const BIN_MINUTES: u32 = 10;
/// A burst has this surprise, doubles the rate, and is so many records beyond it.
const BURST_FROM: f64 = 2.5;
const BURST_RECORDS: f64 = 5.0;
/// Records that the history of a cold or evicted series counts for.
const HISTORY_RECORDS_MAX: f64 = 200.0;
/// A cold series needs so many minutes before its last half hour to have a history.
const HISTORY_MINUTES: f64 = 60.0;

/// A series of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Records of open minutes, minute m at m modulo 4. Kept apart from the model, since this is what
    /// a row touches.
    open: [f32; OPEN],
    model: Box<Model>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Model {
    since: Minute,
    /// Minutes that were learnt from.
    watched: u32,
    ring: Ring,
    rate: Rate,
    profile: Profile,
    slots: Slots,
    dispersion: Dispersion,
    /// One-minute scores of the two minutes before: above, below.
    before: [[f64; 2]; 2],
    quarter: Quarter,
    past: Past,
    /// Odd minutes less usual ones of late.
    odd: u32,
    /// Burst minutes in a row.
    run: u16,
    /// Minutes for which a drop was reported, bit i for minutes that are i modulo 30.
    drops: u32,
    /// Late records came since the last close.
    late: bool,
    /// Records a minute and how many it rests on, from a time before this model; until the first close.
    history: Option<(f64, f64)>,
}

/// The level: what was seen over what the rhythm said, both fading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rate {
    seen: f64,
    rhythm: f64,
    /// The level when the time of day was last known; elsewhere the offsets take up changes.
    anchor: f64,
    /// Log rate at times of day never seen, against the whole stream's rhythm where that is inherited.
    free: f64,
    /// The same at weekends never seen, against weekdays.
    weekend: f64,
    /// Whether the whole stream's rhythm stands in for its own.
    inherits: bool,
    /// Records a minute in the long run.
    usual: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            seen: 0.0,
            rhythm: 0.0,
            anchor: 1.0,
            free: 0.0,
            weekend: 0.0,
            inherits: false,
            usual: 0.0,
        }
    }
}

/// Sums of the quarter of an hour that is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Quarter {
    seen: f64,
    expected: f64,
    weight: f64,
    n_minutes: u32,
}

/// What the stream says of the minute that closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) minute: Minute,
    /// On the local clock.
    pub(crate) local: Minute,
    /// The whole stream's rhythm, once it is known for a whole day.
    pub(crate) parent: Option<f64>,
    /// Odd minutes after which a change is the new normal.
    pub(crate) accept_minutes: u32,
    /// A series must have been there since before this minute to be reported.
    pub(crate) known_before: Minute,
}

/// The mean of a minute and where it came from.
#[derive(Clone, Copy, Debug)]
struct Mean {
    base: f64,
    /// Base at level 1.
    rhythm: f64,
    basis: Basis,
    slot: Option<Expected>,
}

impl Series {
    /// A series first seen in a minute.
    pub(crate) fn new(minute: Minute) -> Self {
        let mut series = Self::default();
        series.model.since = minute;
        series
    }

    /// A series that has been cold: what is known of it is where its level starts.
    pub(crate) fn admitted(minute: Minute, cold: Option<Cold>) -> Self {
        let mut series = Self::new(minute);
        let Some(cold) = cold else { return series };
        series.model.since = Minute::of(cold.first.0).min(minute);
        let minutes = cold.recent_since.0.saturating_sub(cold.first.0) as f64 / NANOS as f64;
        if cold.level > 0.0 {
            series.model.history = Some((cold.level, HISTORY_RECORDS_MAX / 10.0));
        } else if minutes >= HISTORY_MINUTES {
            let records = (cold.count - cold.recent).max(0.0) + 0.5;
            series.model.history = Some((records / minutes, records.min(HISTORY_RECORDS_MAX)));
        }
        series
    }

    /// Adds records to an open minute.
    #[inline]
    pub(crate) fn add(&mut self, minute: Minute, records: f64) {
        self.open[minute.0 as usize % OPEN] += records as f32;
    }

    /// Adds records to a minute that has closed, at most thirty minutes ago.
    pub(crate) fn add_late(&mut self, minute: Minute, records: f64) {
        self.model.late |= self.model.ring.add_late(minute, records);
    }

    /// Records of an open minute so far.
    pub(crate) fn open_count(&self, minute: Minute) -> f64 {
        f64::from(self.open[minute.0 as usize % OPEN])
    }

    /// The rhythm that other series of the stream may inherit, once it is known for a whole day.
    pub(crate) fn rhythm(&self, local: Minute) -> Option<f64> {
        let profile = &self.model.profile;
        profile.is_complete().then(|| profile.log_rate(local).0)
    }

    /// Records expected in a minute, without bursts; 0.0 when nothing is known.
    pub(crate) fn expected(&self, local: Minute) -> f64 {
        self.model.mean(local, 0.0).map_or(0.0, |mean| mean.base)
    }

    /// What a cold record keeps of it.
    pub(crate) fn chill(&self, cold: &mut Cold) {
        cold.first = self.model.since.start();
        cold.level = self.model.rate.usual;
        cold.recent_since = cold.last;
    }

    /// Minutes from `from` up to `to` are a gap: nothing was to be seen in them.
    pub(crate) fn skip(&mut self, from: Minute, to: Minute, local: Minute) {
        for minute in (from.0..to.0).take(OPEN) {
            self.open[minute as usize % OPEN] = 0.0;
        }
        let model = &mut *self.model;
        model.ring.skip(from, to);
        model.past.skip(local, local.plus(to.0 - from.0));
        model.before = Default::default();
        model.drops = 0;
    }

    /// Closes a minute: judges it, then learns from it. Findings of score 2 and more, and withdrawals,
    /// go to `report`.
    pub(crate) fn close(&mut self, closing: &Closing, report: &mut impl FnMut(Finding)) {
        let open = &mut self.open[closing.minute.0 as usize % OPEN];
        let count = f64::from(std::mem::take(open));
        let model = &mut *self.model;
        if closing.minute <= model.since && model.watched == 0 {
            // The minute in which a series starts is not whole.
            return;
        }
        model.begin(closing);
        if std::mem::take(&mut model.late) && model.drops != 0 {
            model.withdraw(closing, report);
        }
        model.drops &= !(1 << (closing.minute.0 as usize % MINUTES));
        let parent = closing.parent.unwrap_or_default();
        let Some(mean) = model.mean(closing.local, parent) else {
            model.learn_level(count, 1.0, closing.local, parent);
            return;
        };
        model.ring.put(
            closing.minute,
            Closed {
                count,
                base: mean.base,
                extra: mean.slot.map_or(0.0, |slot| slot.extra),
            },
        );
        let a = model.dispersion.of(0);
        let sums = Sums::new(&model.ring, closing.minute, MINUTES as u32, a);
        let scores = sums.judge(&model.dispersion, model.rate.seen);
        let surprise = model.report(closing, mean.slot, &scores, report);
        model.learn(closing, count, mean, &sums, surprise, scores.burst);
    }

    /// Takes over what is known of another series that has become part of this one.
    pub(crate) fn join(&mut self, other: Self) {
        for (own, others) in self.open.iter_mut().zip(other.open) {
            *own += others;
        }
        let (own, other) = (&mut *self.model, *other.model);
        let (own_log, other_log) = (own.rate.log_level(), other.rate.log_level());
        own.profile.join(own_log, &other.profile, other_log);
        own.rate.free = math::ln_add(own.rate.free + own_log, other.rate.free + other_log);
        own.rate.inherits &= other.rate.inherits;
        own.rate.usual += other.rate.usual;
        own.rate.seen += other.rate.seen;
        // The joined profile has both levels in it.
        (own.rate.rhythm, own.rate.anchor, own.rate.weekend) = (own.rate.seen, 1.0, 0.0);
        own.ring.join(&other.ring);
        own.slots.join(other.slots);
        own.dispersion.join(&other.dispersion);
        own.since = own.since.min(other.since);
        own.watched = own.watched.max(other.watched);
        own.quarter = Quarter::default();
    }
}

impl Model {
    /// On the first close: where the level starts.
    fn begin(&mut self, closing: &Closing) {
        if self.watched > 0 {
            return;
        }
        let parent = closing.parent.unwrap_or_default();
        if self.rate.seen == 0.0 {
            self.rate.inherits = closing.parent.is_some();
            self.rate.free = -parent;
        }
        if let Some((a_minute, records)) = self.history.take() {
            self.rate.free = math::ln(a_minute.max(BASE_MIN)) - parent;
            (self.rate.seen, self.rate.rhythm) = (records, records);
            self.rate.usual = a_minute;
        }
    }

    /// The mean of a local minute; none while nothing at all is known.
    fn mean(&self, local: Minute, parent: f64) -> Option<Mean> {
        if self.rate.rhythm <= 0.0 {
            return None;
        }
        let (log, basis) = self.log_rhythm(local, parent);
        let rhythm = math::exp(log);
        let base = (rhythm * self.rate.seen / self.rate.rhythm).max(BASE_MIN);
        Some(Mean {
            base,
            rhythm,
            basis,
            slot: self.slots.expected(local, self.since, base),
        })
    }

    fn log_rhythm(&self, local: Minute, parent: f64) -> (f64, Basis) {
        let (log, basis) = self.profile.log_rate(local);
        let log = match basis {
            Basis::Own => log,
            Basis::Weekday => log + self.rate.weekend,
            Basis::Free if self.rate.inherits => parent + self.rate.free,
            Basis::Free => self.rate.free,
        };
        (log, basis)
    }

    /// Reports what is odd enough; the largest raw score of the minute, which rules learning.
    fn report(
        &mut self,
        closing: &Closing,
        slot: Option<Expected>,
        scores: &Scores,
        report: &mut impl FnMut(Finding),
    ) -> f64 {
        let mut oddest: f64 = 0.0;
        let directions = [
            (Direction::Above, scores.above),
            (Direction::Below, scores.below),
        ];
        for (index, (direction, mut scores)) in directions.into_iter().enumerate() {
            oddest = scores.iter().copied().fold(oddest, f64::max);
            // One odd minute alone is none: it and one of the two before it.
            let [newer, older] = self.before[index];
            self.before[index] = [scores[0], newer];
            scores[0] = scores[0].min(newer.max(older));
            let window = (0..WINDOWS.len())
                .reduce(|a, b| if scores[b] > scores[a] { b } else { a })
                .unwrap_or_default();
            if scores[window] < REPORT_FROM || self.since >= closing.known_before {
                continue;
            }
            if direction == Direction::Below {
                self.drops |= 1 << (closing.minute.0 as usize % MINUTES);
            }
            let found = Found {
                direction,
                score: scores[window],
                window,
                last: closing.minute,
                local: closing.local,
                since: self.since,
                ring: &self.ring,
                a_minute: self.dispersion.of(0),
                a_window: self.dispersion.of(window),
                past: &self.past,
                usual: self.rate.usual,
                slot,
            };
            report(found.finding());
        }
        oddest
    }

    /// Withdraws drops that late records have filled.
    fn withdraw(&mut self, closing: &Closing, report: &mut impl FnMut(Finding)) {
        for age in 1..MINUTES as u32 {
            let last = closing.minute.minus(age);
            let bit = 1 << (last.0 as usize % MINUTES);
            if self.drops & bit == 0 {
                continue;
            }
            // Minutes before the ring's end have been written over.
            let n_minutes = MINUTES as u32 - age;
            let sums = Sums::new(&self.ring, last, n_minutes, self.dispersion.of(0));
            let scores = sums.judge(&self.dispersion, self.rate.seen);
            if scores.below.into_iter().all(|score| score < REPORT_FROM) {
                self.drops &= !bit;
                let (start, end) = (last.start(), last.plus(1).start());
                report(Finding::new(0, Direction::Below, 0.0, start, end).since(start));
            }
        }
    }

    fn learn(
        &mut self,
        closing: &Closing,
        count: f64,
        mean: Mean,
        sums: &Sums,
        surprise: f64,
        burst: f64,
    ) {
        let local = closing.local;
        let eager = self.watched < EAGER_MINUTES;
        let weight = if eager {
            1.0
        } else {
            learning_weight(surprise)
        };
        self.learn_burst(local, count, mean.base, burst);
        if mean.slot.is_none() {
            let spread = CLIP_DEVIATIONS * deviation(mean.base, self.dispersion.of(0));
            let clipped = if eager {
                count
            } else {
                count.clamp(mean.base - spread, mean.base + spread + 2.0)
            };
            self.learn_level_at(clipped, weight, mean.rhythm, mean.basis);
            self.quarter.seen += weight * clipped;
            self.quarter.expected += weight * mean.base;
            self.quarter.weight += weight;
            self.dispersion.learn(0, count, mean.base, weight);
        }
        self.quarter.n_minutes += 1;
        for window in 1..WINDOWS.len() {
            if sums.is_full(window) {
                let sum = &sums.windows[window];
                self.dispersion
                    .learn(window, sum.capped_base, sum.base, weight);
            }
        }
        self.past.learn(local, count);
        self.watched += 1;
        if local.ends_quarter() {
            self.end_quarter(local, mean.basis, closing.parent.unwrap_or_default());
        }
        self.odd = if weight < 1.0 {
            self.odd + 1
        } else {
            self.odd.saturating_sub(2)
        };
        if self.odd >= closing.accept_minutes {
            self.accept(closing.minute);
        }
    }

    fn learn_burst(&mut self, local: Minute, count: f64, base: f64, burst: f64) {
        let is_burst = burst >= BURST_FROM && count >= 2.0 * base && count - base >= BURST_RECORDS;
        self.run = if is_burst {
            self.run.saturating_add(1)
        } else {
            0
        };
        let is_short = is_burst && self.run <= RUN_MAX;
        self.slots.learn(local, is_short.then_some(count - base));
    }

    fn learn_level(&mut self, count: f64, weight: f64, local: Minute, parent: f64) {
        let (log, basis) = self.log_rhythm(local, parent);
        self.learn_level_at(count, weight, math::exp(log), basis);
        self.watched += 1;
    }

    fn learn_level_at(&mut self, count: f64, weight: f64, rhythm: f64, basis: Basis) {
        let rate = &mut self.rate;
        let decay = match basis {
            Basis::Free => FREE_DECAY,
            Basis::Own | Basis::Weekday => LEVEL_DECAY,
        };
        rate.seen = rate.seen * decay + weight * count;
        rate.rhythm = rate.rhythm * decay + weight * rhythm;
        let share = (1.0 / (f64::from(self.watched) + 1.0)).max(1.0 - USUAL_DECAY);
        let usual = rate.usual + share * weight * (count - rate.usual);
        rate.usual = if self.watched < EAGER_MINUTES {
            usual
        } else {
            usual.min(rate.usual * USUAL_GROWTH)
        };
    }

    /// At the end of a quarter of an hour its bin learns how far it was off; where it was never seen
    /// it is set, and what the level has moved goes into the offset.
    fn end_quarter(&mut self, local: Minute, basis: Basis, parent: f64) {
        let quarter = std::mem::take(&mut self.quarter);
        if quarter.n_minutes < BIN_MINUTES || quarter.weight <= 0.0 {
            return;
        }
        let seen = quarter.seen + BIN_PRIOR;
        let log_ratio = math::ln(seen / (quarter.expected + BIN_PRIOR));
        let parent = if self.rate.inherits { parent } else { 0.0 };
        let rate = &mut self.rate;
        if basis == Basis::Own {
            self.profile.visit(local, log_ratio);
            rate.anchor = rate.level();
            rate.free = self.profile.log_rate(local).0 - parent;
            if !local.is_weekend() {
                rate.weekend = 0.0;
            }
            return;
        }
        let a_minute = quarter.expected / quarter.weight;
        let log_rate = math::ln(a_minute) + log_ratio - math::ln(rate.anchor);
        self.profile.set(local, log_rate);
        let moved = math::ln(rate.level() / rate.anchor);
        if basis == Basis::Weekday {
            rate.weekend += moved;
        } else {
            rate.free += moved;
        }
        rate.rhythm = rate.seen / rate.anchor;
    }

    /// What has been odd for hours is the new normal.
    fn accept(&mut self, last: Minute) {
        let (mut seen, mut expected, mut n_minutes) = (0.5, 0.0, 0.0);
        for age in 0..MINUTES as u32 {
            if let Some(closed) = self.ring.get(last.minus(age)) {
                seen += closed.count;
                expected += closed.base;
                n_minutes += 1.0;
            }
        }
        self.rate.rhythm = expected / self.rate.level();
        self.rate.seen = seen;
        self.rate.usual = seen / f64::max(n_minutes, 1.0);
        self.odd = 0;
    }
}

impl Rate {
    fn level(&self) -> f64 {
        // Never 0: its logarithm is taken.
        (self.seen / self.rhythm.max(f64::MIN_POSITIVE)).clamp(1e-6, 1e9)
    }

    fn log_level(&self) -> f64 {
        if self.rhythm > 0.0 {
            math::ln(self.level())
        } else {
            math::ln(BASE_MIN)
        }
    }
}

/// Event time as the minute it lies in.
pub(crate) fn minute_of(time: EventTime) -> Minute {
    Minute::of(time.0)
}
