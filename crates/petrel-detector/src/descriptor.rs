//! What a detector says of itself and asks for.

use std::time::Duration;

use petrel_batch::ColumnRequest;

/// What a detector says of itself before it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Lower case, digits and hyphens; 1 to 64 characters; not petrel, template, stream or detector.
    pub name: String,
    /// Semantic version of the detector.
    pub version: String,
    /// One sentence: what it finds.
    pub summary: String,
    /// JSON Schema of the settings, with defaults; at most 64 KiB.
    pub settings_schema: String,
    /// Version of the bytes that `save` returns.
    pub state_version: u32,
}

/// A kind of finding; its name becomes the type of the anomaly.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Lower case, digits and hyphens; 1 to 64 characters; unique in the detector.
    pub name: String,
    /// Unit of observed, expected, lower and upper (UCUM): `s`, `{record}`.
    pub unit: String,
    /// How scores are to be read.
    pub scale: Scale,
    /// What shares one notion of rare.
    pub calibrate_by: CalibrateBy,
    /// Every score from here on is reported, none below (but for a withdrawal).
    pub report_from: f64,
    /// The least difference between observed and expected that matters, in `unit`; 0.0 = any.
    pub floor: f64,
    /// The least ratio between them that matters, either way; 1.0 = any.
    pub floor_ratio: f64,
}

/// What shares one notion of rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalibrateBy {
    /// Each series, where series live long.
    Series,
    /// The whole stream, where each series is new.
    Stream,
}

/// How scores of a kind are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// -log10 of the probability of something at least as odd, by the detector's own model.
    Surprise,
    /// Only the order counts: larger is odder.
    Ordinal,
}

/// What a detector asks for under its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// At most 64. Batches bring them in this order.
    pub columns: Vec<ColumnRequest>,
    /// Kinds of findings, 1 to 32.
    pub kinds: Vec<Kind>,
    /// Length of a window, aligned to the epoch, at least one second.
    pub window: Duration,
}
