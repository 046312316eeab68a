//! Any bytes as OTLP/JSON of each signal: what is read is a valid request; logs, written again, are read
//! as the same.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_otlp::{Signal, count_items, json_to_protobuf, protobuf_to_json};
use prost::Message;

use crate::model::plan;
use crate::walk::walk_with_two_workers;

/// Reads the input as OTLP/JSON.
///
/// # Panics
/// When what is read is no request that prost and a walk take, or when another implementation writes
/// it as JSON that is read as something else.
pub fn json(input: &[u8]) {
    for signal in [Signal::Traces, Signal::Metrics] {
        if let Ok(protobuf) = json_to_protobuf(signal, input) {
            count_items(signal, &protobuf).expect("a valid request");
            protobuf_to_json(signal, &protobuf).expect("a valid request");
        }
    }
    let Ok(protobuf) = json_to_protobuf(Signal::Logs, input) else {
        return;
    };
    walk_with_two_workers(&protobuf, &plan(true)).expect("a valid request");
    let decoded = match ExportLogsServiceRequest::decode(protobuf) {
        Ok(decoded) => decoded,
        // Both have a bound on nesting, and not the same.
        Err(error) if error.to_string().contains("recursion limit") => return,
        Err(error) => panic!("{error}"),
    };
    let text = format!("{decoded:?}");
    // The other implementation writes a double that is not finite as `null`, and an index as it likes.
    if ["Strindex(", "NaN", "inf"]
        .iter()
        .any(|it| text.contains(it))
    {
        return;
    }
    let again = serde_json::to_vec(&decoded).expect("any request can be JSON");
    match json_to_protobuf(Signal::Logs, &again) {
        Ok(again) => {
            let again = ExportLogsServiceRequest::decode(again).expect("as before");
            assert_eq!(format!("{again:?}"), text);
        }
        Err(error) => assert!(error.message.contains("recursion limit"), "{error}"),
    }
}
