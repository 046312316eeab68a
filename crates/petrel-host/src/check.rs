//! Whether an answer keeps the contract (`detector.wit`). The host trusts nothing that comes back: an
//! answer that breaks a rule is a fault of the guest like a trap, and the message names the place.
//!
//! `declared` has what a detector says of itself, `outcome` what it finds.

mod declared;
mod outcome;

use std::fmt;

use petrel_detector::{
    Batch, DataType, Fault, FaultKind, Level, Plan, Readiness, StreamId, Watermark, names,
};

pub use declared::{descriptor, plan};
pub use outcome::outcome;

use crate::limits::contract::{MISSING_BYTES_MAX, STREAMS_MAX};

/// A rule of the contract that an answer breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}")]
pub struct Broken {
    /// Where, as `findings[3].score`.
    pub place: String,
    /// What is there and what may be.
    pub rule: String,
}

impl Broken {
    fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
        }
    }

    /// The same, inside of something larger.
    fn within(self, outer: fmt::Arguments<'_>) -> Self {
        Self {
            place: format!("{outer}.{}", self.place),
            rule: self.rule,
        }
    }
}

/// What answers of one instance may name: the kinds of its plan and the streams it was told of.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    n_columns: usize,
    n_kinds: usize,
    /// Where in the plan stands the column of streams.
    stream_column: Option<usize>,
    /// Streams are dense from 0: those below this have been named to the instance.
    streams_end: u32,
}

impl Bounds {
    /// Before any stream has been named.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let is_stream = |column: &petrel_detector::ColumnRequest| {
            column.name == names::STREAM && column.data_type == DataType::Uint32
        };
        Self {
            n_columns: plan.columns.len(),
            n_kinds: plan.kinds.len(),
            stream_column: plan.columns.iter().position(is_stream),
            streams_end: 0,
        }
    }

    /// The streams of a batch are named to the instance.
    ///
    /// # Errors
    /// [`Fault`] that the instance survives when the batch does not fit the plan, which is no doing of
    /// the guest.
    pub fn meet_batch(&mut self, batch: &Batch<'_>) -> Result<(), Fault> {
        if batch.columns.len() != self.n_columns {
            let (came, asked) = (batch.columns.len(), self.n_columns);
            return Err(misused(
                "observe",
                format!("{came} columns, the plan asks for {asked}"),
            ));
        }
        if batch.rows as usize > Batch::ROWS_MAX {
            return Err(misused("observe", format!("{} rows", batch.rows)));
        }
        let told = batch.templates.iter().map(|template| template.stream.0);
        let rows = self
            .stream_column
            .map_or(&[][..], |column| batch.columns[column].uint32());
        let last = told.max().max(rows.iter().copied().max());
        last.map_or(Ok(()), |last| self.meet_stream("observe", StreamId(last)))
    }

    /// The streams of watermarks are named to the instance.
    ///
    /// # Errors
    /// As [`Bounds::meet_batch`].
    pub fn meet_watermarks(&mut self, watermarks: &[Watermark]) -> Result<(), Fault> {
        if watermarks.len() > Watermark::STREAMS_MAX {
            let n_streams = watermarks.len();
            return Err(misused("advance", format!("{n_streams} streams")));
        }
        let last = watermarks.iter().map(|watermark| watermark.stream).max();
        last.map_or(Ok(()), |last| self.meet_stream("advance", last))
    }

    /// A stream is named to the instance.
    ///
    /// # Errors
    /// As [`Bounds::meet_batch`].
    pub fn meet_stream(&mut self, call: &'static str, stream: StreamId) -> Result<(), Fault> {
        if stream.0 >= STREAMS_MAX {
            return Err(misused(call, format!("stream {}", stream.0)));
        }
        self.streams_end = self.streams_end.max(stream.0 + 1);
        Ok(())
    }
}

/// The host's own mistake: the guest is not called and lives on.
fn misused(call: &'static str, what: String) -> Fault {
    Fault {
        call,
        kind: FaultKind::Settings,
        message: format!("not what the contract lets the host send: {what}"),
    }
}

/// One answer for each kind; nothing is missing when a kind is ready.
///
/// # Errors
/// [`Broken`] naming the first that is not so.
pub fn readiness(readiness: &[Readiness], bounds: &Bounds) -> Result<(), Broken> {
    if readiness.len() != bounds.n_kinds {
        let rule = format!("{} for {} kinds", readiness.len(), bounds.n_kinds);
        return Err(Broken::new("readiness", rule));
    }
    for (index, kind) in readiness.iter().enumerate() {
        let is_excused = kind.level != Level::Ready || kind.missing.is_empty();
        at_most("missing", kind.missing.len(), MISSING_BYTES_MAX, "bytes")
            .and_then(|()| hold(is_excused, "missing", || "not empty although ready".into()))
            .map_err(|broken| broken.within(format_args!("readiness[{index}]")))?;
    }
    Ok(())
}

/// Saved state is at most `bytes_max` long.
///
/// # Errors
/// [`Broken`] when it is longer.
pub fn state(state: &[u8], bytes_max: usize) -> Result<(), Broken> {
    at_most("state", state.len(), bytes_max, "bytes")
}

// The rules that places share.

fn hold(holds: bool, place: &str, rule: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::new(place, rule()))
    }
}

fn at_most(place: &str, n: usize, n_max: usize, unit: &str) -> Result<(), Broken> {
    hold(n <= n_max, place, || {
        format!("{n} {unit}, at most {n_max} are allowed")
    })
}

/// Finite and at least `least`; NaN is neither.
fn at_least(place: &str, number: f64, least: f64) -> Result<(), Broken> {
    hold(number.is_finite() && number >= least, place, || {
        format!("{number} is not a finite number from {least} on")
    })
}

fn finite(place: &str, number: Option<f64>) -> Result<(), Broken> {
    let is_finite = number.is_none_or(f64::is_finite);
    hold(is_finite, place, || {
        format!("{} is not finite", number.unwrap_or_default())
    })
}

/// The text for a message: short, and without what a terminal would obey.
fn shown(text: &str) -> String {
    const CHARS_SHOWN: usize = 64;
    let head: String = text.chars().take(CHARS_SHOWN).collect();
    let dots = if head.len() < text.len() { "..." } else { "" };
    format!("{head:?}{dots}")
}
