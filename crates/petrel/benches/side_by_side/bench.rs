//! What all scenarios share: the arguments, the Collector, the cores, the machine's load.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use crate::collector::Collector;
use crate::load::{Arrivals, Load, Shape};
use crate::subject::Cores;
use crate::wait;

/// Petrel and the Collector under the same load.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// What is measured, comma-separated: plain, small, gzip, queue, workers, latency, saturation; or all.
    #[arg(long, value_delimiter = ',', default_value = "plain")]
    pub(crate) scenario: Vec<String>,
    /// How often each variant is measured.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Records sent to each variant in each round.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) records: u64,
    /// How long `latency` and `saturation` send to each variant in each round [default: 10 and 60].
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Only these variants, comma-separated; `target/side_by_side.json` is then left as it is.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    pub(crate) fn is_wanted(&self, variant: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == variant)
    }
}

/// What a scenario is measured with.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) otelcol: Collector,
    pub(crate) cores: Cores,
}

impl Bench {
    /// A load of each shape, and a sink for them: its address and what it counts.
    pub(crate) async fn loads(
        &self,
        shapes: impl IntoIterator<Item = Shape>,
    ) -> Result<(Vec<Load>, String, Arc<Arrivals>)> {
        let mut loads: Vec<Load> = Vec::new();
        for shape in shapes {
            if loads.iter().all(|load| load.shape() != shape) {
                let load = Load::as_sent_by(self.otelcol, shape).await;
                let load = load.context("cannot prepare the load")?;
                println!("load: {}", load.description());
                loads.push(load);
            }
        }
        let sink = wait::free_address();
        let arrivals = Arrivals::serve(&sink, &loads);
        Ok((loads, sink, arrivals))
    }
}

/// The machine's load average of the last minute: what others do beside this.
pub(crate) fn load_average() -> f64 {
    let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = loadavg.split_whitespace().next();
    first
        .and_then(|first| first.parse().ok())
        .unwrap_or(f64::NAN)
}
