//! From a test that came out odd to a finding that a person understands.

use petrel_detector::{Direction, EventTime, Finding, TemplateId, math};

use crate::fields::Field;
use crate::judge::{Edge, Hit, Judgement, QUANTILES, WINDOWS, z};
use crate::series::{MINUTE_NANOS, Series};
use crate::sketch::{Cell, Counts};

/// Index of the .95 in [`QUANTILES`]: what "slow" means in the evidence.
const SLOW: usize = 2;
/// Standard deviations of the usual range: 99 %.
const RANGE_Z: f64 = 2.58;
/// How near to a factor of 10^3 or 10^6 (in log10) a shift must be to look like a change of unit.
const UNIT_CHANGE_NEAR: f64 = 0.15;

/// The finding of a hit.
///
/// What is observed and expected is the median where that moved, else the 95th percentile.
pub(crate) fn finding(
    series: &mut Series,
    judgement: &Judgement,
    hit: &Hit,
    template: u64,
    field: (Field, Option<&str>),
) -> Finding {
    let rho = series.dispersion.at(
        hit.window,
        hit.quantile,
        series.age_minutes(judgement.minute),
    );
    let edge = judgement.edges[hit.quantile];
    let start = series.episode(
        hit.direction,
        onset(series, hit, edge, rho),
        judgement.minute,
        hit.surprise,
    );
    let cells = series.window(hit.window);
    let measure = hit.measure(series, &judgement.usual);
    let (q, window) = (measure.q, &measure.window);
    let end = judgement.minute + 1;
    let middle = end as f64 - WINDOWS[hit.window] as f64 / 2.0;
    let season = series.season.at(middle);
    let seconds = |log2: f64| math::exp2(log2 + season);

    let deviation = RANGE_Z * (q * (1.0 - q) * (1.0 / window.n() + rho)).sqrt();
    let lower = judgement.usual.quantile((q - deviation).max(0.001));
    let upper = judgement.usual.quantile((q + deviation).min(0.999));

    let mut finding = Finding::new(
        0,
        hit.direction,
        hit.surprise,
        EventTime(start * MINUTE_NANOS),
        EventTime(end * MINUTE_NANOS),
    )
    .since(series.since)
    .template((template != 0).then_some(TemplateId(template)))
    .values(seconds(measure.observed), seconds(measure.expected))
    .range(seconds(lower), seconds(upper))
    .records(window.n());
    finding = match field {
        (_, Some(key)) => finding.series("attribute", key),
        (field, None) => finding.series("slot", field.to_string()),
    };
    if !field.0.is_attribute() && series.counts_whole() {
        finding.unit = Some("1".to_owned());
    }
    let shift = measure.observed - measure.expected;
    let slow = judgement.edges[SLOW];
    finding = finding
        .evidence(
            "slow_share",
            slow_share(
                cells,
                window,
                slow,
                seconds(judgement.usual.quantile(QUANTILES[SLOW])),
            ),
        )
        .evidence("shift_factor", math::exp2(shift))
        .evidence("values", window.n())
        .evidence("window_minutes", WINDOWS[hit.window] as f64)
        .evidence("observed_p50_p90_p99", triple(window, seconds))
        .evidence("usual_p50_p90_p99", triple(&judgement.usual, seconds));
    if let Some(hint) = unit_change(shift) {
        finding = finding.evidence("unit_change", hint);
    }
    let traces = slowest(series, hit);
    if !traces.is_empty() {
        finding = finding.evidence("slowest_traces", traces);
    }
    finding
        .evidence("learnt_values", series.n_values as f64)
        .evidence("dispersion", rho)
        .evidence("season_factor", math::exp2(season))
}

fn triple(counts: &Counts, seconds: impl Fn(f64) -> f64) -> Vec<f64> {
    [0.5, 0.9, 0.99]
        .iter()
        .map(|q| seconds(counts.quantile(*q)))
        .collect()
}

fn slow_share(cells: &[Cell], window: &Counts, edge: Edge, seconds: f64) -> String {
    let k: f64 = cells.iter().map(|cell| cell.n_above(edge.bin)).sum();
    format!(
        "{:.0} % of {:.0} slower than the usual p95 of {}, usually {:.0} %",
        100.0 * k / window.n(),
        window.n(),
        duration(seconds),
        100.0 * edge.share
    )
}

/// A duration as people write it.
fn duration(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.3} ms", seconds * 1e3)
    } else {
        format!("{seconds:.3} s")
    }
}

/// Low halves of the trace ids of the slowest values, slowest first.
fn slowest(series: &Series, hit: &Hit) -> String {
    let mut slowest = Cell::default();
    for cell in series.window(hit.window.min(1)) {
        for &(log2_seconds, trace) in &cell.slowest {
            slowest.example(log2_seconds, trace);
        }
    }
    let traces: Vec<String> = slowest
        .slowest
        .iter()
        .map(|(_, trace)| format!("{trace:016x}"))
        .collect();
    if hit.direction == Direction::Above {
        traces.join(" ")
    } else {
        String::new()
    }
}

/// A shift, in log2, that looks like milliseconds written as seconds or the like.
fn unit_change(shift_log2: f64) -> Option<String> {
    let shift = shift_log2 * std::f64::consts::LOG10_2;
    let near = |power: f64| (libm::fabs(shift) - power).abs() < UNIT_CHANGE_NEAR;
    (near(3.0) || near(6.0)).then(|| {
        let power = libm::round(shift);
        format!("values are 10^{power} times what they were: has their unit changed?")
    })
}

/// Minute in which it began: the latest part of the window that deviates most, taken as a whole.
fn onset(series: &Series, hit: &Hit, edge: Edge, rho: f64) -> u64 {
    let first_recent = series.recent.first().map_or(0, |cell| cell.minute);
    let older = series
        .blocks
        .iter()
        .filter(|block| hit.window == 2 && block.minute + WINDOWS[1] <= first_recent);
    let recent = &series.recent[series.recent.len() - series.window(hit.window.min(1)).len()..];
    let sign = if hit.direction == Direction::Below {
        -1.0
    } else {
        1.0
    };
    let (mut n, mut k) = (0.0, 0.0);
    let mut best = (f64::NEG_INFINITY, first_recent);
    for cell in older.chain(recent).rev() {
        n += cell.n();
        k += cell.n_above(edge.bin);
        let deviation = sign * z(n, k, edge.share, rho);
        if deviation > best.0 {
            best = (deviation, cell.minute);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_unit_is_named() {
        assert!(unit_change(libm::log2(1_000.0)).is_some());
        assert!(unit_change(libm::log2(1.1e-6)).is_some());
        assert_eq!(unit_change(libm::log2(500.0)), None);
        assert_eq!(unit_change(0.0), None);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(0.42), "420.000 ms");
        assert_eq!(duration(3.5), "3.500 s");
    }
}
