//! Anomaly events as log records of Petrel's own, in requests of their own.

use bytes::Bytes;
use petrel_batch::{Attribute, AttributeValue, EventRecord};
use prost::Message;

use crate::proto::{
    AnyValue, ArrayValue, ExportLogsServiceRequest, InstrumentationScope, KeyValue, LogRecord,
    Resource, ResourceLogs, ScopeLogs, Value,
};

/// The attribute that repeats the event's name for backends that do not know the field.
pub const EVENT_NAME_ATTRIBUTE: &str = "otel.event.name";

/// The record was sampled: W3C trace flags of an event that has a trace.
const SAMPLED: u32 = 1;

/// How events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// Attribute that repeats the event's name; `None` to write the field alone.
    pub event_name_attribute: Option<String>,
    /// Schema URL of the scopes; empty for none.
    pub schema_url: String,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            event_name_attribute: Some(EVENT_NAME_ATTRIBUTE.to_owned()),
            schema_url: String::new(),
        }
    }
}

/// Events as one encoded `ExportLogsServiceRequest`: one `ResourceLogs` for each resource, in it one
/// `ScopeLogs` for each scope, both in order of first appearance, records in the order given.
///
/// No events give no bytes, which is the empty request.
#[must_use]
pub fn encode_events(events: &[EventRecord], settings: &EventSettings) -> Bytes {
    let mut resources: Vec<(&[(String, String)], ResourceLogs)> = Vec::new();
    for event in events {
        let known = resources.iter().position(|(key, _)| *key == event.resource);
        let index = known.unwrap_or_else(|| {
            resources.push((&event.resource, resource_logs(&event.resource)));
            resources.len() - 1
        });
        let scope_logs = &mut resources[index].1.scope_logs;
        let known = scope_logs
            .iter()
            .position(|scope_logs| is_scope_of(scope_logs, event));
        let index = known.unwrap_or_else(|| {
            scope_logs.push(self::scope_logs(event, settings));
            scope_logs.len() - 1
        });
        scope_logs[index].log_records.push(record(event, settings));
    }
    let resource_logs = resources
        .into_iter()
        .map(|(_, resource_logs)| resource_logs);
    ExportLogsServiceRequest {
        resource_logs: resource_logs.collect(),
    }
    .encode_to_vec()
    .into()
}

fn resource_logs(attributes: &[(String, String)]) -> ResourceLogs {
    let attributes = attributes
        .iter()
        .map(|(key, value)| key_value(key, Value::String(value.clone())));
    ResourceLogs {
        resource: Some(Resource {
            attributes: attributes.collect(),
        }),
        ..ResourceLogs::default()
    }
}

fn is_scope_of(scope_logs: &ScopeLogs, event: &EventRecord) -> bool {
    scope_logs
        .scope
        .as_ref()
        .is_some_and(|scope| scope.name == event.scope_name && scope.version == event.scope_version)
}

fn scope_logs(event: &EventRecord, settings: &EventSettings) -> ScopeLogs {
    ScopeLogs {
        scope: Some(InstrumentationScope {
            name: event.scope_name.clone(),
            version: event.scope_version.clone(),
        }),
        schema_url: settings.schema_url.clone(),
        ..ScopeLogs::default()
    }
}

fn record(event: &EventRecord, settings: &EventSettings) -> LogRecord {
    let name = settings
        .event_name_attribute
        .iter()
        .map(|key| key_value(key, Value::String(event.event_name.to_string())));
    let attributes = event.attributes.iter().map(attribute);
    let (trace_id, span_id) = event.trace.map_or_else(Default::default, |(trace, span)| {
        (trace.to_vec(), span.to_vec())
    });
    LogRecord {
        time_unix_nano: event.time.nanos(),
        observed_time_unix_nano: event.observed_time.nanos(),
        severity_number: event.severity.number() as i32,
        severity_text: event.severity.text().to_owned(),
        body: Some(AnyValue {
            value: Some(Value::String(event.body.clone())),
        }),
        attributes: name.chain(attributes).collect(),
        flags: if event.trace.is_some() { SAMPLED } else { 0 },
        trace_id,
        span_id,
        event_name: event.event_name.to_string(),
    }
}

fn attribute(attribute: &Attribute) -> KeyValue {
    let list = |values: Vec<Value>| {
        let values = values.into_iter();
        let values = values.map(|value| AnyValue { value: Some(value) });
        Value::Array(ArrayValue {
            values: values.collect(),
        })
    };
    let value = match &attribute.value {
        AttributeValue::Text(text) => Value::String(text.to_string()),
        AttributeValue::Int(value) => Value::Int(*value),
        AttributeValue::Double(value) => Value::Double(*value),
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::Texts(texts) => {
            let texts = texts.iter().map(|text| Value::String(text.to_string()));
            list(texts.collect())
        }
        AttributeValue::Doubles(values) => {
            list(values.iter().copied().map(Value::Double).collect())
        }
    };
    key_value(&attribute.key, value)
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}
