//! The daily rhythm: logarithms of the usual rate by quarter of an hour, weekdays and weekends apart.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

use crate::calendar::{Minute, QUARTER, QUARTERS};

/// Steps of a stored logarithm: a thousandth, far below what a rate is known to.
const STEPS: f64 = 1_024.0;
/// A later visit moves its bin at least by this share of what it saw.
const RATE_MIN: f64 = 0.25;
/// No one visit moves a bin by more than this, in natural logarithms.
const MOVE_MAX: f64 = 1.5;

/// Natural logarithms of records a minute for 96 bins of weekdays, then 96 of weekends; 576 bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    logs: [[i16; 24]; 8],
    visits: [[u8; 24]; 8],
}

/// What the base rate of a minute is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Basis {
    /// Nothing known of this time of day: the level alone.
    #[default]
    Free,
    /// A weekend not seen before: what weekdays do.
    Weekday,
    /// Seen before.
    Own,
}

impl Profile {
    /// The usual log rate of a local minute and what it is taken from; 0.0 when it is free.
    pub(crate) fn log_rate(&self, minute: Minute) -> (f64, Basis) {
        let weekend = minute.is_weekend();
        if let Some(log) = self.between_bins(minute, weekend) {
            return (log, Basis::Own);
        }
        match self.between_bins(minute, false) {
            Some(log) if weekend => (log, Basis::Weekday),
            _ => (0.0, Basis::Free),
        }
    }

    /// Whether every quarter of a weekday has been seen.
    pub(crate) fn is_complete(&self) -> bool {
        self.visits[..4].iter().flatten().all(|&visits| visits > 0)
    }

    /// Between the middle of its bin and that of the nearer neighbour, if its bin has been seen.
    fn between_bins(&self, minute: Minute, weekend: bool) -> Option<f64> {
        let own = self.bin(minute, weekend)?;
        let from_middle = f64::from(minute.0 % QUARTER) + 0.5 - 7.5;
        let neighbour = if from_middle < 0.0 {
            minute.minus(QUARTER)
        } else {
            minute.plus(QUARTER)
        };
        // Over midnight of a weekend's edge the neighbour is of the other kind.
        let neighbour_weekend = weekend && neighbour.is_weekend();
        let other = self.bin(neighbour, neighbour_weekend).unwrap_or(own);
        Some(own + (other - own) * from_middle.abs() / f64::from(QUARTER))
    }

    fn bin(&self, minute: Minute, weekend: bool) -> Option<f64> {
        let (row, column) = place(minute, weekend);
        (self.visits[row][column] > 0).then(|| f64::from(self.logs[row][column]) / STEPS)
    }

    /// Sets the bin of a minute that was never seen.
    pub(crate) fn set(&mut self, minute: Minute, log: f64) {
        let (row, column) = place(minute, minute.is_weekend());
        self.logs[row][column] = stored(log);
        self.visits[row][column] = 1;
    }

    /// Moves the bin of a minute by a share of `log_ratio`, the log of seen to expected.
    pub(crate) fn visit(&mut self, minute: Minute, log_ratio: f64) {
        let (row, column) = place(minute, minute.is_weekend());
        let visits = &mut self.visits[row][column];
        let share = (1.0 / (f64::from(*visits) + 1.0)).max(RATE_MIN);
        *visits = visits.saturating_add(1);
        let moved = share * log_ratio.clamp(-MOVE_MAX, MOVE_MAX);
        let log = &mut self.logs[row][column];
        *log = stored(f64::from(*log) / STEPS + moved);
    }

    /// Adds the rates of another profile; each is scaled by the log of its own level.
    pub(crate) fn join(&mut self, own_level: f64, other: &Self, other_level: f64) {
        for row in 0..8 {
            for column in 0..24 {
                let log = |profile: &Self, level: f64| {
                    let known = profile.visits[row][column] > 0;
                    known.then(|| f64::from(profile.logs[row][column]) / STEPS + level)
                };
                let joined = match (log(self, own_level), log(other, other_level)) {
                    (Some(a), Some(b)) => math::ln_add(a, b),
                    (Some(a), None) | (None, Some(a)) => a,
                    (None, None) => continue,
                };
                self.logs[row][column] = stored(joined);
                let visits = other.visits[row][column];
                self.visits[row][column] = self.visits[row][column].max(visits);
            }
        }
    }
}

fn place(minute: Minute, weekend: bool) -> (usize, usize) {
    let bin = minute.quarter() + if weekend { QUARTERS } else { 0 };
    ((bin / 24) as usize, (bin % 24) as usize)
}

fn stored(log: f64) -> i16 {
    // Saturates: e^32 records a minute is beyond any stream.
    libm::round(log * STEPS) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: Minute = Minute(1_704_067_200 / 60);

    #[test]
    fn a_weekend_not_seen_takes_after_weekdays() {
        let mut profile = Profile::default();
        let saturday = MONDAY.plus(5 * 1_440 + 600);
        assert_eq!(profile.log_rate(saturday), (0.0, Basis::Free));
        profile.set(MONDAY.plus(600), 2.0);
        assert_eq!(profile.log_rate(saturday), (2.0, Basis::Weekday));
        profile.set(saturday, 1.0);
        assert_eq!(profile.log_rate(saturday), (1.0, Basis::Own));
    }

    #[test]
    fn rates_lie_between_the_middles_of_bins() {
        let mut profile = Profile::default();
        profile.set(MONDAY, 1.0);
        profile.set(MONDAY.plus(15), 2.0);
        let at = |minute| profile.log_rate(MONDAY.plus(minute)).0;
        assert!((at(7) - 1.0).abs() < 0.01 && (at(22) - 2.0).abs() < 0.01);
        assert!((at(14) + at(15) - 3.0).abs() < 0.1);
    }

    #[test]
    fn later_visits_move_less() {
        let mut profile = Profile::default();
        profile.set(MONDAY, 0.0);
        profile.visit(MONDAY, 1.0);
        assert_eq!(profile.log_rate(MONDAY).0, 0.5);
        for _ in 0..40 {
            profile.visit(MONDAY, 0.0);
        }
        profile.visit(MONDAY, 1.0);
        assert_eq!(profile.log_rate(MONDAY).0, 0.75);
    }
}
