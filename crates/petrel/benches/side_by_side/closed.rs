//! Scenarios in which so many requests are on their way at a time: what a record costs.

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::load::Load;
use crate::report::{Figures, Object, Ratio};
use crate::subject::Subject;
use crate::variants::{self, Variant};

/// Variants under the same load, and what is asked of them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    variants: &'static [Variant],
    ratios: &'static [Ratio],
}

/// All of them; the first is the one that is run unless others are named.
pub(crate) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "plain",
        variants: &variants::PLAIN,
        ratios: &[
            Ratio::new("petrel_all", "collector_insert_tuned", "must be below 1"),
            Ratio::new("petrel_all", "collector_insert", "aim: at most 0.50"),
            Ratio::new("petrel_all", "petrel_all_native", "aim: at most 1.15"),
        ],
    },
    Scenario {
        name: "small",
        variants: &variants::SMALL,
        ratios: &[
            Ratio::new(
                "petrel_pass_100",
                "collector_pass_100",
                "must be at most 0.50",
            ),
            Ratio::new(
                "petrel_pass_1000",
                "collector_pass_1000",
                "must be at most 0.50",
            ),
        ],
    },
    Scenario {
        name: "gzip",
        variants: &variants::GZIP,
        ratios: &[
            Ratio::new("petrel_gzip_pass", "collector_gzip", "aim: at most 0.40"),
            Ratio::new("petrel_gzip_all", "collector_gzip", "aim: at most 0.40"),
        ],
    },
    Scenario {
        name: "queue",
        variants: &variants::QUEUE,
        ratios: &[
            Ratio::new(
                "petrel_file_queue_fsync",
                "collector_file_queue_fsync",
                "the same promise",
            ),
            Ratio::new(
                "petrel_file_queue_fsync",
                "collector_file_queue",
                "Petrel promises more",
            ),
        ],
    },
];

impl Scenario {
    /// Runs all rounds of its variants, each variant once a round, in rotating order.
    pub(crate) async fn measure(&self, bench: &Bench) -> Result<Object> {
        let arguments = &bench.arguments;
        let wanted: Vec<&Variant> = self
            .variants
            .iter()
            .filter(|variant| arguments.is_wanted(variant.name))
            .collect();
        let shapes = wanted.iter().map(|variant| variant.shape);
        let (loads, sink, arrivals) = bench.loads(shapes).await?;
        let mut figures: Vec<Figures> = wanted
            .iter()
            .map(|variant| Figures::new(variant.name))
            .collect();
        for round in 0..arguments.rounds {
            for step in 0..wanted.len() {
                let index = (step + round) % wanted.len();
                let variant = wanted[index];
                let load = Load::of_shape(&loads, variant.shape);
                let subject = Subject::start(variant, bench.otelcol, &sink, &bench.cores)?;
                let run = load.run(&subject, &arrivals, arguments.records).await;
                let run = run.with_context(|| format!("{} failed", variant.name))?;
                subject.stop();
                eprintln!("round {} {}: {run}", round + 1, variant.name);
                figures[index].runs.push(run);
            }
        }
        Ok(crate::report::costs(&figures, self.ratios, arguments))
    }
}
