//! Senders that do what they should not, and too many of those that do as they should: Petrel lives, the
//! others are served, and memory stays within its bound.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::client::{Grpc, RpcStatus};
use crate::collector::build;
use crate::front::{self, Front, Ports};
use crate::process::{Process, Scratch};
use crate::sink::{self, Kept};
use crate::{linux, petrel, records, strangers, wait};

const NATIVE: &str = "detectors: { native: true }\n";
/// Buffers and stacks that an allocator keeps.
const GROWTH_BYTES_MAX: u64 = 48 << 20;
/// What TLS and headers may take, and room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn order(number: usize, length: usize) -> Bytes {
    let body = format!("order {number} accepted {}", "x".repeat(length));
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some(records::string_value(body)),
        ..LogRecord::default()
    };
    records::request("shop", vec![record])
        .encode_to_vec()
        .into()
}

/// Petrel before a sink, with more keys of the receivers and more of everything.
fn start(name: &str, grpc: &str, http: &str, more: &str) -> (Front, Kept) {
    let (ports, sink) = (Ports::new(), wait::free_address());
    let kept = sink::keep(&sink, || Ok(()));
    let config = config(&ports, &sink, grpc, http, more);
    (Front::start(Scratch::new(name), ports, &config), kept)
}

fn config(ports: &Ports, sink: &str, grpc: &str, http: &str, more: &str) -> String {
    let (receivers, telemetry) = (ports.receivers_with(grpc, http), ports.telemetry(""));
    format!(
        "{receivers}{}{telemetry}{NATIVE}{more}",
        front::exporters(sink)
    )
}

