//! Recurrence slots: minutes of the day, or of the hour, at which a burst is usual (cron jobs).
//!
//! The cheap form of a calendar; it was measured to be worth more than any choice of
//! distribution.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

use crate::calendar::{DAY, Minute};

const DAILY_MAX: usize = 24;
const HOURLY_MAX: usize = 8;
/// Days on which a burst must have come before it is expected.
const DAILY_HITS: u8 = 2;
/// From so many minutes on, two whole days after the first, once is not enough.
const DAILY_HITS_FROM: u32 = 3 * DAY;
/// Hours in which a burst must have come before it is expected.
const HOURLY_HITS: u8 = 3;
/// A slot is dropped when it was missed so often in a row; two free days are no reason.
const MISSED_MAX: u8 = 3;
/// What lasts longer than this many minutes is no burst.
pub(crate) const RUN_MAX: u16 = 10;
/// A burst may come so many minutes early or late.
const JITTER: u32 = 1;
/// Fewer records a minute are nothing: what comes beside them is a job of its own.
const NOTHING: f64 = 0.1;
/// The same while one day is all there is: which of its minutes the burst fills is not known yet.
const YOUNG_JITTER: u32 = 4;
/// Visits over which the size of a burst is averaged.
const MEMORY: f64 = 4.0;

/// Slots of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slots {
    daily: Vec<Slot>,
    hourly: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// Minute of the day or of the hour.
    minute: u16,
    hits: u8,
    missed: u8,
    /// Day or hour since the epoch in which it last came.
    last: u32,
    /// Records beyond the base rate.
    extra: f32,
}

/// A slot that explains a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    /// Records beyond the base rate.
    pub(crate) extra: f64,
    /// Minute of the day, or of the hour.
    pub(crate) minute: u32,
    pub(crate) is_daily: bool,
    /// How often it has come.
    pub(crate) hits: u32,
}

impl Slots {
    /// The largest burst that is usual at a local minute, of a series watched since `since` that has
    /// `base` records a minute otherwise.
    ///
    /// As long as there has been but one day to compare with, a burst out of nothing that came on that
    /// day is expected on the next: it has come every time that it could.
    pub(crate) fn expected(&self, minute: Minute, since: Minute, base: f64) -> Option<Expected> {
        if self.daily.is_empty() && self.hourly.is_empty() {
            return None;
        }
        let is_young = minute.0 < since.0.saturating_add(DAILY_HITS_FROM) && base < NOTHING;
        let (hits, jitter) = if is_young {
            (1, YOUNG_JITTER)
        } else {
            (DAILY_HITS, JITTER)
        };
        let daily = best(&self.daily, minute.of_day(), DAY, hits, jitter);
        let hourly = best(&self.hourly, minute.0 % 60, 60, HOURLY_HITS, JITTER);
        let expected = |slot: Slot, is_daily| Expected {
            extra: f64::from(slot.extra),
            minute: u32::from(slot.minute),
            is_daily,
            hits: u32::from(slot.hits),
        };
        match (daily, hourly) {
            (Some(daily), Some(hourly)) if hourly.extra > daily.extra => {
                Some(expected(hourly, false))
            }
            (Some(daily), _) => Some(expected(daily, true)),
            (None, hourly) => hourly.map(|slot| expected(slot, false)),
        }
    }

    /// Learns from a local minute: `burst` is the records beyond the base rate where there were far
    /// more than usual. Minutes must come in order; none may be left out but for gaps.
    pub(crate) fn learn(&mut self, minute: Minute, burst: Option<f64>) {
        let (day, hour) = (minute.day(), minute.0 / 60);
        if !self.daily.is_empty() {
            miss(&mut self.daily, minute.minus(JITTER).of_day(), day);
        }
        if !self.hourly.is_empty() {
            miss(&mut self.hourly, minute.minus(JITTER).0 % 60, hour);
        }
        let Some(extra) = burst else { return };
        hit(&mut self.hourly, minute.0 % 60, hour, extra, HOURLY_MAX);
        let is_hourly = best(&self.hourly, minute.0 % 60, 60, HOURLY_HITS, JITTER).is_some();
        let known = self
            .daily
            .iter()
            .any(|s| u32::from(s.minute) == minute.of_day());
        // What comes hourly needs no slot for each hour of the day.
        if known || !is_hourly {
            hit(&mut self.daily, minute.of_day(), day, extra, DAILY_MAX);
        }
    }

