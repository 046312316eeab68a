//! Anomaly events: a change in an anomaly's life as a log record of Petrel's own.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use petrel_batch::{Attribute, AttributeValue, EventRecord, EventTime, Severity, names};

use crate::anomaly::{Anomaly, Proof};
use crate::sentence::sentence;
use crate::streams::StreamFacts;
use crate::{Privacy, Settings, Tally};

/// Trace ids that an event gives as samples.
const SAMPLES_MAX: usize = 5;

/// An event of a stream's anomaly on its way to the global stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEvent {
    /// Stable hash of the stream's key; events are ordered by it.
    pub stream: u64,
    /// Id of the anomaly.
    pub anomaly_id: Arc<str>,
    /// The event.
    pub record: EventRecord,
}

/// What happens to an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    Detected,
    Updated,
    Ended(Ending),
}

/// How an anomaly ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It has been quiet for long enough.
    Resolved,
    /// Late records explained it.
    Withdrawn,
    /// It lasted longer than anomalies are kept.
    Expired,
    /// It turned out to be part of another.
    Suppressed,
}

impl Transition {
    fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Updated => "updated",
            Self::Ended(_) => "resolved",
        }
    }

    pub(crate) fn state(self) -> &'static str {
        match self {
            Self::Detected | Self::Updated => "active",
            Self::Ended(Ending::Resolved) => "resolved",
            Self::Ended(Ending::Withdrawn) => "withdrawn",
            Self::Ended(Ending::Expired) => "expired",
            Self::Ended(Ending::Suppressed) => "suppressed",
        }
    }
}

/// Takes the events of one stream.
pub(crate) struct Emitter<'a> {
    pub(crate) stream: &'a StreamFacts,
    pub(crate) settings: &'a Settings,
    pub(crate) events: &'a mut Vec<StreamEvent>,
    pub(crate) tally: &'a mut Tally,
}

impl Emitter<'_> {
    /// Emits what happened to an anomaly at event time `at`, and counts it.
    pub(crate) fn emit(&mut self, transition: Transition, anomaly: &Anomaly, at: u64) {
        match transition {
            Transition::Detected => {
                let key = (
                    Arc::clone(&anomaly.provenance.name),
                    Arc::clone(&anomaly.kind),
                );
                *self.tally.detected.entry(key).or_default() += 1;
            }
            Transition::Updated => {}
            Transition::Ended(_) => {
                *self.tally.ended.entry(transition.state()).or_default() += 1;
            }
        }
        self.events.push(StreamEvent {
            stream: self.stream.hash,
            anomaly_id: Arc::clone(&anomaly.id),
            record: self.record(transition, anomaly, at),
        });
    }

    /// The event of a transition at event time `at`, without what must not leave.
    fn record(&self, transition: Transition, anomaly: &Anomaly, at: u64) -> EventRecord {
        let (stream, settings) = (self.stream, self.settings);
        let privacy = &settings.privacy;
        if privacy.is_empty() {
            return record(transition, anomaly, at, stream, settings);
        }
        let shown = StreamFacts {
            display: privacy.display(stream),
            resource: privacy.resource(stream),
            ..stream.clone()
        };
        let anomaly = privacy.shown(anomaly);
        let mut record = record(transition, &anomaly, at, &shown, settings);
        // Once more as a whole: a pattern may reach over what was put together.
        record.body = privacy.mask(&record.body).into_owned();
        record
    }
}

/// The event of a transition at event time `at`.
fn record(
    transition: Transition,
    anomaly: &Anomaly,
    at: u64,
    stream: &StreamFacts,
    settings: &Settings,
) -> EventRecord {
    let prefix = settings.attribute_prefix.as_str();
    let mut attributes = Attributes::new(prefix, settings.limits.event_attributes);
    describe(
        &mut attributes,
        transition,
        anomaly,
        stream,
        &settings.privacy,
    );
    let mut attributes = attributes.list;
    attributes.extend(evidence(anomaly, prefix));
    let event_name = format!("{prefix}.{}", transition.name());
    if let Some(key) = &settings.event_name_attribute {
        attributes.push(Attribute::new(key.clone(), event_name.as_str()));
    }
    EventRecord {
        tenant: stream.key.tenant.clone(),
        event_name: event_name.into(),
        time: EventTime(at),
        observed_time: EventTime::UNKNOWN,
        severity: match transition {
            Transition::Ended(_) => Severity::Info,
            _ => anomaly.tier.severity(),
        },
        body: sentence(transition, anomaly, at, &stream.display),
        scope_name: format!("petrel/detectors/{}", anomaly.provenance.name),
        scope_version: anomaly.provenance.version.to_string(),
        resource: stream.resource.clone(),
        attributes,
        trace: None,
    }
}

