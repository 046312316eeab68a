//! The sandbox at its edge: real guests, built here, honest and hostile.
//!
//! - `guests`: builds the guests of `tests/guests`;
//! - `honest`: what runs natively runs the same in the sandbox;

mod guests;
mod honest;
