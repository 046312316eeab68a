//! What a detector is given: rows as columns, templates, watermarks.

use petrel_batch::{Column, EventTime, StreamId};
use serde::{Deserialize, Serialize};

/// Id of a template: the same text has the same id in every stream, on every host, after restarts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[repr(transparent)]
pub struct TemplateId(pub u64);

/// Rows in the order in which they came, as the columns of the detector's plan.
///
/// A row whose event time lies below the watermark last told for its stream is late. A batch that
/// brings templates or merges may have no rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<'a> {
    /// Number of rows, at most [`Batch::ROWS_MAX`].
    pub rows: u32,
    /// One for each of the plan's columns, in that order.
    pub columns: Vec<Column<'a>>,
    /// Templates that this instance meets for the first time in a stream; empty unless the plan asks
    /// for `template`.
    pub templates: Vec<Template>,
    /// Templates that turned out to be one, in order; to be applied before the rows are read.
    pub merges: Vec<TemplateMerge>,
}

impl Batch<'_> {
    /// Rows of one `observe` at most; the engine splits what is longer.
    pub const ROWS_MAX: usize = 8_192;
}

/// A log body with its variable parts taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The stream that it was met in.
    pub stream: StreamId,
    /// Its id.
    pub id: TemplateId,
    /// Variable parts as `<*>`.
    pub text: String,
    /// Its constant part holds a word of failure (error, timeout, refused ...).
    pub failure: bool,
}

/// From here on rows carry `target` where they carried `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateMerge {
    /// The stream in which they merge.
    pub stream: StreamId,
    /// What is known of it belongs to the target.
    pub source: TemplateId,
    /// May be known already.
    pub target: TemplateId,
}

/// All rows of the stream with an event time below `time` are held to have come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watermark {
    /// The stream.
    pub stream: StreamId,
    /// Never moves back; may cross several windows at once.
    pub time: EventTime,
    /// Share of the time since the last watermark in which input was taken in, 0.0 to 1.0; the same
    /// all over the span. Windows in a span of 0.0 are not judged.
    pub completeness: f64,
}

impl Watermark {
    /// Streams of one `advance` at most; the engine splits what is longer.
    pub const STREAMS_MAX: usize = 256;
}
