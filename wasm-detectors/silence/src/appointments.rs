//! Missed appointments: what comes at the same minutes of each hour, or the same quarter of each day,
//! and did not come. For jobs, whose usual gaps are as long as the silence that matters.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

/// Visits in a row at which something must have come.
const RUN_MIN: u32 = 10;
/// Chance that a slot is an appointment, before anything is known.
const PRIOR_APPOINTMENT: f64 = 0.01;
/// Misses and visits that an appointment begins with: one in 100,000 is missed for no reason.
const PRIOR_MISSES: f64 = 0.001;
const PRIOR_VISITS: f64 = 100.0;
/// Misses and visits fade by half in so many visits.
const HALF_LIFE_VISITS: f64 = 100.0;
/// What a miss counts that was reported.
const REPORTED_WEIGHT: f64 = 0.1;
/// Windows over which the share of those with records is learnt.
const SHARE_WINDOWS: f64 = 500.0;
/// Share of windows with records above which a source is no job but talks all the time.
const SHARE_MAX: f64 = 0.3;

/// A calendar: slots that come again each period.
///
/// A visit is a window of two slots, so that what comes about the end of a slot is there on each visit;
/// a third slot is the grace in which it may still come late.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Calendar {
    slot_minutes: u64,
    slots: Vec<Visits>,
    /// Whether each of the last two slots had records; none = not watched.
    before: [Option<bool>; 2],
    /// Whether the slot that is still open has, and whether it is watched.
    present: bool,
    torn: bool,
    /// Share of windows that had records.
    share: f64,
    n_windows: u32,
}

/// What is known of one window of a calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visits {
    /// In a row at which something came.
    run: u32,
    /// Decayed.
    visits: f64,
    misses: f64,
}

/// An appointment that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Missed {
    /// -log10 of how often a minute it is missed by itself.
    pub(crate) surprise: f64,
    /// Minute since the epoch at which its window began.
    pub(crate) from: u64,
    /// Minutes from one visit to the next.
    pub(crate) period: u64,
    /// Visits in a row at which something had come.
    pub(crate) run: u32,
}

impl Calendar {
    /// Minutes of each hour, in steps of five.
    pub(crate) fn hourly() -> Self {
        Self::new(5, 12)
    }

    /// Quarters of each day.
    pub(crate) fn daily() -> Self {
        Self::new(15, 96)
    }

    fn new(slot_minutes: u64, n_slots: usize) -> Self {
        Self {
            slot_minutes,
            slots: vec![Visits::default(); n_slots],
            before: [None; 2],
            present: false,
            torn: true,
            share: 0.0,
            n_windows: 0,
        }
    }

    /// Minutes from one visit to the next.
    fn period(&self) -> u64 {
        self.slot_minutes * self.slots.len() as u64
    }

    /// Takes a minute that is over; returns what was missed when that minute's end proves it.
    pub(crate) fn close_minute(
        &mut self,
        minute: u64,
        has_records: bool,
        judges: bool,
    ) -> Option<Missed> {
        if minute.is_multiple_of(self.slot_minutes) {
            // Whatever lies open was not watched to its end.
            self.present = false;
            self.torn = false;
        }
        self.present |= has_records;
        if !(minute + 1).is_multiple_of(self.slot_minutes) {
            return None;
        }
        let late = (!self.torn).then_some(self.present);
        let slot = minute / self.slot_minutes;
        let missed = match (self.before, late) {
            ([Some(first), Some(second)], Some(late)) => {
                self.visit(slot - 2, first || second, late, judges)
            }
            _ => None,
        };
        self.before = [self.before[1], late];
        self.torn = true;
        missed
    }

    /// A span of minutes was not watched.
    pub(crate) fn tear(&mut self) {
        self.before = [None; 2];
        self.torn = true;
    }

    /// A late record: something did come in the slots that are still at hand.
    pub(crate) fn come_late(&mut self) {
        self.present = true;
    }

