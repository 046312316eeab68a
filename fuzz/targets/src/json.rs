//! Any bytes as OTLP/JSON: what is read is a valid request, and written again it is read as the same.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_otlp::json_to_protobuf;
use prost::Message;

use crate::model::plan;
use crate::walk::walk_with_two_workers;

/// Reads the input as OTLP/JSON.
///
/// # Panics
/// When what is read is no request that prost and a walk take, or when another implementation writes
/// it as JSON that is read as something else.
pub fn json(input: &[u8]) {
    let Ok(protobuf) = json_to_protobuf(input) else {
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
    match json_to_protobuf(&again) {
        Ok(again) => {
            let again = ExportLogsServiceRequest::decode(again).expect("as before");
            assert_eq!(format!("{again:?}"), text);
        }
        Err(error) => assert!(error.message.contains("recursion limit"), "{error}"),
    }
}
