//! The fault matrix: what each fault does to the records that pass, counted.
//!
//! Petrel stands between senders (a client, a real Collector with a queue, or an SDK of OTLP's) and a real
//! Collector that writes what arrives to a file; a wire that the test can cut lies between the last two.
//! Whatever breaks, the count must balance: what senders were told is accepted arrives, but for what the
//! delivery mode's promise says may be lost and what Petrel says is lost.
//!
//! ```sh
//! cargo test --test faults                                          # the quick part, as in CI
//! cargo test --release --test faults -- --ignored --nocapture      # all of it, with a table
//! ```
//!
//! `PETREL_TEST_FAULTS=order` runs only rows whose name has this in it.
//!
//! The Rust SDK is always among the senders. The Python SDK and telemetrygen are in the full run where these
//! variables name them; where they do not, the run says which rows it leaves out. `tests/conformance/run`
//! builds both:
//!
//! ```sh
//! export PETREL_TEST_PYTHON=$PWD/target/conformance/venv/bin/python
//! export PETREL_TEST_TELEMETRYGEN=$PWD/target/conformance/bin/telemetrygen
//! ```
//!
//! One module for each kind of fault; `table` has what a row is, `scene` what it is run in, `load` who sends.

#[path = "../authority.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod authority;
#[path = "../client.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod client;
#[path = "../collector/mod.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod collector;
#[path = "../faketime.rs"]
mod faketime;
#[path = "../linux.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod linux;
#[path = "../metrics.rs"]
mod metrics;
#[path = "../petrel.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod petrel;
#[path = "../process.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod process;
#[path = "../records.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod records;
#[path = "../strangers.rs"]
mod strangers;
#[path = "../wait.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod wait;

mod answering;
mod balancing;
mod crashes;
mod disk;
mod front;
mod load;
mod order;
mod queues;
mod relay;
mod scene;
mod sdks;
mod statuses;
mod table;
mod wires;

use table::{Extent, Table};

/// Runs all rows of an extent, prints them, and fails when one of them does.
async fn run(extent: Extent) {
    let Some(collector) = collector::available("faults") else {
        return;
    };
    let mut table = Table::new(collector, extent);
    wires::rows(&mut table).await;
    statuses::rows(&mut table).await;
    crashes::rows(&mut table).await;
    order::rows(&mut table).await;
    queues::rows(&mut table).await;
    disk::rows(&mut table).await;
    balancing::rows(&mut table).await;
    sdks::rows(&mut table).await;
    front::rows(&mut table).await;
    table.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_selection_of_faults_loses_nothing() {
    run(Extent::Quick).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes forty minutes, and ten minutes more with all senders"]
async fn no_fault_loses_anything() {
    run(Extent::Full).await;
}
