//! What an anomaly event says in one English sentence.

use petrel_detector::Direction;

use crate::anomaly::{Anomaly, Measure};
use crate::event::{Ending, Transition};

/// Letters of a template that a sentence quotes.
const QUOTED_MAX: usize = 100;
const NANOS: f64 = 1e9;

/// The sentence for a change in an anomaly's life at event time `at`.
pub(crate) fn sentence(
    transition: Transition,
    anomaly: &Anomaly,
    at: u64,
    service: &str,
) -> String {
    let what = describe(anomaly, service);
    let lasted = |until: u64| duration(until.saturating_sub(anomaly.start) as f64 / NANOS);
    match transition {
        Transition::Detected => what,
        Transition::Updated if &*anomaly.kind == "silence" => what,
        Transition::Updated => format!("{what}, for {} now", lasted(at)),
        Transition::Ended(Ending::Resolved) => {
            format!("Over after {}: {what}", lasted(anomaly.end))
        }
        Transition::Ended(Ending::Withdrawn) => {
            format!("Withdrawn, since late records explain it: {what}")
        }
        Transition::Ended(Ending::Expired) => {
            format!("No longer followed after {}: {what}", lasted(at))
        }
        Transition::Ended(Ending::Suppressed) => {
            format!("Part of a larger anomaly: {what}")
        }
    }
}

fn describe(anomaly: &Anomaly, service: &str) -> String {
    let subject = subject(anomaly);
    match (&*anomaly.kind, anomaly.direction()) {
        ("silence", _) => silence(anomaly, &subject, service),
        ("novelty", _) => novelty(anomaly, &subject, service),
        _ if anomaly.counts_records => frequency(anomaly, &subject, service),
        ("latency", _) => compare("Latency", anomaly, &subject, service),
        (kind, _) => compare(&title(kind), anomaly, &subject, service),
    }
}

/// `"payment <*> declined" (http.route=/cart)`; empty for a whole stream.
fn subject(anomaly: &Anomaly) -> String {
    let mut subject = String::new();
    if let Some(template) = &anomaly.template {
        subject = format!("\"{}\"", cut(&template.text));
    }
    let keys: Vec<_> = anomaly
        .series
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !keys.is_empty() {
        let keys = keys.join(", ");
        subject = if subject.is_empty() {
            keys
        } else {
            format!("{subject} ({keys})")
        };
    }
    subject
}

fn frequency(anomaly: &Anomaly, subject: &str, service: &str) -> String {
    let minutes = (anomaly.window as f64 / NANOS / 60.0).max(1.0 / 60.0);
    let Measure {
        observed,
        expected,
        lower,
        upper,
        ..
    } = &anomaly.measure;
    let rate = |value: &Option<f64>| value.map(|value| value / minutes);
    let (observed, expected) = (rate(observed), rate(expected));
    let largest = [observed, expected]
        .into_iter()
        .flatten()
        .fold(0.0, f64::max);
    // Below one a minute, people count by the hour.
    let (scale, unit) = if largest < 1.0 {
        (60.0, "/h")
    } else {
        (1.0, "/min")
    };
    let scaled = |value: Option<f64>| value.map(|value| number(value * scale));
    let of = of_service("Log rate", subject, service);
    let seen = scaled(observed).unwrap_or_else(|| "unusual".to_owned());
    let usual = range(scaled(rate(lower)), scaled(rate(upper)), scaled(expected));
    sentence_of(
        &of,
        &format!("{seen}{unit}"),
        usual.map(|usual| format!("{usual}{unit}")),
    )
}

fn novelty(anomaly: &Anomaly, subject: &str, service: &str) -> String {
    let records = anomaly.records.map(|records| number(records.round()));
    let observed = anomaly
        .measure
        .observed
        .map(|observed| number(observed.round()));
    if subject.is_empty() {
        let count = observed.or(records).unwrap_or_else(|| "Several".to_owned());
        let usual = anomaly
            .measure
            .expected
            .map(|expected| format!(", expected {}", number(expected)));
        let within = duration(anomaly.window as f64 / NANOS);
        return format!(
            "{count} new kinds of log lines in {service} within {within}{}",
            usual.unwrap_or_default()
        );
    }
    let times = match records.as_deref() {
        None | Some("1" | "0") => String::new(),
        Some(records) => format!(", {records} times so far"),
    };
    format!("New in {service}: {subject} was never logged before{times}")
}

fn silence(anomaly: &Anomaly, subject: &str, service: &str) -> String {
    let measure = &anomaly.measure;
    let lasted = match measure.observed {
        Some(observed) if measure.unit == "s" => observed,
        _ => anomaly.end.saturating_sub(anomaly.start) as f64 / NANOS,
    };
    let lasted = duration(lasted);
    let usual = measure
        .expected
        .filter(|&expected| measure.unit == "s" && expected > 0.0);
    let usual = usual.map(|expected| format!(", expected a record every {}", duration(expected)));
    let usual = usual.unwrap_or_default();
    if subject.is_empty() {
        format!("{service} has been silent for {lasted}{usual}")
    } else {
        format!("No {subject} from {service} for {lasted}{usual}")
    }
}

