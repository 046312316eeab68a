//! What should not have been sent: refused with a reason, or passed through unharmed, and Petrel goes on.

use std::io::Write;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use tonic::{Code, Status};

use crate::client::{self, Grpc, RpcStatus};
use crate::process::Scratch;
use crate::records::{self, Record};
use crate::stage::Stage;
use crate::{petrel, wait};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
/// Deeper than that the decoder of this test gives up: it allows a hundred messages in one another.
const NESTED_MAX: usize = 45;
const NOW_NS: u64 = 1_700_000_000_000_000_000;

/// Nothing has arrived, a good request still does, and Petrel ends as asked.
async fn assert_unharmed(stage: Stage) {
    assert_eq!(
        stage.arrived(),
        Vec::<Bytes>::new(),
        "nothing of what was refused has gone on"
    );
    stage.accepts(&one_record()).await;
    assert_eq!(stage.arrived().len(), 1);
    assert!(stage.petrel.stop().success());
}

fn log_record(body: AnyValue) -> LogRecord {
    LogRecord {
        time_unix_nano: NOW_NS,
        body: Some(body),
        ..LogRecord::default()
    }
}

fn one_record() -> ExportLogsServiceRequest {
    records::request(
        "shop",
        vec![log_record(records::string_value("order 17 accepted"))],
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

/// Malformed protobuf, each with what is wrong about it.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let good = one_record().encode_to_vec();
    let mut end_missing = good.clone();
    end_missing.truncate(good.len() - 1);
    let mut inner_too_long = good.clone();
    // The length of the first resource, which then reaches beyond its resource logs.
    inner_too_long[3] = 0x7f;
    vec![
        ("a length beyond the end", end_missing),
        ("a length beyond its message", inner_too_long),
        ("field number zero", vec![0x02, 0x00]),
        ("a wire type that does not exist", vec![0x0f]),
        (
            "a varint of eleven bytes",
            [vec![0x08], vec![0xff; 11]].concat(),
        ),
        ("a varint that does not end", vec![0x0a, 0x80]),
        ("text", b"order 17 accepted".to_vec()),
    ]
}

/// Whether a message names a place, as in `at byte 17`, within a body of `length` bytes.
fn names_a_byte(message: &str, length: usize) -> bool {
    let (_, after) = message.split_once("byte ").unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<usize>().is_ok_and(|byte| byte <= length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_protobuf_is_refused() {
    let stage = Stage::new("");
    for (what, body) in malformed() {
        let length = body.len();
        let refusal = stage.grpc(body.clone()).await.expect_err(what);
        assert_eq!(refusal.code(), Code::InvalidArgument, "{what}: {refusal}");
        assert!(
            names_a_byte(refusal.message(), length),
            "{what}: {}",
            refusal.message()
        );

        let answer = stage.http(&[PROTOBUF], body).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, PROTOBUF.1),
            "{what}"
        );
        let status = RpcStatus::decode(answer.body).expect("the body is a google.rpc.Status");
        assert_eq!(status.code, Code::InvalidArgument as i32, "{what}");
        assert!(
            names_a_byte(&status.message, length),
            "{what}: {}",
            status.message
        );
    }
    assert_unharmed(stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_json_is_refused() {
    let stage = Stage::new("");
    for body in [
        "",
        "{",
        "[]",
        "{\"resourceLogs\": 1}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"soon\"}]}]}]}",
    ] {
        let answer = stage.http(&[JSON], body).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, JSON.1),
            "{body}"
        );
        let status: serde_json::Value =
            serde_json::from_slice(&answer.body).expect("the answer is JSON");
        assert_eq!(status["code"], Code::InvalidArgument as i32, "{body}");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(names_a_byte(message, body.len()), "{body}: {message}");
    }
    assert_unharmed(stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_content_is_refused() {
    let stage = Stage::new("");
    let body = one_record().encode_to_vec();
    let answer = stage
        .http(&[("content-type", "text/plain")], body.clone())
        .await;
    assert_eq!(answer.status, 415);
    let answer = stage
        .http(&[PROTOBUF, ("content-encoding", "br")], body.clone())
        .await;
    assert_eq!(answer.status, 400);
    let answer = stage.http(&[PROTOBUF, GZIP], body).await;
    assert_eq!(answer.status, 400, "not gzip, whatever its header says");
    assert_unharmed(stage).await;
}

/// The limit counts what a body is after decompression.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_is_refused() {
    const OVER_LIMIT_BYTES: usize = 65 << 20;
    let stage = Stage::new("");
    let body = records::string_value("x".repeat(OVER_LIMIT_BYTES));
    let body = records::request("shop", vec![log_record(body)]).encode_to_vec();
    let small = gzip(&body);

    let refusal = Grpc::gzip(&stage.setup.grpc)
        .send(body.clone().into())
        .await
        .expect_err("over the limit");
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    let retry =
        !refusal.details().is_empty() && RpcStatus::of(&refusal).has("google.rpc.RetryInfo");
    assert!(!retry, "it will not be smaller next time");
    let refusal = stage.grpc(body.clone()).await.expect_err("over the limit");
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");

    assert_eq!(stage.http(&[PROTOBUF, GZIP], small).await.status, 413);
    assert_eq!(stage.http(&[PROTOBUF], body).await.status, 413);
    assert_unharmed(stage).await;
}

/// The sender hears what the next hop says, in the words of its own protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_downstream_is_passed_on() {
    let stage = Stage::answering("", || Err(Status::unavailable("sending queue is full")));
    let body = one_record().encode_to_vec();
    let refusal = stage
        .grpc(body.clone())
        .await
        .expect_err("the next hop refuses");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    assert_eq!(stage.http(&[PROTOBUF], body).await.status, 503);

    let stage = Stage::answering("", || Err(Status::invalid_argument("not for me")));
    let body = one_record().encode_to_vec();
    let refusal = stage
        .grpc(body.clone())
        .await
        .expect_err("the next hop refuses");
    assert_eq!(
        refusal.code(),
        Code::InvalidArgument,
        "not retryable: {refusal}"
    );
    assert_eq!(stage.http(&[PROTOBUF], body).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_downstream_is_unavailable() {
    let scratch = Scratch::new("nobody");
    let setup = petrel::Setup::new(&scratch, "petrel", &wait::free_address(), "");
    let petrel = setup.start(&scratch);
    let body: Bytes = one_record().encode_to_vec().into();
    let refusal = Grpc::new(&setup.grpc)
        .send(body.clone())
        .await
        .expect_err("nobody listens");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    let answer = client::post(&setup.http, &[PROTOBUF], body)
        .await
        .expect("Petrel answers");
    assert_eq!(answer.status, 503);
    assert!(petrel.stop().success());
}

/// Odd, but no reason to refuse or to change anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_records_pass() {
    let stage = Stage::new("");
    let text = |body: &str| log_record(records::string_value(body));
    let records = vec![
        LogRecord {
            time_unix_nano: 0,
            ..text("no time at all")
        },
        LogRecord {
            time_unix_nano: 0,
            observed_time_unix_nano: NOW_NS,
            ..text("an observed time alone")
        },
        LogRecord {
            time_unix_nano: 1,
            ..text("long ago")
        },
        LogRecord {
            time_unix_nano: u64::MAX,
            ..text("at the end of time")
        },
        LogRecord {
            time_unix_nano: NOW_NS + 86_400_000_000_000,
            ..text("tomorrow")
        },
        LogRecord {
            body: None,
            ..text("")
        },
        LogRecord {
            severity_number: 99,
            ..text("a severity that does not exist")
        },
        LogRecord {
            severity_number: -1,
            ..text("a negative one")
        },
        LogRecord {
            trace_id: vec![1, 2, 3],
            span_id: vec![4; 40],
            ..text("ids of a wrong length")
        },
        text(&"a long line ".repeat(300_000)),
        text("\u{0}\u{1b}[31m\u{202e}\r\n\tcontrols"),
        log_record(AnyValue { value: None }),
        log_record(AnyValue {
            value: Some(any_value::Value::DoubleValue(f64::NEG_INFINITY)),
        }),
        log_record(AnyValue {
            value: Some(any_value::Value::BytesValue(vec![0xff, 0, 0xfe])),
        }),
        log_record(nested(NESTED_MAX)),
    ];
    let scope_logs = ScopeLogs {
        log_records: records,
        ..ScopeLogs::default()
    };
    let without_resource = ResourceLogs {
        scope_logs: vec![scope_logs],
        ..ResourceLogs::default()
    };
    let mut with_resource = without_resource.clone();
    with_resource.resource = one_record().resource_logs.swap_remove(0).resource;
    let empty = ResourceLogs::default();
    let request = ExportLogsServiceRequest {
        resource_logs: vec![without_resource, empty, with_resource],
    };

    stage
        .grpc(request.encode_to_vec())
        .await
        .expect("odd is not invalid");
    let actual: Vec<Record> = stage
        .arrived_records()
        .into_iter()
        .filter(|record| !record.is_event())
        .map(Record::without_ours)
        .collect();
    records::assert_same(&Record::of(request), &actual);
    assert!(stage.petrel.stop().success());
}

fn nested(depth: usize) -> AnyValue {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    (0..depth).fold(records::string_value("in the middle"), |inner, _| {
        AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue {
                values: vec![inner],
            })),
        }
    })
}

