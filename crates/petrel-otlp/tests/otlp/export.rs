//! Clients against real servers: ours, and tonic's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use petrel_otlp::export::{
    Compression, ExportError, Exporter, ExporterSettings, Protocol, RetrySettings,
};
use petrel_otlp::receive::{Admission, ExportReply, ReceiveSettings, Received, Refusal, bind};
use petrel_otlp::security::Secret;
use petrel_otlp::{Code, Signal, count_records};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::loopback::{Loopback, accepting, loopback};

fn request(n_records: u32) -> Bytes {
    let record = |n: u32| LogRecord {
        time_unix_nano: n.into(),
        severity_text: "some text that takes room".repeat(4),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: (0..n_records).map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec().into()
}

fn settings(loopback: &Loopback, protocol: Protocol) -> ExporterSettings {
    match protocol {
        Protocol::Grpc => ExporterSettings::new(protocol, &loopback.grpc),
        Protocol::Http => ExporterSettings::new(protocol, &loopback.http),
    }
}

fn exporter(settings: &ExporterSettings) -> Exporter {
    Exporter::new(settings).expect("a valid endpoint")
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

#[tokio::test]
async fn bytes_arrive_as_they_were() {
    let loopback = accepting().await;
    for protocol in PROTOCOLS {
        for compression in [
            Compression::None,
            Compression::Gzip(1),
            Compression::Zstd(1),
        ] {
            let exporter = exporter(&ExporterSettings {
                compression,
                headers: vec![("x-scope-orgid".to_owned(), Secret::new("blue"))],
                ..settings(&loopback, protocol)
            });
            for n_records in [0, 1, 20_000] {
                let request = request(n_records);
                let reply = exporter
                    .export(Signal::Logs, request.clone(), &[], None)
                    .await;
                assert_eq!(reply, Ok(ExportReply::default()));
                assert_eq!(loopback.recorder.bytes().pop(), Some(request));
            }
        }
    }
}

#[tokio::test]
async fn answers_are_classified() {
    let said = |code: Code, retry_after: Option<u64>| Refusal {
        retry_after: retry_after.map(Duration::from_secs),
        ..Refusal::new(code, "as it is")
    };
    let check = async |refusal: Refusal, expected: fn(Refusal) -> ExportError| {
        let answer = {
            let refusal = refusal.clone();
            move |_: &Received| Err(refusal.clone())
        };
        let loopback = loopback(ReceiveSettings::default(), Admission::default(), answer).await;
        let grpc = exporter(&settings(&loopback, Protocol::Grpc));
        let error = grpc
            .export(Signal::Logs, request(1), &[], None)
            .await
            .expect_err("refused");
        assert_eq!(error, expected(refusal.clone()));
        assert_eq!(Refusal::from(error.clone()), refusal);
        let http = exporter(&settings(&loopback, Protocol::Http));
        let over_http = http
            .export(Signal::Logs, request(1), &[], None)
            .await
            .expect_err("refused");
        let (a, b) = (error.is_retryable(), over_http.is_retryable());
        assert_eq!(a, b, "{error} {over_http}");
        assert_eq!(Refusal::from(over_http).is_retryable(), a);
    };
    for code in [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unavailable,
        Code::DataLoss,
    ] {
        check(said(code, None), ExportError::Retryable).await;
        check(said(code, Some(7)), ExportError::Retryable).await;
    }
    check(
        said(Code::ResourceExhausted, Some(7)),
        ExportError::Retryable,
    )
    .await;
    check(said(Code::ResourceExhausted, None), ExportError::TooLarge).await;
    for code in [
        Code::InvalidArgument,
        Code::Internal,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::Unimplemented,
        Code::Unknown,
    ] {
        check(said(code, None), ExportError::Permanent).await;
    }
}

#[tokio::test]
async fn large_requests_go_in_parts() {
    let limits = ReceiveSettings {
        request_bytes_max: 100_000,
        ..ReceiveSettings::default()
    };
    let accept = |received: &Received| {
        Ok(ExportReply {
            rejected: count_records(&received.request).expect("valid"),
            message: "x".to_owned(),
        })
    };
    let loopback = loopback(limits, Admission::default(), accept).await;
    for (protocol, part_bytes_max, n_parts) in [
        (Protocol::Grpc, 90_000, 13),
        (Protocol::Http, 90_000, 13),
        // A part is too large, is halved, and its halves are not.
        (Protocol::Grpc, 150_000, 15),
    ] {
        loopback.recorder.requests.lock().expect("lock").clear();
        let exporter = exporter(&ExporterSettings {
            part_bytes_max,
            ..settings(&loopback, protocol)
        });
        let reply = exporter
            .export(Signal::Logs, request(10_000), &[], None)
            .await
            .expect("taken");
        assert_eq!(reply.rejected, 10_000);
        let mut parts = loopback.recorder.bytes().into_iter();
        assert_eq!(parts.len(), n_parts);
        let mut whole = ExportLogsServiceRequest::default();
        let mut records = vec![];
        for part in &mut parts {
            whole = ExportLogsServiceRequest::decode(part).expect("valid");
            let scope_logs = &mut whole.resource_logs[0].scope_logs[0];
            records.append(&mut scope_logs.log_records);
        }
        whole.resource_logs[0].scope_logs[0].log_records = records;
        assert_eq!(whole.encode_to_vec(), request(10_000));
    }
    // Halved once and still too large: refused as it was.
    let exporter = exporter(&ExporterSettings {
        part_bytes_max: 0,
        ..settings(&loopback, Protocol::Grpc)
    });
    let error = exporter
        .export(Signal::Logs, request(10_000), &[], None)
        .await
        .expect_err("refused");
    assert!(matches!(error, ExportError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn a_part_refused_for_good_is_rejected_alone() {
    static N_CALLS: AtomicUsize = AtomicUsize::new(0);
    let answer = |_: &Received| match N_CALLS.fetch_add(1, Ordering::Relaxed) {
        1 => Err(Refusal::new(Code::InvalidArgument, "not this one")),
        _ => Ok(ExportReply::default()),
    };
    let loopback = loopback(ReceiveSettings::default(), Admission::default(), answer).await;
    let exporter = exporter(&ExporterSettings {
        part_bytes_max: 50_000,
        ..settings(&loopback, Protocol::Grpc)
    });
    let reply = exporter
        .export(Signal::Logs, request(2000), &[], None)
        .await
        .expect("the others are taken");
    let refused = &loopback.recorder.bytes()[1];
    assert_eq!(reply.rejected, count_records(refused).expect("valid"));
    assert_eq!(reply.message, "not this one");
}

#[tokio::test]
async fn no_connection_and_no_answer_are_retryable() {
    let listener = bind("127.0.0.1:0").await.expect("a free port");
    let silent = listener.local_addr().to_string();
    let gone = bind("127.0.0.1:0").await.expect("a free port");
    let closed = gone.local_addr().to_string();
    drop(gone);
    for protocol in PROTOCOLS {
        let exporter_to = |address: &str| {
            let endpoint = match protocol {
                Protocol::Grpc => address.to_owned(),
                Protocol::Http => format!("http://{address}"),
            };
            exporter(&ExporterSettings::new(protocol, &endpoint))
        };
        let error = exporter_to(&closed)
            .export(Signal::Logs, request(1), &[], None)
            .await;
        let error = error.expect_err("nobody listens");
        assert!(
            error.is_retryable() && error.to_string().contains(&closed),
            "{error}"
        );
        let timeout = Some(Duration::from_millis(50));
        let error = exporter_to(&silent)
            .export(Signal::Logs, request(1), &[], timeout)
            .await;
        let error = error.expect_err("nobody answers");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(error.refusal().code, Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn it_connects_again() {
    let first = accepting().await;
    let exporter = exporter(&settings(&first, Protocol::Grpc));
    exporter
        .export(Signal::Logs, request(1), &[], None)
        .await
        .expect("taken");
    let address = first.grpc.clone();
    first.drain().await;
    let error = exporter
        .export(Signal::Logs, request(1), &[], None)
        .await
        .expect_err("gone");
    assert!(error.is_retryable(), "{error}");
    let listener = tokio::net::TcpListener::bind(&address).await;
    let listener = listener.expect("the port is free again");
    let server = tonic::transport::Server::builder()
        .add_service(LogsServiceServer::new(TonicSink))
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    tokio::spawn(server);
    let retry = RetrySettings {
        initial_interval: Duration::from_millis(1),
        ..RetrySettings::default()
    };
    let outcome = exporter
        .export_queued(Signal::Logs, request(4), &[], Some(retry))
        .await;
    assert_eq!((outcome.accepted, outcome.rejected), (0, 4));
    let reply = outcome.into_result().expect("taken at last");
    assert_eq!((reply.rejected, reply.message.as_str()), (4, "by tonic"));
}

/// tonic's own server, which says how many records it got.
struct TonicSink;

#[tonic::async_trait]
impl LogsService for TonicSink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        let records = &request.resource_logs[0].scope_logs[0].log_records;
        Ok(Response::new(ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: records.len() as i64,
                error_message: "by tonic".to_owned(),
            }),
        }))
    }
}

/// A server that says the same to every request, whatever it is, and closes the connection.
async fn saying(answer: Vec<u8>) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = BufReader::new(stream);
            let (mut line, mut n_bytes) = (String::new(), 0);
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(length) = lower.strip_prefix("content-length: ") {
                    n_bytes = length.trim().parse().expect("a number");
                }
                line.clear();
            }
            let mut body = vec![0; n_bytes];
            stream.read_exact(&mut body).await.expect("a body");
            stream.write_all(&answer).await.expect("open");
        }
    });
    endpoint
}

