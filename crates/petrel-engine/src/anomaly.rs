//! An anomaly: what was found about one series, from its onset on.

use std::sync::Arc;

use petrel_batch::Severity;
use petrel_detector::{Direction, Evidence, EvidenceValue, Finding, Level};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::calibration::{TailKey, direction_code};
use crate::detectors::{KindFacts, Provenance};
use crate::streams::StreamFacts;

/// The calibrated score that is 1.0.
const SCORE_FULL: f64 = 12.0;
const WARNING_FROM: f64 = 0.6;
const CRITICAL_FROM: f64 = 0.8;
/// What is provisional stays just below a warning.
const PROVISIONAL_MAX: f64 = 0.599;
/// Beyond a million days, rarity says nothing more.
const RARITY_DAYS_MAX: f64 = 1e6;
/// Windows that an anomaly remembers as its support, for withdrawals.
const SUPPORT_MAX: usize = 64;

/// How much attention an anomaly asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Score under 0.6.
    Info,
    /// Under 0.8.
    Warning,
    /// Above.
    Critical,
}

impl Tier {
    /// The tier of a score from 0 to 1.
    #[must_use]
    pub fn of(score: f64) -> Self {
        if score >= CRITICAL_FROM {
            Self::Critical
        } else if score >= WARNING_FROM {
            Self::Warning
        } else {
            Self::Info
        }
    }

    /// The word used in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Severity of its events.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Critical,
        }
    }
}

/// A template by its id and text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedTemplate {
    pub(crate) id: u64,
    pub(crate) text: Arc<str>,
}

/// What was seen and what was usual, in `unit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) observed: Option<f64>,
    pub(crate) expected: Option<f64>,
    pub(crate) lower: Option<f64>,
    pub(crate) upper: Option<f64>,
    pub(crate) unit: String,
}

/// A value of evidence as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Proof {
    Number(f64),
    Text(String),
    Numbers(Vec<f64>),
}

/// A finding with all that the engine knows around it.
pub(crate) struct Found<'a> {
    pub(crate) finding: &'a Finding,
    pub(crate) kind: &'a KindFacts,
    pub(crate) provenance: &'a Provenance,
    pub(crate) level: Level,
    pub(crate) template: Option<NamedTemplate>,
    pub(crate) completeness: f64,
    pub(crate) trace_ids: Vec<String>,
}

impl Found<'_> {
    /// What identifies the series, kind and direction inside the stream.
    pub(crate) fn fingerprint(&self) -> TailKey {
        let mut series: Vec<_> = self.finding.series.iter().collect();
        series.sort();
        let mut hasher = Xxh3::with_seed(0);
        for key in &series {
            hasher.update(key.key.as_bytes());
            hasher.update(&[0xff]);
            hasher.update(key.value.as_bytes());
            hasher.update(&[0xff]);
        }
        TailKey {
            channel: self.kind.channel,
            template: self.template.as_ref().map(|template| template.id),
            series: if series.is_empty() {
                0
            } else {
                hasher.digest()
            },
            direction: direction_code(self.finding.direction),
        }
    }

    /// Whether both floors of the kind are passed (`detector.wit`, `kind.floor`).
    pub(crate) fn matters(&self) -> bool {
        let (Some(observed), Some(expected)) = (self.finding.observed, self.finding.expected)
        else {
            return true;
        };
        let kind = &self.kind.kind;
        let wide = self.finding.unit.is_some() || (observed - expected).abs() >= kind.floor;
        let (low, high) = (
            observed.abs().min(expected.abs()),
            observed.abs().max(expected.abs()),
        );
        let far = expected == 0.0 || kind.floor_ratio <= 1.0 || high >= low * kind.floor_ratio;
        wide && far
    }

    /// How far the observed is from the expected; 0.0 where they are not given.
    pub(crate) fn excess(&self) -> f64 {
        match (self.finding.observed, self.finding.expected) {
            (Some(observed), Some(expected)) => (observed - expected).abs(),
            _ => 0.0,
        }
    }

    fn measure(&self) -> Measure {
        let finding = self.finding;
        Measure {
            observed: finding.observed,
            expected: finding.expected,
            lower: finding.lower,
            upper: finding.upper,
            unit: finding
                .unit
                .clone()
                .unwrap_or_else(|| self.kind.kind.unit.clone()),
        }
    }
}

