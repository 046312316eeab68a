//! How durations are kept: logarithmic bins of 4 % relative error, dense and fading for what is usual,
//! sparse for a minute.

use petrel_detector::math;
use serde::{Deserialize, Serialize};

/// Bins from [`SHORTEST`] up to an hour; what lies outside falls into the first or last.
pub(crate) const N_BINS: usize = 218;
/// log2 of a tenth of a millisecond, in seconds.
const SHORTEST: f64 = -13.287_712_379_549_449;
/// log2 of the ratio of neighbouring bins: (1 + .04) / (1 - .04), as in DDSketch at 4 %.
const BIN_LOG2: f64 = 0.115_477_217_419_935_96;
/// Time after which what was learnt counts half.
const HALF_LIFE_MINUTES: f64 = 1_440.0;

/// The bin of a duration given by its log2 in seconds.
pub(crate) fn bin_of(log2_seconds: f64) -> u8 {
    let place = (log2_seconds - SHORTEST) / BIN_LOG2;
    place.clamp(0.0, (N_BINS - 1) as f64) as u8
}

/// log2 seconds of a place on the axis of bins: bin and share of it.
fn log2_at(place: f64) -> f64 {
    SHORTEST + place * BIN_LOG2
}

/// What is usual: counts that fade with a half-life of a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Baseline {
    bins: Vec<f32>,
    /// Minute up to which they have faded.
    minute: u64,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            bins: vec![0.0; N_BINS],
            minute: 0,
        }
    }
}

impl Baseline {
    /// Whether saved bytes held as many bins as there are.
    pub(crate) fn is_whole(&self) -> bool {
        self.bins.len() == N_BINS && self.bins.iter().all(|bin| *bin >= 0.0 && bin.is_finite())
    }

    /// Learns a minute at a weight.
    pub(crate) fn learn(&mut self, cell: &Cell, weight: f64) {
        if cell.minute > self.minute {
            let passed = (cell.minute - self.minute) as f64;
            let kept = math::exp2(-passed / HALF_LIFE_MINUTES) as f32;
            self.bins.iter_mut().for_each(|bin| *bin *= kept);
            self.minute = cell.minute;
        }
        for &(bin, count) in &cell.bins {
            self.bins[usize::from(bin)] += count as f32 * weight as f32;
        }
    }

    /// Learns a value that came too late for its minute.
    pub(crate) fn learn_late(&mut self, bin: u8, count: u32) {
        self.bins[usize::from(bin)] += count as f32;
    }

    /// Takes in what another series learnt.
    pub(crate) fn join(&mut self, other: &Self) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin += more;
        }
        self.minute = self.minute.max(other.minute);
    }

    /// Counts as they stand.
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(self.bins.iter().map(|bin| f64::from(*bin)))
    }
}

/// Values of one minute, or of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Minutes since the epoch at which it begins.
    pub(crate) minute: u64,
    /// Bins with values, ascending.
    bins: Vec<(u8, u32)>,
    /// Values without a fraction.
    pub(crate) n_whole: u32,
    /// The slowest values, slowest first: log2 seconds and trace.
    pub(crate) slowest: Vec<(f32, u64)>,
}

impl Cell {
    /// Slowest values with a trace that a cell remembers.
    const SLOWEST_MAX: usize = 3;

    pub(crate) fn new(minute: u64) -> Self {
        Self {
            minute,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, bin: u8, count: u32) {
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(index) => self.bins[index].1 = self.bins[index].1.saturating_add(count),
            Err(index) => self.bins.insert(index, (bin, count)),
        }
    }

