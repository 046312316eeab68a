//! How long gaps were, in seconds: what people are shown as usual. Takes no part in judging.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

/// Bins of half octaves: from 1 s to beyond a week.
const BINS: usize = 42;
const BINS_PER_OCTAVE: f64 = 2.0;
/// Days of which the longest gap is remembered, today included.
const DAYS: usize = 8;
const DAY_SECONDS: u64 = 86_400;
/// Beyond this all counts are halved, so that what was usual fades.
const COUNT_MAX: f32 = 200_000.0;

/// Lengths of gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gaps {
    bins: Vec<f32>,
    /// Day since the epoch and the longest gap that ended on it, seconds; ascending.
    longest: Vec<(u64, f32)>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            bins: vec![0.0; BINS],
            longest: Vec::new(),
        }
    }
}

impl Gaps {
    /// Learns a gap that ended at a second since the epoch.
    pub(crate) fn learn(&mut self, seconds: f64, at: u64) {
        let bin = math::log2(seconds.max(1.0)) * BINS_PER_OCTAVE;
        let bin = &mut self.bins[(bin as usize).min(BINS - 1)];
        *bin += 1.0;
        if *bin > COUNT_MAX {
            self.bins.iter_mut().for_each(|bin| *bin /= 2.0);
        }
        let day = at / DAY_SECONDS;
        match self.longest.last_mut() {
            Some((last, longest)) if *last == day => *longest = longest.max(seconds as f32),
            _ => self.longest.push((day, seconds as f32)),
        }
        self.longest.retain(|(kept, _)| kept + DAYS as u64 > day);
    }

    /// The gap below which a share of them lies, in seconds: the middle of its bin.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let total: f32 = self.bins.iter().sum();
        let (mut below, wanted) = (0.0, total * share as f32);
        for (bin, count) in self.bins.iter().enumerate() {
            below += count;
            if below >= wanted && *count > 0.0 {
                // A gap of one second is exact: nothing is shorter.
                let place = if bin == 0 { 0.0 } else { bin as f64 + 0.5 };
                return math::exp2(place / BINS_PER_OCTAVE);
            }
        }
        0.0
    }

    /// The longest of the last seven days and today, in seconds.
    pub(crate) fn longest(&self) -> f64 {
        let longest = self.longest.iter().map(|(_, seconds)| *seconds);
        f64::from(longest.fold(0.0, f32::max))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.bins.len() == BINS
            && self.longest.len() <= DAYS
            && self.bins.iter().all(|bin| bin.is_finite() && *bin >= 0.0)
            && self.longest.iter().all(|(_, seconds)| seconds.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_the_longest_of_a_week() {
        let mut gaps = Gaps::default();
        for day in 0..20_u64 {
            for i in 0..100 {
                let seconds = if i == 50 { 1_000.0 + day as f64 } else { 10.0 };
                gaps.learn(seconds, day * DAY_SECONDS + i);
            }
        }
        assert!((8.0..12.5).contains(&gaps.quantile(0.5)));
        assert!(gaps.quantile(0.995) > 800.0);
        assert_eq!(gaps.longest(), 1_019.0);
        gaps.learn(10.0, 40 * DAY_SECONDS);
        assert_eq!(gaps.longest(), 10.0);
    }
}
