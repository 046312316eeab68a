//! What a detector is, for those who write one and for those who run it.
//!
//! [`Detector`] is the contract of `wit/detector.wit` as a trait: authors implement it (most through
//! the smaller per-stream trait), the engine drives it, and the sandbox implements it by forwarding to
//! a WASM component. So a native detector and a sandboxed one are interchangeable.

#![deny(unsafe_code)]

mod descriptor;
mod detector;
mod export;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod input;
mod module;
mod outcome;

pub use descriptor::{CalibrateBy, Descriptor, Kind, Plan, Scale};
pub use detector::{Detector, Fault, FaultKind};
pub use input::{Batch, Template, TemplateId, TemplateMerge, Watermark};
pub use module::Module;
pub use outcome::{
    Annotation, Direction, Evidence, EvidenceValue, Finding, Level, Outcome, Readiness, SeriesKey,
};
pub use petrel_batch::{
    Column, ColumnRequest, DataType, Dictionary, EventTime, Float64List, StreamId, Utf8, Values,
    bit, names,
};
