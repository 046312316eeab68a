//! Minutes since the epoch, and where one lies in the day and the week.

use petrel_detector::EventTime;
use serde::{Deserialize, Serialize};

/// Nanoseconds of a minute.
pub(crate) const NANOS: u64 = 60_000_000_000;
/// Minutes of a day.
pub(crate) const DAY: u32 = 1_440;
/// Minutes of a bin of the daily profile.
pub(crate) const QUARTER: u32 = 15;
/// Bins of a day.
pub(crate) const QUARTERS: u32 = DAY / QUARTER;

/// Whole minutes since the epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Minute(pub(crate) u32);

impl Minute {
    /// The minute that a time in nanoseconds lies in.
    #[inline]
    pub(crate) fn of(nanos: u64) -> Self {
        Self((nanos / NANOS) as u32)
    }

    /// Where it begins.
    pub(crate) fn start(self) -> EventTime {
        EventTime(u64::from(self.0) * NANOS)
    }

    pub(crate) fn plus(self, minutes: u32) -> Self {
        Self(self.0.saturating_add(minutes))
    }

    pub(crate) fn minus(self, minutes: u32) -> Self {
        Self(self.0.saturating_sub(minutes))
    }

    /// The same minute on the local clock.
    pub(crate) fn local(self, utc_offset_minutes: i32) -> Self {
        Self(self.0.saturating_add_signed(utc_offset_minutes))
    }

    /// Days since the epoch.
    pub(crate) fn day(self) -> u32 {
        self.0 / DAY
    }

    pub(crate) fn of_day(self) -> u32 {
        self.0 % DAY
    }

    /// Bin of the day, 0 to 95.
    pub(crate) fn quarter(self) -> u32 {
        self.of_day() / QUARTER
    }

    /// Whether it is the last minute of its bin.
    pub(crate) fn ends_quarter(self) -> bool {
        self.0 % QUARTER == QUARTER - 1
    }

    pub(crate) fn is_weekend(self) -> bool {
        // The epoch was a Thursday.
        (self.day() + 3) % 7 >= 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_saturday_and_sunday() {
        // 1 January 2024 was a Monday.
        let monday = Minute::of(1_704_067_200 * 1_000_000_000);
        let days: Vec<_> = (0..7).map(|d| monday.plus(d * DAY).is_weekend()).collect();
        assert_eq!(days, [false, false, false, false, false, true, true]);
    }
}
