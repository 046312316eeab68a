//! What an instance has been told of one stream, and where input is missing for it.

use std::sync::Arc;

use petrel_detector::{Level, Readiness};
use serde::{Deserialize, Serialize};

/// A span of event time in which input is missing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Share of it that was taken in.
    pub(crate) share: f64,
}

/// What an instance saved of a stream last.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) version: u32,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) told: u64,
}

/// What an instance has been told of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// The last watermark told; 0 before the stream's first record.
    pub(crate) told: u64,
    /// How far each kind is learnt, as last asked; empty = learning.
    pub(crate) readiness: Vec<Readiness>,
    /// All templates of the stream must be told before its next row.
    pub(crate) retell: bool,
    pub(crate) missing: Vec<Missing>,
    /// Event time from which on it was shown nothing, while the detector is switched off.
    pub(crate) off_from: u64,
    /// Merges while it is switched off, told when it is on again.
    pub(crate) merges: Vec<(u64, u64)>,
    /// Completeness of the span last advanced over.
    pub(crate) completeness: f64,
    pub(crate) saved: Option<Saved>,
}

impl Slot {
    /// Notes that input is missing; beyond the bound the two oldest spans become one.
    pub(crate) fn miss(&mut self, missing: Missing, max: usize) {
        if missing.to <= missing.from {
            return;
        }
        self.missing.push(missing);
        if self.missing.len() > max.max(1) {
            let (first, second) = (self.missing.remove(0), self.missing[0]);
            self.missing[0] = Missing {
                from: first.from.min(second.from),
                to: first.to.max(second.to),
                share: first.share.min(second.share),
            };
        }
    }

    /// The watermarks to tell on the way to `to`: one where nothing is missing, else one at each
    /// place where completeness changes, to the window.
    pub(crate) fn pieces(&mut self, to: u64, window: u64) -> Vec<(u64, f64)> {
        let mut at = self.told;
        self.told = to;
        if self.missing.is_empty() {
            return vec![(to, 1.0)];
        }
        let mut pieces = Vec::new();
        while at < to {
            let (end, share) = self.next_piece(at, to, window);
            pieces.push((end, share));
            at = end;
        }
        self.missing.retain(|missing| missing.to > to);
        pieces
    }

    fn next_piece(&self, at: u64, to: u64, window: u64) -> (u64, f64) {
        let ahead = self.missing.iter().filter(|missing| missing.to > at);
        let Some(next) = ahead.min_by_key(|missing| missing.from) else {
            return (to, 1.0);
        };
        let whole = |time: u64| time / window * window;
        if whole(next.from) > at {
            return (whole(next.from).min(to), 1.0);
        }
        if next.from <= at && whole(next.to) > at {
            return (whole(next.to).min(to), next.share);
        }
        let end = at + window;
        let lost: f64 = self
            .missing
            .iter()
            .map(|missing| {
                let overlap = missing.to.min(end).saturating_sub(missing.from.max(at));
                overlap as f64 / window as f64 * (1.0 - missing.share)
            })
            .sum();
        (end.min(to), (1.0 - lost).max(0.0))
    }

    pub(crate) fn level(&self, kind: usize) -> Level {
        self.readiness
            .get(kind)
            .map_or(Level::Learning, |readiness| readiness.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(missing: &[(u64, u64, f64)], told: u64, to: u64, expected: &[(u64, f64)]) {
        let mut slot = Slot {
            told,
            ..Slot::default()
        };
        for &(from, to, share) in missing {
            slot.miss(Missing { from, to, share }, 8);
        }
        assert_eq!(slot.pieces(to, 10), expected, "{missing:?}");
        assert_eq!(slot.told, to);
    }

    #[test]
    fn completeness_changes_at_windows() {
        check(&[], 0, 50, &[(50, 1.0)]);
        check(&[(20, 40, 0.0)], 0, 50, &[(20, 1.0), (40, 0.0), (50, 1.0)]);
        check(
            &[(25, 45, 0.0)],
            0,
            60,
            &[(20, 1.0), (30, 0.5), (40, 0.0), (50, 0.5), (60, 1.0)],
        );
        check(&[(22, 24, 0.5)], 20, 50, &[(30, 0.9), (50, 1.0)]);
        check(&[(60, 90, 0.0)], 0, 50, &[(50, 1.0)]);
        check(&[(0, 1_000, 0.0)], 10, 500, &[(500, 0.0)]);
    }
}
