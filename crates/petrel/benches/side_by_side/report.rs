//! The figures as a table for people and as a file for scripts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::Arguments;

/// One measurement of one variant.
pub(crate) struct Run {
    pub(crate) requests: u64,
    /// CPU seconds per million records.
    pub(crate) cpu: f64,
    pub(crate) peak_mib: f64,
    /// Half of the answers to single requests came sooner.
    pub(crate) latency_p50: Duration,
    /// Records a second of wall time with the load's requests in flight.
    pub(crate) rate: f64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} CPU-s per million, {:.0} records/s, p50 {:.1} ms, peak {:.0} MiB",
            self.cpu,
            self.rate,
            self.latency_p50.as_secs_f64() * 1e3,
            self.peak_mib
        )
    }
}

/// All measurements of one variant, by round.
pub(crate) struct Figures {
    name: &'static str,
    pub(crate) runs: Vec<Run>,
}

impl Figures {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            runs: Vec::new(),
        }
    }

    fn min(&self) -> f64 {
        self.runs
            .iter()
            .map(|run| run.cpu)
            .fold(f64::INFINITY, f64::min)
    }

    fn median_of(&self, value: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(value).collect())
    }

    fn median(&self) -> f64 {
        self.median_of(|run| run.cpu)
    }

    fn peak_mib(&self) -> f64 {
        self.runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The median over rounds of how much `one` used for each CPU second of `other`.
fn ratio(figures: &[Figures], one: &str, other: &str) -> Option<f64> {
    let find = |name: &str| figures.iter().find(|figures| figures.name == name);
    let pairs = find(one)?.runs.iter().zip(&find(other)?.runs);
    Some(median(
        pairs.map(|(one, other)| one.cpu / other.cpu).collect(),
    ))
}

/// Prints the table, and the ratios that are asked for.
pub(crate) fn print(figures: &[Figures], arguments: &Arguments) {
    println!(
        "\nCPU seconds per million records, {} rounds of {} records, one core\n",
        arguments.rounds, arguments.records
    );
    println!(
        "{:<24}{:>8}{:>8}{:>12}{:>10}{:>10}",
        "", "min", "median", "records/s", "p50 ms", "peak MiB"
    );
    for variant in figures {
        println!(
            "{:<24}{:>8.3}{:>8.3}{:>12.0}{:>10.2}{:>10.0}",
            variant.name,
            variant.min(),
            variant.median(),
            variant.median_of(|run| run.rate),
            variant.median_of(|run| run.latency_p50.as_secs_f64() * 1e3),
            variant.peak_mib()
        );
    }
    println!();
    for (one, other, bar) in [
        ("petrel_all", "collector_insert_tuned", "must be below 1"),
        ("petrel_all", "collector_insert", "aim: at most 0.50"),
        ("petrel_all", "petrel_all_native", "aim: at most 1.15"),
    ] {
        if let Some(ratio) = ratio(figures, one, other) {
            println!("{one} / {other}: {ratio:.3} ({bar})");
        }
    }
}

/// Writes `side_by_side.json` into the target directory.
pub(crate) fn write(figures: &[Figures]) -> Result<PathBuf> {
    let mut document = Map::new();
    for variant in figures {
        let value = json!({ "min": variant.min(), "median": variant.median() });
        document.insert(variant.name.to_owned(), value);
    }
    let ratio = ratio(figures, "petrel_all", "collector_insert");
    document.insert("ratio_all_to_insert".to_owned(), json!(ratio));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let path = target
        .context("CARGO_TARGET_TMPDIR has no parent")?
        .join("side_by_side.json");
    std::fs::write(&path, format!("{:#}\n", Value::Object(document)))?;
    Ok(path)
}
