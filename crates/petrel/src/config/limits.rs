//! `limits`, `memory_limiter` and `state`: what is held, and where.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::model::{Limits, MemoryLimiter, State};
use super::read::{Report, Section};
use super::set;

pub(crate) const MIB: usize = 1024 * 1024;
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// What a Collector leaves free below the limit, as a share of it in percent.
const SPIKE_PERCENT_DEFAULT: u64 = 20;

pub(crate) fn read_limits(mut section: Section<'_>, limits: &mut Limits, report: &mut Report) {
    for (key, target) in [
        ("request_mib_max", &mut limits.request_bytes_max),
        ("in_flight_mib_max", &mut limits.in_flight_bytes_max),
        ("outbox_mib_max", &mut limits.outbox_bytes_max),
    ] {
        // One request counts its length in 32 bits.
        let most = if key == "request_mib_max" {
            4095
        } else {
            65_536
        };
        let mib = section.size(key, (1, most), report);
        set(mib.map(|mib| mib * MIB), target);
    }
    set(
        section.size("retry_digests", (1, 100_000_000), report),
        &mut limits.retry_digests,
    );
    let bounds = (Duration::from_secs(1), DAY);
    set(
        section.duration("retry_window", bounds, report),
        &mut limits.retry_window,
    );
    if limits.request_bytes_max > limits.in_flight_bytes_max {
        let path = section.join("request_mib_max");
        let place = report.places.get(&path).cloned();
        let message = format!(
            "{path} is {} MiB and in_flight_mib_max {}: such a request never fits",
            limits.request_bytes_max / MIB,
            limits.in_flight_bytes_max / MIB
        );
        let span = place.unwrap_or(section.span());
        let help = "in_flight_mib_max must be at least as large";
        report.push(Diagnostic::new("PTL-C022", span, message).help(help));
    }
    section.finish(report);
}

pub(crate) fn read_state(mut section: Section<'_>, report: &mut Report) -> Option<State> {
    let directory = section.text("directory", report);
    let mut interval = Duration::from_secs(60);
    let bounds = (Duration::from_millis(100), DAY);
    set(section.duration("interval", bounds, report), &mut interval);
    let help = "a directory that Petrel may write, as /var/lib/petrel";
    section.require_any(&["directory"], "state.directory is missing", help, report);
    section.finish(report);
    Some(State {
        directory: PathBuf::from(directory?),
        interval,
    })
}

/// The limiter; percentages are of `memory_total`, in bytes, where that is known.
pub(crate) fn read_memory_limiter(
    mut section: Section<'_>,
    memory_total: &dyn Fn() -> Option<u64>,
    report: &mut Report,
) -> Option<MemoryLimiter> {
    let mut check_interval = Duration::from_secs(1);
    let bounds = (Duration::from_millis(10), Duration::from_secs(60));
    set(
        section.duration("check_interval", bounds, report),
        &mut check_interval,
    );
    let mib = (1, 1 << 24);
    let percent = (1, 100);
    let limit_mib = section.integer("limit_mib", mib, report);
    let limit_percentage = section.integer("limit_percentage", percent, report);
    let spike_mib = section.integer("spike_limit_mib", (0, 1 << 24), report);
    let spike_percentage = section.integer("spike_limit_percentage", (0, 100), report);
    for (first, second, help) in [
        (
            "limit_mib",
            "limit_percentage",
            "keep limit_mib or limit_percentage",
        ),
        (
            "spike_limit_mib",
            "spike_limit_percentage",
            "keep spike_limit_mib or spike_limit_percentage",
        ),
    ] {
        if section.has(first) && section.has(second) {
            let message = format!("{} has {first} and {second}", section.path());
            let place = report.places.get(&section.join(second)).cloned();
            let span = place.unwrap_or(section.span());
            report.push(Diagnostic::new("PTL-C022", span, message).help(help));
            section.finish(report);
            return None;
        }
    }
    section.require_any(
        &["limit_mib", "limit_percentage"],
        "memory_limiter has no limit",
        "limit_mib: 512, or limit_percentage: 80",
        report,
    );
    let needs_total = limit_percentage.or(spike_percentage).is_some();
    let total = needs_total.then(memory_total).flatten();
    if needs_total && total.is_none() {
        let message = "memory_limiter: how much memory there is cannot be read on this machine";
        report.push(
            Diagnostic::new("PTL-C022", section.span(), message)
                .help("limit_mib and spike_limit_mib in place of percentages"),
        );
    }
    let span = section.span();
    let spike_place = ["spike_limit_mib", "spike_limit_percentage"]
        .iter()
        .find_map(|key| report.places.get(&section.join(key)).cloned());
    section.finish(report);
    let bytes = |mib: Option<u64>, percentage: Option<u64>| {
        let share = || Some(total? / 100 * percentage?);
        mib.map(|mib| mib * MIB as u64).or_else(share)
    };
    let limit_bytes = bytes(limit_mib, limit_percentage)?;
    let spike_limit_bytes =
        bytes(spike_mib, spike_percentage).unwrap_or(limit_bytes / 100 * SPIKE_PERCENT_DEFAULT);
    if spike_limit_bytes >= limit_bytes {
        let message = format!(
            "memory_limiter: the spike limit is {} MiB, the limit {} MiB: all would be refused",
            spike_limit_bytes / MIB as u64,
            limit_bytes / MIB as u64
        );
        report.push(
            Diagnostic::new("PTL-C022", spike_place.unwrap_or(span), message)
                .help("the spike limit is what is left free below the limit: a fifth of it or so"),
        );
        return None;
    }
    Some(MemoryLimiter {
        check_interval,
        limit_bytes,
        spike_limit_bytes,
    })
}

/// Bytes of memory that this process may have: its cgroup's limit, else the machine's.
#[must_use]
pub fn memory_total() -> Option<u64> {
    let cgroup = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        });
    match (cgroup, machine) {
        (Some(cgroup), Some(machine)) => Some(cgroup.min(machine)),
        (cgroup, machine) => cgroup.or(machine),
    }
}
