//! How much more a series varies than chance alone would make it, for each window.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

const MIN: f64 = 1e-4;
const MAX: f64 = 5.0;
/// Where a series starts: careful.
const START: [f64; 3] = [0.2, 0.1, 0.1];
/// Step of an update.
const STEP: f64 = 0.004;
/// The first updates weigh more: one in so many.
const EARLY: f64 = 60.0;

/// a of variance = mean + a mean^2, for windows of 1, 5 and 30 minutes, by the method of moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dispersion {
    a: [f64; 3],
    n: [u32; 3],
}

impl Default for Dispersion {
    fn default() -> Self {
        Self {
            a: START,
            n: [0; 3],
        }
    }
}

impl Dispersion {
    /// a of a window, by its index.
    pub(crate) fn of(&self, window: usize) -> f64 {
        self.a[window]
    }

    /// Learns from a window of `count` where `mean` was expected; `weight` from 0 to 1.
    pub(crate) fn learn(&mut self, window: usize, count: f64, mean: f64, weight: f64) {
        let a = self.a[window];
        let n = &mut self.n[window];
        *n = n.saturating_add(1);
        let square = (count - mean) * (count - mean);
        let limit = 16.0 * (a + 1.0 / mean);
        let error = ((square - mean) / (mean * mean)).clamp(-limit, limit);
        // Where little is expected a count says little about a.
        let telling = 1.0 + 1.0 / (mean * (a + 0.02));
        let minutes = [1.0, 5.0, 30.0][window];
        let step = (STEP * libm::sqrt(minutes)).max(1.0 / (EARLY + f64::from(*n)));
        let moved = a + step * weight * (error - a) / (telling * telling);
        self.a[window] = moved.clamp(MIN, MAX);
    }

    /// Takes the more careful of two.
    pub(crate) fn join(&mut self, other: &Self) {
        for window in 0..3 {
            self.a[window] = self.a[window].max(other.a[window]);
        }
    }
}

/// Weight of an observation of a surprise in learning: what is odd teaches little.
pub(crate) fn learning_weight(surprise: f64) -> f64 {
    match surprise {
        s if s < 3.0 => 1.0,
        s if s < 5.0 => 0.4,
        _ => 0.1,
    }
}

/// Standard deviation of a count.
pub(crate) fn deviation(mean: f64, a: f64) -> f64 {
    libm::sqrt(mean + a * mean * mean)
}

/// -log10 of a probability, times `tests` looks at the same minute (Bonferroni).
pub(crate) fn surprise(ln_p: f64, log10_tests: f64) -> f64 {
    (math::surprise(ln_p) - log10_tests).clamp(0.0, SURPRISE_MAX)
}

/// Beyond this a probability is no longer one that anybody believes.
const SURPRISE_MAX: f64 = 300.0;
