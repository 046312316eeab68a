//! The trait that authors implement, the engine drives and the sandbox forwards.

use petrel_batch::StreamId;

use crate::{Batch, Descriptor, Outcome, Plan, Readiness, Watermark};

/// A detector: sees columns, watermarks and its settings, and nothing else.
///
/// Order of calls: `describe` at any time; `configure` once; then, for each stream, `load` if there is
/// state to keep, and after it `observe`, `advance`, `status`, `save` and `forget` in any order. Rows
/// come in order: where a row moves its stream's watermark over the end of a window, or templates
/// merge, the rows before it are observed first. Answers depend on these inputs alone, not on how
/// rows were split into batches, nor on how many windows one `advance` crosses.
///
/// A native detector never faults. A sandboxed one that answers with a [`Fault`] is gone: whoever
/// drives it builds a new one from the last saved state.
pub trait Detector {
    /// What it says of itself.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn describe(&mut self) -> Result<Descriptor, Fault>;

    /// Takes settings, a JSON object of at most 64 KiB; empty text is an empty object.
    ///
    /// # Errors
    /// [`Fault`] of kind [`FaultKind::Settings`] saying which setting is wrong and what is allowed.
    fn configure(&mut self, settings: &str) -> Result<Plan, Fault>;

    /// Learns from a batch and judges its rows.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault>;

    /// Judges what the watermarks have made complete. Each stream at most once a call.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault>;

    /// How far a stream has been learnt, one for each kind of the plan. Changes nothing.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault>;

    /// What was learnt of a stream, at most 4 MiB; empty = nothing. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault>;

    /// Puts back what a detector of this name saved under state version `version`.
    ///
    /// # Errors
    /// [`Fault`] of kind [`FaultKind::State`] when the bytes are damaged or foreign, after which
    /// nothing has changed and the instance lives on; any other kind ends it.
    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault>;

    /// Drops a stream: it has been idle for long or has moved away.
    ///
    /// # Errors
    /// [`Fault`] of a guest.
    fn forget(&mut self, stream: StreamId) -> Result<(), Fault>;
}

/// Why a call of a detector gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Fault {
    /// Name of the call, as `observe`.
    pub call: &'static str,
    /// What class of fault.
    pub kind: FaultKind,
    /// What happened: the guest's own panic text and backtrace, or the rule that a reply broke.
    pub message: String,
}

/// Classes of faults; a closed set, since they are label values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped.
    Trap,
    /// The call overran its deadline, or its fuel.
    Deadline,
    /// The guest wanted more memory than it is given.
    Memory,
    /// The reply breaks the contract: too large, out of range, not finite.
    Reply,
    /// Settings were refused; the instance lives on.
    Settings,
    /// Saved state was refused; the instance lives on.
    State,
}

impl FaultKind {
    /// Value of the label `error_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "timeout",
            Self::Memory => "memory",
            Self::Reply => "abi",
            Self::Settings => "settings",
            Self::State => "state",
        }
    }

    /// Whether the instance can be called again.
    #[must_use]
    pub const fn survives(self) -> bool {
        matches!(self, Self::Settings | Self::State)
    }
}
