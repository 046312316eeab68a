//! Anomalies as the sink learns of them: parsed from the OTLP events, by the names of the schema alone.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use petrel_batch::EventTime;
use serde::{Serialize, Serializer};

use super::story;

/// What the names of anomaly events begin with.
const EVENT_PREFIX: &str = "anomaly.";
/// What the names of attributes with evidence begin with.
const EVIDENCE_PREFIX: &str = "anomaly.evidence.";

/// What an event says about an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Detected,
    Updated,
    Resolved,
}

/// An event that reports an anomaly.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AnomalyEvent {
    pub(super) change: Change,
    pub(super) anomaly: Anomaly,
    /// `INFO`, `WARN` or `ERROR`.
    pub(super) severity: String,
    /// The sentence.
    pub(super) body: String,
    /// Once in so many days.
    pub(super) rarity_days: Option<f64>,
    /// Names without prefix and values as text, in the event's order.
    pub(super) evidence: Vec<(String, String)>,
}

/// An anomaly: the fields of the schema, without prefix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Anomaly {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) service: String,
    pub(super) template: Option<String>,
    pub(super) direction: Option<String>,
    pub(super) score: Option<f64>,
    #[serde(serialize_with = "story::as_text")]
    pub(super) start: EventTime,
    #[serde(serialize_with = "maybe_as_text")]
    pub(super) end: Option<EventTime>,
    /// Event time at which it was reported.
    #[serde(serialize_with = "story::as_text")]
    pub(super) detected: EventTime,
    pub(super) state: Option<String>,
    pub(super) observed: Option<f64>,
    pub(super) expected: Option<f64>,
    pub(super) lower: Option<f64>,
    pub(super) upper: Option<f64>,
    pub(super) unit: Option<String>,
    pub(super) detector: Detector,
}

/// Who found it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Detector {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) digest: Option<String>,
}

/// The anomaly events of a request, in order; records without an id are none.
pub(super) fn events_of(request: &ExportLogsServiceRequest) -> impl Iterator<Item = AnomalyEvent> {
    request.resource_logs.iter().flat_map(|resource_logs| {
        let resource = resource_logs
            .resource
            .as_ref()
            .map_or(&[][..], |resource| &resource.attributes);
        let records = resource_logs
            .scope_logs
            .iter()
            .flat_map(|scope_logs| &scope_logs.log_records);
        records.filter_map(|record| event_of(resource, record))
    })
}

fn event_of(resource: &[KeyValue], record: &LogRecord) -> Option<AnomalyEvent> {
    let change = match record.event_name.strip_prefix(EVENT_PREFIX)? {
        "detected" => Change::Detected,
        "updated" => Change::Updated,
        "resolved" => Change::Resolved,
        _ => return None,
    };
    let of = |key: &str| value(&record.attributes, key);
    let text = |key: &str| of(key).map(as_plain);
    let anomaly = Anomaly {
        id: text("anomaly.id")?,
        kind: text("anomaly.type")?,
        service: value(resource, "service.name")
            .map(as_plain)
            .unwrap_or_default(),
        template: text("log.record.template"),
        direction: text("anomaly.direction"),
        score: of("anomaly.score").and_then(as_number),
        start: text("anomaly.start.time").and_then(|text| parse_time(&text))?,
        end: text("anomaly.end.time").and_then(|text| parse_time(&text)),
        detected: EventTime(record.observed_time_unix_nano),
        state: text("anomaly.state"),
        observed: of("anomaly.value.observed").and_then(as_number),
        expected: of("anomaly.value.expected").and_then(as_number),
        lower: of("anomaly.value.lower").and_then(as_number),
        upper: of("anomaly.value.upper").and_then(as_number),
        unit: text("anomaly.value.unit"),
        detector: Detector {
            name: text("anomaly.detector.name"),
            version: text("anomaly.detector.version"),
            digest: text("petrel.detector.module.digest"),
        },
    };
    let evidence = record.attributes.iter().filter_map(|attribute| {
        let name = attribute.key.strip_prefix(EVIDENCE_PREFIX)?;
        Some((
            name.to_owned(),
            attribute
                .value
                .as_ref()
                .and_then(|value| value.value.as_ref())
                .map(as_plain)?,
        ))
    });
    Some(AnomalyEvent {
        change,
        anomaly,
        severity: record.severity_text.clone(),
        body: record
            .body
            .as_ref()
            .and_then(|body| body.value.as_ref())
            .map(as_plain)
            .unwrap_or_default(),
        rarity_days: of("anomaly.rarity").and_then(as_number),
        evidence: evidence.collect(),
    })
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::DoubleValue(double) => Some(*double),
        Value::IntValue(int) => Some(*int as f64),
        _ => None,
    }
}

/// A value as a person reads it: numbers to four significant digits or so, lists with commas.
fn as_plain(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(bool) => bool.to_string(),
        Value::IntValue(int) => int.to_string(),
        Value::DoubleValue(double) if double.abs() >= 100.0 => format!("{double:.0}"),
        Value::DoubleValue(double) => format!("{}", (double * 1_000.0).round() / 1_000.0),
        Value::ArrayValue(array) => {
            let values: Vec<String> = array.values.iter().filter_map(any_as_plain).collect();
            values.join(", ")
        }
        other => format!("{other:?}"),
    }
}

fn any_as_plain(value: &AnyValue) -> Option<String> {
    value.value.as_ref().map(as_plain)
}

fn parse_time(text: &str) -> Option<EventTime> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_nanosecond()).ok().map(EventTime)
}

fn maybe_as_text<S: Serializer>(
    time: &Option<EventTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => story::as_text(time, serializer),
        None => serializer.serialize_none(),
    }
}
