//! The seconds of a stream that had records and whose window is still open, in order of event time.
//!
//! A gap is the distance between two seconds that had records. So records may come in any order within
//! the lateness, a burst counts once, and a thousand records a second cost one addition each.

use serde::{Deserialize, Serialize};

/// Seconds kept at most: well over lateness and window; what is more joins the newest.
const CELLS_MAX: usize = 4_096;

pub(crate) const SECOND_NANOS: u64 = 1_000_000_000;

/// A second that had records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Seconds since the epoch.
    pub(crate) second: u64,
    pub(crate) records: u32,
    /// Event time of its last record, in nanoseconds, and that record's template (0 = none).
    pub(crate) last: u64,
    pub(crate) template: u64,
    /// Whether one of its records says that the program is about to end.
    pub(crate) says_goodbye: bool,
}

impl Cell {
    fn new(time: u64, template: u64, says_goodbye: bool) -> Self {
        Self {
            second: time / SECOND_NANOS,
            records: 1,
            last: time,
            template,
            says_goodbye,
        }
    }

    fn add(&mut self, time: u64, template: u64, says_goodbye: bool) {
        self.records = self.records.saturating_add(1);
        self.says_goodbye |= says_goodbye;
        if time >= self.last {
            (self.last, self.template) = (time, template);
        }
    }
}

/// Seconds with records, ascending.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cells {
    list: Vec<Cell>,
}

impl Cells {
    /// Takes a record in.
    #[inline]
    pub(crate) fn add(&mut self, time: u64, template: u64, says_goodbye: bool) {
        let second = time / SECOND_NANOS;
        let is_full = self.list.len() >= CELLS_MAX;
        match self.list.last_mut() {
            Some(last) if last.second == second => last.add(time, template, says_goodbye),
            Some(last) if last.second < second && is_full => {
                last.second = second;
                last.add(time, template, says_goodbye);
            }
            Some(last) if last.second > second => self.insert(time, template, says_goodbye),
            _ => self.list.push(Cell::new(time, template, says_goodbye)),
        }
    }

    fn insert(&mut self, time: u64, template: u64, says_goodbye: bool) {
        let second = time / SECOND_NANOS;
        match self.list.binary_search_by_key(&second, |cell| cell.second) {
            Ok(index) => self.list[index].add(time, template, says_goodbye),
            Err(index) if self.list.len() >= CELLS_MAX => {
                let newest = self.list.len() - 1;
                self.list[index.min(newest)].add(time, template, says_goodbye);
            }
            Err(index) => {
                let cell = Cell::new(time, template, says_goodbye);
                self.list.insert(index, cell);
            }
        }
    }

    /// The first second that is left.
    pub(crate) fn first(&self) -> Option<u64> {
        self.list.first().map(|cell| cell.second)
    }

    /// Templates of the last records of its seconds.
    pub(crate) fn templates(&self) -> impl Iterator<Item = u64> {
        self.list.iter().map(|cell| cell.template)
    }

    /// Takes out what lies before a second.
    pub(crate) fn take_before(&mut self, second: u64) -> Vec<Cell> {
        let n = self.list.partition_point(|cell| cell.second < second);
        self.list.drain(..n).collect()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.list.len() <= CELLS_MAX && self.list.is_sorted_by(|a, b| a.second < b.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(seconds: &[u64]) -> Cells {
        let mut cells = Cells::default();
        for &second in seconds {
            cells.add(second * SECOND_NANOS, second, false);
        }
        cells
    }

    #[test]
    fn order_of_arrival_is_forgotten() {
        assert_eq!(cells(&[3, 5, 4, 5, 9, 3]), cells(&[3, 3, 4, 5, 5, 9]));
        let mut some = cells(&[9, 3, 5]);
        let taken = some.take_before(9);
        assert_eq!(
            taken.iter().map(|cell| cell.second).collect::<Vec<_>>(),
            [3, 5]
        );
        assert_eq!(some.first(), Some(9));
    }

    #[test]
    fn a_flood_of_seconds_stays_within_the_bound() {
        let mut cells = Cells::default();
        for second in 0..10_000_u64 {
            cells.add((second * 7_919 % 10_007) * SECOND_NANOS, 1, false);
        }
        assert!(cells.is_whole());
    }
}
