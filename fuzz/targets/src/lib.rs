//! What must hold of any input, one function a fuzz target: each panics where it does not.
//!
//! libFuzzer runs them (`fuzz/`), and so does a test of this crate, with the corpus and some thousand
//! mutations of it. What a request is made of and what a walk should find in it are said once, by the
//! tests of `petrel-otlp`, and shared with them.

#![forbid(unsafe_code)]

// A link to Petrel's own, without the rest of Petrel: its compiler of modules would take libFuzzer an hour
// to instrument.
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "shared with Petrel, which uses all of it"
)]
mod config;
mod configuration;
mod decompression;
mod json;
#[path = "../../../crates/petrel-otlp/tests/otlp/model.rs"]
mod model;
#[path = "../../../crates/petrel-otlp/tests/otlp/pieces.rs"]
mod pieces;
mod splice;
mod split;
mod walk;

pub use configuration::configuration;
pub use decompression::decompression;
pub use json::json;
pub use splice::splice;
pub use split::split;
pub use walk::walk;

/// A target: takes any input, panics where something does not hold.
pub type Target = fn(&[u8]);

/// All targets by name, which is that of their program and of the folder of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("walk", walk),
    ("splice", splice),
    ("split", split),
    ("json", json),
    ("decompression", decompression),
    ("config", configuration),
];