    /// Takes over the slots of another series that has become part of this one.
    pub(crate) fn join(&mut self, other: Self) {
        for (own, other, n_max) in [
            (&mut self.daily, other.daily, DAILY_MAX),
            (&mut self.hourly, other.hourly, HOURLY_MAX),
        ] {
            for slot in other {
                if let Some(known) = own.iter_mut().find(|known| known.minute == slot.minute) {
                    known.extra += slot.extra;
                    known.hits = known.hits.max(slot.hits);
                } else if own.len() < n_max {
                    own.push(slot);
                }
            }
        }
    }
}

fn best(slots: &[Slot], minute: u32, period: u32, hits: u8, jitter: u32) -> Option<Slot> {
    let is_near = |slot: &Slot| {
        let apart = u32::from(slot.minute).abs_diff(minute);
        apart.min(period - apart.min(period)) <= jitter
    };
    slots
        .iter()
        .filter(|slot| slot.hits >= hits && (slot.hits > 1 || slot.missed == 0) && is_near(slot))
        .copied()
        .reduce(|a, b| if b.extra > a.extra { b } else { a })
}

/// Counts a slot as missed where it did not come in this round.
fn miss(slots: &mut Vec<Slot>, minute: u32, round: u32) {
    for slot in slots.iter_mut() {
        if u32::from(slot.minute) == minute && slot.last < round {
            slot.missed += 1;
        }
    }
    slots.retain(|slot| slot.missed < MISSED_MAX);
}

fn hit(slots: &mut Vec<Slot>, minute: u32, round: u32, extra: f64, n_max: usize) {
    if let Some(slot) = slots
        .iter_mut()
        .find(|slot| u32::from(slot.minute) == minute)
    {
        if slot.last < round {
            slot.hits = slot.hits.saturating_add(1);
            (slot.last, slot.missed) = (round, 0);
            let share = 1.0 / f64::from(slot.hits).min(MEMORY);
            let known = math::ln(f64::from(slot.extra));
            slot.extra = math::exp(known + (math::ln(extra) - known) * share) as f32;
        }
        return;
    }
    if slots.len() >= n_max {
        // A newcomer takes the place of the oldest that came but once.
        let once = (0..slots.len()).filter(|&i| slots[i].hits == 1);
        let Some(index) = once.min_by_key(|&i| slots[i].last) else {
            return;
        };
        slots.remove(index);
    }
    slots.push(Slot {
        minute: minute as u16,
        hits: 1,
        missed: 0,
        last: round,
        extra: extra as f32,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bursts at some minutes of a number of days; whether minute 180 of the next is expected.
    fn expects(days: u32, is_burst: impl Fn(u32) -> bool) -> bool {
        let mut slots = Slots::default();
        let n_minutes = days * DAY;
        for minute in 0..n_minutes {
            let burst = is_burst(minute).then_some(100.0);
            slots.learn(Minute(minute), burst);
        }
        slots
            .expected(Minute(n_minutes + 180), Minute(0), 0.01)
            .is_some()
    }

    #[test]
    fn on_the_second_day_once_is_enough() {
        assert!(expects(1, |minute| minute == 180));
        assert!(!expects(3, |minute| minute == 180));
        assert!(!expects(3, |minute| minute == 2 * DAY + 180));
    }

    #[test]
    fn what_comes_on_two_days_is_expected() {
        assert!(!expects(3, |minute| minute % DAY == 180 && minute < DAY));
        assert!(expects(2, |minute| minute % DAY == 180));
        assert!(expects(2, |minute| minute % DAY == 179));
        assert!(!expects(3, |minute| minute % DAY == 178));
    }

    #[test]
    fn weekends_off_are_no_reason_to_forget() {
        assert!(expects(7, |minute| minute % DAY == 180 && minute / DAY < 5));
        assert!(!expects(9, |minute| minute % DAY == 180 && minute / DAY < 5));
    }

    #[test]
    fn what_comes_hourly_is_expected_in_every_hour() {
        assert!(expects(1, |minute| minute % 60 == 0));
        assert!(!expects(1, |minute| minute % 60 == 5));
    }
}
