//! How much happens when: the daily cycle, the noise on top of it, and the counts drawn from both.
//!
//! Counts are Poisson around a rate that itself wanders (log-normal, correlated over minutes), so a
//! minute's count varies more than a Poisson count would, and neighbours resemble each other: what
//! real traffic does and what trips naive detectors.

use std::f64::consts::TAU;

use rand::Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// Seconds of a day.
pub(super) const DAY_SECONDS: f64 = 86_400.0;
/// Hour of the shop's day with the most traffic.
const PEAK_HOUR: f64 = 16.0;
/// Share of the second harmonic: evenings fall faster than mornings rise.
const SECOND_HARMONIC: f64 = 0.25;

/// Share of the mean rate at a second of the day; its mean over a day is 1.
pub(super) fn daily_cycle(second_of_day: f64, swing: f64) -> f64 {
    let angle = (second_of_day / DAY_SECONDS - PEAK_HOUR / 24.0) * TAU;
    1.0 + swing * (angle.cos() + SECOND_HARMONIC * (2.0 * angle).cos())
}

/// A factor around 1 that wanders: log-normal, with exponentially fading memory.
#[derive(Clone, Debug)]
pub(super) struct Wander {
    deviation: f64,
    memory_seconds: f64,
    state: f64,
}

impl Wander {
    /// Standard deviation of its logarithm, and after how many seconds it has forgotten all but 1/e.
    pub(super) fn new(deviation: f64, memory_seconds: f64) -> Self {
        Self {
            deviation,
            memory_seconds,
            state: 0.0,
        }
    }

    /// The factor `seconds` later; its mean is 1.
    pub(super) fn step(&mut self, seconds: f64, random: &mut impl Rng) -> f64 {
        let kept = (-seconds / self.memory_seconds).exp();
        let shock: f64 = StandardNormal.sample(random);
        self.state = kept * self.state + (1.0 - kept * kept).sqrt() * shock;
        (self.deviation * self.state - 0.5 * self.deviation * self.deviation).exp()
    }
}

/// A Poisson count; 0 for a mean that is not above 0.
pub(super) fn count(mean: f64, random: &mut impl Rng) -> u32 {
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(random) as u32)
}

/// A log-normal value with the given median and standard deviation of its logarithm.
pub(super) fn log_normal(median: f64, deviation: f64, random: &mut impl Rng) -> f64 {
    let normal: f64 = StandardNormal.sample(random);
    median * (deviation * normal).exp()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_day_has_the_mean_rate() {
        let mean = (0..1_440)
            .map(|minute| daily_cycle(f64::from(minute) * 60.0, 0.5))
            .sum::<f64>()
            / 1_440.0;
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn wandering_keeps_its_mean_and_deviation() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut wander = Wander::new(0.1, 300.0);
        let steps: Vec<f64> = (0..200_000)
            .map(|_| wander.step(30.0, &mut random))
            .collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        let variance =
            steps.iter().map(|step| (step - mean).powi(2)).sum::<f64>() / steps.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance.sqrt() - 0.1).abs() < 0.01, "{variance}");
    }

    #[test]
    fn counts_of_nothing_are_zero() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(count(0.0, &mut random), 0);
        assert_eq!(count(-1.0, &mut random), 0);
    }
}
