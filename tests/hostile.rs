//! Hostile detectors in a running Petrel, under traffic: every record goes out as it came in, every request
//! is answered in time, the other detectors go on, and the log and a metric say what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use crate::collector::build::announce;
use crate::guests::Module;
use crate::process::Scratch;
use crate::records::{self, Record};
use crate::stage::{Stage, records_of};
use crate::{sink, wait};

const SERVICES: [&str; 3] = ["cart", "shop", "mail"];
const N_REQUESTS: u64 = 60;
const RECORDS_A_REQUEST: u64 = 20;
/// The detector is dropped in when so many requests have passed.
const DROPPED_AFTER: u64 = 10;
/// Between two requests, in event time: short beside the least time in quarantine.
const STEP_NS: u64 = 5_000_000_000;
const FIRST_NS: u64 = 1_700_000_000_000_000_000;
/// The budget of 200 ms, and what a machine adds that is busy with other tests.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Request `index` of some that are sent one after the other.
fn request(index: u64) -> ExportLogsServiceRequest {
    let record = |row: u64| LogRecord {
        time_unix_nano: FIRST_NS + index * STEP_NS + row,
        severity_number: 9,
        body: Some(records::string_value(format!(
            "order {} accepted by till {}",
            index * RECORDS_A_REQUEST + row,
            row % 7
        ))),
        ..LogRecord::default()
    };
    let service = SERVICES[usize::try_from(index).expect("a small number") % SERVICES.len()];
    records::request(service, (0..RECORDS_A_REQUEST).map(record).collect())
}

/// A Petrel with a detectors directory, what it holds at the start, and the evil guest's settings.
fn stage(enrichment: &str, call: &str, deed: &str, modules: &[(&str, Module)]) -> Stage {
    let scratch = Scratch::new("hostile");
    let directory = scratch.directory("detectors");
    for (name, module) in modules {
        module.rename_to(&directory.join(name));
    }
    let directory = directory.display();
    let more = format!(
        "enrichment: {enrichment}
detectors: {{ directory: '{directory}', evil: {{ call: {call}, deed: {deed} }} }}
"
    );
    Stage::set_up(scratch, &more, |address| sink::keep(address, || Ok(())))
}

/// Drops the evil guest into a running Petrel.
fn drop_evil(stage: &Stage) {
    let evil = Module::evil();
    evil.rename_to(&stage.scratch.path("detectors").join("evil.wasm"));
    stage.log_line(&["detector changed", &evil.digest()]);
}

/// Sends requests one after the other; each must be accepted in time. Returns their bytes and the longest
/// wait.
async fn send(stage: &Stage, requests: std::ops::Range<u64>) -> (Vec<Bytes>, Duration) {
    let mut sent = Vec::new();
    let mut slowest = Duration::ZERO;
    for index in requests {
        let body = Bytes::from(request(index).encode_to_vec());
        let (answer, lasted) = wait::timed(stage.grpc(body.clone())).await;
        answer.expect("Petrel and the sink accept");
        assert!(lasted < ANSWER_MAX, "request {index} took {lasted:?}");
        slowest = slowest.max(lasted);
        sent.push(body);
    }
    (sent, slowest)
}

/// Requests of records that have arrived; those of anomaly events left out.
fn arrived(stage: &Stage) -> Vec<Bytes> {
    let mut arrived = stage.arrived();
    arrived.retain(|body| !records_of(body.clone()).iter().all(Record::is_event));
    arrived
}

