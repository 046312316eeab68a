//! The memory limiter: while the process takes more memory than it should, requests are refused before
//! they are decoded, to be sent again later.

use std::sync::Arc;
use std::time::Duration;

use petrel_otlp::receive::Admission;

use crate::config::MemoryLimiter;
use crate::inline::Inline;
use crate::telemetry::name;

/// Watches the memory of the process and tells the front door, for as long as it is polled.
///
/// Above `limit - spike_limit` it refuses; what is in flight is finished. Below it takes again. While it
/// refuses, one request at a time is let in when nothing else is held: memory that the allocator keeps
/// for later may never be given back, and is what such a request is held in.
pub async fn limit_memory(limiter: MemoryLimiter, admission: Admission, inline: Arc<Inline>) {
    let soft = limiter
        .limit_bytes
        .saturating_sub(limiter.spike_limit_bytes);
    metrics::gauge!(name::MEMORY_LIMIT).set(limiter.limit_bytes as f64);
    let mut ticks = tokio::time::interval(limiter.check_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(resident) = resident_bytes() else {
            continue;
        };
        let is_over = resident > soft;
        if is_over && !admission.has_pressure() {
            tracing::warn!(
                resident_mib = resident >> 20,
                limit_mib = limiter.limit_bytes >> 20,
                soft_limit_mib = soft >> 20,
                "memory is short: requests are refused until it is not"
            );
        } else if !is_over && admission.has_pressure() {
            tracing::info!(resident_mib = resident >> 20, "memory is no longer short");
        }
        admission.set_takes_single(is_over && !inline.pipeline().ways.holds_in_memory());
        admission.set_pressure(is_over);
    }
}

/// Memory of this process that is in RAM, in bytes; `None` where the system does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// How often own figures are brought up to date that nobody else does.
pub const OWN_FIGURES_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::memory_total;

    #[test]
    fn this_process_takes_some_memory_and_less_than_there_is() {
        let (resident, available) = (resident_bytes().unwrap(), memory_total().unwrap());
        assert!(resident > 1 << 20, "{resident}");
        assert!(resident < available, "{resident} of {available}");
    }
}
