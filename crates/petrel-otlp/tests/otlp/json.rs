//! JSON means what the same request means in protobuf, however leniently it is written.

use std::io::Read;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_otlp::{Code, Signal, count_records, json_to_protobuf};
use proptest::prelude::*;
use prost::Message;

use crate::generate::request;

proptest! {
    /// What another implementation writes as JSON is read as what it was. (Its `stringValueStrindex`
    /// is for profiles alone, and a double that is not finite it writes as `null`.)
    #[test]
    fn json_is_read_as_it_was_written(request in request()) {
        let mut decoded = ExportLogsServiceRequest::decode(request.as_slice()).expect("valid");
        let text = format!("{decoded:?}");
        prop_assume!(!text.contains("Strindex(") && !text.contains("NaN") && !text.contains("inf"));
        for record in decoded
            .resource_logs
            .iter_mut()
            .flat_map(|resource| &mut resource.scope_logs)
            .flat_map(|scope| &mut scope.log_records)
        {
            record.dropped_attributes_count &= 0xffff;
        }
        let json = serde_json::to_vec(&decoded).expect("any request can be JSON");
        let Ok(protobuf) = json_to_protobuf(Signal::Logs, &json) else {
            // Only nesting deeper than a JSON reader goes is refused.
            let error = json_to_protobuf(Signal::Logs, &json).expect_err("as before");
            prop_assert!(error.message.contains("recursion limit"), "{}", error);
            return Ok(());
        };
        let read = ExportLogsServiceRequest::decode(protobuf).expect("valid");
        let without_index = |request: &ExportLogsServiceRequest| {
            // `key_strindex` is for profiles alone, too.
            let text = format!("{request:?}");
            let mut parts = text.split("key_strindex: ");
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                out += part.trim_start_matches(|it: char| it.is_ascii_digit() || it == '-');
            }
            out
        };
        prop_assert_eq!(without_index(&read), without_index(&decoded));
    }
}

#[test]
fn json_is_read_leniently() {
    let strict = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"a","value":{"stringValue":"b"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"12","observedTimeUnixNano":"0","severityNumber":9,
        "body":{"intValue":"-3"},"flags":1,"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"",
        "attributes":[{"key":"d","value":{"doubleValue":1.5}},{"key":"x","value":{"bytesValue":"AQI="}}]}]}]}]}"#;
    let lenient = r#"{"unknown":[{"deep":1}],"resourceLogs":[{"resource":{"droppedAttributesCount":null,"attributes":[
        {"value":{"stringValue":"b","unknown":{"a":[1]}},"key":"a"}]},"schemaUrl":null,
        "scopeLogs":[{"scope":null,"logRecords":[{"timeUnixNano":12,"severityNumber":"9",
        "body":{"intValue":-3},"flags":"1","traceId":"0102030405060708090A0B0C0D0E0F10","spanId":null,"eventName":"",
        "attributes":[{"key":"d","value":{"doubleValue":"1.5"}},{"key":"x","value":{"bytesValue":"AQI"}}]}]}]}]}"#;
    let strict = json_to_protobuf(Signal::Logs, strict.as_bytes()).expect("valid");
    let read = ExportLogsServiceRequest::decode(strict.clone()).expect("valid");
    assert_eq!(read.resource_logs[0].scope_logs[0].log_records.len(), 1);
    let lenient = json_to_protobuf(Signal::Logs, lenient.as_bytes()).expect("valid");
    let read_lenient = ExportLogsServiceRequest::decode(lenient).expect("valid");
    assert_eq!(
        read_lenient.resource_logs[0].scope_logs,
        read.resource_logs[0].scope_logs
    );
    assert!(
        json_to_protobuf(Signal::Logs, b"{}")
            .expect("an empty request")
            .is_empty()
    );
}

#[test]
fn json_that_is_wrong_is_refused_at_its_byte() {
    let check = |json: &str, byte: usize| {
        let refusal = json_to_protobuf(Signal::Logs, json.as_bytes()).expect_err(json);
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(
            refusal.message.contains(&format!("at byte {byte}:")),
            "{refusal}"
        );
    };
    check("", 0);
    check("{\n  \"resourceLogs\": [\n  x", 24);
    check(r#"{"resourceLogs":{}}"#, 17);
    check(
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xy"}]}]}]}"#,
        60,
    );
}

/// Three bytes may be a log record: read as objects, a request of them would take a hundred times as
/// much memory as it has bytes.
#[test]
fn empty_things_stay_small() {
    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}{{}}]}}]}}]}}"#,
        "{},".repeat(1 << 20)
    );
    let protobuf = json_to_protobuf(Signal::Logs, json.as_bytes()).expect("valid");
    assert_eq!(count_records(&protobuf), Ok((1 << 20) + 1));
    assert!(protobuf.len() < json.len());
}

/// The samples of the evaluation data, malformed ones included, are taken or refused as by another
/// implementation; those taken can be walked and spliced.
#[test]
fn samples_are_read() {
    let folder = std::env::var("PETREL_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let Ok(packed) = std::fs::File::open(format!("{folder}/otlp-samples.tar.zst")) else {
        println!("samples_are_read did not run: no otlp-samples.tar.zst in {folder}");
        return;
    };
    let unpacked = zstd::Decoder::new(packed).expect("zstd");
    let mut archive = tar::Archive::new(unpacked);
    let mut n_read = 0;
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut json = Vec::new();
        entry.read_to_end(&mut json).expect("its content");
        if !name.ends_with(".json") {
            continue;
        }
        // Some hold one request a line.
        for request in std::iter::once(&json[..]).chain(json.split(|&byte| byte == b'\n')) {
            let theirs = serde_json::from_slice::<ExportLogsServiceRequest>(request);
            if let Ok(protobuf) = json_to_protobuf(Signal::Logs, request) {
                let ours = ExportLogsServiceRequest::decode(protobuf.clone()).expect("valid");
                if let Ok(theirs) = theirs {
                    assert_eq!(ours, theirs, "{name}");
                }
                crate::walk::check_rows(protobuf.to_vec(), false);
                crate::splice::check_every_other_record(&protobuf);
                n_read += ours.resource_logs.len();
            } else {
                assert!(theirs.is_err(), "{name} is refused");
            }
        }
    }
    assert!(n_read > 0, "some sample has logs");
}
