//! Petrel as a library: configuration, wiring and life cycle. The binary is a thin shell around it.
//!
//! Only this crate decides by the wall clock, owns files of state and starts threads.

#![forbid(unsafe_code)]

pub mod admin;
pub mod analysis;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod counting;
pub mod database;
pub mod delivery;
pub mod demo;
pub mod detectors;
pub mod directory;
pub mod events;
pub mod follow;
pub mod inline;
pub mod junction;
pub mod limiter;
pub mod missed;
pub mod modules;
pub mod outbox;
pub mod persist;
pub mod pipeline;
pub mod print;
pub mod run;
pub mod running;
pub mod servers;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod tenancy;
pub mod validate;
pub mod ways;
pub mod workers;