/// Text that is not UTF-8 cannot be decoded by a test either: the bytes must be there as they were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_utf8_passes() {
    const TEXT: [u8; 12] = *b"bad \xff\xfe bytes";
    let stage = Stage::new("");
    let body = AnyValue {
        value: Some(any_value::Value::BytesValue(TEXT.to_vec())),
    };
    let mut request = records::request("shop", vec![log_record(body)]).encode_to_vec();
    let at = find(&request, &TEXT).expect("the text is in the request") - 2;
    // The tag of `bytes_value` becomes that of `string_value`.
    assert_eq!(request[at], 0x3a);
    request[at] = 0x0a;

    stage
        .grpc(request.clone())
        .await
        .expect("the bytes pass through");
    let arrived = stage.arrived();
    assert_eq!(arrived.len(), 1);
    assert!(
        find(&arrived[0], &request[at..at + 2 + TEXT.len()]).is_some(),
        "changed on its way"
    );
    stage
        .grpc(one_record().encode_to_vec())
        .await
        .expect("a good request is accepted");
    assert!(stage.petrel.stop().success());
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_requests_are_accepted() {
    let stage = Stage::new("");
    stage
        .grpc(Bytes::new())
        .await
        .expect("an empty request is a success");
    let answer = stage.http(&[PROTOBUF], Bytes::new()).await;
    assert_eq!(answer.status, 200);
    let response =
        ExportLogsServiceResponse::decode(answer.body).expect("the answer is a response");
    let rejected = response
        .partial_success
        .unwrap_or_default()
        .rejected_log_records;
    assert_eq!(rejected, 0);
    let answer = stage.http(&[JSON], "{}").await;
    assert_eq!(answer.status, 200);
    assert_unharmed(stage).await;
}
