//! Where the times of a request's records are in its bytes.

use anyhow::{Context, Result};

use super::make::FIRST_NS;

/// Eight bytes at `offset` that hold a time so much after the request's first.
pub(super) struct TimeField {
    pub(super) offset: usize,
    pub(super) since_first_ns: u64,
}

/// The times of all log records of a request.
///
/// # Errors
/// When it is no protobuf.
pub(super) fn times_of(request: &[u8]) -> Result<Vec<TimeField>> {
    let mut times = Vec::new();
    find_times(request, 0, 0, &mut times)?;
    Ok(times)
}

/// Finds the times of all log records in protobuf at the given depth (0: request, 1: resource logs, 2: scope
/// logs, 3: log record).
fn find_times(message: &[u8], offset: usize, depth: u32, times: &mut Vec<TimeField>) -> Result<()> {
    const VARINT: u64 = 0;
    const FIXED64: u64 = 1;
    const LENGTH: u64 = 2;
    const FIXED32: u64 = 5;
    let mut at = 0;
    while at < message.len() {
        let tag = varint(message, &mut at)?;
        let (field, start) = (tag >> 3, at);
        match tag & 7 {
            VARINT => drop(varint(message, &mut at)?),
            FIXED64 => at += 8,
            FIXED32 => at += 4,
            LENGTH => {
                let length = usize::try_from(varint(message, &mut at)?)?;
                let start = at;
                at += length;
                // `resource_logs` is field 1 of a request; below it, the next level is field 2.
                if (depth == 0 && field == 1) || ((1..=2).contains(&depth) && field == 2) {
                    let inner = message.get(start..at).context("a length beyond the end")?;
                    find_times(inner, offset + start, depth + 1, times)?;
                }
            }
            other => anyhow::bail!("wire type {other}"),
        }
        // `time_unix_nano` and `observed_time_unix_nano`.
        if depth == 3 && tag & 7 == FIXED64 && matches!(field, 1 | 11) {
            let time = message.get(start..at).context("a time beyond the end")?;
            let time = u64::from_le_bytes(time.try_into()?);
            times.push(TimeField {
                offset: offset + start,
                since_first_ns: time - FIRST_NS,
            });
        }
    }
    Ok(())
}

fn varint(message: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at).context("a varint beyond the end")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a varint of more than ten bytes")
}
