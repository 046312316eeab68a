//! Anomaly events as JSON lines, for a Petrel that has nobody to send them to.

use bytes::Bytes;
use petrel_batch::{AttributeValue, EventRecord};
use serde_json::{Map, Value, json};

/// An event as one line of JSON.
#[must_use]
pub fn json_line(event: &EventRecord) -> Bytes {
    format!("{}\n", to_json(event)).into()
}

/// An event as one JSON object: name, time, severity, sentence, resource and flat attributes.
#[must_use]
pub fn to_json(event: &EventRecord) -> Value {
    let attributes: Map<String, Value> = event
        .attributes
        .iter()
        .map(|attribute| (attribute.key.to_string(), value(&attribute.value)))
        .collect();
    let resource: Map<String, Value> = event
        .resource
        .iter()
        .map(|(key, text)| (key.clone(), json!(text)))
        .collect();
    json!({
        "event_name": event.event_name,
        "time_unix_nano": event.time.nanos().to_string(),
        "severity": event.severity.text(),
        "body": event.body,
        "resource": resource,
        "attributes": attributes,
    })
}

fn value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => json!(text.as_ref()),
        AttributeValue::Int(number) => json!(number),
        AttributeValue::Double(number) => json!(number),
        AttributeValue::Bool(yes) => json!(yes),
        AttributeValue::Texts(texts) => texts.iter().map(|text| json!(text.as_ref())).collect(),
        AttributeValue::Doubles(numbers) => json!(numbers),
    }
}
