//! The test: are more values above the usual quantiles than chance and the series' own restlessness
//! explain?

use petrel_detector::{Direction, math};
use serde::{Deserialize, Serialize};

use crate::series::{DAY_MINUTES, Series};
use crate::sketch::{Cell, Counts};

/// Lengths of the windows, in minutes.
pub(crate) const WINDOWS: [u64; 3] = [1, 5, 30];
/// Baseline quantiles above which values are counted. The .95 sees a slow tail in few values best.
pub(crate) const QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];
/// Tests a minute and direction, each paid for (Bonferroni).
const N_TESTS: f64 = (WINDOWS.len() * QUANTILES.len()) as f64;
/// Distance from the expected count, in standard deviations, below which no tail is computed.
const Z_MIN: f64 = 1.5;
/// Share of its surprise that a window faster than usual keeps.
const FASTER_WEIGHT: f64 = 0.5;
/// Values of a window that are told apart; with more, restlessness alone decides, and a scaled-down
/// count errs on the quiet side.
const VALUES_TOLD_APART: f64 = 2_048.0;
/// Surprise below which a minute is learnt in full.
pub(crate) const ALARMING: f64 = 3.0;
/// Faded weight that a baseline needs.
const BASELINE_MIN: f64 = 50.0;

/// Expected extra values among the newest ones that are asked whether an excess is still on.
const NEWEST_EXCESS: f64 = 5.0;
/// Share of it that they must show.
const NEWEST_SHARE: f64 = 0.5;

/// What a window needs to be judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) values_min: u64,
    pub(crate) minute_values_min: f64,
    pub(crate) window_values_min: f64,
    /// Whether values without fractions are passed over.
    pub(crate) wants_fractions: bool,
    /// Least difference and least ratio that matter; what is below is learnt as any other minute.
    pub(crate) floor: f64,
    pub(crate) floor_ratio: f64,
}

/// One test that came out odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) direction: Direction,
    /// -log10 of its probability, corrected for the number of tests.
    pub(crate) surprise: f64,
    /// Index in [`WINDOWS`].
    pub(crate) window: usize,
    /// Index in [`QUANTILES`].
    pub(crate) quantile: usize,
}

/// What a hit comes to in durations: the median where that moved, else the 95th percentile.
pub(crate) struct Measure {
    pub(crate) q: f64,
    /// All values of its window.
    pub(crate) window: Counts,
    /// log2 seconds, both without the daily rhythm.
    pub(crate) observed: f64,
    pub(crate) expected: f64,
}

impl Hit {
    pub(crate) fn measure(&self, series: &Series, usual: &Counts) -> Measure {
        let q = if self.quantile == 0 { 0.5 } else { 0.95 };
        let window = Counts::of_cells(series.window(self.window).iter());
        Measure {
            q,
            observed: window.quantile(q),
            expected: usual.quantile(q),
            window,
        }
    }

    fn matters(&self, series: &Series, usual: &Counts, limits: &Limits) -> bool {
        let measure = self.measure(series, usual);
        let ratio = math::exp2(libm::fabs(measure.observed - measure.expected));
        let difference = math::exp2(measure.observed) - math::exp2(measure.expected);
        ratio >= limits.floor_ratio && libm::fabs(difference) >= limits.floor
    }
}

/// An edge of the baseline and the share of values above it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edge {
    pub(crate) bin: usize,
    pub(crate) share: f64,
}

/// What one minute showed.
pub(crate) struct Judgement {
    /// The minute that closed.
    pub(crate) minute: u64,
    pub(crate) usual: Counts,
    pub(crate) edges: [Edge; QUANTILES.len()],
    slower: Option<Hit>,
    faster: Option<Hit>,
    /// For each window and quantile that was judged: values, and those above the edge.
    counted: [[Option<(f64, f64)>; QUANTILES.len()]; WINDOWS.len()],
}

impl Judgement {
    /// The larger surprise of both directions, of what is large enough to matter.
    pub(crate) fn alarm(&self, series: &Series, limits: &Limits) -> f64 {
        self.hits()
            .filter(|hit| hit.surprise >= ALARMING && hit.matters(series, &self.usual, limits))
            .map(|hit| hit.surprise)
            .fold(0.0, f64::max)
    }

    /// Oddest test of each direction.
    pub(crate) fn hits(&self) -> impl Iterator<Item = &Hit> {
        self.slower.iter().chain(&self.faster)
    }
}

