//! What it costs to carry requests: our client to our server over loopback gRPC, against tonic's
//! generated client and server, which decode and encode.
//!
//! `cargo bench -p petrel-otlp --bench loopback`: one thread for both ends, so that the time that
//! passes is what both ends take; 1,000 records of about 330 bytes a request, the best of ten rounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use petrel_otlp::Signal;
use petrel_otlp::export::{Exporter, ExporterSettings, Protocol};
use petrel_otlp::receive::{
    Admission, ExportReply, Handler, LiveReceive, ReceiveSettings, Received, Refusal, bind,
    serve_grpc,
};
use prost::Message;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

const N_RECORDS: usize = 1000;
const REQUESTS: usize = 200;
const ROUNDS: usize = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let request = request();
        let encoded = Bytes::from(request.encode_to_vec());
        let ours = ours(&encoded).await;
        let tonics = tonics(&request).await;
        println!("requests of {} bytes", encoded.len());
        println!("petrel, bytes     {ours:.3} us/record, both ends");
        println!(
            "tonic, objects    {tonics:.3} us/record, both ends, {:.1} x",
            tonics / ours
        );
    });
}

async fn ours(request: &Bytes) -> f64 {
    struct Sink;
    impl Handler for Sink {
        async fn export(&self, _: Received) -> Result<ExportReply, Refusal> {
            Ok(ExportReply::default())
        }
    }
    let listener = bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().to_string();
    let live = LiveReceive::new(ReceiveSettings::default()).expect("nothing to read");
    let never = std::future::pending();
    tokio::spawn(serve_grpc(
        listener,
        Arc::new(Sink),
        Admission::default(),
        live,
        never,
    ));
    let settings = ExporterSettings::new(Protocol::Grpc, &address);
    let exporter = Exporter::new(&settings).expect("a valid endpoint");
    measure(async || {
        let sent = exporter.export(Signal::Logs, request.clone(), &[], None);
        sent.await.expect("taken");
    })
    .await
}

async fn tonics(request: &ExportLogsServiceRequest) -> f64 {
    struct Sink;
    #[tonic::async_trait]
    impl LogsService for Sink {
        async fn export(
            &self,
            _: Request<ExportLogsServiceRequest>,
        ) -> Result<Response<ExportLogsServiceResponse>, Status> {
            Ok(Response::new(ExportLogsServiceResponse::default()))
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .add_service(LogsServiceServer::new(Sink))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    let client = LogsServiceClient::connect(format!("http://{address}"))
        .await
        .expect("it listens");
    measure(async || {
        let mut client = client.clone();
        client.export(request.clone()).await.expect("taken");
    })
    .await
}

/// Microseconds a record, the best of [`ROUNDS`] rounds.
async fn measure(send: impl AsyncFn()) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let now = std::time::Instant::now;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = now();
        for _ in 0..REQUESTS {
            send().await;
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e6 / (N_RECORDS * REQUESTS) as f64
}

fn request() -> ExportLogsServiceRequest {
    let record = |n: usize| LogRecord {
        time_unix_nano: n as u64,
        severity_text: format!("{n} and as much text as an average record has. ").repeat(6),
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: (0..N_RECORDS).map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}
