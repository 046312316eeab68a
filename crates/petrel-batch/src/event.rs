//! An anomaly event before it is encoded: a log record of Petrel's own, as plain values.

use std::borrow::Cow;

use crate::{Attribute, EventTime};

/// OTLP severity numbers that Petrel's own records use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `INFO`, 9.
    Info,
    /// `WARN`, 13.
    Warning,
    /// `ERROR`, 17.
    Critical,
}

impl Severity {
    /// OTLP severity number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Info => 9,
            Self::Warning => 13,
            Self::Critical => 17,
        }
    }

    /// OTLP severity text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Critical => "ERROR",
        }
    }
}

/// A log record that reports an anomaly; sent in requests of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// Tenant of the stream, whose headers the event leaves with; empty where tenants are not kept
    /// apart, and for what concerns the whole input. Not written into the record.
    pub tenant: String,
    /// `event_name`, as `anomaly.detected`.
    pub event_name: Cow<'static, str>,
    /// When what it reports took place.
    pub time: EventTime,
    /// When it was emitted, in the input's own time; unset (`EventTime::UNKNOWN`) until it leaves.
    pub observed_time: EventTime,
    /// Severity number and text.
    pub severity: Severity,
    /// One English sentence.
    pub body: String,
    /// Name of the instrumentation scope, as `petrel/detectors/frequency`.
    pub scope_name: String,
    /// Version of the scope: the module's.
    pub scope_version: String,
    /// Attributes of the resource, sorted by key.
    pub resource: Vec<(String, String)>,
    /// Attributes of the record.
    pub attributes: Vec<Attribute>,
    /// Trace and span when exactly one caused it.
    pub trace: Option<([u8; 16], [u8; 8])>,
}
