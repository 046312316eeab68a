//! More than Petrel can hold: refused with a delay before it is decoded, without growth; and nothing that
//! was admitted is dropped, by pressure or by a shutdown.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

use crate::client::{self, Grpc, RpcStatus};
use crate::process::Scratch;
use crate::records;
use crate::stage::Stage;
use crate::{linux, sink, wait};

/// Of requests in flight at one time: one of these requests, and not two.
const IN_FLIGHT_MIB: usize = 1;
const BODY_BYTES: usize = 700 << 10;
const N_REFUSED: usize = 200;
const SENDERS: usize = 8;
/// Allocator and buffers of connections; the requests refused have 140 MiB together.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

/// A request of one large record.
fn request(name: &str) -> Bytes {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some(records::string_value(format!(
            "{name} {}",
            "x".repeat(BODY_BYTES)
        ))),
        ..LogRecord::default()
    };
    records::request("shop", vec![record])
        .encode_to_vec()
        .into()
}

/// A Petrel before a sink that keeps what it gets and answers when the gate is open.
fn stage() -> (Stage, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let more = format!(
        "enrichment: none
limits: {{ request_mib_max: {IN_FLIGHT_MIB}, in_flight_mib_max: {IN_FLIGHT_MIB} }}
drain_timeout: 60s
"
    );
    let stage = Stage::set_up(Scratch::new("overload"), &more, |address| {
        sink::keep_behind(address, gate)
    });
    (stage, open)
}

/// Sends a request that stays in flight until the sink answers it.
fn hold(stage: &Stage, body: &Bytes) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
    let (address, body) = (stage.setup.grpc.clone(), body.clone());
    let sent = tokio::spawn(async move { Grpc::new(&address).send(body).await.map(drop) });
    wait::until("the request to be at the sink", wait::SOON, || {
        (!stage.arrived().is_empty()).then_some(())
    });
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_with_a_delay() {
    let (stage, open) = stage();
    let held = request("held");
    let answer = hold(&stage, &held);
    let before = linux::resident_bytes(&stage.petrel);

    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (address, body) = (stage.setup.grpc.clone(), request("too much"));
        senders.spawn(async move {
            let mut client = Grpc::new(&address);
            for _ in 0..N_REFUSED / SENDERS {
                let refusal = client.send(body.clone()).await.expect_err("no room");
                assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
                let status = RpcStatus::of(&refusal);
                assert!(status.has("google.rpc.RetryInfo"), "{status:?}");
            }
        });
    }
    senders.join_all().await;

    let headers = [("content-type", "application/x-protobuf")];
    let refusal = client::post(&stage.setup.http, &headers, request("too much"))
        .await
        .expect("Petrel answers");
    assert_eq!(refusal.status, 503);
    let delay: Duration = Duration::from_secs(
        refusal
            .header("retry-after")
            .parse()
            .expect("whole seconds"),
    );
    assert!(delay > Duration::ZERO);

    if let (Some(before), Some(after)) = (before, linux::resident_bytes(&stage.petrel)) {
        let growth = after.saturating_sub(before);
        crate::collector::build::announce(&format!(
            "overload: {N_REFUSED} requests of {} KiB refused, resident memory {} KiB, {} more after",
            BODY_BYTES >> 10,
            before >> 10,
            growth >> 10
        ));
        assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    }
    open.send(true).expect("the sink waits for it");
    answer
        .await
        .expect("the task ends")
        .expect("what was admitted is accepted");
    stage.grpc(held.clone()).await.expect("there is room again");
    assert!(
        stage.arrived() == [held.clone(), held],
        "nothing else got through"
    );
    assert!(stage.petrel.stop().success());
}

/// SIGTERM: the ports close, what was admitted is finished and answered, then it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_is_drained() {
    let (stage, open) = stage();
    let held = request("held");
    let answer = hold(&stage, &held);
    stage.petrel.terminate();
    let port = wait::port_of(&stage.setup.grpc);
    wait::until("the port to be closed", wait::SOON, || {
        (!wait::listens(port)).then_some(())
    });
    assert!(!answer.is_finished(), "it waits for the sink");
    open.send(true).expect("the sink waits for it");
    answer
        .await
        .expect("the task ends")
        .expect("what was admitted is accepted");
    assert!(stage.arrived() == [held]);
    assert!(stage.petrel.ended().success());
}
