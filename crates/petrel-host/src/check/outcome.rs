//! Rules for what a detector finds: findings with their evidence, annotations.

use petrel_detector::{
    Annotation, Evidence, EvidenceValue, Finding, Outcome, SeriesKey, Utf8, Values,
};

use super::{Bounds, Broken, at_least, at_most, finite, hold, shown};
use crate::limits::contract::{
    EVIDENCE_BYTES_MAX, EVIDENCE_MAX, EVIDENCE_NUMBERS_MAX, EVIDENCE_TEXT_BYTES_MAX,
    FINDING_ROWS_MAX, NAME_CHARS_MAX, SERIES_KEY_BYTES_MAX, SERIES_KEYS_MAX,
    SERIES_VALUE_BYTES_MAX, UNIT_BYTES_MAX,
};

/// Findings and annotations about what exists, in numbers that can be compared, within their bounds.
/// `n_rows` is the number of rows of the batch just observed, 0 from `advance`.
///
/// # Errors
/// [`Broken`] naming the first that is not so.
pub fn outcome(outcome: &Outcome, bounds: &Bounds, n_rows: u32) -> Result<(), Broken> {
    let (findings, annotations) = (&outcome.findings, &outcome.annotations);
    at_most(
        "findings",
        findings.len(),
        Outcome::FINDINGS_MAX,
        "findings",
    )?;
    for (index, finding) in findings.iter().enumerate() {
        self::finding(finding, bounds, n_rows)
            .map_err(|broken| broken.within(format_args!("findings[{index}]")))?;
    }
    at_most(
        "annotations",
        annotations.len(),
        Outcome::ANNOTATIONS_MAX,
        "annotations",
    )?;
    for (index, annotation) in annotations.iter().enumerate() {
        let before = &annotations[..index];
        let is_new = !before.iter().any(|other| other.key == annotation.key);
        self::annotation(annotation, n_rows)
            .and_then(|()| hold(is_new, "key", || format!("{} comes twice", annotation.key)))
            .map_err(|broken| broken.within(format_args!("annotations[{index}]")))?;
    }
    Ok(())
}

fn finding(finding: &Finding, bounds: &Bounds, n_rows: u32) -> Result<(), Broken> {
    let (stream, kind) = (finding.stream.0, finding.kind);
    hold(stream < bounds.streams_end, "stream", || {
        format!("{stream}, known are those below {}", bounds.streams_end)
    })?;
    hold((kind as usize) < bounds.n_kinds, "kind", || {
        format!("{kind} of {} kinds", bounds.n_kinds)
    })?;
    series(&finding.series)?;
    at_least("score", finding.score, 0.0)?;
    span(finding)?;
    finite("observed", finding.observed)?;
    finite("expected", finding.expected)?;
    finite("lower", finding.lower)?;
    finite("upper", finding.upper)?;
    let unit = finding.unit.as_deref().unwrap_or_default();
    at_most("unit", unit.len(), UNIT_BYTES_MAX, "bytes")?;
    at_most("rows", finding.rows.len(), FINDING_ROWS_MAX, "rows")?;
    rows(&finding.rows, n_rows)?;
    finding
        .records
        .map_or(Ok(()), |records| at_least("records", records, 0.0))?;
    evidence(&finding.evidence)
}

fn span(finding: &Finding) -> Result<(), Broken> {
    let (start, end, since) = (finding.start, finding.end, finding.since);
    hold(start < end, "end", || {
        format!("{end}, not after start {start}")
    })?;
    hold(since <= start, "since", || {
        format!("{since}, later than start {start}")
    })
}

fn series(series: &[SeriesKey]) -> Result<(), Broken> {
    at_most("series", series.len(), SERIES_KEYS_MAX, "keys")?;
    for (index, attribute) in series.iter().enumerate() {
        let (key, value) = (attribute.key.as_str(), attribute.value.as_str());
        let is_new = !series[..index].iter().any(|other| other.key == key);
        at_most("key", key.len(), SERIES_KEY_BYTES_MAX, "bytes")
            .and_then(|()| hold(!key.is_empty(), "key", || "is empty".into()))
            .and_then(|()| hold(is_new, "key", || format!("{} comes twice", shown(key))))
            .and_then(|()| at_most("value", value.len(), SERIES_VALUE_BYTES_MAX, "bytes"))
            .map_err(|broken| broken.within(format_args!("series[{index}]")))?;
    }
    Ok(())
}

