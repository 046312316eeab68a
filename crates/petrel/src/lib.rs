//! Petrel as a library: configuration, wiring and life cycle. The binary is a thin shell around it.
//!
//! Only this crate decides by the wall clock, owns files of state and starts threads.

#![forbid(unsafe_code)]

pub mod admin;
pub mod analysis;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counting;
pub mod demo;
pub mod detectors;
pub mod directory;
pub mod inline;
pub mod junction;
pub mod missed;
pub mod modules;
pub mod next_hop;
pub mod outbox;
pub mod persist;
pub mod print;
pub mod run;
pub mod running;
pub mod store;
pub mod telemetry;
pub mod validate;
pub mod workers;