/// Something odd about one series, open or just ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Anomaly {
    pub(crate) id: Arc<str>,
    pub(crate) fingerprint: TailKey,
    pub(crate) provenance: Provenance,
    pub(crate) kind: Arc<str>,
    pub(crate) counts_records: bool,
    pub(crate) template: Option<NamedTemplate>,
    pub(crate) series: Vec<(String, String)>,
    /// Calibrated score at detection; never changes.
    pub(crate) calibrated: f64,
    /// From 0 to 1; never changes.
    pub(crate) score: f64,
    /// Of the highest score so far.
    pub(crate) tier: Tier,
    pub(crate) start: u64,
    /// End of the last window that showed it.
    pub(crate) end: u64,
    support: Vec<u64>,
    pub(crate) window: u64,
    pub(crate) measure: Measure,
    pub(crate) excess: f64,
    pub(crate) records: Option<f64>,
    pub(crate) evidence: Vec<(String, Proof)>,
    pub(crate) completeness: f64,
    pub(crate) trace_ids: Vec<String>,
    /// Series that belong to it, and the names of the first of them.
    pub(crate) folded: Vec<TailKey>,
    pub(crate) folded_names: Vec<String>,
    /// Event time of its last event, and whether something has changed since.
    pub(crate) told_at: u64,
    pub(crate) changed: bool,
}

impl Anomaly {
    /// A finding that became an anomaly.
    pub(crate) fn open(found: &Found<'_>, calibrated: f64, stream: &StreamFacts) -> Self {
        let finding = found.finding;
        let fingerprint = found.fingerprint();
        let score = score_of(calibrated, found.level);
        let mut series: Vec<_> = finding
            .series
            .iter()
            .map(|key| (key.key.clone(), key.value.clone()))
            .collect();
        series.sort();
        Self {
            id: identify(found, &series, stream),
            fingerprint,
            provenance: found.provenance.clone(),
            kind: Arc::clone(&found.kind.name),
            counts_records: found.kind.counts_records(),
            template: found.template.clone(),
            series,
            calibrated,
            score,
            tier: Tier::of(score),
            start: finding.start.0,
            end: finding.end.0,
            support: vec![finding.end.0],
            window: finding.end.0.saturating_sub(finding.start.0),
            measure: found.measure(),
            excess: found.excess(),
            records: finding.records,
            evidence: evidence(finding, calibrated),
            completeness: found.completeness,
            trace_ids: found.trace_ids.clone(),
            folded: Vec::new(),
            folded_names: Vec::new(),
            told_at: finding.end.0,
            changed: false,
        }
    }

    /// Takes a further finding of the same series; returns whether its tier rose.
    pub(crate) fn extend(&mut self, found: &Found<'_>, calibrated: f64) -> bool {
        let end = found.finding.end.0;
        if !self.support.contains(&end) {
            if self.support.len() == SUPPORT_MAX {
                self.support.remove(0);
            }
            self.support.push(end);
        }
        if end > self.end {
            self.end = end;
            self.changed = true;
        }
        self.completeness = self.completeness.min(found.completeness);
        if found.excess() > self.excess {
            self.excess = found.excess();
            self.measure = found.measure();
            self.window = end.saturating_sub(found.finding.start.0);
            self.records = found.finding.records.or(self.records);
            self.evidence = evidence(found.finding, calibrated);
            self.changed = true;
        }
        // What is counted rather than measured goes on while it lasts.
        let is_counted = found.finding.observed.is_none();
        if is_counted && found.finding.records > self.records {
            self.records = found.finding.records;
            self.changed = true;
        }
        let tier = Tier::of(score_of(calibrated, found.level));
        let rose = tier > self.tier;
        if rose {
            self.tier = tier;
        }
        rose
    }