#[tokio::test]
async fn odd_answers_over_http_are_understood() {
    let head = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let check = async |answer: Vec<u8>, expected: fn(&Result<ExportReply, ExportError>) -> bool| {
        let endpoint = saying(answer).await;
        let exporter = exporter(&ExporterSettings::new(Protocol::Http, &endpoint));
        let sent = exporter.export(Signal::Logs, request(5), &[], None).await;
        assert!(expected(&sent), "{sent:?}");
    };
    let json = br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"x"}}"#;
    let packed = zstd::bulk::compress(json, 1).expect("memory");
    let is_partial = |sent: &Result<ExportReply, _>| sent.as_ref().is_ok_and(|it| it.rejected == 3);
    let json_type = "content-type: application/json\r\n";
    check(head("200 OK", json_type, json), is_partial).await;
    let packed_json = format!("{json_type}content-encoding: zstd\r\n");
    check(head("200 OK", &packed_json, &packed), is_partial).await;
    // What was taken is not sent again, whatever the answer says.
    let is_permanent =
        |sent: &Result<_, ExportError>| matches!(sent, Err(ExportError::Permanent(_)));
    let bomb = zstd::bulk::compress(&vec![b' '; 100 << 20], 1).expect("memory");
    check(head("200 OK", &packed_json, &bomb), is_permanent).await;
    check(head("200 OK", json_type, b"no JSON"), is_permanent).await;
    check(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_vec(),
        is_permanent,
    )
    .await;
    // The answer is cut before it says anything.
    let is_in_doubt =
        |sent: &Result<_, ExportError>| matches!(sent, Err(ExportError::Unanswered(_)));
    check(Vec::new(), is_in_doubt).await;
    check(b"HTTP/1.1 200".to_vec(), is_in_doubt).await;
    let asks = |sent: &Result<_, ExportError>| match sent {
        Err(ExportError::Retryable(refusal)) => refusal.retry_after == Some(Duration::from_secs(7)),
        _ => false,
    };
    check(head("429 Too Many", "retry-after: 7\r\n", b""), asks).await;
    check(head("503 No", "retry-after: 7\r\n", b"<html>"), asks).await;
    let is_too_large =
        |sent: &Result<_, ExportError>| matches!(sent, Err(ExportError::TooLarge(_)));
    check(head("413 Large", "", b""), is_too_large).await;
}

