//! Petrel beside the real Collector: the same load through each, one core each, in CPU seconds per million
//! records.
//!
//! ```sh
//! cargo bench --bench side_by_side -- --rounds 5 --records 1000000
//! ```
//!
//! The process under test has one core; load and sink have another. Every round runs every variant once, in
//! rotating order, so that a slow spell of the machine meets all of them. `load` makes what is sent,
//! `subject` starts what is measured, `report` prints.

// The harness of the end-to-end tests, of which a bench needs a part.
#[path = "../../../../tests/client.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod client;
#[path = "../../../../tests/collector/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod collector;
#[path = "../../../../tests/petrel.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod petrel;
#[path = "../../../../tests/process.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod process;
#[path = "../../../../tests/records.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod records;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../../../tests/sink.rs"]
mod sink;
#[path = "../../../../tests/wait.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod wait;

mod load;
mod report;
mod subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::load::Load;
use crate::report::Figures;
use crate::subject::{Cores, Variant};

/// Petrel and the Collector under the same load.
#[derive(Parser)]
struct Arguments {
    /// How often each variant is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records sent to each variant in each round.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Only these variants, comma-separated; `target/side_by_side.json` is then left as it is.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    for name in &arguments.only {
        ensure!(Variant::named(name).is_some(), "no variant {name}");
    }
    let is_wanted = |variant: &&Variant| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == variant.name)
    };
    let variants: Vec<&Variant> = subject::VARIANTS.iter().filter(is_wanted).collect();

    let Some(otelcol) = collector::available("side_by_side") else {
        return Ok(());
    };
    let cores = Cores::of_this_process()?;
    cores.pin_to_load()?;
    // One thread on one core: load and sink together, on the other side of the process under test.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(measure(&arguments, &variants, otelcol, &cores))?;
    report::print(&figures, &arguments);
    if arguments.only.is_empty() {
        let path = report::write(&figures)?;
        println!("\nwritten to {}", path.display());
    }
    Ok(())
}

/// Runs all rounds of all variants against one sink.
async fn measure(
    arguments: &Arguments,
    variants: &[&Variant],
    otelcol: collector::Collector,
    cores: &Cores,
) -> Result<Vec<Figures>> {
    let sink = wait::free_address();
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    sink::serve(&sink, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let load = Load::as_sent_by(otelcol)
        .await
        .context("cannot prepare the load")?;
    println!("{}", load.description());

    let mut figures: Vec<Figures> = variants
        .iter()
        .map(|variant| Figures::new(variant.name))
        .collect();
    for round in 0..arguments.rounds {
        for step in 0..variants.len() {
            let index = (step + round) % variants.len();
            let variant = variants[index];
            let before = received.load(Ordering::Relaxed);
            let subject = subject::Subject::start(variant, otelcol, &sink, cores)?;
            let run = load.run(&subject, arguments.records).await;
            let run = run.with_context(|| format!("{} failed", variant.name))?;
            subject.stop();
            let forwarded = received.load(Ordering::Relaxed) - before;
            ensure!(
                forwarded >= run.requests,
                "{} forwarded {forwarded} of {}",
                variant.name,
                run.requests
            );
            eprintln!("round {} {}: {run}", round + 1, variant.name);
            figures[index].runs.push(run);
        }
    }
    Ok(figures)
}
