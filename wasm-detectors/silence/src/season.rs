//! How often a second has records, by the time of day and the kind of day, and lately.
//!
//! The profile (48 half hours of working days and of weekends, UTC) says how it usually is, the level
//! by how much the last hours differ. Their product is the expected rate, for seconds.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

const SLOTS: usize = 48;
const SLOT_MINUTES: u64 = 30;
const DAY_MINUTES: u64 = 1_440;
/// Watched minutes that a half hour must have to teach something.
const SLOT_MINUTES_MIN: u32 = 15;
/// Share of the newest visit in a half hour's value, from the fourth on.
const RATE_MIN: f32 = 0.25;
/// The same of the mean over all half hours.
const MEAN_RATE_MIN: f64 = 1.0 / 48.0;
/// What a half hour counts that lies in a silence which was reported.
const DOUBTED_WEIGHT: f32 = 0.5;
/// Half-life of the level.
const LEVEL_HALF_LIFE_MINUTES: f64 = 180.0;
/// Records by which the level is held at one.
const LEVEL_PRIOR: f64 = 40.0;
/// Half hours that lie within an hour of one with less than this share, by so many deviations, are an
/// edge: nobody knows to the minute when work begins and ends.
const EDGE_SLOTS: usize = 2;
const EDGE_SHARE: f64 = 0.5;
const EDGE_DEVIATIONS: f64 = 3.0;
/// A half hour was cut short when it had less than this share of its best, and by so many deviations.
const CUT_SHARE: f64 = 0.6;
const CUT_DEVIATIONS: f64 = 4.0;
/// How fast the best of a half hour comes down to its mean, a visit.
const BEST_RATE: f32 = 0.1;
/// Half hours are no evidence that were cut short lately: above `CUT_BLIND`, after one cut for ten
/// visits. A reported silence is no habit before it happens twice.
const CUT_FADE: f32 = 0.93;
const CUT_BLIND: f32 = 0.5;
const CUT_DOUBTED: f32 = 0.3;
const LEVEL_RANGE: (f64, f64) = (1e-4, 20.0);
/// A source is awake all day when its quietest half hour has this share of its mean.
const AWAKE_SHARE: f64 = 0.2;

/// What is known of one half hour of a kind of day.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Slot {
    /// Share of its seconds that have records.
    share: f32,
    /// The same of its best visits.
    best: f32,
    /// How often it was cut short lately, as the last half hour of office hours.
    cut: f32,
    visits: u8,
}

impl Slot {
    /// Notes whether a visit was cut short; `n` seconds of it were independent.
    fn judge_cut(&mut self, share: f64, n: f64, doubted: bool) {
        let best = f64::from(self.best);
        let missing = (best - share) * n;
        let is_cut =
            share < CUT_SHARE * best && missing > CUT_DEVIATIONS * libm::sqrt(best * n).max(1.0);
        self.cut *= CUT_FADE;
        if is_cut {
            self.cut = if doubted { self.cut + CUT_DOUBTED } else { 1.0 };
        }
        self.best = (self.best + BEST_RATE * (self.share - self.best)).max(share as f32);
    }
}

/// The half hour that is not over yet.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Current {
    /// Half hours since the epoch.
    index: u64,
    /// Seconds with records, of so many watched minutes.
    n: u32,
    minutes: u32,
    doubted: bool,
}

/// The rhythm of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Season {
    /// Working days, then weekends.
    slots: Vec<Slot>,
    current: Current,
    /// First day since the epoch on which each kind of day was watched.
    first_day: [Option<u64>; 2],
    /// Mean share over all half hours, whichever they were, and how many.
    mean: f64,
    n_slots: u32,
    /// Seconds with records, and how many the profile had expected: decayed.
    seen: f64,
    expected: f64,
    /// How many seconds with records come together: 1 where each comes by itself.
    clump: f64,
}

impl Default for Season {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); 2 * SLOTS],
            current: Current::default(),
            first_day: [None; 2],
            mean: 0.0,
            n_slots: 0,
            seen: 0.0,
            expected: 0.0,
            clump: 1.0,
        }
    }
}