#[tokio::test]
async fn a_request_s_own_headers_are_sent() {
    let settings_of_server = ReceiveSettings {
        metadata_keys: vec!["x-scope-orgid".to_owned()],
        ..ReceiveSettings::default()
    };
    let accept = |_: &Received| Ok(ExportReply::default());
    let loopback = loopback(settings_of_server, Admission::default(), accept).await;
    for protocol in PROTOCOLS {
        let exporter = exporter(&ExporterSettings {
            headers: vec![("x-scope-orgid".to_owned(), Secret::new("common"))],
            ..settings(&loopback, protocol)
        });
        let own = [("x-scope-orgid".to_owned(), "blue".to_owned())];
        let sent = exporter.export(Signal::Logs, request(1), &own, None).await;
        assert_eq!(sent, Ok(ExportReply::default()));
        assert_eq!(loopback.recorder.pop().metadata, own);
        let bad = [("no name".to_owned(), "blue".to_owned())];
        let error = exporter.export(Signal::Logs, request(1), &bad, None).await;
        let error = error.expect_err("no header name");
        assert!(matches!(error, ExportError::Permanent(_)), "{error:?}");
        assert!(error.to_string().contains("no name") && !error.to_string().contains("blue"));
    }
}

/// Of a request that went in part, the rest is sent again while its sender waits.
#[tokio::test]
async fn the_rest_of_a_request_is_sent_again() {
    static N_CALLS: AtomicUsize = AtomicUsize::new(0);
    let answer = |_: &Received| match N_CALLS.fetch_add(1, Ordering::Relaxed) {
        1 => Err(Refusal::later("busy", Duration::from_millis(1))),
        _ => Ok(ExportReply::default()),
    };
    let loopback = loopback(ReceiveSettings::default(), Admission::default(), answer).await;
    let exporter = exporter(&ExporterSettings {
        part_bytes_max: 50_000,
        ..settings(&loopback, Protocol::Grpc)
    });
    let sent = exporter
        .export(Signal::Logs, request(2000), &[], None)
        .await;
    assert_eq!(sent, Ok(ExportReply::default()));
    let received = loopback.recorder.bytes();
    assert_eq!(received[1], received[2]);
    let counts = received
        .iter()
        .map(|part| count_records(part).expect("valid"));
    let again = count_records(&received[1]).expect("valid");
    assert_eq!(counts.sum::<u64>(), 2000 + again);
}
