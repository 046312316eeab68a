//! The figures as tables for people and as a file for scripts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::bench::{Arguments, load_average};

/// What a scenario has to say in the file.
pub(crate) type Object = Map<String, Value>;

/// One measurement of one variant.
pub(crate) struct Run {
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
            "{:.3} CPU-s per million, {:.0} records/s, p50 {:.1} ms, peak {:.0} MiB, load average {:.1}",
            self.cpu,
            self.rate,
            self.latency_p50.as_secs_f64() * 1e3,
            self.peak_mib,
            load_average()
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
        median(self.runs.iter().map(value))
    }

    fn median(&self) -> f64 {
        self.median_of(|run| run.cpu)
    }

    fn rate_max(&self) -> f64 {
        self.runs.iter().map(|run| run.rate).fold(0.0, f64::max)
    }

    fn peak_mib(&self) -> f64 {
        self.runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max)
    }
}

/// The middle of some values.
///
/// # Panics
/// When there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// What is asked of one variant beside another.
pub(crate) struct Ratio {
    one: &'static str,
    other: &'static str,
    bar: &'static str,
}

impl Ratio {
    pub(crate) const fn new(one: &'static str, other: &'static str, bar: &'static str) -> Self {
        Self { one, other, bar }
    }

    /// The median over rounds of how much `one` used for each CPU second of `other`.
    fn of(&self, figures: &[Figures]) -> Option<f64> {
        let find = |name: &str| figures.iter().find(|figures| figures.name == name);
        let pairs = find(self.one)?.runs.iter().zip(&find(self.other)?.runs);
        Some(median(pairs.map(|(one, other)| one.cpu / other.cpu)))
    }
}

/// Prints what records cost, and the ratios that are asked for.
pub(crate) fn costs(figures: &[Figures], ratios: &[Ratio], arguments: &Arguments) -> Object {
    println!(
        "\nCPU seconds per million records, {} rounds of {} records, one core, load average {:.1}\n",
        arguments.rounds,
        arguments.records,
        load_average()
    );
    println!(
        "{:<28}{:>8}{:>8}{:>12}{:>12}{:>10}{:>10}",
        "", "min", "median", "records/s", "best", "p50 ms", "peak MiB"
    );
    let mut object = Object::new();
    for variant in figures {
        let (rate, rate_max) = (variant.median_of(|run| run.rate), variant.rate_max());
        println!(
            "{:<28}{:>8.3}{:>8.3}{:>12.0}{:>12.0}{:>10.2}{:>10.0}",
            variant.name,
            variant.min(),
            variant.median(),
            rate,
            rate_max,
            variant.median_of(|run| run.latency_p50.as_secs_f64() * 1e3),
            variant.peak_mib()
        );
        let value = json!({
            "min": variant.min(),
            "median": variant.median(),
            "records_per_second": rate,
            "records_per_second_max": rate_max,
            "peak_mib": variant.peak_mib(),
        });
        object.insert(variant.name.to_owned(), value);
    }
    println!();
    for ratio in ratios {
        let Ratio { one, other, bar } = ratio;
        if let Some(value) = ratio.of(figures) {
            println!("{one} / {other}: {value:.3} ({bar})");
            object.insert(format!("ratio_{one}_to_{other}"), json!(value));
        }
    }
    object
}

/// Puts a scenario into `side_by_side.json` of the target directory, beside what others have written.
pub(crate) fn write(scenario: &str, mut object: Object) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let path = target
        .context("CARGO_TARGET_TMPDIR has no parent")?
        .join("side_by_side.json");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut document: Object = serde_json::from_str(&before).unwrap_or_default();
    if scenario == "plain" {
        // Those keys were there first.
        let ratio = object.get("ratio_petrel_all_to_collector_insert");
        document.insert("ratio_all_to_insert".to_owned(), json!(ratio));
        document.append(&mut object.clone());
    }
    object.insert("load_average".to_owned(), json!(load_average()));
    document.insert(scenario.to_owned(), Value::Object(object));
    std::fs::write(&path, format!("{:#}\n", Value::Object(document)))?;
    Ok(path)
}
