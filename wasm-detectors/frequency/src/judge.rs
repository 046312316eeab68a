//! How odd the last minutes of a series are: two directions, three windows.

use petrel_detector::math;

use crate::calendar::Minute;
use crate::dispersion::{Dispersion, deviation, surprise};
use crate::ring::{Closed, MINUTES, Ring};

/// Surprise from which a finding is reported.
pub(crate) const REPORT_FROM: f64 = 2.0;
/// Lengths of the windows in minutes.
pub(crate) const WINDOWS: [u32; 3] = [1, 5, 30];
/// The last 1, 2 and 5 minutes of the windows must deviate by this share of the whole, and the very
/// last by that.
const STILL_RECENT: f64 = 0.5;
const STILL_LAST: f64 = 0.25;
/// Share of a window's minutes that must be valid.
const VALID_SHARE: f64 = 0.7;
/// log10 of the looks at a minute: 2 directions x 3 windows.
const LOG10_LOOKS: f64 = 0.778_151_250_383_643_6;
/// Nearer to the mean than so many deviations a tail is not worth computing: its score is below 1.
const Z_MIN: f64 = 1.5;
/// In longer windows a minute counts for at most its mean, so many deviations and `CAP_RECORDS`.
const CAP_DEVIATIONS: f64 = 4.0;
const CAP_RECORDS: f64 = 2.0;
/// Recurring bursts vary by this share of their size.
const BURST_SPREAD: f64 = 0.5;

/// Scores of a minute by window, -log10 p with all looks at it counted; 0.0 where not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    pub(crate) above: [f64; 3],
    pub(crate) below: [f64; 3],
    /// Of the one minute, had no burst been expected.
    pub(crate) burst: f64,
}

/// Sums over the valid minutes of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) minutes: u32,
    pub(crate) count: f64,
    /// Counts cut at what is usual for the minute: with slots, and without.
    pub(crate) capped: f64,
    pub(crate) capped_base: f64,
    pub(crate) base: f64,
    pub(crate) extra: f64,
    /// Variance of the bursts.
    burst_variance: f64,
}

/// Sums over windows that end with one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) windows: [Sum; 3],
    recent: [Sum; 3],
}

impl Sums {
    /// Sums over the windows that end with `last`; at most `n_minutes` are looked back at.
    pub(crate) fn new(ring: &Ring, last: Minute, n_minutes: u32, a: f64) -> Self {
        let mut sums = Self::default();
        let mut sum = Sum::default();
        for age in 0..n_minutes.min(MINUTES as u32) {
            if let Some(minute) = ring.get(last.minus(age)) {
                sum.add(minute, a);
            }
            match age + 1 {
                1 => (sums.windows[0], sums.recent[0]) = (sum, sum),
                2 => sums.recent[1] = sum,
                5 => (sums.windows[1], sums.recent[2]) = (sum, sum),
                30 => sums.windows[2] = sum,
                _ => {}
            }
        }
        sums
    }

    /// Whether enough of a window is valid.
    pub(crate) fn is_full(&self, window: usize) -> bool {
        f64::from(self.windows[window].minutes) >= VALID_SHARE * f64::from(WINDOWS[window])
    }

    /// Scores of the minute that they end with. `level_records` is how many records the level rests
    /// on: not knowing it better is part of the spread.
    pub(crate) fn judge(&self, dispersion: &Dispersion, level_records: f64) -> Scores {
        let mut scores = Scores::default();
        let unsure = 1.0 / level_records.max(0.5);
        for window in 0..3 {
            if !self.is_full(window) {
                continue;
            }
            let sum = &self.windows[window];
            let a = dispersion.of(window) + unsure;
            let (count, low) = match window {
                0 => (sum.count, sum.count),
                _ => (sum.capped, sum.capped_base),
            };
            if window == 0 || self.is_still(window, 1.0) {
                scores.above[window] = above(count, sum, a);
            }
            if window == 0 || self.is_still(window, -1.0) {
                scores.below[window] = below(low, sum.base, a);
            }
            if window == 0 {
                let bare = Sum {
                    extra: 0.0,
                    burst_variance: 0.0,
                    ..*sum
                };
                scores.burst = if sum.extra > 0.0 {
                    above(count, &bare, a)
                } else {
                    scores.above[0]
                };
            }
        }
        scores
    }