/// Holds the windows that end with the last minute taken against what is usual; none where too
/// little is known.
pub(crate) fn judge(series: &Series, limits: &Limits) -> Option<Judgement> {
    let minute = series.recent.last()?.minute;
    if series.n_values < limits.values_min || (limits.wants_fractions && series.counts_whole()) {
        return None;
    }
    let usual = series.baseline.counts();
    if usual.n() < BASELINE_MIN {
        return None;
    }
    let edges = QUANTILES.map(|q| {
        let bin = usual.edge(q);
        // Half a value more on either side: a share is never 0 or 1.
        let share = (usual.n_above(bin) + 0.5) / (usual.n() + 1.0);
        // Where a distribution ends sharply nothing lies above its last edge, and the least drift would
        // be a wonder: the edge is taken for one that is half as rare as asked for, at most.
        let share = share.max(0.5 * (1.0 - q));
        Edge { bin, share }
    });
    let mut judgement = Judgement {
        minute,
        usual,
        edges,
        slower: None,
        faster: None,
        counted: Default::default(),
    };
    let age_minutes = series.age_minutes(minute);
    for window in 0..WINDOWS.len() {
        let cells = series.window(window);
        let n: f64 = cells.iter().map(Cell::n).sum();
        let n_min = if window == 0 {
            limits.minute_values_min
        } else {
            limits.window_values_min
        };
        if n < n_min {
            continue;
        }
        for (quantile, edge) in edges.iter().enumerate() {
            let k: f64 = cells.iter().map(|cell| cell.n_above(edge.bin)).sum();
            judgement.counted[window][quantile] = Some((n, k));
            let rho = series.dispersion.at(window, quantile, age_minutes);
            let Some((direction, surprise)) = test(n, k, edge.share, rho, quantile) else {
                continue;
            };
            if !is_still_on(&series.recent, *edge, k / n - edge.share) {
                continue;
            }
            let best = match direction {
                Direction::Below => &mut judgement.faster,
                _ => &mut judgement.slower,
            };
            if best.is_none_or(|best| surprise > best.surprise) {
                *best = Some(Hit {
                    direction,
                    surprise,
                    window,
                    quantile,
                });
            }
        }
    }
    Some(judgement)
}

/// Whether the newest values share in a window's excess: what has gone away is not told again for as
/// long as the window remembers it.
fn is_still_on(recent: &[Cell], edge: Edge, excess: f64) -> bool {
    let (mut n, mut k) = (0.0, 0.0);
    for cell in recent.iter().rev() {
        n += cell.n();
        k += cell.n_above(edge.bin);
        if n * libm::fabs(excess) >= NEWEST_EXCESS {
            break;
        }
    }
    (k - n * edge.share) * excess.signum() >= NEWEST_SHARE * n * libm::fabs(excess)
}

/// Direction and surprise of `k` of `n` values above an edge that a share `p` is usually above.
fn test(n: f64, k: f64, p: f64, rho: f64, quantile: usize) -> Option<(Direction, f64)> {
    let z = z(n, k, p, rho);
    let scale = (VALUES_TOLD_APART / n).min(1.0);
    let (k, n) = (libm::floor(k * scale), libm::ceil(n * scale));
    let (direction, ln_p, weight) = if z > Z_MIN {
        (
            Direction::Above,
            math::beta_binomial_upper(k, n, p, rho),
            1.0,
        )
    } else if z < -Z_MIN && quantile == 0 {
        (
            Direction::Below,
            math::beta_binomial_lower(k + 1.0, n, p, rho),
            FASTER_WEIGHT,
        )
    } else {
        return None;
    };
    let surprise = math::surprise(ln_p + math::ln(N_TESTS)) * weight;
    surprise.is_finite().then_some((direction, surprise))
}

/// Distance of `k` from its expectation in standard deviations.
pub(crate) fn z(n: f64, k: f64, p: f64, rho: f64) -> f64 {
    (k - n * p) / (n * p * (1.0 - p) * (1.0 + (n - 1.0) * rho)).sqrt()
}

/// How restless a series is: the intra-window correlation of "above the edge", for each window and
/// quantile, by moments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dispersion {
    rho: [[f64; QUANTILES.len()]; WINDOWS.len()],
    n_learnt: u32,
}

impl Default for Dispersion {
    fn default() -> Self {
        Self {
            rho: [[Self::PRIOR; QUANTILES.len()]; WINDOWS.len()],
            n_learnt: 0,
        }
    }
}

