//! The daily rhythm of a series: how much slower than its day each half hour is, once that was seen.

use serde::{Deserialize, Serialize};

/// Half hours of a day.
const SLOTS: usize = 48;
/// Minutes of a slot.
pub(crate) const SLOT_MINUTES: u64 = 30;
/// Values that a half hour needs for its median to mean something.
const VALUES_MIN: f64 = 20.0;
/// Half hours of the last day that the day's mean needs.
const DAY_SLOTS_MIN: usize = 36;
/// Days on which a half hour must have been seen before its factor is used.
const VISITS_MIN: u8 = 2;
/// Share of the newest day in a factor, from the fourth day on.
const RATE_MIN: f32 = 0.25;
/// Share of the newest half hour in what is known of the noise of medians: about a day of them.
const NOISE_RATE: f32 = 0.02;

/// Factors by half hour of the day, UTC, as log2.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Season {
    /// Medians of the last day, log2 seconds; none = too few values.
    day: Vec<Option<f32>>,
    /// Factors, log2.
    factors: Vec<f32>,
    /// On how many days each was seen.
    visits: Vec<u8>,
    /// Variance of one day's factor around that of the days before: chance, not rhythm.
    noise: f32,
    /// Half hours that the noise was learnt from.
    n_noise: u32,
    /// How much of the factors is rhythm: 1.0 where they vary far more than chance lets them, 0.0
    /// where chance explains all of it.
    share: f32,
    /// First half hour since the epoch with values.
    first_slot: Option<u64>,
    /// The last half hour and its median. It is learnt once the next one is over: until then values
    /// just behind it are still held against its factor, and must not find another one half way.
    pending: Option<(u64, f32)>,
}

impl Default for Season {
    fn default() -> Self {
        Self {
            day: vec![None; SLOTS],
            factors: vec![0.0; SLOTS],
            visits: vec![0; SLOTS],
            noise: 0.0,
            n_noise: 0,
            share: 0.0,
            first_slot: None,
            pending: None,
        }
    }
}

impl Season {
    /// Whether saved bytes held as many slots as there are.
    pub(crate) fn is_whole(&self) -> bool {
        self.day.len() == SLOTS
            && self.factors.len() == SLOTS
            && self.visits.len() == SLOTS
            && self.factors.iter().all(|factor| factor.is_finite())
            && self.noise.is_finite()
            && self.share.is_finite()
    }

    /// log2 of the factor at a time given in minutes since the epoch: linear between the middles of
    /// half hours.
    pub(crate) fn at(&self, minute: f64) -> f64 {
        let place = minute / SLOT_MINUTES as f64 - 0.5;
        let left = libm::floor(place);
        let share = place - left;
        let slot = left.max(0.0) as usize % SLOTS;
        (1.0 - share) * self.factor(slot) + share * self.factor((slot + 1) % SLOTS)
    }

    fn factor(&self, slot: usize) -> f64 {
        if self.visits[slot] >= VISITS_MIN {
            f64::from(self.share * self.factors[slot])
        } else {
            0.0
        }
    }

    /// Learns the median, in log2 seconds, of the `n` values of a half hour since the epoch.
    pub(crate) fn learn(&mut self, half_hour: u64, median: f64, n: f64) {
        let last = (n >= VALUES_MIN).then_some((half_hour, median as f32));
        if let Some((half_hour, median)) = std::mem::replace(&mut self.pending, last) {
            self.learn_pending(half_hour, median);
        }
    }

    fn learn_pending(&mut self, half_hour: u64, median: f32) {
        let slot = (half_hour % SLOTS as u64) as usize;
        self.day[slot] = Some(median);
        let first = *self.first_slot.get_or_insert(half_hour);
        let known: Vec<f32> = self.day.iter().flatten().copied().collect();
        if known.len() < DAY_SLOTS_MIN || half_hour < first + SLOTS as u64 - 1 {
            return;
        }
        let level = known.iter().sum::<f32>() / known.len() as f32;
        if self.visits.iter().all(|visits| *visits == 0) {
            // The first whole day tells of all its half hours at once.
            for slot in 0..SLOTS {
                if let Some(median) = self.day[slot] {
                    self.visit(slot, median - level);
                }
            }
        } else {
            self.visit(slot, median - level);
        }
    }

    fn visit(&mut self, slot: usize, factor: f32) {
        let visits = f32::from(self.visits[slot]);
        if visits >= 1.0 {
            // Two days without rhythm differ by the noise of both: of one, and of the mean of the rest.
            let apart = factor - self.factors[slot];
            let noise = apart * apart / (1.0 + 1.0 / visits);
            self.n_noise = self.n_noise.saturating_add(1);
            let rate = (1.0 / self.n_noise as f32).max(NOISE_RATE);
            self.noise += rate * (noise - self.noise);
        }
        self.visits[slot] = self.visits[slot].saturating_add(1);
        let rate = (1.0 / f32::from(self.visits[slot])).max(RATE_MIN);
        self.factors[slot] += rate * (factor - self.factors[slot]);
        self.share = self.rhythm_share();
    }

    /// Shrinks factors as far as chance explains them (James and Stein): a series without a rhythm must
    /// not get one from half hours of few values.
    fn rhythm_share(&self) -> f32 {
        let (mut signal, mut chance, mut n) = (0.0, 0.0, 0.0_f32);
        for (factor, visits) in self.factors.iter().zip(&self.visits) {
            if *visits > 0 {
                signal += factor * factor;
                // A fading mean is worth as many days as its rate lets in.
                chance += self.noise / f32::from(*visits).min(2.0 / RATE_MIN - 1.0);
                n += 1.0;
            }
        }
        if n == 0.0 || signal <= 0.0 {
            return 0.0;
        }
        ((signal - chance) / signal).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slow by night, fast by day, in half hours.
    fn median(half_hour: u64) -> f64 {
        if half_hour % 48 < 24 { -2.0 } else { -3.0 }
    }

    #[test]
    fn a_factor_is_used_once_seen_on_two_days() {
        let mut season = Season::default();
        for half_hour in 0..49 {
            season.learn(half_hour, median(half_hour), 100.0);
        }
        let night = 5.5 * 30.0;
        assert_eq!(season.at(night), 0.0);
        for half_hour in 49..145 {
            season.learn(half_hour, median(half_hour), 100.0);
        }
        assert!(
            (season.at(night) - 0.5).abs() < 0.01,
            "{}",
            season.at(night)
        );
        assert!((season.at(night + 720.0) + 0.5).abs() < 0.01);
    }

    #[test]
    fn chance_is_no_rhythm() {
        // One value a half hour of each day, drawn once: as different from day to day as within one.
        let mut season = Season::default();
        let mut state = 1u64;
        for half_hour in 0..480 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            season.learn(
                half_hour,
                (state >> 40) as f64 / f64::from(1u32 << 24),
                100.0,
            );
        }
        let largest = (0..48)
            .map(|slot| season.factor(slot).abs())
            .fold(0.0, f64::max);
        assert!(largest < 0.1, "{largest}");
    }

    #[test]
    fn half_hours_of_few_values_teach_nothing() {
        let mut season = Season::default();
        for half_hour in 0..480 {
            season.learn(half_hour, median(half_hour), 19.0);
        }
        assert_eq!(season.at(100.0), 0.0);
    }
}
