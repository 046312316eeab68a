//! What a finding says of itself: span, counts, usual range, and what it was held against.

use petrel_detector::{Direction, EvidenceValue, Finding, math};
use serde::{Deserialize, Serialize};

use crate::calendar::Minute;
use crate::dispersion::deviation;
use crate::judge::WINDOWS;
use crate::ring::Ring;
use crate::slots::Expected;

/// Below this score a finding only feeds calibration and carries no evidence.
const EVIDENCE_FROM: f64 = 4.0;
/// Share of windows that lie within the usual range.
const RANGE: f64 = 0.99;
/// Days of the past that are shown.
const DAYS: usize = 7;
/// Steps to the octave of a stored rate: 6 % apart.
const STEPS: f64 = 12.0;

/// Rates of the hours of the last seven days, and the sum of the hour that is running.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// log2(1 + records an hour) in steps, plus one; 0 = nothing known.
    hours: [[u8; 24]; DAYS],
    sum: f64,
    n_minutes: u32,
}

impl Past {
    /// Takes the count of a local minute.
    pub(crate) fn learn(&mut self, minute: Minute, count: f64) {
        self.sum += count;
        self.n_minutes += 1;
        if minute.0 % 60 == 59 {
            self.end_hour(minute);
        }
    }

    /// The hours that end in a gap from `from` to `to` have nothing to show.
    pub(crate) fn skip(&mut self, from: Minute, to: Minute) {
        let n_hours = (to.0 / 60).saturating_sub(from.0 / 60);
        for hour in 0..n_hours.min(24 * DAYS as u32) {
            self.end_hour(from.plus(60 * hour));
        }
    }

    fn end_hour(&mut self, minute: Minute) {
        let cell = &mut self.hours[minute.day() as usize % DAYS][minute.of_day() as usize / 60];
        // Half an hour is enough to speak for the whole.
        *cell = if self.n_minutes >= 30 {
            let an_hour = self.sum * 60.0 / f64::from(self.n_minutes);
            let steps = libm::round(math::log2(1.0 + an_hour) * STEPS) as u8;
            steps.saturating_add(1)
        } else {
            0
        };
        (self.sum, self.n_minutes) = (0.0, 0);
    }

    /// Records a minute in the same hour of the last seven days, oldest first; unknown days left out.
    fn same_hour(&self, minute: Minute) -> Vec<f64> {
        let hour = minute.of_day() as usize / 60;
        (1..=DAYS as u32)
            .rev()
            .filter_map(|days| {
                let day = minute.day().saturating_sub(days) as usize % DAYS;
                let steps = self.hours[day][hour].checked_sub(1)?;
                Some((math::exp2(f64::from(steps) / STEPS) - 1.0) / 60.0)
            })
            .collect()
    }
}

/// What a finding is made from.
pub(crate) struct Found<'a> {
    pub(crate) direction: Direction,
    pub(crate) score: f64,
    /// Index of the window that was oddest.
    pub(crate) window: usize,
    /// The minute that has just closed, and the same on the local clock.
    pub(crate) last: Minute,
    pub(crate) local: Minute,
    pub(crate) since: Minute,
    pub(crate) ring: &'a Ring,
    /// Of one minute, and of the window.
    pub(crate) a_minute: f64,
    pub(crate) a_window: f64,
    pub(crate) past: &'a Past,
    /// Long-run records a minute.
    pub(crate) usual: f64,
    pub(crate) slot: Option<Expected>,
}

impl Found<'_> {
    /// The finding; series keys and stream are for the caller to fill in.
    pub(crate) fn finding(&self) -> Finding {
        let first = self.onset();
        let (mut observed, mut expected) = (0.0, 0.0);
        for minute in first.0..=self.last.0 {
            if let Some(closed) = self.ring.get(Minute(minute)) {
                observed += closed.count;
                expected += closed.base + self.extra(closed.extra);
            }
        }
        let end = self.last.plus(1).start();
        let finding = Finding::new(0, self.direction, self.score, first.start(), end)
            .since(self.since.start())
            .values(observed, expected)
            .records(observed);
        if self.score < EVIDENCE_FROM {
            return finding;
        }
        let (lower, upper) = math::negative_binomial_range(expected, self.a_window, RANGE);
        let finding = finding.range(lower.min(expected), upper.max(expected));
        self.explain(finding, observed, expected)
    }

    fn explain(&self, finding: Finding, observed: f64, expected: f64) -> Finding {
        let n_minutes = f64::from(self.last.0 - self.onset().0 + 1);
        let mut finding = finding
            .evidence("ratio", observed / expected)
            .evidence("window_minutes", f64::from(WINDOWS[self.window]))
            .evidence("expected_per_minute", expected / n_minutes)
            .evidence("usual_per_minute", self.usual)
            .evidence("last_30_minutes", self.ring.counts(self.last));
        let days = self.past.same_hour(self.local);
        if !days.is_empty() {
            finding = finding.evidence("same_hour_last_7_days", EvidenceValue::Numbers(days));
        }
        match self.slot {
            Some(slot) => finding.evidence("recurs", recurs(slot)),
            None => finding,
        }
    }

    /// A missing burst is nothing odd here, so drops are held against the base alone.
    fn extra(&self, extra: f64) -> f64 {
        match self.direction {
            Direction::Above => extra,
            _ => 0.0,
        }
    }

    /// Where the deviation began: from there on the window's minutes deviate most, once half of the
    /// deviation of the last two (a standard deviation at least) is taken off each.
    fn onset(&self) -> Minute {
        // The shortest window is one of three minutes.
        let length = WINDOWS[self.window].max(3);
        let minutes: Vec<_> = (0..length)
            .map(|age| self.last.minus(age))
            .filter_map(|minute| Some((minute, self.ring.get(minute)?)))
            .map(|(minute, closed)| {
                let mean = closed.base + self.extra(closed.extra);
                let above = closed.count - mean;
                let deviates = match self.direction {
                    Direction::Above => above,
                    _ => -above,
                };
                (minute, deviates, deviation(mean, self.a_minute))
            })
            .collect();
        let newest = &minutes[..minutes.len().min(2)];
        let half = newest.iter().map(|m| m.1).sum::<f64>() / (2.0 * newest.len().max(1) as f64);
        let (mut sum, mut best, mut onset) = (0.0, f64::NEG_INFINITY, self.last);
        for (minute, deviates, chance) in minutes {
            sum += deviates - half.max(chance);
            if sum > best {
                (best, onset) = (sum, minute);
            }
        }
        onset.max(self.since)
    }
}

fn recurs(slot: Expected) -> String {
    let Expected {
        extra,
        minute,
        hits,
        ..
    } = slot;
    if slot.is_daily {
        let (hour, minute) = (minute / 60, minute % 60);
        format!("daily at {hour:02}:{minute:02}, usually {extra:.0} records more, {hits} times")
    } else {
        format!("hourly at minute {minute}, usually {extra:.0} records more, {hits} times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_shows_the_same_hour_of_other_days() {
        let mut past = Past::default();
        let day = |day: u32| Minute((100 + day) * 1_440);
        for minute in 0..3 * 1_440 {
            past.learn(day(0).plus(minute), f64::from(minute / 1_440 + 1));
        }
        let rates = past.same_hour(day(3).plus(30));
        assert_eq!(rates.len(), 3);
        for (rate, expected) in rates.iter().zip([1.0, 2.0, 3.0]) {
            assert!((rate / expected - 1.0).abs() < 0.06, "{rate}");
        }
        past.skip(day(3), day(12));
        assert!(past.same_hour(day(12)).is_empty());
    }
}
