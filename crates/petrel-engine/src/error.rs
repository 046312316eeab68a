//! What can be wrong with a detector that is to run.

use petrel_detector::Fault;

/// Why a detector was not taken; what ran before runs on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It cannot be instantiated, described or configured.
    #[error("detector {detector} cannot be built: {fault}")]
    Build {
        /// Name, or the module's digest where it has not said its name.
        detector: String,
        /// What went wrong.
        fault: Fault,
    },
    /// Its plan breaks the contract.
    #[error("detector {detector} asks for {rule}")]
    Plan {
        /// Name.
        detector: String,
        /// What it asks for, and what is allowed.
        rule: String,
    },
    /// There is one of that name.
    #[error("a detector {detector} is running already")]
    Duplicate {
        /// Name.
        detector: String,
    },
    /// There is none of that name.
    #[error("no detector {detector} is running")]
    Unknown {
        /// Name.
        detector: String,
    },
    /// It refuses what the old one knows.
    #[error("detector {detector} does not take over the state of stream {stream}: {fault}")]
    HandOver {
        /// Name.
        detector: String,
        /// The stream.
        stream: String,
        /// What it says.
        fault: Fault,
    },
}