    /// Whether the last minutes, and the very last, deviate the same way as the whole window: what is
    /// over is not reported until the window has forgotten it.
    fn is_still(&self, window: usize, sign: f64) -> bool {
        let (all, recent, last) = (&self.windows[window], &self.recent[window], &self.recent[0]);
        if last.minutes == 0 {
            return false;
        }
        let a_minute = |sum: &Sum| {
            let excess = if sign > 0.0 {
                sum.capped - sum.base - sum.extra
            } else {
                sum.base - sum.capped_base
            };
            excess / f64::from(sum.minutes)
        };
        let whole = a_minute(all);
        whole > 0.0
            && a_minute(recent) >= STILL_RECENT * whole
            && a_minute(last) >= STILL_LAST * whole
    }
}

impl Sum {
    fn add(&mut self, minute: Closed, a: f64) {
        let Closed { count, base, extra } = minute;
        let burst = BURST_SPREAD * extra;
        let variance = base + a * base * base;
        let cap = |mean: f64, variance: f64| {
            // The root only where it may matter: most counts are near their mean.
            if count <= mean + CAP_RECORDS {
                count
            } else {
                count.min(mean + CAP_DEVIATIONS * libm::sqrt(variance) + CAP_RECORDS)
            }
        };
        self.minutes += 1;
        self.count += count;
        self.base += base;
        self.capped_base += cap(base, variance);
        if extra > 0.0 {
            self.extra += extra;
            self.burst_variance += burst * burst;
            self.capped += cap(base + extra, variance + extra + burst * burst);
        } else {
            self.capped += cap(base, variance);
        }
    }
}

fn above(count: f64, sum: &Sum, a: f64) -> f64 {
    let mean = sum.base + sum.extra;
    let a = (a * sum.base * sum.base + sum.burst_variance) / (mean * mean);
    if count - mean < Z_MIN * deviation(mean, a) {
        return 0.0;
    }
    surprise(math::negative_binomial_upper(count, mean, a), LOG10_LOOKS)
}

fn below(count: f64, mean: f64, a: f64) -> f64 {
    if mean - count < Z_MIN * deviation(mean, a) {
        return 0.0;
    }
    surprise(math::negative_binomial_lower(count, mean, a), LOG10_LOOKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(counts: &[f64], base: f64, extra: f64) -> Scores {
        let mut ring = Ring::default();
        for (minute, &count) in counts.iter().enumerate() {
            let closed = Closed { count, base, extra };
            ring.put(Minute(minute as u32), closed);
        }
        let last = Minute(counts.len() as u32 - 1);
        let dispersion = Dispersion::default();
        Sums::new(&ring, last, 30, dispersion.of(0)).judge(&dispersion, 1e4)
    }

    #[test]
    fn more_records_are_never_less_odd() {
        let mut last = 0.0;
        for count in 20..400 {
            let score = scores(&[f64::from(count)], 20.0, 0.0).above[0];
            assert!(score >= last, "{count} scores {score}, {last} before");
            last = score;
        }
        assert!(last > 20.0);
    }

    #[test]
    fn what_is_usual_scores_nothing() {
        assert_eq!(scores(&[20.0; 30], 20.0, 0.0), Scores::default());
    }

    #[test]
    fn a_burst_that_is_usual_is_odd_only_without_its_slot() {
        let found = scores(&[220.0; 2], 20.0, 200.0);
        assert_eq!(found.above[0], 0.0);
        assert!(found.burst > 5.0);
    }

    #[test]
    fn one_burst_does_not_fill_the_longer_windows() {
        let mut counts = [20.0; 30];
        counts[29] = 5_000.0;
        let found = scores(&counts, 20.0, 0.0);
        assert!(found.above[0] > 100.0 && found.above[1] < 2.0 && found.above[2] < 2.0);
    }

    #[test]
    fn what_is_over_is_not_reported_until_forgotten() {
        let mut counts = [20.0; 30];
        counts[20..25].fill(60.0);
        assert!(scores(&counts[..25], 20.0, 0.0).above[1] > 2.0);
        assert_eq!(scores(&counts, 20.0, 0.0).above[2], 0.0);
    }
}
