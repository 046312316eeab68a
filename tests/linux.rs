//! What Linux tells of a process and of connections; elsewhere nothing.

use std::collections::BTreeSet;

use crate::process::Process;
use crate::wait;

/// Ports of this machine from which connections to `address` stand.
pub(crate) fn connected_from(address: &str) -> BTreeSet<u16> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = |text: &str| u16::from_str_radix(text.split_once(':')?.1, 16).ok();
    let target = wait::port_of(address);
    let stands = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        (state == ESTABLISHED && port(remote) == Some(target)).then(|| port(local))?
    };
    table.lines().filter_map(stands).collect()
}

/// Entries of `/proc/<pid>/<directory>`: `task` has threads, `fd` open files.
pub(crate) fn count_of(process: &Process, directory: &str) -> Option<usize> {
    let entries = std::fs::read_dir(format!("/proc/{}/{directory}", process.id())).ok()?;
    Some(entries.count())
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(process: &Process) -> Option<u64> {
    status_bytes(process, "VmRSS:")
}

/// The most that was ever resident.
pub(crate) fn highest_resident_bytes(process: &Process) -> Option<u64> {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: &Process, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}