impl Dispersion {
    /// Before anything was learnt.
    const PRIOR: f64 = 0.02;
    /// Not taken for less in the first day, when the daily rhythm is unknown.
    const FIRST_DAY: f64 = 0.05;
    const RANGE: (f64, f64) = (1e-4, 0.5);
    /// What is learnt over a hundred minutes, most alike to their neighbours, may be a third too low: a
    /// test takes it for so much more.
    const UNSURE: f64 = 1.35;
    /// Share of a minute in what is known, once there is enough.
    const STEP: f64 = 0.01;
    /// Minutes that the prior counts for.
    const PRIOR_MINUTES: f64 = 20.0;
    /// An estimate counts at most this many times what it would be on average.
    const CLIP: f64 = 16.0;

    pub(crate) fn is_whole(&self) -> bool {
        let (low, high) = Self::RANGE;
        self.rho
            .iter()
            .flatten()
            .all(|rho| (low..=high).contains(rho))
    }

    /// The correlation to test with.
    pub(crate) fn at(&self, window: usize, quantile: usize, age_minutes: u64) -> f64 {
        let (_, high) = Self::RANGE;
        let rho = (self.rho[window][quantile] * Self::UNSURE).min(high);
        if age_minutes < DAY_MINUTES {
            rho.max(Self::FIRST_DAY)
        } else {
            rho
        }
    }

    /// Learns from a judged minute at a weight.
    pub(crate) fn learn(&mut self, judgement: &Judgement, weight: f64) {
        self.n_learnt = self.n_learnt.saturating_add(1);
        let step = Self::STEP.max(1.0 / (f64::from(self.n_learnt) + Self::PRIOR_MINUTES));
        for (window, minutes) in WINDOWS.iter().enumerate() {
            for (quantile, edge) in judgement.edges.iter().enumerate() {
                let Some((n, k)) = judgement.counted[window][quantile] else {
                    continue;
                };
                let rho = &mut self.rho[window][quantile];
                // Windows of several minutes overlap: each minute is a share of a lesson.
                let step = step * weight / *minutes as f64;
                *rho = learn(*rho, n, k, edge.share, step);
            }
        }
    }
}

/// The correlation after one window more.
fn learn(rho: f64, n: f64, k: f64, p: f64, step: f64) -> f64 {
    let miss = k - n * p;
    let estimate = (miss * miss / (n * p * (1.0 - p)) - 1.0) / (n - 1.0).max(1.0);
    let bound = Dispersion::CLIP * (rho + 1.0 / n);
    // Few values tell little of a correlation: precision grows with (n - 1) rho.
    let told = (n - 1.0) * (rho + 0.02);
    let precision = (told / (1.0 + told)) * (told / (1.0 + told));
    let (low, high) = Dispersion::RANGE;
    (rho + step * precision * (estimate.clamp(-bound, bound) - rho)).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_slow_values_are_odder() {
        let surprise = |k| test(100.0, k, 0.1, 0.01, 1).map_or(0.0, |(_, surprise)| surprise);
        assert_eq!(surprise(12.0), 0.0);
        let mut last = 0.0;
        for k in [20.0, 30.0, 50.0, 90.0] {
            assert!(surprise(k) > last, "{k}");
            last = surprise(k);
        }
        assert!(last > 12.0);
    }

    #[test]
    fn restless_series_surprise_less() {
        let at = |rho| test(100.0, 40.0, 0.1, rho, 1).map_or(0.0, |(_, surprise)| surprise);
        assert!(at(0.001) > at(0.02) && at(0.02) > at(0.2));
    }

    #[test]
    fn faster_counts_half_and_at_the_median_alone() {
        let (direction, surprise) = test(200.0, 20.0, 0.5, 0.001, 0).unwrap();
        let (_, slower) = test(200.0, 180.0, 0.5, 0.001, 0).unwrap();
        assert_eq!(direction, Direction::Below);
        assert!((surprise / slower - 0.5).abs() < 0.05);
        assert_eq!(test(200.0, 0.0, 0.1, 0.001, 1), None);
    }

    #[test]
    fn correlation_is_found_by_moments() {
        // Windows alternate between shares .4 and .6: variance .01 = rho x .25.
        let mut rho = 0.2;
        for minute in 0..2_000 {
            let k = if minute % 2 == 0 { 400.0 } else { 600.0 };
            rho = learn(rho, 1_000.0, k, 0.5, 0.01);
        }
        assert!((0.035..0.045).contains(&rho), "{rho}");
    }

    #[test]
    fn huge_windows_are_scaled_down() {
        let (_, surprise) = test(1e7, 6e6, 0.5, 0.001, 0).unwrap();
        assert!(surprise.is_finite() && surprise > 3.0);
    }
}
