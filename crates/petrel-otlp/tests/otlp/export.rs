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
