//! The gate at the front door: bytes of requests in flight, counted before anything is decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::status::Refusal;

/// Bytes of requests in flight by default.
pub const IN_FLIGHT_BYTES_MAX_DEFAULT: usize = 96 << 20;
/// When a refused sender is asked to come back.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Counts the bytes of all requests that were received and not yet answered. Full, it refuses with a
/// delay; it never makes anybody wait. Under pressure it refuses everything, or all but one request at a
/// time. Clones share one count.
#[derive(Clone, Debug)]
pub struct Admission {
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    in_flight: AtomicUsize,
    n_requests: AtomicUsize,
    bytes_max: AtomicUsize,
    has_pressure: AtomicBool,
    takes_single: AtomicBool,
    retry_after: Duration,
}

impl Gate {
    /// Counts one request when it may come in alone, and is.
    fn takes_single(&self) -> bool {
        let (one, relaxed) = (1, Ordering::Relaxed);
        self.takes_single.load(relaxed)
            && self
                .n_requests
                .compare_exchange(0, one, relaxed, relaxed)
                .is_ok()
    }
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
                n_requests: AtomicUsize::new(0),
                bytes_max: AtomicUsize::new(bytes_max),
                has_pressure: AtomicBool::new(false),
                takes_single: AtomicBool::new(false),
                retry_after,
            }),
        }
    }

    /// Bytes in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.gate.in_flight.load(Ordering::Relaxed)
    }

    /// Requests in flight now.
    #[must_use]
    pub fn n_requests(&self) -> usize {
        self.gate.n_requests.load(Ordering::Relaxed)
    }

    /// Bytes that may be in flight.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.gate.bytes_max.load(Ordering::Relaxed)
    }

    /// Changes the bound from now on; what is in flight stays.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.gate.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Refuses requests from now on, or no longer: for whoever watches the process's memory.
    pub fn set_pressure(&self, has_pressure: bool) {
        self.gate
            .has_pressure
            .store(has_pressure, Ordering::Relaxed);
    }

    /// Whether under pressure a request is taken all the same while none is in flight. Memory that an
    /// allocator keeps is never given back by waiting: who refuses everything then does so for ever.
    pub fn set_takes_single(&self, takes_single: bool) {
        self.gate
            .takes_single
            .store(takes_single, Ordering::Relaxed);
    }

    /// Whether requests are refused for want of memory.
    #[must_use]
    pub fn has_pressure(&self) -> bool {
        self.gate.has_pressure.load(Ordering::Relaxed)
    }

    /// A request of which nothing has come in yet.
    ///
    /// # Errors
    /// A retryable [`Refusal`] under pressure.
    pub fn admit(&self) -> Result<InFlight, Refusal> {
        if !self.has_pressure() {
            self.gate.n_requests.fetch_add(1, Ordering::Relaxed);
        } else if !self.gate.takes_single() {
            let message = "memory is short";
            return Err(Refusal::later(message, self.gate.retry_after));
        }
        Ok(InFlight {
            gate: Arc::clone(&self.gate),
            n_bytes: 0,
        })
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
        if in_flight.saturating_add(n_bytes) > self.bytes_max() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Counts `n_bytes` more.
    ///
    /// # Errors
    /// A retryable [`Refusal`] when they are too many.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), Refusal> {
        let before = self.add(n_bytes);
        if before.saturating_add(n_bytes) > self.bytes_max() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Counts `n_bytes` more that are held already, whether there is room or not: who comes next is
    /// refused.
    pub fn hold(&mut self, n_bytes: usize) {
        self.add(n_bytes);
    }

    /// Counts `n_bytes` more; how much was in flight before.
    fn add(&mut self, n_bytes: usize) -> usize {
        self.n_bytes += n_bytes;
        self.gate.in_flight.fetch_add(n_bytes, Ordering::Relaxed)
    }

    /// Takes `n_bytes` out of the count that are no longer held.
    pub fn shrink(&mut self, n_bytes: usize) {
        let n_bytes = n_bytes.min(self.n_bytes);
        self.n_bytes -= n_bytes;
        self.gate.in_flight.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    /// Takes what is counted to where a request is worked on; [`join`](Self::join) brings it back. Lost
    /// there, it leaves the count.
    pub(super) fn split_off(&mut self) -> Self {
        self.gate.n_requests.fetch_add(1, Ordering::Relaxed);
        Self {
            gate: Arc::clone(&self.gate),
            n_bytes: std::mem::take(&mut self.n_bytes),
        }
    }

    /// Counts with this one what was counted elsewhere.
    pub(super) fn join(&mut self, mut other: Self) {
        self.n_bytes += std::mem::take(&mut other.n_bytes);
    }

    /// Bytes that this request has in flight.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn bytes_max(&self) -> usize {
        self.gate.bytes_max.load(Ordering::Relaxed)
    }

    fn refusal(&self) -> Refusal {
        let message = format!("{} bytes are in flight already", self.bytes_max());
        Refusal::later(message, self.gate.retry_after)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shrink(self.n_bytes);
        self.gate.n_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_leaves_the_count() {
        let admission = Admission::new(100, Duration::from_secs(2));
        let mut first = admission.admit().expect("no pressure");
        first.grow(60).expect("there is room");
        let mut second = admission.admit().expect("no pressure");
        assert!(second.expect(40).is_ok());
        assert!(second.expect(41).is_err());
        let refusal = second.grow(50).expect_err("no room");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
        assert!(refusal.is_retryable());
        drop(second);
        assert_eq!(admission.in_flight(), 60);
        first.hold(100);
        assert!(first.expect(1).is_err(), "what is held is held");
        first.shrink(120);
        assert_eq!((admission.in_flight(), admission.n_requests()), (40, 1));
        admission.set_bytes_max(50);
        assert!(first.expect(10).is_ok() && first.expect(11).is_err());
        drop(first);
        assert_eq!((admission.in_flight(), admission.n_requests()), (0, 0));
    }

    #[test]
    fn under_pressure_nothing_is_admitted() {
        let admission = Admission::default();
        admission.clone().set_pressure(true);
        let refusal = admission.admit().expect_err("pressure");
        assert!(refusal.is_retryable() && refusal.retry_after.is_some());
        assert_eq!(admission.n_requests(), 0);
        admission.set_pressure(false);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn under_pressure_one_may_come_in_at_a_time() {
        let admission = Admission::default();
        let before = admission.admit().expect("no pressure");
        admission.set_pressure(true);
        admission.set_takes_single(true);
        assert!(admission.admit().is_err(), "one is in flight");
        drop(before);
        let single = admission.admit().expect("none is in flight");
        assert!(admission.admit().is_err(), "one is in flight");
        drop(single);
        assert_eq!(admission.n_requests(), 0);
        assert!(admission.admit().is_ok());
    }
}
