//! Where an author puts findings and annotations of a stream; keeps the bounds of the contract.

use petrel_batch::{EventTime, StreamId, Utf8, Values};

use crate::{
    Annotation, Direction, Evidence, EvidenceValue, Finding, Outcome, SeriesKey, TemplateId,
};

/// Evidence of one finding at most (`detector.wit`).
const EVIDENCE_MAX: usize = 12;
/// Rows of one finding at most (`detector.wit`).
const ROWS_MAX: usize = 64;

/// Findings and annotations of one call.
///
/// The oddest [`Outcome::FINDINGS_MAX`] are kept, the rest counted; the stream is filled in. What the
/// host would take for a fault (a score that is not finite, an empty span) is left out and counted too.
#[derive(Debug, Default)]
pub struct Findings {
    stream: StreamId,
    kept: Vec<Finding>,
    omitted: u32,
    notes: Vec<(String, Vec<(u32, Note)>)>,
}

/// A value of an annotation.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A finite double.
    Number(f64),
    /// A signed integer.
    Integer(i64),
    /// A text.
    Text(String),
}

impl Findings {
    /// An empty one; [`Findings::of`] says whose findings follow.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Findings that follow are of this stream.
    pub fn of(&mut self, stream: StreamId) -> &mut Self {
        self.stream = stream;
        self
    }

    /// Takes a finding, whatever stream it names.
    pub fn push(&mut self, mut finding: Finding) {
        finding.stream = self.stream;
        if !is_sound(&finding) {
            self.omitted += 1;
            return;
        }
        finding.rows.truncate(ROWS_MAX);
        finding.evidence.truncate(EVIDENCE_MAX);
        self.kept.push(finding);
        // Cut at twice the bound, so that a storm costs a sort each thousand findings.
        if self.kept.len() >= 2 * Outcome::FINDINGS_MAX {
            self.cut();
        }
    }

    /// Adds attribute `petrel.<detector>.<key>` to a row of the batch just observed.
    ///
    /// One type of value a key; what is of another type, a number that is not finite, and keys past
    /// [`Outcome::ANNOTATIONS_MAX`] are dropped. A row's second value for a key replaces the first.
    pub fn annotate(&mut self, key: &str, row: usize, note: Note) {
        if matches!(note, Note::Number(number) if !number.is_finite()) {
            return;
        }
        let index = match self.notes.iter().position(|(name, _)| name == key) {
            Some(index) => index,
            None if self.notes.len() < Outcome::ANNOTATIONS_MAX => {
                self.notes.push((key.to_owned(), Vec::new()));
                self.notes.len() - 1
            }
            None => return,
        };
        self.notes[index].1.push((row as u32, note));
    }

    /// What was found, within the bounds, in order of the streams and as pushed; oddest first where
    /// some had to be left out.
    #[must_use]
    pub fn into_outcome(mut self) -> Outcome {
        if self.kept.len() > Outcome::FINDINGS_MAX {
            self.cut();
        }
        Outcome {
            findings: self.kept,
            omitted: self.omitted,
            annotations: self.notes.into_iter().map(annotation).collect(),
        }
    }

    fn cut(&mut self) {
        // Stable, so equal scores stay in the order in which they were found.
        self.kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.omitted += (self.kept.len() - Outcome::FINDINGS_MAX) as u32;
        self.kept.truncate(Outcome::FINDINGS_MAX);
    }
}

fn is_sound(finding: &Finding) -> bool {
    let values = [
        finding.observed,
        finding.expected,
        finding.lower,
        finding.upper,
        finding.records,
    ];
    finding.score.is_finite()
        && finding.score >= 0.0
        && finding.start < finding.end
        && finding.since <= finding.start
        && values.iter().flatten().all(|value| value.is_finite())
}

fn annotation((key, mut notes): (String, Vec<(u32, Note)>)) -> Annotation {
    // Streams come one after the other: their rows must be merged. Of one row's values the last stays.
    notes.sort_by_key(|(row, _)| *row);
    notes.reverse();
    notes.dedup_by_key(|(row, _)| *row);
    notes.reverse();
    let first = notes.first().map(|(_, note)| std::mem::discriminant(note));
    notes.retain(|(_, note)| Some(std::mem::discriminant(note)) == first);
    let rows = notes.iter().map(|(row, _)| *row).collect();
    let values = match notes.first() {
        Some((_, Note::Integer(_))) => Values::Int64(
            notes
                .iter()
                .filter_map(|(_, note)| match note {
                    Note::Integer(value) => Some(*value),
                    _ => None,
                })
                .collect(),
        ),
        Some((_, Note::Text(_))) => {
            let (mut offsets, mut bytes) = (vec![0], Vec::new());
            for (_, note) in &notes {
                if let Note::Text(text) = note {
                    bytes.extend_from_slice(text.as_bytes());
                    offsets.push(bytes.len() as u32);
                }
            }
            Values::Utf8(Utf8 {
                offsets: offsets.into(),
                bytes: bytes.into(),
            })
        }
        _ => Values::Float64(
            notes
                .iter()
                .filter_map(|(_, note)| match note {
                    Note::Number(value) => Some(*value),
                    _ => None,
                })
                .collect(),
        ),
    };
    Annotation { key, rows, values }
}

