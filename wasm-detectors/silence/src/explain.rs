//! From a silence to a finding that a person understands.

use petrel_detector::{Direction, EventTime, Finding};

use crate::appointments::Missed;
use crate::cells::SECOND_NANOS;
use crate::settings::Settings;
use crate::source::{MINUTE_NANOS, Source};

const HOUR_MINUTES: u64 = 60;
const DAY_MINUTES: u64 = 1_440;

/// The finding of the gap that is open; `expected` is how many so long are expected a day.
pub(crate) fn finding(
    source: &Source,
    surprise: f64,
    expected: Option<f64>,
    missed: Option<Missed>,
    settings: &Settings,
) -> Finding {
    let (start, end) = (source.open.from, source.closed * MINUTE_NANOS);
    let seconds = (end - start) as f64 / SECOND_NANOS as f64;
    // The rate that was expected over the silence, in records rather than in seconds with records.
    let rate = source.open.tau / seconds;
    let every = match missed {
        Some(missed) => (missed.period * 60) as f64,
        None => 1.0 / (rate * source.records_a_second.max(1.0)).max(1e-9),
    };
    let (p50, p99) = (source.gaps.quantile(0.5), source.gaps.quantile(0.99));
    let longest = source.gaps.longest();
    let mut finding = Finding::new(
        0,
        Direction::Disappeared,
        surprise,
        EventTime(start),
        EventTime(end),
    )
    .since(source.since())
    .values(seconds, every)
    .records(source.n_records as f64)
    .evidence("last_record_time", iso(source.last.time));
    finding.upper = Some(longest.max(p99));
    if !source.last.text.is_empty() {
        finding = finding.evidence("last_record", source.last.text.as_str());
    }
    if let Some(missed) = missed {
        finding = finding.evidence("missed_appointment", appointment(missed));
    }
    if source.last.is_planned() {
        finding = finding.evidence("planned_end", "its last records announced the end");
    }
    if let Some(expected) = expected {
        finding = finding.evidence("expected_per_day", expected);
    }
    finding
        .evidence("usual_gap_p50_p99_longest", vec![p50, p99, longest])
        .evidence("operational_time", source.open.tau)
        .evidence(
            "min_detectable_silence",
            source.min_detectable(rate, settings),
        )
        .evidence("tail_excess", source.tail.theta())
        .evidence("level", source.season.level())
        .evidence("gaps_learnt", source.n_gaps as f64)
}

/// Takes back what was found for a window.
pub(crate) fn withdrawal(from: u64, end_minute: u64) -> Finding {
    Finding::new(
        0,
        Direction::Disappeared,
        0.0,
        EventTime(from),
        EventTime(end_minute * MINUTE_NANOS),
    )
}

/// `at minute 5 of the hour, there on the 34 visits before`.
fn appointment(missed: Missed) -> String {
    let minute = missed.from % DAY_MINUTES;
    let at = if missed.period == HOUR_MINUTES {
        format!("about minute {} of the hour", minute % HOUR_MINUTES)
    } else {
        format!("about {:02}:{:02} UTC", minute / 60, minute % 60)
    };
    format!("{at}, there on the {} visits before", missed.run)
}

/// An event time as ISO 8601, to the millisecond (H. Hinnant, `civil_from_days`).
fn iso(nanos: u64) -> String {
    let (seconds, millis) = (nanos / SECOND_NANOS, nanos / 1_000_000 % 1_000);
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z",
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601() {
        for (nanos, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_251_199_999_000_000, "2024-02-29T23:59:59.999Z"),
            (1_767_571_200_000_000_000, "2026-01-05T00:00:00.000Z"),
        ] {
            assert_eq!(iso(nanos), expected);
        }
    }
}
