//! Servers against real clients: tonic's own, and plain HTTP.

use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use petrel_otlp::receive::{
    Admission, ExportReply, ReceiveSettings, Received, Refusal, Transport, bind,
};
use petrel_otlp::{Code, Fault, Malformed};
use prost::Message;
use std::io::Write;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use crate::loopback::{Loopback, accepting, loopback};

fn request(n_records: usize) -> ExportLogsServiceRequest {
    let record = LogRecord {
        severity_text: "some text that takes room".repeat(10),
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![record; n_records],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

async fn client(loopback: &Loopback) -> LogsServiceClient<Channel> {
    let endpoint = format!("http://{}", loopback.grpc);
    LogsServiceClient::connect(endpoint)
        .await
        .expect("it listens")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

async fn post(
    loopback: &Loopback,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (Response<()>, Bytes) {
    let mut request = Request::post(format!("{}{path}", loopback.http));
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    if headers.contains(&("x-method", "GET")) {
        request = request.method("GET");
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let response = client.request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (Response::from_parts(parts, ()), body)
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn grpc_hands_over_the_bytes() {
    let loopback = accepting().await;
    let plain = client(&loopback).await;
    let packed = plain
        .clone()
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    for n_records in [0, 1, 5000] {
        for mut client in [plain.clone(), packed.clone()] {
            let request = request(n_records);
            let reply = client.export(request.clone()).await.expect("taken");
            assert_eq!(reply.into_inner().partial_success, None);
            let received = loopback.recorder.bytes().pop().expect("it came in");
            assert_eq!(received, request.encode_to_vec());
        }
    }
    assert_eq!(loopback.admission.in_flight(), 0);
    drop((plain, packed));
    loopback.drain().await;
}

#[tokio::test]
async fn grpc_timeout_and_metadata_reach_the_handler() {
    let settings = ReceiveSettings {
        metadata_keys: vec!["x-scope-orgid".to_owned(), "absent".to_owned()],
        ..ReceiveSettings::default()
    };
    let accept = |_: &Received| Ok(ExportReply::default());
    let loopback = loopback(settings, Admission::default(), accept).await;
    let mut request = tonic::Request::new(request(1));
    request.set_timeout(Duration::from_secs(7));
    let metadata = request.metadata_mut();
    metadata.insert("x-scope-orgid", "blue".parse().expect("text"));
    client(&loopback)
        .await
        .export(request)
        .await
        .expect("taken");
    let received = loopback.recorder.pop();
    assert_eq!(received.timeout, Some(Duration::from_secs(7)));
    let metadata = vec![("x-scope-orgid".to_owned(), "blue".to_owned())];
    assert_eq!(received.metadata, metadata);
}

#[tokio::test]
async fn answers_reach_grpc_clients() {
    let answer = |received: &Received| match received.request.len() {
        0 => Ok(ExportReply {
            rejected: 3,
            message: "three too many".to_owned(),
        }),
        1..300 => Err(Refusal::later("busy", Duration::from_secs(7))),
        _ => Err(Malformed {
            offset: 12,
            fault: Fault::GroupEnd,
        }
        .into()),
    };
    let loopback = loopback(ReceiveSettings::default(), Admission::default(), answer).await;
    let mut client = client(&loopback).await;
    let partial = client.export(request(0)).await.map(|it| it.into_inner());
    // An empty ResourceLogs is not an empty request.
    assert!(partial.is_err());
    let empty = ExportLogsServiceRequest::default();
    let partial = client.export(empty).await.expect("taken").into_inner();
    let partial = partial.partial_success.expect("partial");
    assert_eq!(partial.rejected_log_records, 3);
    assert_eq!(partial.error_message, "three too many");
    let later = client.export(request(1)).await.expect_err("refused");
    assert_eq!((later.code(), later.message()), (Code::Unavailable, "busy"));
    let details = String::from_utf8_lossy(later.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");
    let malformed = client.export(request(9)).await.expect_err("refused");
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert_eq!(
        malformed.message(),
        "malformed OTLP at byte 12: the end of a group that has no start"
    );
}

/// A few bytes that unpack to 100 MiB.
fn zstd_bomb() -> Vec<u8> {
    zstd::bulk::compress(&vec![0; 100 << 20], 1).expect("memory")
}

/// Sends the bomb by hand, since a client packs what it sends.
async fn bomb_over_grpc(loopback: &Loopback) -> Result<(), tonic::Status> {
    use tower::ServiceExt;
    let endpoint = format!("http://{}", loopback.grpc);
    let channel = Channel::from_shared(endpoint)
        .expect("a URI")
        .connect_lazy();
    let bomb = zstd_bomb();
    let mut message = vec![1];
    message.extend((bomb.len() as u32).to_be_bytes());
    message.extend(bomb);
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "zstd")
        .body(tonic::body::Body::new(Full::new(Bytes::from(message))))
        .expect("a request");
    let response = channel.oneshot(request).await.expect("an answer");
    assert_eq!(
        response.headers()["grpc-accept-encoding"],
        "identity,gzip,zstd"
    );
    match tonic::Status::from_header_map(response.headers()) {
        Some(status) => Err(status),
        None => Ok(()),
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let settings = ReceiveSettings {
        request_bytes_max: 1 << 20,
        ..ReceiveSettings::default()
    };
    let accept = |_: &Received| Ok(ExportReply::default());
    let loopback = loopback(settings, Admission::default(), accept).await;
    let plain = client(&loopback).await;
    let packed = plain.clone().send_compressed(CompressionEncoding::Gzip);
    let large = request(8000);
    for mut client in [plain, packed] {
        let refused = client.export(large.clone()).await.expect_err("too large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.details().is_empty());
    }
    let large = large.encode_to_vec();
    let bomb = gzip(&vec![0; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    for (headers, body) in [
        (vec![PROTOBUF], large.clone()),
        (vec![PROTOBUF, ("content-encoding", "gzip")], gzip(&large)),
        (vec![JSON, ("content-encoding", "gzip")], bomb),
        (vec![JSON, ("content-encoding", "zstd")], zstd_bomb()),
    ] {
        let (response, _) = post(&loopback, "/v1/logs", &headers, body).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(loopback.recorder.bytes().is_empty());
    let status = bomb_over_grpc(&loopback).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.details().is_empty());
    assert_eq!(loopback.recorder.refused.lock().expect("lock").len(), 7);
    assert_eq!(loopback.admission.in_flight(), 0);
}

#[tokio::test]
async fn without_room_the_answer_is_later() {
    let admission = Admission::new(10_000, Duration::from_millis(1500));
    let accept = |_: &Received| Ok(ExportReply::default());
    let loopback = loopback(ReceiveSettings::default(), admission, accept).await;
    let mut client = client(&loopback).await;
    client.export(request(10)).await.expect("there is room");
    let refused = client.export(request(1000)).await.expect_err("no room");
    assert_eq!(refused.code(), Code::Unavailable);
    let details = String::from_utf8_lossy(refused.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");
    let body = request(1000).encode_to_vec();
    let (response, body) = post(&loopback, "/v1/logs", &[PROTOBUF], body).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "2");
    assert!(String::from_utf8_lossy(&body).contains("in flight already"));
    // A few bytes that unpack to many count as many.
    let packed = gzip(&request(1000).encode_to_vec());
    let headers = [PROTOBUF, ("content-encoding", "gzip")];
    let (response, _) = post(&loopback, "/v1/logs", &headers, packed).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(loopback.admission.in_flight(), 0);
}

#[tokio::test]
async fn http_takes_protobuf_and_json() {
    let loopback = accepting().await;
    let plain = request(100).encode_to_vec();
    let json = serde_json::to_vec(&request(100)).expect("JSON");
    let cases = [
        (PROTOBUF, plain.clone(), Transport::HttpProtobuf, ""),
        (JSON, json, Transport::HttpJson, "{}"),
    ];
    for (content_type, body, transport, answer) in cases {
        let packed = gzip(&body);
        let gzip = [content_type, ("content-encoding", "x-gzip")];
        let zstd = [content_type, ("content-encoding", "zstd")];
        let frame = zstd::bulk::compress(&body, 3).expect("memory");
        for (headers, body) in [(&gzip[..1], body), (&gzip[..], packed), (&zstd[..], frame)] {
            let (response, reply) = post(&loopback, "/v1/logs", headers, body).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(reply, answer);
            let received = loopback.recorder.pop();
            assert_eq!(
                (received.transport, received.request),
                (transport, plain.clone().into())
            );
        }
    }
    let (response, _) = post(&loopback, "/v1/logs", &[PROTOBUF], vec![]).await;
    assert_eq!(response.status(), StatusCode::OK);
    loopback.drain().await;
}

#[tokio::test]
async fn http_refusals_are_statuses_in_the_request_s_own_type() {
    let refuse = |received: &Received| match received.request.len() {
        0..10 => Err(Refusal::new(Code::PermissionDenied, "no")),
        _ => Err(Refusal::new(Code::Internal, "oh")),
    };
    let loopback = loopback(ReceiveSettings::default(), Admission::default(), refuse).await;
    let check =
        async |path: &str, headers: &[(&str, &str)], body: &[u8], status: u16, said: &str| {
            let (response, body) = post(&loopback, path, headers, body.to_vec()).await;
            assert_eq!(response.status().as_u16(), status, "{said}");
            let content_type = &response.headers()["content-type"];
            let body = if headers.contains(&PROTOBUF) {
                assert_eq!(content_type, "application/x-protobuf");
                // Field 2 is the message.
                let status = tonic_status_message(&body);
                serde_json::json!({"message": status})
            } else {
                assert_eq!(content_type, "application/json");
                serde_json::from_slice(&body).expect("JSON")
            };
            let message = body["message"].as_str().expect("a message");
            assert!(message.contains(said), "{message}");
        };
    check("/v1/logs", &[PROTOBUF], b"", 403, "no").await;
    check("/v1/logs", &[PROTOBUF], &[0; 20], 500, "oh").await;
    check("/v2/traces", &[PROTOBUF], b"", 404, "/v1/logs").await;
    check(
        "/v1/logs",
        &[PROTOBUF, ("x-method", "GET")],
        b"",
        405,
        "POST",
    )
    .await;
    check(
        "/v1/logs",
        &[("content-type", "text/plain")],
        b"",
        415,
        "content type",
    )
    .await;
    check("/v1/logs", &[], b"", 415, "content type").await;
    check("/v1/logs", &[JSON], b"{", 400, "at byte").await;
    let zstd = ("content-encoding", "br");
    check("/v1/logs", &[PROTOBUF, zstd], b"", 400, "not known").await;
    let gzip = ("content-encoding", "gzip");
    check(
        "/v1/logs",
        &[PROTOBUF, gzip],
        b"no gzip",
        400,
        "malformed gzip",
    )
    .await;
}

fn tonic_status_message(body: &[u8]) -> String {
    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    Status::decode(body).expect("a status").message
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let settings = ReceiveSettings {
        receive_timeout: Duration::from_millis(50),
        ..ReceiveSettings::default()
    };
    let accept = |_: &Received| Ok(ExportReply::default());
    let loopback = loopback(settings, Admission::default(), accept).await;
    let address = loopback.http.trim_start_matches("http://");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("it listens");
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    let mut sent = 0;
    while sent < head.len() {
        stream.writable().await.expect("open");
        sent += stream.try_write(&head.as_bytes()[sent..]).unwrap_or(0);
    }
    stream.readable().await.expect("an answer");
    let mut answer = [0; 64];
    let n_bytes = stream.try_read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..n_bytes]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_taken_port_is_said_by_name() {
    let first = bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = first.local_addr().to_string();
    let error = bind(&endpoint).await.expect_err("taken");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert!(bind("no such host:1").await.is_err());
}

/// Hundreds of requests at a time on one connection, whose small answers nobody has read yet.
#[tokio::test]
async fn one_connection_carries_many_requests() {
    let loopback = accepting().await;
    let client = client(&loopback).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let mut client = client.clone();
        calls.spawn(async move { client.export(request(5)).await.map(drop) });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("no panic").expect("taken");
    }
    assert_eq!(loopback.recorder.bytes().len(), 400);
}