    fn visit(&mut self, slot: u64, on_time: bool, late: bool, judges: bool) -> Option<Missed> {
        let share = self.share;
        self.n_windows = self.n_windows.saturating_add(1);
        let step = (1.0 / f64::from(self.n_windows)).max(1.0 / SHARE_WINDOWS);
        self.share += step * (f64::from(u8::from(on_time)) - self.share);
        let (period, from) = (self.period(), slot * self.slot_minutes);
        let index = (slot % self.slots.len() as u64) as usize;
        let visits = &mut self.slots[index];
        let fade = math::exp2(-1.0 / HALF_LIFE_VISITS);
        visits.visits = visits.visits * fade + 1.0;
        visits.misses *= fade;
        if on_time {
            visits.run = visits.run.saturating_add(1);
            return None;
        }
        let before = std::mem::take(&mut visits.run);
        if late {
            return None;
        }
        let missed = (judges && before >= RUN_MIN && share <= SHARE_MAX).then(|| Missed {
            surprise: visits.surprise(before, share, period as f64),
            from,
            period,
            run: before,
        });
        visits.misses += if missed.is_some() {
            REPORTED_WEIGHT
        } else {
            1.0
        };
        missed
    }

    /// Whether anything is known to come again.
    pub(crate) fn has_appointments(&self) -> bool {
        self.share <= SHARE_MAX && self.slots.iter().any(|visits| visits.run >= RUN_MIN)
    }

    pub(crate) fn is_whole(&self, like: &Self) -> bool {
        self.slots.len() == like.slots.len()
            && self.slot_minutes == like.slot_minutes
            && self.share.is_finite()
            && self
                .slots
                .iter()
                .all(|visits| visits.visits.is_finite() && visits.misses.is_finite())
    }
}

impl Visits {
    /// -log10 of how often a minute this is missed by itself, after a run of visits.
    ///
    /// Either it is an appointment, missed as rarely as it was so far, or chance filled it so often in
    /// a row, which gets unlikely soon where few windows (`share`) have records.
    fn surprise(&self, run: u32, share: f64, period: f64) -> f64 {
        let rel = (self.misses + PRIOR_MISSES) / (self.visits + PRIOR_VISITS);
        let by_chance = (1.0 - PRIOR_APPOINTMENT) * math::exp(f64::from(run) * math::ln(share));
        let chance = by_chance / (by_chance + PRIOR_APPOINTMENT);
        let missed = chance * (1.0 - share) + (1.0 - chance) * rel;
        math::log10(period / missed).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes of an hour with records, hour by hour; returns hours and surprises of what was missed.
    fn check(hours: u64, comes: impl Fn(u64, u64) -> bool, expected: &[u64]) -> Vec<Missed> {
        let mut calendar = Calendar::hourly();
        let (mut missed, mut found) = (Vec::new(), Vec::new());
        for minute in 0..hours * 60 {
            let some = calendar.close_minute(minute, comes(minute / 60, minute % 60), true);
            if let Some(some) = some.filter(|some| some.surprise >= 6.0) {
                found.push(minute / 60);
                missed.push(some);
            }
        }
        found.dedup();
        assert_eq!(found, expected);
        missed
    }

    #[test]
    fn a_missed_job_is_found_within_a_slot_and_grace() {
        let missed = check(60, |hour, minute| minute == 5 && hour != 40, &[40]);
        assert_eq!((missed[0].from, missed[0].run), (40 * 60, 40));
        check(20, |hour, minute| minute == 5 && hour != 9, &[]);
    }

    #[test]
    fn jitter_about_the_end_of_a_slot_is_no_miss() {
        check(300, |hour, minute| minute == 4 + hour * 7 % 3, &[]);
        check(
            300,
            |hour, minute| minute == if hour == 250 { 12 } else { 9 },
            &[],
        );
    }

    #[test]
    fn what_is_missed_now_and_then_is_no_appointment() {
        check(400, |hour, minute| minute == 5 && hour % 23 != 22, &[22]);
    }

    #[test]
    fn who_talks_all_the_time_has_none() {
        check(
            400,
            |hour, minute| (hour * 31 + minute * 17) % 10 < 6 && hour != 300,
            &[],
        );
    }

    #[test]
    fn what_was_not_watched_is_not_missed() {
        let mut calendar = Calendar::hourly();
        for hour in 0..60_u64 {
            if hour == 40 {
                calendar.tear();
                continue;
            }
            for minute in 0..60 {
                let missed = calendar.close_minute(hour * 60 + minute, minute == 5, true);
                assert_eq!(missed, None);
            }
        }
    }
}
