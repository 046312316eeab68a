//! What a detector answers: findings with their evidence, annotations, readiness.

use petrel_batch::{EventTime, StreamId, Values};

use crate::TemplateId;

/// What a call found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// At most [`Outcome::FINDINGS_MAX`], oddest first when there are more than fit.
    pub findings: Vec<Finding>,
    /// Findings left out for the bound.
    pub omitted: u32,
    /// At most [`Outcome::ANNOTATIONS_MAX`].
    pub annotations: Vec<Annotation>,
}

impl Outcome {
    /// Findings of one call at most.
    pub const FINDINGS_MAX: usize = 1_024;
    /// Annotations of one call at most.
    pub const ANNOTATIONS_MAX: usize = 64;
}

/// Something odd about a series: a stream, a template if any, and keys of the detector's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The stream.
    pub stream: StreamId,
    /// Index in the plan's kinds.
    pub kind: u32,
    /// The template, where the series has one.
    pub template: Option<TemplateId>,
    /// What identifies the series besides stream and template; at most 8, keys unique.
    pub series: Vec<SeriesKey>,
    /// Which way it deviates.
    pub direction: Direction,
    /// Finite, at least 0.0; larger is odder; read by the kind's scale. 0.0 withdraws the finding of
    /// the same series, kind, direction and end.
    pub score: f64,
    /// Where it lies in event time, start included.
    pub start: EventTime,
    /// End, not included; after `start`.
    pub end: EventTime,
    /// Event time since which this series has been watched, at most `start`.
    pub since: EventTime,
    /// What was seen, finite, in the kind's unit.
    pub observed: Option<f64>,
    /// What was usual.
    pub expected: Option<f64>,
    /// Lower end of the usual range.
    pub lower: Option<f64>,
    /// Upper end of the usual range.
    pub upper: Option<f64>,
    /// Unit of these four where it is not the kind's.
    pub unit: Option<String>,
    /// Rows of the batch just observed that show it, ascending, at most 64; empty from `advance`.
    pub rows: Vec<u32>,
    /// How many records it rests on, by weight.
    pub records: Option<f64>,
    /// What it is based on, most telling first; at most 12, 12 KiB together, names unique.
    pub evidence: Vec<Evidence>,
}

/// Which way something deviates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// More or longer than usual.
    Above,
    /// Less or shorter than usual.
    Below,
    /// Not there before.
    Appeared,
    /// No longer there.
    Disappeared,
    /// Otherwise different.
    Changed,
}

impl Direction {
    /// The word used in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
            Self::Appeared => "appeared",
            Self::Disappeared => "disappeared",
            Self::Changed => "changed",
        }
    }
}

/// A key of a series and its value; a key at most 128 bytes, a value at most 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Key, most often the name of an attribute.
    pub key: String,
    /// Value.
    pub value: String,
}

/// One thing that a finding is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Lower case, digits, underscores and dots; 1 to 64 characters.
    pub name: String,
    /// Its value.
    pub value: EvidenceValue,
}

/// A value of evidence.
#[derive(Clone, Debug, PartialEq)]
pub enum EvidenceValue {
    /// Finite.
    Number(f64),
    /// At most 4 KiB.
    Text(String),
    /// Oldest first, at most 256; NaN where nothing was seen.
    Numbers(Vec<f64>),
}

/// An attribute `petrel.<detector>.<key>` for some rows of the batch just observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Lower case, digits, underscores and dots; 1 to 64 characters; once in an outcome.
    pub key: String,
    /// Ascending, each once, below the batch's rows; none from `advance`.
    pub rows: Vec<u32>,
    /// One value for each of `rows`; neither absent nor a list.
    pub values: Values<'static>,
}

/// How far a kind of finding has been learnt in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The level.
    pub level: Level,
    /// What is missing, for people: `340 of 500 values`; empty when ready.
    pub missing: String,
}

/// Petrel emits nothing for a kind that is learning, and caps what is provisional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Too little has been seen.
    Learning,
    /// Findings are tentative.
    Provisional,
    /// Learnt.
    Ready,
}