/// 0 for Monday to Friday, 1 for the weekend. Day 0 of the epoch was a Thursday.
fn kind_of(day: u64) -> usize {
    usize::from((day + 3) % 7 >= 5)
}

impl Season {
    /// What the profile alone expects in a minute since the epoch: share of seconds with records, and
    /// how much of what is seen there may be held against it, 0 to 1.
    ///
    /// Near an edge, as the end of office hours, what lies behind the edge counts.
    pub(crate) fn usual(&self, minute: u64) -> (f64, f64) {
        let kind = kind_of(minute / DAY_MINUTES);
        let slot = (minute % DAY_MINUTES / SLOT_MINUTES) as usize;
        let own = self.share(kind, slot);
        let Slot { cut, visits, .. } = self.slots[kind * SLOTS + slot];
        if cut > CUT_BLIND || own <= 0.0 {
            return (0.0, 0.0);
        }
        let n = f64::from(visits.clamp(1, 4)) * SLOT_MINUTES as f64 * 60.0 / self.clump;
        let mut least = own;
        for away in [SLOTS - EDGE_SLOTS, SLOTS - 1, 1, EDGE_SLOTS] {
            let beside = self.share(kind, (slot + away) % SLOTS);
            let is_edge = beside < EDGE_SHARE * own
                && (own - beside) * n > EDGE_DEVIATIONS * libm::sqrt(own * n).max(1.0);
            if is_edge {
                least = least.min(beside);
            }
        }
        (least, least / own)
    }

    /// The share of a half hour; what was never seen is taken from elsewhere.
    fn share(&self, kind: usize, slot: usize) -> f64 {
        let (own, other) = (
            self.slots[kind * SLOTS + slot],
            self.slots[(1 - kind) * SLOTS + slot],
        );
        if own.visits > 0 {
            f64::from(own.share)
        } else if other.visits == 0 {
            self.mean
        } else if self.is_awake_all_day(1 - kind) {
            f64::from(other.share)
        } else {
            // Who sleeps at night may well sleep on the first weekend.
            0.0
        }
    }

    /// Whether no half hour of a kind of day that was seen is nearly empty.
    fn is_awake_all_day(&self, kind: usize) -> bool {
        let seen = self.slots[kind * SLOTS..(kind + 1) * SLOTS]
            .iter()
            .filter(|slot| slot.visits > 0)
            .map(|slot| f64::from(slot.share));
        let (mut n, mut sum, mut least) = (0.0, 0.0, f64::INFINITY);
        for share in seen {
            (n, sum, least) = (n + 1.0, sum + share, least.min(share));
        }
        n > 0.0 && least * n >= AWAKE_SHARE * sum
    }

    /// Whether its rhythm holds no surprise: a whole day was seen, and it never sleeps.
    pub(crate) fn is_always_awake(&self) -> bool {
        (0..2).any(|kind| {
            let slots = &self.slots[kind * SLOTS..(kind + 1) * SLOTS];
            slots.iter().all(|slot| slot.visits > 0) && self.is_awake_all_day(kind)
        })
    }

    /// By how much the last hours differ from the profile.
    pub(crate) fn level(&self) -> f64 {
        let (low, high) = LEVEL_RANGE;
        let prior = LEVEL_PRIOR * self.clump;
        ((self.seen + prior) / (self.expected + prior)).clamp(low, high)
    }

    /// Mean share over all that was seen; zero before the first half hour is over.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// Whether a day of this kind was watched before the day of a minute.
    pub(crate) fn knows_day(&self, minute: u64) -> bool {
        let day = minute / DAY_MINUTES;
        self.first_day[kind_of(day)].is_some_and(|first| first < day)
    }

    /// Learns a minute that had records in `n` of its seconds; `doubted` where it lies in a silence.
    pub(crate) fn learn_minute(&mut self, minute: u64, n: u32, doubted: bool) {
        let index = minute / SLOT_MINUTES;
        if self.current.index != index {
            self.finish_slot();
            self.current.index = index;
        }
        let day = minute / DAY_MINUTES;
        self.first_day[kind_of(day)].get_or_insert(day);
        self.current.n += n;
        self.current.minutes += 1;
        self.current.doubted |= doubted;
        let decay = math::exp2(-1.0 / LEVEL_HALF_LIFE_MINUTES);
        self.seen *= decay;
        self.expected *= decay;
    }

