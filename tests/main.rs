//! End-to-end tests: the built binary among real neighbours.
//!
//! - `passthrough`: recordings through two Collectors with and without Petrel between are equal
//! - `anomalies`: what is found arrives as the contract says
//! - `kill`: nothing acknowledged is lost over a `kill -9`
//! - `sdk`: a real SDK as the client
//! - `bad_input`: what is refused, with which words, and what passes all the same
//! - `configs`: every file of `collector-config/`, run
//! - `consumer`: the example for vendors, run as its README says
//!
//! The rest is what they share: `collector` (built from a pinned manifest) and `petrel` are the processes,
//! `process` and `wait` keep them in hand, `client` and `sink` speak OTLP with them, `records` compares what
//! came out, `recording` reads what is kept outside the repository. Nothing leaves this machine but the
//! build of the Collector, and nothing waits for a time where it can wait for a fact.

mod anomalies;
mod bad_input;
mod client;
mod collector;
mod configs;
mod consumer;
mod kill;
mod passthrough;
mod petrel;
mod process;
mod recording;
mod records;
mod sdk;
mod sink;
mod wait;