    /// Remembers an example, if it is among the slowest; of equals the first.
    pub(crate) fn example(&mut self, log2_seconds: f32, trace: u64) {
        let place = self
            .slowest
            .partition_point(|(slower, _)| *slower >= log2_seconds);
        if place < Self::SLOWEST_MAX {
            self.slowest.insert(place, (log2_seconds, trace));
            self.slowest.truncate(Self::SLOWEST_MAX);
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for &(bin, count) in &other.bins {
            self.add(bin, count);
        }
        self.n_whole = self.n_whole.saturating_add(other.n_whole);
        for &(log2_seconds, trace) in &other.slowest {
            self.example(log2_seconds, trace);
        }
    }

    /// Whether its bins are those of this build: ascending and within range.
    pub(crate) fn is_whole(&self) -> bool {
        self.bins.is_sorted_by(|(a, _), (b, _)| a < b)
            && self.bins.iter().all(|(bin, _)| usize::from(*bin) < N_BINS)
    }

    /// Number of values.
    pub(crate) fn n(&self) -> f64 {
        self.bins.iter().map(|(_, count)| f64::from(*count)).sum()
    }

    /// Number of values above a bin.
    pub(crate) fn n_above(&self, edge: usize) -> f64 {
        let first = self
            .bins
            .partition_point(|(bin, _)| usize::from(*bin) <= edge);
        self.bins[first..]
            .iter()
            .map(|(_, count)| f64::from(*count))
            .sum()
    }
}

/// Counts by bin, added up for quantiles.
pub(crate) struct Counts {
    /// Sum up to and with each bin.
    cumulative: [f64; N_BINS],
}

impl Counts {
    fn of(bins: impl Iterator<Item = f64>) -> Self {
        let mut cumulative = [0.0; N_BINS];
        let mut sum = 0.0;
        for (place, bin) in cumulative.iter_mut().zip(bins) {
            sum += bin;
            *place = sum;
        }
        Self { cumulative }
    }

    /// All values of some cells.
    pub(crate) fn of_cells<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut bins = [0.0; N_BINS];
        for cell in cells {
            for &(bin, count) in &cell.bins {
                bins[usize::from(bin)] += f64::from(count);
            }
        }
        Self::of(bins.into_iter())
    }

    /// Number of values, or their faded weight.
    pub(crate) fn n(&self) -> f64 {
        self.cumulative[N_BINS - 1]
    }

    /// First bin at which a share `q` is reached.
    pub(crate) fn edge(&self, q: f64) -> usize {
        let wanted = q * self.n();
        self.cumulative
            .partition_point(|sum| *sum < wanted)
            .min(N_BINS - 1)
    }

    /// Number of values above a bin.
    pub(crate) fn n_above(&self, edge: usize) -> f64 {
        self.n() - self.cumulative[edge]
    }

    /// log2 seconds below which a share `q` lies, interpolated within its bin.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let edge = self.edge(q);
        let below = if edge == 0 {
            0.0
        } else {
            self.cumulative[edge - 1]
        };
        let within = self.cumulative[edge] - below;
        let share = if within > 0.0 {
            ((q * self.n() - below) / within).clamp(0.0, 1.0)
        } else {
            0.5
        };
        log2_at(edge as f64 + share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_four_percent() {
        let mut cell = Cell::new(0);
        for millisecond in 1..=1_000_u32 {
            cell.add(bin_of(libm::log2(f64::from(millisecond) / 1e3)), 1);
        }
        let counts = Counts::of_cells([&cell].into_iter());
        for (q, seconds) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            let found = math::exp2(counts.quantile(q));
            assert!((found / seconds - 1.0).abs() < 0.04, "{q}: {found}");
        }
        let edge = counts.edge(0.9);
        assert_eq!(cell.n_above(edge), counts.n_above(edge));
    }

    #[test]
    fn what_lies_outside_falls_into_the_ends() {
        assert_eq!(bin_of(-60.0), 0);
        assert_eq!(usize::from(bin_of(40.0)), N_BINS - 1);
        assert!(usize::from(bin_of(libm::log2(3_599.0))) < N_BINS);
    }

    #[test]
    fn the_slowest_are_kept() {
        let mut cell = Cell::new(0);
        for (value, trace) in [(1.0, 1), (3.0, 2), (2.0, 3), (3.0, 4), (0.5, 5)] {
            cell.example(value, trace);
        }
        assert_eq!(cell.slowest, [(3.0, 2), (3.0, 4), (2.0, 3)]);
    }

    #[test]
    fn learnt_counts_fade_by_half_a_day() {
        let mut baseline = Baseline::default();
        let mut cell = Cell::new(10);
        cell.add(5, 100);
        baseline.learn(&cell, 1.0);
        baseline.learn(&Cell::new(10 + 1_440), 1.0);
        assert_eq!(baseline.counts().n(), 50.0);
    }
}
