//! The wall clock, by which this crate alone decides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use petrel_batch::EventTime;

/// The time by the wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this crate decides by the wall clock"
)]
#[must_use]
pub fn now() -> EventTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    EventTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
