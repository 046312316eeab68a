//! `kill -9` of Petrel in the middle of a load: nothing that was acknowledged is missing afterwards.
//! Duplicates are allowed, and counted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tokio::task::JoinSet;

use crate::client::Grpc;
use crate::collector::{self, build};
use crate::process::{Process, Scratch};
use crate::records::{self, Output, Record};
use crate::{petrel, wait};

const RECORDS_A_REQUEST: u64 = 20;
const N_REQUESTS: u64 = 3_000;
const N_SENDERS: u64 = 4;
/// Petrel dies when these shares of the load have arrived, in percent.
const KILLED_AT: [u64; 3] = [15, 40, 65];
/// The whole load, three restarts and the Collector's retries between.
const DEADLINE: Duration = Duration::from_secs(180);

#[test]
fn queue_of_the_collector_before_it() {
    let name = "kill::queue_of_the_collector_before_it";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let scratch = Scratch::new("kill-queue");
    let (sink_address, path) = (wait::free_address(), scratch.path("arrived.binpb"));
    let sink_config = collector::sink_config(&sink_address, &path);
    let _sink = collector.start(
        &scratch,
        "sink",
        &sink_config,
        &[wait::port_of(&sink_address)],
    );
    let setup = petrel::Setup::new(&scratch, "petrel", &sink_address, "");
    let edge_address = wait::free_address();
    let _edge = collector.start(
        &scratch,
        "edge",
        &collector::edge_config(&edge_address, &setup.grpc),
        &[wait::port_of(&edge_address)],
    );
    check(name, &scratch, &setup, &edge_address, Output::new(path));
}

#[test]
fn no_queue_before_it() {
    let name = "kill::no_queue_before_it";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let scratch = Scratch::new("kill-direct");
    let (sink_address, path) = (wait::free_address(), scratch.path("arrived.binpb"));
    let sink_config = collector::sink_config(&sink_address, &path);
    let _sink = collector.start(
        &scratch,
        "sink",
        &sink_config,
        &[wait::port_of(&sink_address)],
    );
    let setup = petrel::Setup::new(&scratch, "petrel", &sink_address, "");
    check(name, &scratch, &setup, &setup.grpc, Output::new(path));
}

/// Loads `address`, kills Petrel again and again, and compares what was acknowledged with `output`.
#[track_caller]
fn check(name: &str, scratch: &Scratch, setup: &petrel::Setup, address: &str, mut output: Output) {
    let mut petrel = setup.start(scratch);
    let load = Load::start(address);
    for percent in KILLED_AT {
        let count = usize::try_from(N_REQUESTS * RECORDS_A_REQUEST * percent / 100)
            .expect("a small number");
        output.wait_for(count, DEADLINE);
        petrel = kill_and_restart(petrel, setup, scratch);
    }
    let acknowledged = load.finish();

    let missing = |arrived: &[Record]| {
        let arrived: HashSet<&str> = arrived.iter().map(Record::body).collect();
        acknowledged
            .iter()
            .filter(|id| !arrived.contains(id.as_str()))
            .count()
    };
    let what = format!("all {} acknowledged records to arrive", acknowledged.len());
    wait::until(&what, DEADLINE, || {
        (missing(output.read()) == 0).then_some(())
    });

    assert!(petrel.stop().success());
    let mut copies: HashMap<&str, usize> = HashMap::new();
    for record in output.read().iter().filter(|record| !record.is_event()) {
        *copies.entry(record.body()).or_default() += 1;
    }
    let duplicates: usize = copies.values().map(|count| count - 1).sum();
    build::announce(&format!(
        "{name}: {} acknowledged over {} kills, 0 missing, {duplicates} arrived once more",
        acknowledged.len(),
        KILLED_AT.len()
    ));
}

fn kill_and_restart(petrel: Process, setup: &petrel::Setup, scratch: &Scratch) -> Process {
    petrel.kill();
    setup.start(scratch)
}

/// Some senders that go on until every request was acknowledged, or [`Load::finish`] is called and all of
/// theirs were tried once more.
struct Load {
    runtime: tokio::runtime::Runtime,
    senders: JoinSet<Vec<String>>,
    finishing: Arc<AtomicBool>,
}

impl Load {
    fn start(address: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
        let context = runtime.enter();
        let next = Arc::new(AtomicU64::new(0));
        let finishing = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..N_SENDERS {
            let sender = send(
                Grpc::new(address),
                Arc::clone(&next),
                Arc::clone(&finishing),
            );
            senders.spawn_on(sender, runtime.handle());
        }
        drop(context);
        Self {
            runtime,
            senders,
            finishing,
        }
    }

    /// The ids of all acknowledged records.
    fn finish(self) -> Vec<String> {
        self.finishing.store(true, Ordering::Relaxed);
        self.runtime
            .block_on(self.senders.join_all())
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Sends every request until it is acknowledged; a refusal is answered by the next try, as long as the
/// load lasts.
async fn send(mut client: Grpc, next: Arc<AtomicU64>, finishing: Arc<AtomicBool>) -> Vec<String> {
    const RETRY_INTERVAL: Duration = Duration::from_millis(10);
    let mut acknowledged = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= N_REQUESTS {
            return acknowledged;
        }
        let (ids, request) = request(index);
        loop {
            if client.export(&request).await.is_ok() {
                acknowledged.extend(ids);
                break;
            }
            if finishing.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// Records whose body is an id of their own.
fn request(index: u64) -> (Vec<String>, ExportLogsServiceRequest) {
    const FIRST_NS: u64 = 1_700_000_000_000_000_000;
    const STEP_NS: u64 = 10_000_000;
    let numbers = index * RECORDS_A_REQUEST..(index + 1) * RECORDS_A_REQUEST;
    let ids: Vec<String> = numbers
        .clone()
        .map(|number| format!("record {number} of the load"))
        .collect();
    let log_records = numbers.zip(&ids).map(|(number, id)| LogRecord {
        time_unix_nano: FIRST_NS + number * STEP_NS,
        body: Some(records::string_value(id)),
        ..LogRecord::default()
    });
    let request = records::request("load", log_records.collect());
    (ids, request)
}
