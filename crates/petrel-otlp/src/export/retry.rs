//! When to send again: backoff with jitter, or what the next hop asks for.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// `retry_on_failure` of a Collector's exporter, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySettings {
    /// Before the first retry. Default 5 s.
    pub initial_interval: Duration,
    /// What the interval grows by. Default 1.5.
    pub multiplier: f64,
    /// What the interval grows to. Default 30 s.
    pub max_interval: Duration,
    /// From the first attempt on; after that the request is given up. Default 300 s, zero for never.
    pub max_elapsed_time: Duration,
    /// The interval is off by at most this share, at random, either way. Default 0.5.
    pub randomization_factor: f64,
}

impl RetrySettings {
    /// Shorter ones, for a request whose sender waits.
    pub(super) const WAITING: Self = Self {
        initial_interval: Duration::from_millis(200),
        multiplier: 1.5,
        max_interval: Duration::from_secs(2),
        max_elapsed_time: Duration::ZERO,
        randomization_factor: 0.5,
    };
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            initial_interval: Duration::from_secs(5),
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(300),
            randomization_factor: 0.5,
        }
    }
}

/// The delays of one request's retries.
#[derive(Clone, Debug)]
pub struct Backoff {
    settings: RetrySettings,
    interval: Duration,
    rng: SmallRng,
}

impl Backoff {
    /// Delays by these settings; the same seed gives the same delays.
    #[must_use]
    pub fn new(settings: RetrySettings, seed: u64) -> Self {
        Self {
            settings,
            interval: settings.initial_interval,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Begins anew with the shortest delay: after something was taken.
    pub fn reset(&mut self) {
        self.interval = self.settings.initial_interval;
    }

    /// How long to wait before the next attempt, never less than `asked`; `None` to give up, when that
    /// would be later than may be. `elapsed` is since the first attempt.
    pub fn delay(&mut self, elapsed: Duration, asked: Option<Duration>) -> Option<Duration> {
        let settings = self.settings;
        let off = settings.randomization_factor.clamp(0.0, 1.0);
        let jitter = self.rng.random_range(1.0 - off..=1.0 + off);
        let delay = self.interval.mul_f64(jitter).max(asked.unwrap_or_default());
        self.interval = self
            .interval
            .mul_f64(settings.multiplier.max(1.0))
            .min(settings.max_interval);
        let is_last =
            !settings.max_elapsed_time.is_zero() && elapsed + delay > settings.max_elapsed_time;
        (!is_last).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bound() {
        let settings = RetrySettings {
            randomization_factor: 0.0,
            ..RetrySettings::default()
        };
        let mut backoff = Backoff::new(settings, 0);
        let mut delay = |elapsed, asked| {
            backoff
                .delay(Duration::from_secs(elapsed), asked)
                .map(|delay| delay.as_secs_f64())
        };
        assert_eq!(delay(0, None), Some(5.0));
        assert_eq!(delay(5, None), Some(7.5));
        assert_eq!(delay(12, Some(Duration::from_secs(60))), Some(60.0));
        assert_eq!(delay(72, Some(Duration::from_secs(1))), Some(16.875));
        assert_eq!(delay(90, None), Some(25.3125));
        assert_eq!(delay(115, None), Some(30.0));
        assert_eq!(delay(271, None), None);
    }

    #[test]
    fn jitter_stays_in_its_share_and_repeats() {
        let settings = RetrySettings {
            multiplier: 1.0,
            max_elapsed_time: Duration::ZERO,
            ..RetrySettings::default()
        };
        let delays = |seed| {
            let mut backoff = Backoff::new(settings, seed);
            (0..100)
                .filter_map(|_| backoff.delay(Duration::from_secs(9999), None))
                .collect::<Vec<_>>()
        };
        let of_seed_1 = delays(1);
        assert_eq!(of_seed_1.len(), 100);
        assert!(
            of_seed_1
                .iter()
                .all(|delay| (2.5..=7.5).contains(&delay.as_secs_f64()))
        );
        assert_eq!(of_seed_1, delays(1));
        assert_ne!(of_seed_1, delays(2));
    }
}