    fn finish_slot(&mut self) {
        let Current {
            index,
            n,
            minutes,
            doubted,
        } = std::mem::take(&mut self.current);
        if minutes < SLOT_MINUTES_MIN {
            return;
        }
        let share = f64::from(n) / (60.0 * f64::from(minutes));
        let weight = if doubted { DOUBTED_WEIGHT } else { 1.0 };
        let kind = kind_of(index / SLOTS as u64);
        let slot = &mut self.slots[kind * SLOTS + (index % SLOTS as u64) as usize];
        slot.visits = slot.visits.saturating_add(1);
        slot.judge_cut(share, f64::from(minutes) * 60.0 / self.clump, doubted);
        let rate = (1.0 / f32::from(slot.visits)).max(RATE_MIN) * weight;
        slot.share += rate * (share as f32 - slot.share);
        self.n_slots = self.n_slots.saturating_add(1);
        let rate = (1.0 / f64::from(self.n_slots)).max(MEAN_RATE_MIN) * f64::from(weight);
        self.mean += rate * (share - self.mean);
    }

    /// Learns from a gap that is over how the last hours differ; the second that ended it counts `seen`.
    ///
    /// `theta` is the mean excess of the source's gaps: where it is large, seconds come in clumps.
    pub(crate) fn learn_level(&mut self, (seen, expected): (f64, f64), weight: f64, theta: f64) {
        self.clump = theta.max(1.0);
        self.seen += weight * seen;
        self.expected += weight * expected;
    }

    pub(crate) fn is_whole(&self) -> bool {
        let sums = [self.mean, self.seen, self.expected, self.clump];
        self.slots.len() == 2 * SLOTS
            && self.slots.iter().all(|slot| slot.share.is_finite())
            && sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    const MONDAY: u64 = 19_723;

    /// Watches office hours from 8 to 17 for so many days from a Monday on.
    fn office(days: u64) -> Season {
        let mut season = Season::default();
        for minute in MONDAY * DAY_MINUTES..(MONDAY + days) * DAY_MINUTES {
            let hour = minute % DAY_MINUTES / 60;
            season.learn_minute(minute, if (8..17).contains(&hour) { 30 } else { 0 }, false);
        }
        season
    }

    fn at(season: &Season, day: u64, hour: u64, minute: u64) -> f64 {
        season
            .usual((MONDAY + day) * DAY_MINUTES + hour * 60 + minute)
            .0
    }

    #[test]
    fn nights_are_empty_and_edges_count_low() {
        let season = office(3);
        assert_eq!(at(&season, 3, 12, 0), 0.5);
        assert_eq!(at(&season, 3, 17, 1), 0.0);
        assert_eq!(at(&season, 3, 3, 0), 0.0);
        assert_eq!(at(&season, 3, 16, 10), 0.0);
        assert_eq!(at(&season, 3, 15, 50), 0.5);
    }

    #[test]
    fn the_first_weekend_of_who_sleeps_is_unknown() {
        let season = office(5);
        assert_eq!(at(&season, 5, 12, 0), 0.0);
        assert!(!season.knows_day((MONDAY + 5) * DAY_MINUTES));
        let mut awake = Season::default();
        for minute in MONDAY * DAY_MINUTES..(MONDAY + 5) * DAY_MINUTES {
            awake.learn_minute(minute, 20, false);
        }
        assert!(awake.is_always_awake() && !season.is_always_awake());
        assert!(at(&awake, 5, 12, 0) > 0.3);
    }

    #[test]
    fn the_level_follows_the_last_hours() {
        let mut season = office(2);
        for _ in 0..400 {
            season.learn_level((1.0, 2.0), 1.0, 1.0);
        }
        assert!((0.45..0.65).contains(&season.level()), "{}", season.level());
    }
}
