//! What a detector is, for those who write one and for those who run it.
//!
//! [`Detector`] is the contract of `wit/detector.wit` as a trait: authors implement it (most through
//! the smaller per-stream trait), the engine drives it, and the sandbox implements it by forwarding to
//! a WASM component. So a native detector and a sandboxed one are interchangeable.
//!
//! Authors: write a [`StreamDetector`], keep its series in a [`SeriesTable`], put findings into
//! [`Findings`], make bytes of its state with [`saved`], take tails from [`math`], test it on stories
//! (module `story`, behind the feature of that name), and end the crate with
//! `petrel_detector::export!(PerStream<Yours>)`.

#![deny(unsafe_code)]

mod descriptor;
mod detector;
mod export;
mod findings;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod input;
pub mod math;
mod module;
mod outcome;
mod rows;
pub mod saved;
mod series_table;
mod settings;
#[cfg(feature = "story")]
pub mod story;
mod stream_detector;

pub use descriptor::{CalibrateBy, Descriptor, Kind, Plan, Scale};
pub use detector::{Detector, Fault, FaultKind};
pub use findings::{Findings, Note};
pub use input::{Batch, Template, TemplateId, TemplateMerge, Watermark};
pub use module::Module;
pub use outcome::{
    Annotation, Direction, Evidence, EvidenceValue, Finding, Level, Outcome, Readiness, SeriesKey,
};
pub use petrel_batch::{
    Column, ColumnRequest, DataType, Dictionary, EventTime, Float64List, StreamId, Utf8, Values,
    bit, names,
};
pub use rows::{RowIter, Rows};
pub use series_table::{COLD_MAX, Cold, FixedHasher, SERIES_MAX, SeriesTable};
pub use stream_detector::{PerStream, SERIES_INSTANCE_MAX, StreamDetector};
