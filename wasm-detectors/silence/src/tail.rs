//! How long gaps usually are, in operational time: an exponential tail, per source.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

/// Operational time from which a gap belongs to the tail (u): the mean gap.
pub(crate) const TAIL_FROM: f64 = 1.0;
/// Least mean excess: what lets heartbeats be sharp without being brittle.
const THETA_MIN: f64 = 0.25;
/// Mean excess of an exponential source, which a source is until it shows otherwise, and how many
/// gaps that counts.
const PRIOR_THETA: f64 = 1.0;
const PRIOR_GAPS: f64 = 5.0;
/// One gap counts at most so many mean excesses.
const EXCESS_CLIP: f64 = 8.0;
/// Days that the prior of the rate, one gap a day, stands for.
const PRIOR_DAYS: f64 = 0.05;
const HALF_LIFE_MINUTES: f64 = 7.0 * 1_440.0;
const DAY_SECONDS: f64 = 86_400.0;

/// Gaps beyond the mean gap: how often a day, and how far. Decayed sums.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tail {
    days: f64,
    gaps: f64,
    excess: f64,
}

impl Tail {
    /// Lets a minute pass.
    pub(crate) fn pass_minute(&mut self) {
        let decay = math::exp2(-1.0 / HALF_LIFE_MINUTES);
        self.days *= decay;
        self.gaps *= decay;
        self.excess *= decay;
    }

    /// Learns a gap of so many seconds that was `tau` long in operational time.
    pub(crate) fn learn(&mut self, seconds: f64, tau: f64, weight: f64) {
        self.days += weight * seconds / DAY_SECONDS;
        if tau > TAIL_FROM {
            let excess = (tau - TAIL_FROM).min(EXCESS_CLIP * self.theta());
            self.gaps += weight;
            self.excess += weight * excess;
        }
    }

    /// Mean excess of gaps of the tail.
    pub(crate) fn theta(&self) -> f64 {
        let theta = (PRIOR_GAPS * PRIOR_THETA + self.excess) / (PRIOR_GAPS + self.gaps);
        theta.max(THETA_MIN)
    }

    /// Gaps of the tail a day.
    fn rate(&self) -> f64 {
        (self.gaps + PRIOR_DAYS) / (self.days + PRIOR_DAYS)
    }

    /// E(tau): how many gaps at least so long are expected a day.
    pub(crate) fn expected(&self, tau: f64) -> f64 {
        self.rate() * math::exp(-(tau - TAIL_FROM).max(0.0) / self.theta())
    }

    /// The gap of which so many are expected a day, in operational time.
    pub(crate) fn reaching(&self, per_day: f64) -> f64 {
        TAIL_FROM + self.theta() * math::ln(self.rate() / per_day).max(0.0)
    }

    pub(crate) fn is_whole(&self) -> bool {
        [self.days, self.gaps, self.excess]
            .iter()
            .all(|sum| sum.is_finite() && *sum >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(gaps: impl Iterator<Item = f64>) -> Tail {
        let mut tail = Tail::default();
        for tau in gaps {
            tail.learn(60.0 * tau, tau, 1.0);
        }
        tail
    }

    #[test]
    fn heartbeats_are_sharp_and_bursts_are_not() {
        let heartbeat = learnt((0..10_000).map(|i| 0.9 + 0.02 * f64::from(i % 11)));
        assert_eq!(heartbeat.theta(), THETA_MIN);
        // 29 short gaps and a long one: mean 1, excess 20.
        let bursty = learnt((0..10_000).map(|i| if i % 30 == 0 { 21.0 } else { 0.31 }));
        assert!((15.0..20.5).contains(&bursty.theta()), "{}", bursty.theta());
        assert!(heartbeat.reaching(1e-3) < 6.0 && bursty.reaching(1e-3) > 100.0);
    }

    #[test]
    fn what_is_expected_falls_with_length_and_reaching_inverts_it() {
        let tail = learnt((1..20_000).map(|i| -libm::log(f64::from(i) / 20_000.0)));
        let mut last = f64::INFINITY;
        for tau in [1.0, 2.0, 5.0, 12.0, 20.0] {
            let expected = tail.expected(tau);
            assert!(expected < last);
            last = expected;
            assert!((tail.reaching(expected) - tau).abs() < 1e-9);
        }
        // An exponential source of one a minute: 1440 e^-tau a day.
        assert!((tail.expected(5.0) / (1_440.0 * libm::exp(-5.0)) - 1.0).abs() < 0.1);
    }
}