fn compare(what: &str, anomaly: &Anomaly, subject: &str, service: &str) -> String {
    let measure = &anomaly.measure;
    let value = |value: Option<f64>| value.map(|value| quantity(value, &measure.unit));
    let of = of_service(what, subject, service);
    let Some(observed) = value(measure.observed) else {
        let direction = match anomaly.direction() {
            Direction::Above => "unusually high",
            Direction::Below => "unusually low",
            Direction::Appeared => "new",
            Direction::Disappeared => "missing",
            Direction::Changed => "unusual",
        };
        return sentence_of(&of, direction, None);
    };
    let usual = range(
        value(measure.lower),
        value(measure.upper),
        value(measure.expected),
    );
    sentence_of(&of, &observed, usual)
}

fn of_service(what: &str, subject: &str, service: &str) -> String {
    if subject.is_empty() {
        format!("{what} of {service}")
    } else {
        format!("{what} of {subject} in {service}")
    }
}

fn sentence_of(of: &str, observed: &str, usual: Option<String>) -> String {
    match usual {
        Some(usual) => format!("{of} is {observed}, expected {usual}"),
        None => format!("{of} is {observed}"),
    }
}

/// `3-20`, or the one value there is; `200-400 ms` where both ends share a unit.
fn range(lower: Option<String>, upper: Option<String>, expected: Option<String>) -> Option<String> {
    match (lower, upper) {
        (Some(lower), Some(upper)) if lower == upper => Some(upper),
        (Some(lower), Some(upper)) => Some(match (lower.split_once(' '), upper.split_once(' ')) {
            (Some((lower, unit)), Some((_, other))) if unit == other => format!("{lower}-{upper}"),
            (Some(_), Some(_)) => format!("{lower} to {upper}"),
            _ => format!("{lower}-{upper}"),
        }),
        (None, Some(upper)) => Some(format!("at most {upper}")),
        (Some(lower), None) => Some(format!("at least {lower}")),
        (None, None) => expected,
    }
}

/// A value with its unit (UCUM).
fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "s" => duration(value),
        "ms" => duration(value / 1e3),
        "By" => bytes(value),
        "1" | "" => number(value),
        "%" => format!("{}%", number(value)),
        unit => {
            let unit = unit.trim_matches(|letter| matches!(letter, '{' | '}'));
            format!("{} {unit}", number(value))
        }
    }
}

/// Seconds as people say them: `350 us`, `12 ms`, `1.2 s`, `7 min`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return number(seconds);
    }
    let pair = |large: f64, large_unit: &str, small_unit: &str, ratio: f64| {
        let whole = (seconds / large).floor();
        let rest = ((seconds - whole * large) / (large / ratio)).floor();
        if rest > 0.0 {
            format!("{whole} {large_unit} {rest} {small_unit}")
        } else {
            format!("{whole} {large_unit}")
        }
    };
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 1e-3 => format!("{} us", number(s * 1e6)),
        s if s < 1.0 => format!("{} ms", number(s * 1e3)),
        s if s < 60.0 => format!("{} s", number(s)),
        s if s < 600.0 => pair(60.0, "min", "s", 60.0),
        s if s < 3_600.0 => format!("{} min", (s / 60.0).round()),
        s if s < 86_400.0 => pair(3_600.0, "h", "min", 60.0),
        _ => pair(86_400.0, "d", "h", 24.0),
    }
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", number(value), UNITS[unit])
}

/// Three digits that matter, no more: `412`, `3.2`, `0.051`, `12300`.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = libm::floor(libm::log10(value.abs())) as i32;
    let decimals = (2 - magnitude).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn title(kind: &str) -> String {
    let words = kind.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A text cut to what fits in a sentence.
fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        for (value, expected) in [
            (412.0, "412"),
            (3.24159, "3.24"),
            (20.0, "20"),
            (0.0512, "0.0512"),
            (12_345.0, "12345"),
            (0.5, "0.5"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn durations_read_well() {
        for (seconds, expected) in [
            (0.00035, "350 us"),
            (0.2, "200 ms"),
            (1.25, "1.25 s"),
            (420.0, "7 min"),
            (425.0, "7 min 5 s"),
            (1_500.0, "25 min"),
            (7_500.0, "2 h 5 min"),
            (274_000.0, "3 d 4 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn ranges_name_their_unit_once() {
        let some = |text: &str| Some(text.to_owned());
        for (lower, upper, expected) in [
            ("200 ms", "400 ms", "200-400 ms"),
            ("200 ms", "1.2 s", "200 ms to 1.2 s"),
            ("3", "20", "3-20"),
            ("3", "3", "3"),
        ] {
            assert_eq!(range(some(lower), some(upper), None), some(expected));
        }
        assert_eq!(range(None, None, some("4 s")), some("4 s"));
    }
}