impl Finding {
    /// A finding of a kind (index in the plan), a direction, a score and a span, watched since `start`.
    ///
    /// The stream is filled in by [`Findings::push`]; everything else is empty until set.
    #[must_use]
    pub fn new(
        kind: u32,
        direction: Direction,
        score: f64,
        start: EventTime,
        end: EventTime,
    ) -> Self {
        Self {
            stream: StreamId(0),
            kind,
            template: None,
            series: Vec::new(),
            direction,
            score,
            start,
            end,
            since: start,
            observed: None,
            expected: None,
            lower: None,
            upper: None,
            unit: None,
            rows: Vec::new(),
            records: None,
            evidence: Vec::new(),
        }
    }

    /// Event time since which its series has been watched; never after its start.
    #[must_use]
    pub fn since(mut self, since: EventTime) -> Self {
        self.since = since.min(self.start);
        self
    }

    /// The template of its series.
    #[must_use]
    pub fn template(mut self, template: impl Into<Option<TemplateId>>) -> Self {
        self.template = template.into();
        self
    }

    /// A key of its series.
    #[must_use]
    pub fn series(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.series.push(SeriesKey {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// What was seen and what was usual.
    #[must_use]
    pub fn values(mut self, observed: f64, expected: f64) -> Self {
        (self.observed, self.expected) = (Some(observed), Some(expected));
        self
    }

    /// The usual range.
    #[must_use]
    pub fn range(mut self, lower: f64, upper: f64) -> Self {
        (self.lower, self.upper) = (Some(lower), Some(upper));
        self
    }

    /// How many records it rests on.
    #[must_use]
    pub fn records(mut self, records: f64) -> Self {
        self.records = Some(records);
        self
    }

    /// Rows of the batch just observed that show it.
    #[must_use]
    pub fn rows(mut self, rows: Vec<u32>) -> Self {
        self.rows = rows;
        self
    }

    /// One thing that it is based on, after those added before. A number that is not finite is left out.
    #[must_use]
    pub fn evidence(mut self, name: &str, value: impl Into<EvidenceValue>) -> Self {
        let value = value.into();
        if !matches!(value, EvidenceValue::Number(number) if !number.is_finite()) {
            self.evidence.push(Evidence {
                name: name.to_owned(),
                value,
            });
        }
        self
    }
}

impl From<f64> for EvidenceValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for EvidenceValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for EvidenceValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<f64>> for EvidenceValue {
    fn from(numbers: Vec<f64>) -> Self {
        Self::Numbers(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(score: f64) -> Finding {
        Finding::new(0, Direction::Above, score, EventTime(10), EventTime(20))
    }

    #[test]
    fn the_oddest_are_kept_and_the_rest_counted() {
        let mut findings = Findings::new();
        findings.of(StreamId(4));
        for score in 0..5_000 {
            findings.push(finding(f64::from(score)));
        }
        let outcome = findings.into_outcome();
        assert_eq!(outcome.findings.len(), Outcome::FINDINGS_MAX);
        assert_eq!(outcome.omitted as usize, 5_000 - Outcome::FINDINGS_MAX);
        assert_eq!(outcome.findings[0].score, 4_999.0);
        assert_eq!(outcome.findings[0].stream, StreamId(4));
    }

    #[test]
    fn what_the_host_would_refuse_is_left_out() {
        let mut findings = Findings::new();
        findings.push(finding(f64::NAN));
        findings.push(finding(-1.0));
        findings.push(finding(1.0).values(f64::INFINITY, 1.0));
        findings.push(Finding::new(
            0,
            Direction::Above,
            1.0,
            EventTime(5),
            EventTime(5),
        ));
        let outcome = findings.into_outcome();
        assert_eq!((outcome.findings.len(), outcome.omitted), (0, 4));
    }

    #[test]
    fn annotations_of_streams_are_merged_by_row() {
        let mut findings = Findings::new();
        findings.annotate("shift", 3, Note::Number(3.0));
        findings.annotate("shift", 1, Note::Number(1.0));
        findings.annotate("shift", 3, Note::Number(4.0));
        findings.annotate("shift", 2, Note::Text("no number".to_owned()));
        let outcome = findings.into_outcome();
        assert_eq!(outcome.annotations[0].rows, [1, 3]);
        assert_eq!(
            outcome.annotations[0].values,
            Values::Float64(vec![1.0, 4.0].into())
        );
    }
}
