//! The sandbox in which WASM detectors run: load, check, compile, instantiate, limit, call.
//!
//! A [`Sandbox`] loads bytes into a [`WasmModule`], whose instances are detectors like any other. A
//! guest gets columns, watermarks and settings, can write to the operator's log, and nothing else: no
//! WASI, no clock, no randomness. Whatever it does, a call ends within its deadline with an answer that
//! keeps the contract, or with a [`Fault`](petrel_detector::Fault), after which the instance is gone.
//!
//! Deliberately absent: a cache of compiled code. A Rust or C module compiles in a fifth of a second,
//! and a cache is native code that must be guarded like the binary itself.

#![forbid(unsafe_code)]

mod bindings;
pub mod check;
mod deadline;
mod guest_log;
mod instance;
mod lift;
mod limits;
mod load;
mod lower;
mod module;
mod sandbox;
mod store;

pub use guest_log::{GuestLog, TracingLog};
pub use limits::Limits;
pub use load::{CONTRACT_VERSION, LoadError};
pub use module::WasmModule;
pub use sandbox::{Meter, Sandbox, SandboxError};
