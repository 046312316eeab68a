//! Petrel beside the real Collector: the same load through each, one core each, in CPU seconds per million
//! records.
//!
//! ```sh
//! cargo bench --bench side_by_side -- --rounds 5 --records 1000000
//! cargo bench --bench side_by_side -- --scenario small,gzip,queue --rounds 5 --records 500000
//! cargo bench --bench side_by_side -- --scenario workers,latency,saturation
//! ```
//!
//! Scenarios: `plain` (the default) is 1,000 records a request without compression, by what is done with a
//! record; `small` is 100 records a request; `gzip` the Collector's own defaults; `queue` memory and file
//! queues; `workers` two workers beside one; `latency` what is added at half of saturation; `saturation`
//! memory through twice of it; `all` is all of them. Each has an object of its name in
//! `target/side_by_side.json`, which keeps what other runs have written.
//!
//! The process under test has one core; load and sink have another. Every round runs every variant once, in
//! rotating order, so that a slow spell of the machine meets all of them. `load` makes what is sent,
//! `variants` says what is compared, `subject` starts it, `report` prints.

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

mod bench;
mod closed;
mod latency;
mod load;
mod report;
mod saturation;
mod subject;
mod variants;
mod workers;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::bench::{Arguments, Bench};
use crate::closed::SCENARIOS;
use crate::report::Object;
use crate::subject::Cores;

/// Those that are not of [`SCENARIOS`].
const OTHERS: [&str; 3] = ["workers", "latency", "saturation"];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    let wanted = scenarios(&arguments.scenario)?;

    let Some(otelcol) = collector::available("side_by_side") else {
        return Ok(());
    };
    let bench = Bench {
        arguments,
        otelcol,
        cores: Cores::of_this_process()?,
    };
    bench.cores.pin_to_load()?;
    for scenario in wanted {
        println!("\n{scenario}");
        // One thread on one core: load and sink together, on the other side of the process under test.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let object = runtime.block_on(measure(&bench, scenario))?;
        if bench.arguments.only.is_empty() {
            let path = report::write(scenario, object)?;
            println!("\nwritten to {}", path.display());
        }
    }
    Ok(())
}

/// The scenarios of these names, in the order of the names.
fn scenarios(names: &[String]) -> Result<Vec<&'static str>> {
    let known = || SCENARIOS.iter().map(|it| it.name).chain(OTHERS);
    if names.iter().any(|name| name == "all") {
        return Ok(known().collect());
    }
    let find = |name: &String| {
        let found = known().find(|known| known == name);
        found.ok_or_else(|| anyhow::anyhow!("no scenario {name}"))
    };
    names.iter().map(find).collect()
}

async fn measure(bench: &Bench, scenario: &str) -> Result<Object> {
    match scenario {
        "workers" => workers::measure(bench).await,
        "latency" => latency::measure(bench).await,
        "saturation" => saturation::measure(bench).await,
        name => {
            let scenario = SCENARIOS.iter().find(|it| it.name == name);
            let scenario = scenario.ok_or_else(|| anyhow::anyhow!("no scenario {name}"))?;
            scenario.measure(bench).await
        }
    }
}