/// Sends until it is taken: for a front door that is closed for a while.
async fn is_served_again(address: &str, what: &str) {
    let deadline = wait::Deadline::after(PATIENCE);
    loop {
        let mut client = Grpc::new(address);
        let sent = client.send(order(0, 10));
        match tokio::time::timeout(Duration::from_secs(2), sent).await {
            Ok(Ok(_)) => return,
            Ok(Err(status)) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            Err(_) => {}
        }
        assert!(!deadline.is_over(), "nobody is served after {what}");
        wait::a_moment();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections_are_abandoned() {
    const WAVES: usize = 10;
    const CONNECTIONS: usize = 500;
    let (front, kept) = start("abandoned", "", "", "");
    let mut sender = Grpc::new(&front.ports.grpc);
    sender.send(order(0, 10)).await.expect("it is served");
    let before = linux::resident_bytes(&front.petrel);
    let fds = || linux::count_of(&front.petrel, "fd").unwrap_or_default();
    let fds_before = fds();
    let addresses = [front.ports.grpc.as_str(), &front.ports.http];
    for wave in 0..WAVES {
        let _connections = strangers::begin(addresses, CONNECTIONS);
        let number = 1 + wave;
        sender
            .send(order(number, 10))
            .await
            .expect("others are served");
    }
    wait::until("what was abandoned to be closed", PATIENCE, || {
        (fds() <= fds_before + 2).then_some(())
    });
    if let (Some(before), Some(after)) = (before, linux::resident_bytes(&front.petrel)) {
        let growth = after.saturating_sub(before);
        build::announce(&format!(
            "abuse: {} connections abandoned, resident memory {} KiB more",
            WAVES * CONNECTIONS,
            growth >> 10
        ));
        assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    }
    assert_eq!(kept.requests().len(), 1 + WAVES);
    assert!(front.petrel.stop().success());
}

/// Slow senders take all the connections that there may be. Each is cut in its time, and others come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_are_cut() {
    const CONNECTIONS: usize = 20;
    let scratch = Scratch::new("slow");
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let certificate = certificate.expect("a certificate");
    let cert = scratch.write("cert.pem", certificate.cert.pem());
    let key = scratch.write("key.pem", certificate.signing_key.serialize_pem());
    let (cert, key) = (cert.display(), key.display());
    let bound = format!(
        ", max_connections: {CONNECTIONS}, read_timeout: 2s, read_header_timeout: 1s, idle_timeout: 2s"
    );
    let tls = format!(
        ", max_connections: {CONNECTIONS}, tls: {{ cert_file: '{cert}', key_file: '{key}' }}"
    );
    let (front, kept) = start("slow-senders", &tls, &bound, "");
    let http = front.ports.http.clone();

    let is_over = Arc::new(AtomicBool::new(false));
    let mut slow = Vec::new();
    let text = b"POST /v1/logs HTTP/1.1\r\nhost: petrel\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5000\r\n\r\n";
    for index in 0..CONNECTIONS {
        let (address, is_over) = (http.clone(), Arc::clone(&is_over));
        slow.push(std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("it is taken");
            // Every other one is done with its headers at once, and slow with the body.
            let mut rest = text.iter();
            if index % 2 == 0 {
                let _ = stream.write_all(text);
                rest = b"xxxxxxxxxx".iter();
            }
            while !is_over.load(Ordering::Relaxed) {
                let byte = rest.next().copied().unwrap_or(b'x');
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }));
    }
    let deadline = wait::Deadline::after(PATIENCE);
    let headers = [("content-type", "application/x-protobuf")];
    loop {
        let sent = crate::client::post(&http, &headers, order(1, 10));
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(3), sent).await {
            assert_eq!(answer.status, 200);
            break;
        }
        assert!(!deadline.is_over(), "slow senders keep the others out");
    }
    is_over.store(true, Ordering::Relaxed);
    for sender in slow {
        sender.join().expect("a slow sender does not panic");
    }
    assert_eq!(kept.requests().len(), 1, "nothing of the slow ones went on");

    let handshakes: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(&front.ports.grpc).expect("it is taken");
            stream.write_all(&[0x16, 0x03]).expect("it is open");
            stream
        })
        .collect();
    for mut stream in handshakes {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("longer than nothing");
        let mut rest = Vec::new();
        let cut = stream.read_to_end(&mut rest);
        let is_cut = cut.as_ref().map_or_else(
            |error| error.kind() == std::io::ErrorKind::ConnectionReset,
            |_| true,
        );
        assert!(is_cut, "{cut:?}");
        let _ = stream.shutdown(Shutdown::Both);
    }
    assert!(front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_requests_are_in_flight_on_one_connection() {
    const REQUESTS: usize = 300;
    /// As many as tonic's server lets one connection have.
    const AT_ONCE: usize = 200;
    let (ports, sink) = (Ports::new(), wait::free_address());
    let (open, gate) = watch::channel(false);
    let kept = sink::keep_behind(&sink, gate);
    let config = config(&ports, &sink, "", "", "");
    let front = Front::start(Scratch::new("in-flight"), ports, &config);
    let client = Grpc::new(&front.ports.grpc);
    let mut calls = JoinSet::new();
    for number in 0..REQUESTS {
        let mut client = client.clone();
        calls.spawn(async move { client.send(order(number, 100)).await });
    }
    wait::until("the requests to be at the sink", wait::SOON, || {
        (kept.requests().len() >= AT_ONCE).then_some(())
    });
    assert_eq!(linux::connected_from(&front.ports.grpc).len(), 1);
    let in_flight = &front.status()["load"]["requests_in_flight"];
    assert_eq!(in_flight, REQUESTS, "all of them are taken in");
    open.send(true).expect("the sink waits for it");
    for answer in calls.join_all().await {
        answer.expect("accepted");
    }
    assert_eq!(kept.requests().len(), REQUESTS);
    assert!(front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_descriptors_run_out() {
    const DESCRIPTORS: usize = 64;
    let scratch = Scratch::new("descriptors");
    let (ports, sink) = (Ports::new(), wait::free_address());
    let kept = sink::keep(&sink, || Ok(()));
    let file = scratch.write("petrel.yaml", config(&ports, &sink, "", "", ""));
    let mut command = petrel::short_of_files(DESCRIPTORS);
    command.arg("run").arg("-c").arg(&file);
    let ready = [&ports.grpc, &ports.http].map(|address| wait::port_of(address));
    let petrel = Process::start(&scratch, "petrel", command, &ready);
    let mut sender = Grpc::new(&ports.grpc);
    sender.send(order(0, 10)).await.expect("it is served");

    let idle: Vec<_> = (0..2 * DESCRIPTORS)
        .map(|_| TcpStream::connect(&ports.http).expect("the system's queue takes it"))
        .collect();
    wait::until("descriptors to run out", wait::SOON, || {
        petrel
            .stderr()
            .contains("no connection can be taken")
            .then_some(())
    });
    for number in 1..20 {
        let sent = sender.send(order(number, 10)).await;
        sent.expect("who is connected is served");
    }
    drop(idle);
    is_served_again(&ports.grpc, "descriptors ran out").await;
    assert!(kept.requests().len() > 20);
    let complaints = petrel
        .stderr()
        .matches("no connection can be taken")
        .count();
    assert!(complaints < 10, "{complaints} lines about one thing");
    assert!(petrel.stop().success());
}

/// A Petrel with a limit to its memory, before a sink that answers when it is opened.
struct Pressure {
    front: Front,
    kept: Kept,
    open: watch::Sender<bool>,
    limit: u64,
}

/// More than Petrel may hold, of several senders, while the sink does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_under_its_limit() {
    const SENDERS: usize = 24;
    const REQUESTS: usize = 6;
    const BODY_BYTES: usize = 3 << 20;
    // What is asked for is a second; this is a sender in more of a hurry.
    const BACK_OFF: Duration = Duration::from_millis(50);
    let pressure = pressure();
    let is_refused = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (address, is_refused) = (pressure.front.ports.grpc.clone(), Arc::clone(&is_refused));
        senders.spawn(async move {
            let mut client = Grpc::new(&address);
            let deadline = wait::Deadline::after(2 * PATIENCE);
            for number in 0..REQUESTS {
                let body = order(sender * REQUESTS + number, BODY_BYTES);
                while let Err(refusal) = client.send(body.clone()).await {
                    assert_retryable(&refusal);
                    is_refused.store(true, Ordering::Relaxed);
                    assert!(!deadline.is_over(), "refused for ever: {refusal}");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        });
    }
    wait::until("somebody to be refused", PATIENCE, || {
        is_refused.load(Ordering::Relaxed).then_some(())
    });
    pressure.open.send(true).expect("the sink waits for it");
    senders.join_all().await;

    let (front, limit) = (&pressure.front, pressure.limit);
    let arrived = pressure.kept.requests();
    let requests = arrived.iter().filter(|request| request.len() > BODY_BYTES);
    assert_eq!(
        requests.count(),
        SENDERS * REQUESTS,
        "what was acknowledged has arrived, once"
    );
    let highest = linux::highest_resident_bytes(&front.petrel).unwrap_or_default();
    let (after, status) = (linux::resident_bytes(&front.petrel), front.status());
    build::announce(&format!(
        "abuse: {} requests of {} MiB under a limit of {} MiB: {} MiB at most, {} MiB after, still short: {}",
        SENDERS * REQUESTS,
        BODY_BYTES >> 20,
        limit >> 20,
        highest >> 20,
        after.unwrap_or_default() >> 20,
        status["load"]["memory_is_short"],
    ));
    assert!(highest < limit, "{highest} bytes of {limit}");
    is_served_again(&front.ports.grpc, "the pressure").await;
    let ended = pressure.front.petrel.stop();
    assert!(ended.success());
}

/// A Petrel that may take so much more than it takes when nothing comes in.
fn pressure() -> Pressure {
    const ROOM_MIB: u64 = 160;
    const SPIKE_MIB: u64 = 120;
    let (ports, sink) = (Ports::new(), wait::free_address());
    let (open, gate) = watch::channel(false);
    let kept = sink::keep_behind(&sink, gate);
    let plain = config(&ports, &sink, "", "", "enrichment: none\n");
    let idle = Front::start(Scratch::new("memory-idle"), ports, &plain);
    let resident = linux::resident_bytes(&idle.petrel).unwrap_or(128 << 20) >> 20;
    assert!(idle.petrel.stop().success());
    let limit_mib = resident + ROOM_MIB;
    let limiter = format!(
        "memory_limiter: {{ check_interval: 100ms, limit_mib: {limit_mib}, spike_limit_mib: {SPIKE_MIB} }}
limits: {{ request_mib_max: 8, in_flight_mib_max: 60 }}
"
    );
    let ports = Ports::new();
    let config = config(&ports, &sink, "", "", &limiter);
    Pressure {
        front: Front::start(Scratch::new("memory"), ports, &config),
        kept,
        open,
        limit: limit_mib << 20,
    }
}

fn assert_retryable(refusal: &Status) {
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    let status = RpcStatus::of(refusal);
    assert!(status.has("google.rpc.RetryInfo"), "{status:?}");
}

/// Memory that is short even with nothing in flight must not close the door for good: what the allocator
/// keeps is never given back by waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_stays_short_lets_one_in_at_a_time() {
    const REQUESTS: usize = 50;
    let limiter = "memory_limiter: { check_interval: 100ms, limit_mib: 20, spike_limit_mib: 10 }\n";
    let (front, kept) = start("short", "", "", limiter);
    wait::until("memory to be short", wait::SOON, || {
        (front.status()["load"]["memory_is_short"] == true).then_some(())
    });
    let mut client = Grpc::new(&front.ports.grpc);
    for number in 0..REQUESTS {
        client.send(order(number, 10)).await.expect("one at a time");
    }
    assert_eq!(kept.requests().len(), REQUESTS);
    let text = front.tell(&["status"]);
    assert!(text.contains("memory is short"), "{text}");
    assert!(front.petrel.stop().success());
}
