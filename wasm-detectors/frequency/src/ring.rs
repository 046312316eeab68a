//! The last thirty minutes of a series: what came and what was expected.

use serde::{Deserialize, Serialize};

use crate::calendar::Minute;

/// Minutes that are kept, and the length of the longest window.
pub(crate) const MINUTES: usize = 30;

/// Counts and expectations of the last minutes; minutes of gaps are not valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring {
    counts: [f32; MINUTES],
    base: [f32; MINUTES],
    extra: [f32; MINUTES],
    /// Bit i stands for the minutes that are i modulo 30.
    valid: u32,
}

/// A closed minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Closed {
    /// Records by weight.
    pub(crate) count: f64,
    /// Expected from level and time of day.
    pub(crate) base: f64,
    /// Expected beyond that from a recurrence slot.
    pub(crate) extra: f64,
}

impl Ring {
    /// Takes a minute; minutes come in order, gaps by [`Ring::skip`].
    pub(crate) fn put(&mut self, minute: Minute, closed: Closed) {
        let index = index(minute);
        self.counts[index] = closed.count as f32;
        self.base[index] = closed.base as f32;
        self.extra[index] = closed.extra as f32;
        self.valid |= 1 << index;
    }

    /// A minute that is not older than thirty, if it is valid. The caller knows its age.
    #[inline]
    pub(crate) fn get(&self, minute: Minute) -> Option<Closed> {
        let index = index(minute);
        (self.valid >> index & 1 == 1).then(|| Closed {
            count: f64::from(self.counts[index]),
            base: f64::from(self.base[index]),
            extra: f64::from(self.extra[index]),
        })
    }

    /// Minutes from `from` up to `to` are not valid.
    pub(crate) fn skip(&mut self, from: Minute, to: Minute) {
        for minute in (from.0..to.0).take(MINUTES) {
            self.valid &= !(1 << index(Minute(minute)));
        }
    }

    /// Adds late records to a minute; whether it still counts.
    pub(crate) fn add_late(&mut self, minute: Minute, records: f64) -> bool {
        let index = index(minute);
        let is_valid = self.valid >> index & 1 == 1;
        if is_valid {
            self.counts[index] += records as f32;
        }
        is_valid
    }

    /// Adds the minutes of another series that has become part of this one.
    pub(crate) fn join(&mut self, other: &Self) {
        for index in 0..MINUTES {
            let (own, others) = (self.valid >> index & 1 == 1, other.valid >> index & 1 == 1);
            if others && !own {
                (self.counts[index], self.base[index], self.extra[index]) = (0.0, 0.0, 0.0);
            }
            if others {
                self.counts[index] += other.counts[index];
                self.base[index] += other.base[index];
                self.extra[index] += other.extra[index];
            }
        }
        self.valid |= other.valid;
    }

    /// Counts of the thirty minutes up to and with `last`, oldest first; NaN in gaps.
    pub(crate) fn counts(&self, last: Minute) -> Vec<f64> {
        (0..MINUTES as u32)
            .rev()
            .map(|age| self.get(last.minus(age)).map_or(f64::NAN, |m| m.count))
            .collect()
    }
}

fn index(minute: Minute) -> usize {
    minute.0 as usize % MINUTES
}
