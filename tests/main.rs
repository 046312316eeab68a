//! End-to-end tests: the built binary among real neighbours.
//!
//! - `passthrough`: recordings through two Collectors with and without Petrel between are equal
//! - `anomalies`: what is found arrives as the contract says
//! - `hostile`: detectors that do everything wrong, under traffic
//! - `hot_reload`: modules that come, change and go while Petrel runs
//! - `restart`: what was learnt, and what was found, outlives the process
//! - `overload`: more than it can hold, and what a shutdown does to requests in flight
//! - `reload`: another configuration by SIGHUP, good and bad, under traffic
//! - `abuse`: senders that do what they should not, and memory that is short
//! - `clock`: a wall clock that jumps
//! - `kill`: nothing acknowledged is lost over a `kill -9`
//! - `security`: TLS, certificates and tokens that change under load, secrets that nobody is told
//! - `signals`: traces and metrics by every way in and out
//! - `differential`: Petrel between two Collectors against the Collectors alone, on generated requests
//! - `own`: Petrel's own telemetry
//! - `sdk`: a real SDK as the client
//! - `bad_input`: what is refused, with which words, and what passes all the same
//! - `configs`: every file of `collector-config/`, run
//! - `commands`: `run` without a file, and `validate`
//! - `control`: `petrel status`, `mode` and `detector`, and who is answered at all
//! - `consumer`: the example for vendors, run as its README says
//! - `demo`: the demo to its end, and the document that it prints
//!
//! The rest is what they share: `collector` (built from a pinned manifest) and `petrel` are the processes,
//! `process` and `wait` keep them in hand, `client` and `sink` speak OTLP with them, `stage` puts Petrel
//! between the two, `front` changes its configuration while it runs, `guests` builds what is dropped into it, `metrics` reads what it says of itself,
//! `linux` what the system says of it, `faketime` sets its clock, `authority` makes its certificates, `strangers`
//! connect to it for nothing,
//! `records` compares what came out, `story` tells a service's log, `recording` reads what is kept outside
//! the repository. Nothing leaves this machine but the build of the Collector and of the example in C, and
//! nothing waits for a time where it can wait for a fact.

mod abuse;
mod anomalies;
mod authority;
mod bad_input;
mod client;
mod clock;
mod collector;
mod commands;
mod configs;
mod consumer;
mod control;
mod demo;
mod differential;
mod faketime;
mod front;
mod guests;
mod hostile;
mod hot_reload;
mod kill;
mod linux;
mod metrics;
mod overload;
mod own;
mod passthrough;
mod petrel;
mod process;
mod recording;
mod records;
mod reload;
mod restart;
mod sdk;
mod security;
mod signals;
mod sink;
mod stage;
mod story;
mod strangers;
mod wait;
