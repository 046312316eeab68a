//! What must hold of any input, one function a fuzz target: each panics where it does not.
//!
//! libFuzzer runs them (`fuzz/`), and so does a test of this crate, with the corpus and some thousand
//! mutations of it. What a request is made of and what a walk should find in it are said once, by the
//! tests of `petrel-otlp`, and shared with them.

#![forbid(unsafe_code)]

#[cfg(feature = "config")]
mod config;
mod decompression;
mod json;
#[path = "../../../crates/petrel-otlp/tests/otlp/model.rs"]
mod model;
#[path = "../../../crates/petrel-otlp/tests/otlp/pieces.rs"]
mod pieces;
mod splice;
mod split;
mod walk;

#[cfg(feature = "config")]
pub use config::config;
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
    #[cfg(feature = "config")]
    ("config", config),
];
