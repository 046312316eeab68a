//! Lengths of time as Go writes them: `1h30m`, `1.5s`, `300ms`, `0`.

use std::time::Duration;

/// Units, longest name first where one begins with another.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("h", 3.6e12),
    ("m", 6e10),
    ("s", 1e9),
];

/// The length of time that a text says; none where it says none, or more than 292 years.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, length) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        nanos += number * length;
        rest = &rest[unit.len()..];
    }
    let fits = !text.is_empty() && nanos < i64::MAX as f64;
    fits.then(|| Duration::from_nanos(nanos.round() as u64))
}

/// A length of time in the same form.
pub(crate) fn text(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    humantime::format_duration(duration)
        .to_string()
        .replace("days", "day")
        .replace("day", "d")
        .replace(' ', "")
        .replace("1d", "24h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("300ms", 300),
            ("0", 0),
            ("0s", 0),
            ("1m0.5s", 60_500),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "1 s", "1d", "-1s", "1..5s", "999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