    /// Takes a window out of its support; returns whether nothing is left of it.
    pub(crate) fn withdraw(&mut self, end: u64) -> bool {
        let before = self.support.len();
        self.support.retain(|&other| other != end);
        if self.support.len() == before {
            return false;
        }
        if let Some(&last) = self.support.iter().max() {
            self.end = last;
            self.changed = true;
        }
        self.support.is_empty()
    }

    /// Whether it is about the stream as a whole.
    pub(crate) fn is_total(&self) -> bool {
        self.fingerprint.template.is_none() && self.series.is_empty()
    }

    /// How its series is called among those folded into another.
    pub(crate) fn series_name(&self) -> String {
        name_series(self.template.as_ref(), &self.series)
    }

    /// How rare a score like its own is, in days.
    pub(crate) fn rarity_days(&self) -> f64 {
        (libm::exp10(self.calibrated) / 1_440.0).min(RARITY_DAYS_MAX)
    }

    /// Direction as the word of the events.
    pub(crate) fn direction(&self) -> Direction {
        match self.fingerprint.direction {
            0 => Direction::Above,
            1 => Direction::Below,
            2 => Direction::Appeared,
            3 => Direction::Disappeared,
            _ => Direction::Changed,
        }
    }
}

/// A series as people call it: its template, or its keys.
pub(crate) fn name_series(template: Option<&NamedTemplate>, series: &[(String, String)]) -> String {
    let keys = series.iter().map(|(key, value)| format!("{key}={value}"));
    let template = template.map(|template| template.text.to_string());
    template
        .into_iter()
        .chain(keys)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The score from 0 to 1 of a calibrated one.
pub(crate) fn score_of(calibrated: f64, level: Level) -> f64 {
    let score = (calibrated / SCORE_FULL).clamp(0.0, 1.0);
    if level == Level::Ready {
        score
    } else {
        score.min(PROVISIONAL_MAX)
    }
}

/// The detector's evidence and the two scores behind the one of the event.
fn evidence(finding: &Finding, calibrated: f64) -> Vec<(String, Proof)> {
    let given = finding.evidence.iter().map(|Evidence { name, value }| {
        let value = match value {
            EvidenceValue::Number(number) => Proof::Number(*number),
            EvidenceValue::Text(text) => Proof::Text(text.clone()),
            EvidenceValue::Numbers(numbers) => Proof::Numbers(numbers.clone()),
        };
        (name.clone(), value)
    });
    let own = [
        ("raw_score", finding.score),
        ("calibrated_score", calibrated),
    ];
    let own = own.map(|(name, score)| (name.to_owned(), Proof::Number(score)));
    given.chain(own).collect()
}

/// The id of an anomaly: a stable hash of whose it is, what it is and when it began.
fn identify(found: &Found<'_>, series: &[(String, String)], stream: &StreamFacts) -> Arc<str> {
    let mut hasher = Xxh3::with_seed(0);
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(stream.key.tenant.as_bytes());
    field(&(stream.key.values.len() as u64).to_le_bytes());
    stream
        .key
        .values
        .iter()
        .for_each(|value| field(value.as_bytes()));
    field(found.provenance.name.as_bytes());
    field(found.kind.name.as_bytes());
    let template = found
        .template
        .as_ref()
        .map(|template| template.id.to_le_bytes());
    field(template.as_ref().map_or(&[], |id| id.as_slice()));
    for (key, value) in series {
        field(key.as_bytes());
        field(value.as_bytes());
    }
    field(found.finding.direction.as_str().as_bytes());
    field(&found.finding.start.0.to_le_bytes());
    format!("{:032x}", hasher.digest128()).into()
}
