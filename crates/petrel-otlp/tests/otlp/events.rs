//! Events as consumers want them, read back by another decoder.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use petrel_batch::{Attribute, EventRecord, EventTime, Severity};
use petrel_otlp::{EventSettings, encode_events};
use prost::Message;

fn event(service: &str, detector: &str, body: &str) -> EventRecord {
    EventRecord {
        tenant: String::new(),
        event_name: "anomaly.detected".into(),
        time: EventTime(5),
        observed_time: EventTime(7),
        severity: Severity::Warning,
        body: body.to_owned(),
        scope_name: format!("petrel/detectors/{detector}"),
        scope_version: "1.2.3".to_owned(),
        resource: vec![("service.name".to_owned(), service.to_owned())],
        attributes: vec![Attribute::new("anomaly.score", 0.75)],
        trace: Some(([1; 16], [2; 8])),
    }
}

#[test]
fn events_are_grouped_by_resource_and_scope() {
    let events = [
        event("a", "novelty", "one"),
        event("b", "novelty", "two"),
        event("a", "novelty", "three"),
        event("a", "silence", "four"),
    ];
    let encoded = encode_events(&events, &EventSettings::default());
    let request = ExportLogsServiceRequest::decode(encoded).expect("valid");
    let mut text = String::new();
    for resource_logs in &request.resource_logs {
        let resource = resource_logs.resource.as_ref().expect("a resource");
        text += &format!(
            "{:?}\n",
            resource.attributes[0].value.as_ref().expect("text").value
        );
        for scope_logs in &resource_logs.scope_logs {
            let scope = scope_logs.scope.as_ref().expect("a scope");
            text += &format!("  {} {}\n", scope.name, scope.version);
            for record in &scope_logs.log_records {
                text += &format!("    {:?}\n", record.body.as_ref().expect("a body").value);
            }
        }
    }
    let expected = r#"Some(StringValue("a"))
  petrel/detectors/novelty 1.2.3
    Some(StringValue("one"))
    Some(StringValue("three"))
  petrel/detectors/silence 1.2.3
    Some(StringValue("four"))
Some(StringValue("b"))
  petrel/detectors/novelty 1.2.3
    Some(StringValue("two"))
"#;
    assert_eq!(text, expected);
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.event_name, "anomaly.detected");
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (5, 7)
    );
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (13, "WARN")
    );
    assert_eq!(
        (record.trace_id.as_slice(), record.flags),
        (&[1; 16][..], 1)
    );
    let value = |index: usize| {
        let value = record.attributes[index].value.clone().expect("a value");
        (record.attributes[index].key.as_str(), value.value)
    };
    let name = Value::StringValue("anomaly.detected".to_owned());
    assert_eq!(value(0), ("otel.event.name", Some(name)));
    assert_eq!(value(1), ("anomaly.score", Some(Value::DoubleValue(0.75))));
    assert!(encode_events(&[], &EventSettings::default()).is_empty());
}
