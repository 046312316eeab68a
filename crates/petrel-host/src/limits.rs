//! The bounds of the sandbox: each has a name, a default, and an answer when it is reached.

use std::time::Duration;

/// What one instance of a guest may use; a fault of the guest when it takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories of the instance together; default 64 MiB. Growing beyond
    /// is refused, and what the guest makes of that is its own affair.
    pub memory_bytes_max: usize,
    /// CPU time of a call; default 50 ms, noticed up to two ticks of 5 ms late.
    pub call_cpu_max: Duration,
    /// Wall time of a call, for one that is starved of CPU; default 500 ms.
    pub call_wall_max: Duration,
    /// Fuel of a call, in place of time, where [`Meter::Fuel`](crate::Meter::Fuel) counts; default
    /// 1 G, about ten times what the deadline lets through.
    pub call_fuel_max: u64,
    /// Bytes lifted from one reply or one log line; default 4 MiB.
    pub reply_bytes_max: usize,
    /// Bytes of the saved state of one stream; default 4 MiB.
    pub state_bytes_max: usize,
    /// Log lines of a call; default 64, what comes after is counted.
    pub log_lines_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 * MIB,
            call_cpu_max: Duration::from_millis(50),
            call_wall_max: Duration::from_millis(500),
            call_fuel_max: 1_000_000_000,
            reply_bytes_max: 4 * MIB,
            state_bytes_max: 4 * MIB,
            log_lines_max: 64,
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Bytes of a module as read; the largest runtime tried (Python) makes 18 MiB. More is refused.
pub(crate) const MODULE_BYTES_MAX: usize = 64 * MIB;
/// Stack of a guest, in bytes; a recursion beyond traps.
pub(crate) const STACK_BYTES_MAX: usize = 512 * 1024;
/// How often the deadline of a running call is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Elements of all tables of an instance together; growing beyond is refused.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances of a component; a Python guest has 38. More is refused when instantiating.
pub(crate) const CORE_INSTANCES_MAX: usize = 256;
/// Tables of a component.
pub(crate) const TABLES_MAX: usize = 256;
/// Linear memories of a component.
pub(crate) const MEMORIES_MAX: usize = 16;

/// Bytes of a log line; the rest is cut.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 1024;
/// Bytes of a fault's message, backtrace included; the rest is cut.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// The contract's own bounds on what a guest answers (`detector.wit`); more is a fault.
pub(crate) mod contract {
    use std::time::Duration;

    pub(crate) const NAME_CHARS_MAX: usize = 64;
    pub(crate) const SUMMARY_BYTES_MAX: usize = 1024;
    pub(crate) const SETTINGS_SCHEMA_BYTES_MAX: usize = 64 * 1024;
    pub(crate) const SETTINGS_BYTES_MAX: usize = 64 * 1024;
    pub(crate) const COLUMNS_MAX: usize = 64;
    pub(crate) const COLUMN_NAME_BYTES_MAX: usize = 256;
    pub(crate) const KINDS_MAX: usize = 32;
    pub(crate) const UNIT_BYTES_MAX: usize = 64;
    pub(crate) const WINDOW_MIN: Duration = Duration::from_secs(1);
    /// Streams are dense from 0 and stay below this.
    pub(crate) const STREAMS_MAX: u32 = 65_536;
    pub(crate) const SERIES_KEYS_MAX: usize = 8;
    pub(crate) const SERIES_KEY_BYTES_MAX: usize = 128;
    pub(crate) const SERIES_VALUE_BYTES_MAX: usize = 1024;
    pub(crate) const FINDING_ROWS_MAX: usize = 64;
    pub(crate) const EVIDENCE_MAX: usize = 12;
    pub(crate) const EVIDENCE_BYTES_MAX: usize = 12 * 1024;
    pub(crate) const EVIDENCE_TEXT_BYTES_MAX: usize = 4 * 1024;
    pub(crate) const EVIDENCE_NUMBERS_MAX: usize = 256;
    pub(crate) const MISSING_BYTES_MAX: usize = 1024;
}
