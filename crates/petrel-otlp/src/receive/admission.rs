//! The gate at the front door: bytes of requests in flight, counted before anything is decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::status::Refusal;

/// Bytes of requests in flight by default.
pub const IN_FLIGHT_BYTES_MAX_DEFAULT: usize = 96 << 20;
/// When a refused sender is asked to come back.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Counts the bytes of all requests that were received and not yet answered. Full, it refuses with a
/// delay; it never makes anybody wait. Clones share one count.
#[derive(Clone, Debug)]
pub struct Admission {
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    in_flight: AtomicUsize,
    bytes_max: usize,
    retry_after: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(IN_FLIGHT_BYTES_MAX_DEFAULT, RETRY_AFTER_DEFAULT)
    }
}

impl Admission {
    /// A gate for `bytes_max` bytes; who is refused is asked to come back after `retry_after`.
    #[must_use]
    pub fn new(bytes_max: usize, retry_after: Duration) -> Self {
        Self {
            gate: Arc::new(Gate {
                in_flight: AtomicUsize::new(0),
                bytes_max,
                retry_after,
            }),
        }
    }

    /// Bytes in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.gate.in_flight.load(Ordering::Relaxed)
    }

    /// A request of which nothing has come in yet.
    #[must_use]
    pub fn admit(&self) -> InFlight {
        InFlight {
            gate: Arc::clone(&self.gate),
            n_bytes: 0,
        }
    }
}

/// The bytes of one request; they leave the count when it is dropped.
#[derive(Debug)]
pub struct InFlight {
    gate: Arc<Gate>,
    n_bytes: usize,
}

impl InFlight {
    /// Whether `n_bytes` more would be taken now: asked when a length is announced, so that a request
    /// too many is refused before it is read. What is announced is not counted until it is there.
    ///
    /// # Errors
    /// A retryable [`Refusal`] when they would not.
    pub fn expect(&self, n_bytes: usize) -> Result<(), Refusal> {
        let in_flight = self.gate.in_flight.load(Ordering::Relaxed);
        if in_flight.saturating_add(n_bytes) > self.gate.bytes_max {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Counts `n_bytes` more.
    ///
    /// # Errors
    /// A retryable [`Refusal`] when they are too many.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), Refusal> {
        let before = self.gate.in_flight.fetch_add(n_bytes, Ordering::Relaxed);
        self.n_bytes += n_bytes;
        if before.saturating_add(n_bytes) > self.gate.bytes_max {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Takes `n_bytes` out of the count that are no longer held.
    pub fn shrink(&mut self, n_bytes: usize) {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        self.gate.in_flight.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    fn refusal(&self) -> Refusal {
        let message = format!("{} bytes are in flight already", self.gate.bytes_max);
        Refusal::later(message, self.gate.retry_after)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shrink(self.n_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_leaves_the_count() {
        let admission = Admission::new(100, Duration::from_secs(2));
        let mut first = admission.admit();
        first.grow(60).expect("there is room");
        let mut second = admission.admit();
        assert!(second.expect(40).is_ok());
        assert!(second.expect(41).is_err());
        let refusal = second.grow(50).expect_err("no room");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
        assert!(refusal.is_retryable());
        drop(second);
        assert_eq!(admission.in_flight(), 60);
        first.shrink(20);
        assert_eq!(admission.in_flight(), 40);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
    }
}
