//! The wire: OTLP in, OTLP out. Only this crate knows protobuf and sockets.
//!
//! On the way through nothing is decoded into protobuf objects: [`walk`] reads a request in place
//! into columns, [`splice`] copies it with attributes added. What came in and was not edited goes out
//! byte for byte, unknown fields included. [`receive`] and [`export`] carry those bytes.

#![forbid(unsafe_code)]

mod buffers;
mod compress;
mod encode;
mod events;
pub mod export;
mod items;
mod json;
mod layout;
mod net;
mod proto;
pub mod receive;
mod reload;
mod reply;
pub mod security;
mod signal;
mod splice;
mod split;
mod status;
mod tls;
mod token;
mod walk;
mod wire;

pub use buffers::Buffers;
pub use events::{EVENT_NAME_ATTRIBUTE, EventSettings, encode_events};
pub use items::count_items;
pub use json::{json_to_protobuf, protobuf_to_json};
pub use layout::{LISTED_MAX, Layout};
pub use reply::ExportReply;
pub use signal::Signal;
pub use splice::splice;
pub use split::{PART_BYTES_MAX_DEFAULT, count_records, halve, split};
pub use status::{Code, Refusal};
pub use walk::{
    AHEAD_OF_ARRIVAL, Counts, RESOURCE_TEXT_MAX, RESOURCES_CACHED_DEFAULT, ResourceCache, WalkPlan,
    WalkSettings, Walked, Workers, walk,
};
pub use wire::{Fault, Malformed};
