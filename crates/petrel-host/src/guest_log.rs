//! What guests write to the operator's log, bounded by line and by call.

use std::sync::Arc;

use crate::limits::LOG_LINE_BYTES_MAX;

/// Takes the lines that guests write. Called on the thread that runs the guest: it must not block.
pub trait GuestLog: Send + Sync {
    /// A line of at most 1 KiB without control characters. `detector` is the name from the
    /// descriptor, or the module's digest as long as that has not been asked for.
    fn line(&self, detector: &str, line: &str);

    /// So many lines of one call were over its bound and are gone.
    fn dropped(&self, detector: &str, n_lines: u32);
}

/// Hands lines to `tracing` under the target `petrel::guest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLog;

impl GuestLog for TracingLog {
    fn line(&self, detector: &str, line: &str) {
        tracing::info!(target: "petrel::guest", detector, "{line}");
    }

    fn dropped(&self, detector: &str, n_lines: u32) {
        tracing::warn!(target: "petrel::guest", detector, n_lines, "log lines dropped");
    }
}

/// The lines of the call that is running.
pub(crate) struct CallLog {
    log: Arc<dyn GuestLog>,
    detector: Arc<str>,
    lines_max: u32,
    n_lines: u32,
    /// Kept for the message of a fault: a panic hook writes the panic's text last of all.
    last: String,
}

impl CallLog {
    pub(crate) fn new(log: Arc<dyn GuestLog>, detector: Arc<str>, lines_max: u32) -> Self {
        Self {
            log,
            detector,
            lines_max,
            n_lines: 0,
            last: String::new(),
        }
    }

    /// A call begins.
    pub(crate) fn arm(&mut self) {
        self.n_lines = 0;
        self.last.clear();
    }

    pub(crate) fn line(&mut self, message: &str) {
        let cut = message.floor_char_boundary(LOG_LINE_BYTES_MAX);
        self.last.clear();
        self.last.extend(
            message[..cut]
                .chars()
                .map(|char| if char.is_control() { ' ' } else { char }),
        );
        self.n_lines = self.n_lines.saturating_add(1);
        if self.n_lines <= self.lines_max {
            self.log.line(&self.detector, &self.last);
        }
    }

    /// A call has ended.
    pub(crate) fn end(&mut self) {
        let dropped = self.n_lines.saturating_sub(self.lines_max);
        if dropped > 0 {
            self.log.dropped(&self.detector, dropped);
        }
    }

    /// The last line of the call; empty when it wrote none.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }
}
