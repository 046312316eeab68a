//! How far a sequence of event times has come, without trusting a single one of them: a time far
//! ahead moves it only when others agree. Streams and the frontier are both such sequences.

use serde::{Deserialize, Serialize};

/// Records that must agree before a time far ahead is believed.
const AGREEING: u32 = 3;
/// A step is usual when it is at most so many times the longest recent one, so that sparse
/// sequences need no agreement for each record.
const USUAL_STEPS: u64 = 4;
/// The longest recent step shrinks by one part in so many of the time that passes without long steps.
const FORGET: u64 = 16;
/// However sparse a sequence is, a step beyond this needs agreement: one day.
const USUAL_MAX: u64 = 86_400_000_000_000;

/// The largest believed time of a sequence, and the times ahead of it that are still in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// Largest believed time; 0 before the first.
    pub(crate) newest: u64,
    longest_step: u64,
    doubt_from: u64,
    doubt_to: u64,
    doubt_count: u32,
}

/// What became of an offered time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is the newest now.
    Newest,
    /// It is at or below the newest.
    Behind,
    /// It lies too far ahead to be believed yet.
    InDoubt,
    /// It agrees with enough others: `confirm` would move the reach.
    Agreed,
}

impl From<u64> for Reach {
    /// A reach of which only the newest time is known.
    fn from(newest: u64) -> Self {
        Self {
            newest,
            ..Self::default()
        }
    }
}

impl Reach {
    // Long steps alone count, and forgetting goes by time, not by record: short steps give the same
    // however many they are, so that a whole request may be believed at once.

    /// How far ahead of the newest a time is believed at once.
    pub(crate) fn believed(&self, ahead: u64) -> u64 {
        let usual = self.longest_step.saturating_mul(USUAL_STEPS).min(USUAL_MAX);
        self.newest.saturating_add(ahead.max(usual))
    }

    /// Whether times wait for others to agree.
    pub(crate) fn doubts(&self) -> bool {
        self.doubt_count > 0
    }

    /// Offers the next time of the sequence.
    #[inline]
    pub(crate) fn offer(&mut self, time: u64, ahead: u64) -> Offer {
        if time <= self.newest {
            if self.doubt_count > 0 && time.saturating_add(ahead) >= self.newest {
                self.doubt_count = 0;
            }
            return Offer::Behind;
        }
        if self.newest > 0 && time <= self.believed(ahead) {
            self.doubt_count = 0;
            self.step_to(time, ahead);
            return Offer::Newest;
        }
        self.doubt(time, ahead)
    }

    fn doubt(&mut self, time: u64, ahead: u64) -> Offer {
        if self.doubt_count == 0 || time.saturating_add(ahead) < self.doubt_from {
            (self.doubt_from, self.doubt_to, self.doubt_count) = (time, time, 1);
            return Offer::InDoubt;
        }
        self.doubt_from = self.doubt_from.min(time);
        if time <= self.doubt_to.saturating_add(ahead) {
            self.doubt_to = self.doubt_to.max(time);
        }
        self.doubt_count = self.doubt_count.saturating_add(1);
        if self.doubt_count >= AGREEING {
            Offer::Agreed
        } else {
            Offer::InDoubt
        }
    }

    /// Believes what is in doubt: returns the newest time before and the first time after.
    pub(crate) fn confirm(&mut self, ahead: u64) -> (u64, u64) {
        let jump = (self.newest, self.doubt_from);
        self.doubt_count = 0;
        self.step_to(self.doubt_to, ahead);
        jump
    }

    /// Believes a time for which somebody else vouches; it speaks against those in doubt.
    #[inline]
    pub(crate) fn vouch(&mut self, time: u64, ahead: u64) {
        self.doubt_count = 0;
        self.step_to(time, ahead);
    }

    /// Believes a time without a word on those in doubt.
    #[inline]
    pub(crate) fn step_to(&mut self, time: u64, ahead: u64) {
        if time <= self.newest {
            return;
        }
        let step = time - self.newest;
        if step > ahead / USUAL_STEPS && self.newest > 0 {
            self.longest_step = step.max(self.longest_step);
        } else {
            let passed = time / FORGET - self.newest / FORGET;
            self.longest_step = self.longest_step.saturating_sub(passed);
        }
        self.newest = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// Offers times in minutes, confirming what is agreed, and tells the newest after each.
    fn check(minutes: &[u64], expected: &[u64]) {
        let mut reach = Reach {
            newest: MINUTE,
            ..Reach::default()
        };
        let newest: Vec<_> = minutes
            .iter()
            .map(|minute| {
                if reach.offer(minute * MINUTE, 5 * MINUTE) == Offer::Agreed {
                    reach.confirm(5 * MINUTE);
                }
                reach.newest / MINUTE
            })
            .collect();
        assert_eq!(newest, expected, "{minutes:?}");
    }

    #[test]
    fn one_far_record_moves_nothing() {
        check(&[2, 9_000, 3, 9_000, 4], &[2, 2, 3, 3, 4]);
    }

    #[test]
    fn three_in_a_row_do() {
        check(&[2, 100, 101, 102, 103], &[2, 2, 2, 102, 103]);
    }

    #[test]
    fn a_later_and_lower_doubt_replaces_a_wild_one() {
        check(&[2, 9_000, 60, 61, 62], &[2, 2, 2, 2, 62]);
    }

    #[test]
    fn sparse_sequences_need_to_agree_once() {
        check(&[61, 121, 181, 241, 301], &[1, 1, 61, 241, 301]);
    }
}