fn evidence(evidence: &[Evidence]) -> Result<(), Broken> {
    at_most("evidence", evidence.len(), EVIDENCE_MAX, "pieces")?;
    let mut n_bytes = 0;
    for (index, piece) in evidence.iter().enumerate() {
        let is_new = !evidence[..index]
            .iter()
            .any(|other| other.name == piece.name);
        dotted("name", &piece.name)
            .and_then(|()| hold(is_new, "name", || format!("{} comes twice", piece.name)))
            .and_then(|()| evidence_value(&piece.value))
            .map_err(|broken| broken.within(format_args!("evidence[{index}]")))?;
        n_bytes += piece.name.len() + evidence_bytes(&piece.value);
    }
    at_most("evidence", n_bytes, EVIDENCE_BYTES_MAX, "bytes")
}

fn evidence_value(value: &EvidenceValue) -> Result<(), Broken> {
    match value {
        EvidenceValue::Number(number) => finite("value", Some(*number)),
        EvidenceValue::Text(text) => at_most("value", text.len(), EVIDENCE_TEXT_BYTES_MAX, "bytes"),
        EvidenceValue::Numbers(numbers) => {
            at_most("value", numbers.len(), EVIDENCE_NUMBERS_MAX, "numbers")?;
            let is_told = !numbers.iter().any(|number| number.is_infinite());
            hold(is_told, "value", || "holds an infinite number".into())
        }
    }
}

fn evidence_bytes(value: &EvidenceValue) -> usize {
    match value {
        EvidenceValue::Number(_) => size_of::<f64>(),
        EvidenceValue::Text(text) => text.len(),
        EvidenceValue::Numbers(numbers) => size_of_val(&numbers[..]),
    }
}

fn annotation(annotation: &Annotation, n_rows: u32) -> Result<(), Broken> {
    dotted("key", &annotation.key)?;
    rows(&annotation.rows, n_rows)?;
    let n_values = annotation.rows.len();
    match &annotation.values {
        Values::Boolean(bits) => count(bits.len(), n_values.div_ceil(8)),
        Values::Uint32(values) => count(values.len(), n_values),
        Values::Int64(values) => count(values.len(), n_values),
        Values::Uint64(values) => {
            count(values.len(), n_values)?;
            let fits = values.iter().all(|&value| i64::try_from(value).is_ok());
            hold(fits, "values", || "one is over 2^63 - 1".into())
        }
        Values::Float64(values) => {
            count(values.len(), n_values)?;
            let are_finite = values.iter().all(|value| value.is_finite());
            hold(are_finite, "values", || "one is not finite".into())
        }
        Values::Utf8(texts) => {
            utf8(texts)?;
            count(texts.len(), n_values)
        }
        Values::Dictionary(dictionary) => {
            utf8(&dictionary.values)?;
            count(dictionary.keys.len(), n_values)?;
            let n_texts = dictionary.values.len();
            let are_known = dictionary.keys.iter().all(|&key| (key as usize) < n_texts);
            hold(are_known, "values", || {
                format!("a key is not below {n_texts}, the number of texts")
            })
        }
        Values::Float64List(_) => Err(Broken::new("values", "lists are no attribute")),
        Values::Absent => Err(Broken::new("values", "absent")),
    }
}

fn count(n_values: usize, n_rows: usize) -> Result<(), Broken> {
    hold(n_values == n_rows, "values", || {
        format!("{n_values} values where there should be {n_rows}")
    })
}

/// Ascending, each once, rows that the batch has.
fn rows(rows: &[u32], n_rows: u32) -> Result<(), Broken> {
    let ascend = rows.windows(2).all(|pair| pair[0] < pair[1]);
    hold(ascend, "rows", || "do not ascend".into())?;
    rows.last().map_or(Ok(()), |&last| {
        hold(last < n_rows, "rows", || format!("row {last} of {n_rows}"))
    })
}

/// Offsets from 0 to the end of the bytes, never descending, each at the start of a character.
fn utf8(texts: &Utf8<'_>) -> Result<(), Broken> {
    let (offsets, bytes) = (&texts.offsets, &texts.bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Broken::new("values.bytes", format!("no UTF-8: {error}")))?;
    let ends = offsets.first() == Some(&0)
        && offsets.last().map(|&last| last as usize) == Some(text.len());
    hold(ends, "values.offsets", || {
        format!("do not lead from 0 to {}", text.len())
    })?;
    let ascend = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    hold(ascend, "values.offsets", || "descend".into())?;
    let at_chars = offsets
        .iter()
        .all(|&offset| text.is_char_boundary(offset as usize));
    hold(at_chars, "values.offsets", || "split a character".into())
}

/// Lower case, digits, underscores and dots.
fn dotted(place: &str, name: &str) -> Result<(), Broken> {
    let is_one = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
    hold(is_one, place, || {
        format!(
            "{} is not 1 to {NAME_CHARS_MAX} lower-case letters, digits, underscores and dots",
            shown(name)
        )
    })
}
