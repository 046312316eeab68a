//! The sandbox at its edge: real guests, built here, honest and hostile.
//!
//! - `build`: builds guests as their authors would;
//! - `guests`: those of `tests/guests`, loaded;
//! - `honest`: what runs natively runs the same in the sandbox;
//! - `evil`: whatever a guest does, its call ends soon and the next instance works;
//! - `lift`: replies that no compiler would write, from WASM text;
//! - `c_guest`: the example in C;
//! - `refused`: files that are no detector;
//! - `text_guest`: a detector in WASM text, of which tests replace parts.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod build;
mod c_guest;
mod evil;
mod guests;
mod honest;
mod lift;
mod refused;
mod text_guest;