/// A guest that does `deed` in `call` is set aside, for `words`, again and again, and nothing else happens.
async fn check(call: &str, deed: &str, class: &str, words: &str) {
    let stage = stage("none", call, deed, &[]);
    let (mut sent, _) = send(&stage, 0..DROPPED_AFTER).await;
    drop_evil(&stage);
    let (more, slowest) = send(&stage, DROPPED_AFTER..N_REQUESTS).await;
    sent.extend(more);

    let arrived = arrived(&stage);
    assert_eq!(arrived.len(), sent.len());
    assert!(arrived == sent, "every request arrives byte for byte");
    stage.log_line(&["detector is set aside after a fault", "evil", call]);
    let log = stage.petrel.stderr();
    assert!(log.contains(words), "the log should say {words:?}:\n{log}");
    let labels = [("detector", "evil"), ("error_type", class)];
    let faults = wait::until("the fault to be counted", wait::SOON, || {
        let faults = stage.metrics().sum("petrel_detector_errors", &labels);
        (faults > 0.0).then_some(faults)
    });
    let all = stage.metrics().sum("petrel_detector_errors", &[]);
    assert_eq!(faults, all, "no other class, no other detector:\n{log}");
    announce(&format!(
        "hostile: {deed} in {call}: {faults} faults in {} requests, slowest answer {slowest:.0?}",
        N_REQUESTS - DROPPED_AFTER
    ));
    assert!(
        faults < (N_REQUESTS - DROPPED_AFTER) as f64 / 4.0,
        "quarantine keeps it from being called each time"
    );
    assert!(stage.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loop() {
    check("observe", "spin", "timeout", "interrupt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loop_when_a_window_ends() {
    check("advance", "spin", "timeout", "interrupt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_bomb() {
    check("observe", "bomb", "memory", "bomb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap() {
    check("observe", "trap", "trap", "unreachable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_recursion() {
    check("observe", "recurse", "trap", "recurse").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_log() {
    check("observe", "log-flood", "timeout", "interrupt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_output() {
    check("observe", "text-huge", "abi", "observe").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_findings() {
    check("observe", "findings-1025", "abi", "1025 findings").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_not_there() {
    check("observe", "row", "abi", "findings[0].rows: row").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_that_are_no_number() {
    check("observe", "score-nan", "abi", "findings[0].score: NaN").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_without_end() {
    check("save", "huge", "abi", "save").await;
}

/// What one detector does, another does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_detectors_go_on() {
    let counter = [("counter.wasm", Module::counter("counter", "1.0.0"))];
    let stage = stage("template", "observe", "spin", &counter);
    let mut sent = send(&stage, 0..DROPPED_AFTER).await.0;
    drop_evil(&stage);
    sent.extend(send(&stage, DROPPED_AFTER..N_REQUESTS).await.0);

    let arrived: Vec<Record> = arrived(&stage).into_iter().flat_map(records_of).collect();
    let (mut n_of_service, mut n_counted) = (BTreeMap::new(), 0);
    for record in &arrived {
        let n_records = n_of_service.entry(record.service().to_owned()).or_insert(0);
        *n_records += 1;
        // A request whose budget was used up is not enriched, but it was counted all the same.
        if let Some(seen) = record.integer("petrel.counter.seen") {
            assert_eq!(seen, *n_records, "the counter missed a record");
            n_counted += 1;
        }
    }
    assert!(
        n_counted * 2 > arrived.len(),
        "only {n_counted} of {} records are annotated",
        arrived.len()
    );
    let sent: Vec<Record> = sent.into_iter().flat_map(records_of).collect();
    let arrived: Vec<Record> = arrived.into_iter().map(Record::without_ours).collect();
    records::assert_same(&sent, &arrived);
    stage.log_line(&["detector is set aside after a fault", "evil"]);
    stage.log_line(&["detector is live again", "evil"]);
    assert!(stage.petrel.stop().success());
}

/// A guest that traps over the state that it saved itself: the state is set aside, records pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_traps_at_the_next_start() {
    let evil = [("evil.wasm", Module::evil())];
    let mut stage = stage("none", "load", "trap", &evil);
    let (mut sent, _) = send(&stage, 0..DROPPED_AFTER).await;
    let saved = stage.saves(|index| request(DROPPED_AFTER + index)).await;
    let next = DROPPED_AFTER + saved.len() as u64;
    sent.extend(
        saved
            .iter()
            .map(|request| Bytes::from(request.encode_to_vec())),
    );
    stage.petrel.kill();
    stage.petrel = stage.setup.start(&stage.scratch);
    stage.log_line(&["a part of the saved state is set aside", "evil", "load"]);
    sent.extend(send(&stage, next..next + N_REQUESTS).await.0);
    assert!(
        arrived(&stage) == sent,
        "every request arrives byte for byte"
    );
    assert!(stage.petrel.stop().success());
}
