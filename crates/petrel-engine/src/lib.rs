//! The pure middle: which template a body has, how far each stream's time has come, what detectors
//! are shown and when, how rare what they find is, and what becomes of it: edits of records and
//! anomaly events. No IO, no clock, no threads: same calls, same answers.
//!
//! [`FrontierClock`] stamps requests at intake, [`Worker`]s judge the rows of their streams,
//! [`GlobalStage`] joins the parts in the order of sequence numbers.

#![forbid(unsafe_code)]

mod advance;
mod anomaly;
mod book;
mod calibration;
mod columns;
mod detectors;
mod enrichment;
mod error;
mod event;
mod exchange;
mod fold;
mod frontier;
mod global;
mod instance;
mod limits;
mod mining;
mod pass;
mod privacy;
mod reach;
mod replay;
mod retries;
mod sentence;
mod settings;
mod slot;
mod snapshot;
pub mod state;
mod status;
mod streams;
mod tally;
pub mod templates;
mod verdict;
mod watermark;
mod worker;

pub use anomaly::Tier;
pub use detectors::DetectorSpec;
pub use error::EngineError;
pub use event::StreamEvent;
pub use exchange::{DetectorStatus, Prepared};
pub use frontier::{Frontier, FrontierClock, Gap, Step};
pub use global::{GlobalStage, Settled};
pub use instance::{Health, HealthChange};
pub use limits::Limits;
pub use pass::Judgement;
pub use privacy::{Privacy, WITHHELD};
pub use settings::{Enrichment, Settings};
pub use snapshot::{Continuity, Scope, Snapshot};
pub use state::{Part, SetAside, StateError, StreamState};
pub use status::{
    DetectorHealth, KindStatus, StreamCounts, StreamDetector, StreamStatus, WorkerStatus,
};
pub use tally::{Reason, Tally};
pub use worker::Worker;
