//! Petrel as a library: configuration, wiring and life cycle. The binary is a thin shell around it.
//!
//! Only this crate decides by the wall clock, owns files of state and starts threads.

#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod directory;
pub mod outbox;
pub mod print;
pub mod store;
pub mod telemetry;
