//! The columns that every part of Petrel shares: what a batch of log records looks like, what a
//! detector may ask of it, and what the engine wants added to the records and sent beside them.
//!
//! Plain values only: nothing here reads bytes of the wire, keeps state or decides anything.

#![forbid(unsafe_code)]

mod column;
mod edits;
mod event;
#[cfg(feature = "arrow")]
mod log_batch;
#[cfg(feature = "arrow")]
mod lower;
pub mod names;
mod stream;
mod time;

pub use column::{Column, ColumnRequest, DataType, Dictionary, Float64List, Utf8, Values, bit};
pub use edits::{Attribute, AttributeValue, RowEdits};
pub use event::{EventRecord, Severity};
#[cfg(feature = "arrow")]
pub use log_batch::{ColumnSet, LogBatch, LogBatchError, ResourceRun};
#[cfg(feature = "arrow")]
pub use lower::lower;
pub use stream::{Resource, StreamId, StreamKey};
pub use time::EventTime;
