//! The wire: OTLP in, OTLP out. Only this crate knows protobuf and sockets.
//!
//! On the way through nothing is decoded into protobuf objects: [`walk`] reads a request in place
//! into columns, [`splice`] copies it with attributes added. What came in and was not edited goes out
//! byte for byte, unknown fields included.

#![forbid(unsafe_code)]

mod encode;
mod layout;
mod splice;
mod walk;
mod wire;

pub use layout::{LISTED_MAX, Layout};
pub use splice::splice;
pub use walk::{
    AHEAD_OF_ARRIVAL, Counts, RESOURCE_TEXT_MAX, RESOURCES_CACHED_DEFAULT, ResourceCache, WalkPlan,
    WalkSettings, Walked, Workers, walk,
};
pub use wire::Malformed;