/// The attributes, most telling first: where a bound cuts, the end is lost.
fn describe(
    to: &mut Attributes<'_>,
    transition: Transition,
    anomaly: &Anomaly,
    stream: &StreamFacts,
    privacy: &Privacy,
) {
    to.own("id", Arc::clone(&anomaly.id));
    to.own("type", Arc::clone(&anomaly.kind));
    to.own("state", transition.state());
    to.own("score", anomaly.score);
    to.own("tier", anomaly.tier.as_str());
    to.own("start.time", iso_time(anomaly.start));
    to.own("detector.name", Arc::clone(&anomaly.provenance.name));
    to.own("detector.version", Arc::clone(&anomaly.provenance.version));
    to.own("rarity", anomaly.rarity_days());
    if anomaly.completeness < 1.0 {
        to.own("completeness", anomaly.completeness);
    }
    if let Transition::Ended(ending) = transition {
        to.own("end.time", iso_time(anomaly.end));
        if ending == Ending::Suppressed {
            to.own("suppression.reason", "grouped");
        }
    }
    to.own("direction", anomaly.direction().as_str());
    let measure = &anomaly.measure;
    to.maybe("value.observed", measure.observed);
    to.maybe("value.expected", measure.expected);
    if let Some(template) = &anomaly.template {
        to.add(names::LOG_RECORD_TEMPLATE, Arc::clone(&template.text));
        to.add(names::PETREL_TEMPLATE_ID, format!("{:016x}", template.id));
    }
    for (key, value) in &anomaly.series {
        if privacy.may_show(key) {
            to.add(key.clone(), value.as_str());
        }
    }
    if measure.observed.is_some() && !measure.unit.is_empty() {
        to.own("value.unit", measure.unit.as_str());
    }
    to.maybe("value.lower", measure.lower);
    to.maybe("value.upper", measure.upper);
    to.add(
        "petrel.detector.module.digest",
        Arc::clone(&anomaly.provenance.module_digest),
    );
    to.add("petrel.stream.id", Arc::clone(&stream.id_hex));
    if let Some(records) = anomaly.records {
        to.own("record.count", AttributeValue::Int(records.round() as i64));
    }
    to.own("window.duration", anomaly.window as f64 / 1e9);
    if !anomaly.trace_ids.is_empty() {
        let samples = anomaly.trace_ids.iter().take(SAMPLES_MAX);
        let samples = samples.map(|id| Arc::from(id.as_str())).collect();
        to.own("sample.trace_ids", AttributeValue::Texts(samples));
    }
    to.add(
        "petrel.detector.config.digest",
        Arc::clone(&anomaly.provenance.config_digest),
    );
}

fn evidence(anomaly: &Anomaly, prefix: &str) -> Vec<Attribute> {
    let key = |name: &str| format!("{prefix}.evidence.{name}");
    let mut attributes: Vec<_> = anomaly
        .evidence
        .iter()
        .map(|(name, proof)| {
            let value = match proof {
                Proof::Number(number) => AttributeValue::Double(*number),
                Proof::Text(text) => AttributeValue::from(text.as_str()),
                Proof::Numbers(numbers) => AttributeValue::Doubles(numbers.clone()),
            };
            Attribute::new(key(name), value)
        })
        .collect();
    if !anomaly.folded.is_empty() {
        let n_folded = anomaly.folded.len() as f64;
        attributes.push(Attribute::new(key("folded"), n_folded));
        attributes.push(Attribute::new(
            key("folded_series"),
            anomaly.folded_names.join("; "),
        ));
    }
    attributes
}

/// A time as ISO 8601, UTC, to the nanosecond where it has them.
pub(crate) fn iso_time(time: u64) -> String {
    Timestamp::from_nanosecond(i128::from(time))
        .map_or_else(|_| time.to_string(), |timestamp| timestamp.to_string())
}

/// A bounded list of attributes under a prefix.
pub(crate) struct Attributes<'a> {
    prefix: &'a str,
    max: usize,
    pub(crate) list: Vec<Attribute>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(prefix: &'a str, max: usize) -> Self {
        Self {
            prefix,
            max,
            list: Vec::with_capacity(max),
        }
    }

    /// An attribute of the anomaly namespace.
    pub(crate) fn own(&mut self, name: &str, value: impl Into<AttributeValue>) {
        let key = format!("{}.{name}", self.prefix);
        self.add(key, value);
    }

    fn maybe(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.own(name, value);
        }
    }

    fn add(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) {
        if self.list.len() < self.max {
            self.list.push(Attribute::new(key, value));
        }
    }
}
