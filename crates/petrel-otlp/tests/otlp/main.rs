//! The crate at its edge. `generate` makes OTLP bytes of every odd shape that protobuf allows, `model`
//! says with prost's objects what a walk should find in them, `pieces` takes them apart to compare bytes;
//! the rest are tests, one file a subject.

mod connections;
mod delivery;
mod events;
mod export;
mod generate;
mod json;
mod loopback;
mod model;
mod pieces;
mod receive;
mod secure;
mod signals;
mod splice;
mod split;
mod walk;
