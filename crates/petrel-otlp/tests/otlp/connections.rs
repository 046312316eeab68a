//! Connections: unix sockets, slow and idle ones, old ones, many on one, more than there may be.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use petrel_otlp::Signal;
use petrel_otlp::export::{ExportError, Exporter, ExporterSettings, Protocol};
use petrel_otlp::receive::{
    Address, Admission, ExportReply, Handler, LiveReceive, ReceiveSettings, Received, Refusal,
    ServerKeepalive, bind, serve_grpc, serve_http,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::loopback::{Loopback, loopback, loopback_on};

fn accept(_: &Received) -> Result<ExportReply, Refusal> {
    Ok(ExportReply::default())
}

async fn serving(settings: ReceiveSettings) -> Loopback {
    loopback(settings, Admission::default(), accept).await
}

fn exporter(protocol: Protocol, endpoint: &str) -> Exporter {
    Exporter::new(&ExporterSettings::new(protocol, endpoint)).expect("a valid endpoint")
}

async fn send(exporter: &Exporter) -> Result<ExportReply, ExportError> {
    exporter.export(Signal::Logs, Bytes::new(), &[], None).await
}

async fn connect(endpoint: &str) -> TcpStream {
    let address = endpoint.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("it listens")
}

/// What a server says until it closes the connection.
async fn said(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn unix_sockets_carry_both_protocols() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = |name: &str| format!("unix://{}", directory.path().join(name).display());
    let (grpc, http) = (endpoint("grpc.sock"), endpoint("http.sock"));
    let settings = ReceiveSettings::default();
    let loopback = loopback_on([&grpc, &http], settings, Admission::default(), accept).await;
    assert_eq!((&loopback.grpc, &loopback.http), (&grpc, &http));
    let exporters = [
        exporter(Protocol::Grpc, &grpc),
        exporter(Protocol::Http, &http),
    ];
    for exporter in &exporters {
        send(exporter).await.expect("taken");
    }
    assert_eq!(loopback.recorder.bytes().len(), 2);
    drop(exporters);
    loopback.drain().await;
    assert!(!directory.path().join("grpc.sock").exists());
    let error = send(&exporter(Protocol::Http, &http))
        .await
        .expect_err("gone");
    assert!(matches!(error, ExportError::Retryable(_)), "{error:?}");
    assert!(error.to_string().contains("http.sock"), "{error}");
}

#[tokio::test]
async fn a_socket_nobody_listens_on_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("otel.sock");
    let endpoint = format!("unix:{}", path.display());
    let dead = std::os::unix::net::UnixListener::bind(&path).expect("a free path");
    drop(dead);
    assert!(path.exists());
    let listener = bind(&endpoint).await.expect("nobody listens");
    assert_eq!(*listener.local_addr(), Address::Unix(path.clone()));
    assert!(listener.local_addr().is_loopback());
    let error = bind(&endpoint).await.expect_err("somebody listens");
    let why = error.source().expect("a reason").to_string();
    assert!(why.contains("another process listens"), "{why}");
    drop(listener);
    assert!(!path.exists());
    std::fs::write(&path, "precious").expect("written");
    let error = bind(&endpoint).await.expect_err("no socket");
    let why = error.source().expect("a reason").to_string();
    assert!(why.contains("no socket"), "{why}");
    assert_eq!(read(&path), "precious");
    assert!(
        bind("127.0.0.1:0")
            .await
            .expect("free")
            .local_addr()
            .is_loopback()
    );
    assert!(
        !bind("0.0.0.0:0")
            .await
            .expect("free")
            .local_addr()
            .is_loopback()
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it is there")
}

#[tokio::test]
async fn slow_beginnings_are_cut() {
    let loopback = serving(ReceiveSettings {
        header_timeout: Duration::from_millis(50),
        ..ReceiveSettings::default()
    })
    .await;
    let begin = b"PRI * HTTP/2.0".as_slice();
    let head = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\nx-slow: ".as_slice();
    for (endpoint, bytes) in [
        (&loopback.grpc, &b""[..]),
        (&loopback.http, &b""[..]),
        (&loopback.grpc, begin),
        (&loopback.http, begin),
        (&loopback.http, head),
        // Not HTTP/2.
        (&loopback.grpc, head),
    ] {
        let mut stream = connect(endpoint).await;
        stream.write_all(bytes).await.expect("open");
        assert_eq!(said(stream).await, "");
    }
    // One that is slow does not keep others waiting.
    send(&exporter(Protocol::Http, &loopback.http))
        .await
        .expect("taken");
}

#[tokio::test]
async fn slow_bodies_are_given_up_on_both() {
    let admission = Admission::default();
    let settings = ReceiveSettings {
        receive_timeout: Duration::from_millis(50),
        ..ReceiveSettings::default()
    };
    let loopback = loopback(settings, admission.clone(), accept).await;
    let mut stream = connect(&loopback.http).await;
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/x-protobuf\r\ncontent-length: 900\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.expect("open");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert_eq!((admission.in_flight(), admission.n_requests()), (0, 0));
    let refused = loopback.recorder.refused.lock().expect("lock").clone();
    assert_eq!(refused.len(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let bound = Some(Duration::from_millis(50));
    let loopback = serving(ReceiveSettings {
        idle_timeout: bound,
        keepalive: ServerKeepalive {
            connection_idle_max: bound,
            ..ServerKeepalive::default()
        },
        ..ReceiveSettings::default()
    })
    .await;
    let mut stream = connect(&loopback.http).await;
    let request = "POST /v1/logs HTTP/1.1\r\nhost: x\r\n\
        content-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("open");
    assert!(said(stream).await.starts_with("HTTP/1.1 200"));
    let mut stream = connect(&loopback.grpc).await;
    // The preface and empty settings, and nothing more but the answer to a ping.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .expect("open");
    let mut first = [0; 9];
    stream
        .read_exact(&mut first)
        .await
        .expect("settings of the server");
    let exporter = exporter(Protocol::Grpc, &loopback.grpc);
    for _ in 0..3 {
        send(&exporter)
            .await
            .expect("taken, on a new connection where need be");
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

/// Takes requests when it is told to.
struct Gate {
    begun: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn shut() -> Arc<Self> {
        Arc::new(Self {
            begun: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }
}

impl Handler for Gate {
    async fn export(&self, _: Received) -> Result<ExportReply, Refusal> {
        self.begun.add_permits(1);
        let _open = self.open.acquire().await.expect("never closed");
        Ok(ExportReply::default())
    }
}

async fn gated(protocol: Protocol, gate: &Arc<Gate>, settings: ReceiveSettings) -> String {
    let listener = bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().to_string();
    let live = LiveReceive::new(settings).expect("nothing to read");
    let (gate, never) = (Arc::clone(gate), std::future::pending());
    let admission = Admission::default();
    match protocol {
        Protocol::Grpc => {
            tokio::spawn(serve_grpc(listener, gate, admission, live, never));
            address
        }
        Protocol::Http => {
            tokio::spawn(serve_http(listener, gate, admission, live, never));
            format!("http://{address}")
        }
    }
}

#[tokio::test]
async fn an_old_connection_ends_after_its_requests() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let gate = Gate::shut();
        let keepalive = ServerKeepalive {
            connection_age_max: Some(Duration::from_millis(30)),
            ..ServerKeepalive::default()
        };
        let settings = ReceiveSettings {
            keepalive,
            ..ReceiveSettings::default()
        };
        let endpoint = gated(protocol, &gate, settings.clone()).await;
        let exporter = exporter(protocol, &endpoint);
        let request = tokio::spawn({
            let exporter = exporter.clone();
            async move { send(&exporter).await }
        });
        let _begun = gate.begun.acquire().await.expect("never closed");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!request.is_finished());
        gate.open.add_permits(100);
        request
            .await
            .expect("no panic")
            .expect("taken, however old");
        for _ in 0..20 {
            send(&exporter)
                .await
                .expect("nothing is lost when connections change");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        let gate = Gate::shut();
        let settings = ReceiveSettings {
            keepalive: ServerKeepalive {
                connection_age_grace: Some(Duration::from_millis(30)),
                ..keepalive
            },
            ..settings
        };
        let endpoint = gated(protocol, &gate, settings).await;
        let error = send(&crate::connections::exporter(protocol, &endpoint)).await;
        let error = error.expect_err("cut after the grace");
        assert!(matches!(error, ExportError::Unanswered(_)), "{error:?}");
    }
}

#[tokio::test]
async fn three_hundred_requests_share_a_connection() {
    let gate = Gate::shut();
    let settings = ReceiveSettings {
        connections_max: 1,
        ..ReceiveSettings::default()
    };
    let endpoint = gated(Protocol::Grpc, &gate, settings).await;
    let exporter = exporter(Protocol::Grpc, &endpoint);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let exporter = exporter.clone();
        calls.spawn(async move {
            let request = Bytes::from(vec![0x0a, 0]);
            exporter.export(Signal::Traces, request, &[], None).await
        });
    }
    let _begun = gate.begun.acquire_many(300).await.expect("all at a time");
    gate.open.add_permits(300);
    while let Some(call) = calls.join_next().await {
        call.expect("no panic").expect("taken");
    }
}

#[tokio::test]
async fn a_connection_too_many_waits_for_another_to_end() {
    let loopback = serving(ReceiveSettings {
        connections_max: 1,
        ..ReceiveSettings::default()
    })
    .await;
    for (protocol, endpoint) in [
        (Protocol::Grpc, &loopback.grpc),
        (Protocol::Http, &loopback.http),
    ] {
        let first = connect(endpoint).await;
        let exporter = exporter(protocol, endpoint);
        let timeout = Some(Duration::from_millis(50));
        let waiting = exporter
            .export(Signal::Logs, Bytes::new(), &[], timeout)
            .await;
        assert!(waiting.expect_err("no room").is_retryable());
        drop(first);
        send(&exporter).await.expect("there is room");
    }
    // More room counts at once.
    let _first = connect(&loopback.http).await;
    let more = ReceiveSettings {
        connections_max: 4,
        ..ReceiveSettings::default()
    };
    loopback.live.replace(more).expect("nothing to read");
    send(&exporter(Protocol::Http, &loopback.http))
        .await
        .expect("there is room");
}

#[tokio::test]
async fn under_pressure_everything_is_refused() {
    let loopback = serving(ReceiveSettings::default()).await;
    loopback.admission.set_pressure(true);
    for (protocol, endpoint) in [
        (Protocol::Grpc, &loopback.grpc),
        (Protocol::Http, &loopback.http),
    ] {
        let error = send(&exporter(protocol, endpoint))
            .await
            .expect_err("pressure");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(error.refusal().retry_after, Some(Duration::from_secs(1)));
    }
    loopback.admission.set_pressure(false);
    send(&exporter(Protocol::Grpc, &loopback.grpc))
        .await
        .expect("no pressure");
}

/// Draining, a server answers what is in flight and takes nothing new.
#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_end() {
    let gate = Gate::shut();
    let (grpc, http) = (
        bind("127.0.0.1:0").await.expect("a free port"),
        bind("127.0.0.1:0").await.expect("a free port"),
    );
    let grpc_address = grpc.local_addr().to_string();
    let http_address = http.local_addr().to_string();
    let live = LiveReceive::new(ReceiveSettings::default()).expect("nothing to read");
    let drain = tokio::sync::watch::Sender::new(());
    let (mut grpc_drained, mut http_drained) = (drain.subscribe(), drain.subscribe());
    let servers = [
        tokio::spawn({
            let drained = async move { drop(grpc_drained.changed().await) };
            let admission = Admission::default();
            serve_grpc(
                grpc,
                Arc::clone(&gate),
                admission,
                Arc::clone(&live),
                drained,
            )
        }),
        tokio::spawn({
            let drained = async move { drop(http_drained.changed().await) };
            serve_http(http, Arc::clone(&gate), Admission::default(), live, drained)
        }),
    ];
    let exporters = [
        exporter(Protocol::Grpc, &grpc_address),
        exporter(Protocol::Http, &format!("http://{http_address}")),
    ];
    let calls = exporters
        .clone()
        .map(|exporter| tokio::spawn(async move { send(&exporter).await }));
    let begun = gate.begun.acquire_many(2).await.expect("never closed");
    drain.send(()).expect("both servers wait for it");
    for address in [grpc_address, http_address] {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
    gate.open.add_permits(2);
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(ExportReply::default()));
    }
    drop((begun, exporters));
    for server in servers {
        server.await.expect("no panic");
    }
}
