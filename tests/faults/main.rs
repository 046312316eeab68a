//! The fault matrix: what each fault does to the records that pass, counted.
//!
//! Petrel stands between senders (a client, or a real Collector with a queue) and a real Collector that
//! writes what arrives to a file; a wire that the test can cut lies between the last two. Whatever breaks,
//! the count must balance: what senders were told is accepted arrives, but for what the delivery mode's
//! promise says may be lost and Petrel says is lost.
//!
//! ```sh
//! cargo test --test faults                                          # the quick part, as in CI
//! cargo test --release --test faults -- --ignored --nocapture      # all of it, with a table
//! ```

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
#[path = "../wait.rs"]
#[allow(
    dead_code,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod wait;

mod downstream;
mod edge;
mod load;
mod relay;
mod scene;
mod table;
