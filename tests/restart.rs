//! What outlives the process: what was learnt, over `kill -9`, and anomaly events that nobody has accepted
//! yet. What cannot be read is set aside and reported, never a reason not to start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tonic::Status;

use crate::guests::Module;
use crate::process::Scratch;
use crate::records::{self, Record};
use crate::stage::{Stage, records_of};
use crate::{sink, story, wait};

const FIRST_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const SEVERITY_INFO: i32 = 9;
const SEVERITY_FATAL: i32 = 21;
/// Long enough to tell that nothing was found: all of a story through an unoptimised build.
const DEADLINE: Duration = Duration::from_secs(120);

/// A Petrel with the counter among its detectors; detection has all the time it wants.
fn with_counter(answer: impl Fn() -> Result<(), Status> + Clone + Send + Sync + 'static) -> Stage {
    let scratch = Scratch::new("restart");
    let directory = scratch.directory("detectors");
    Module::counter("counter", "1.0.0").rename_to(&directory.join("counter.wasm"));
    let more = format!(
        "detectors: {{ directory: '{}', budget: 60s }}\n",
        directory.display()
    );
    Stage::set_up(scratch, &more, |address| sink::keep(address, answer))
}

/// A record at a second of its own.
fn one(second: u64, severity: i32) -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: FIRST_NS + second * SECOND_NS,
        severity_number: severity,
        body: Some(records::string_value(format!("order {second} accepted"))),
        ..LogRecord::default()
    };
    records::request("shop", vec![record])
}

/// The record that has arrived last, anomaly events left out.
fn last(stage: &Stage) -> Record {
    let mut records = stage.arrived().into_iter().flat_map(records_of);
    let last = records.rfind(|record| !record.is_event());
    last.expect("what was accepted has arrived")
}

/// Ends Petrel as a crash would and starts it again.
fn crash(mut stage: Stage) -> Stage {
    stage.petrel.kill();
    stage.petrel = stage.setup.start(&stage.scratch);
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learnt_outlives_a_kill() {
    let stage = with_counter(|| Ok(()));
    for second in 0..20 {
        stage.accepts(&one(second, SEVERITY_INFO)).await;
    }
    let saved = stage.saves(|index| one(20 + index, SEVERITY_INFO)).await;
    let n_sent = 20 + saved.len();
    let before = last(&stage);
    assert_eq!(
        before.integer("petrel.counter.seen"),
        i64::try_from(n_sent).ok()
    );

    let stage = crash(stage);
    let next = u64::try_from(n_sent).expect("a small number");
    stage.accepts(&one(next, SEVERITY_INFO)).await;
    let after = last(&stage);
    assert_eq!(
        after.integer("petrel.counter.seen"),
        i64::try_from(n_sent + 1).ok()
    );
    let template = after.text("petrel.template.id");
    assert_eq!(template, before.text("petrel.template.id"));
    let created = stage
        .metrics()
        .sum("petrel_templates", &[("event", "created")]);
    assert_eq!(created, 0.0, "the template was known already");
    assert!(stage.petrel.stop().success());
}

/// Detectors that have learnt a service's vocabulary speak at once after a crash; those that have not, learn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_no_second_warm_up() {
    let is_about_the_new_line = |event: &Record| {
        let template = event.text("log.record.template").unwrap_or_default();
        event.record.event_name == "anomaly.detected" && template.contains(story::NEW)
    };

    let fresh = Stage::new("");
    story::tell(&fresh.setup.grpc, &story::afterwards()).await;
    let found = fresh.ends();
    assert!(
        !found.iter().any(is_about_the_new_line),
        "half an hour is not enough to speak: {found:#?}"
    );

    let stage = Stage::new("");
    let history = story::history();
    story::tell(&stage.setup.grpc, &history).await;
    let newest = |index| {
        let mut record = history[history.len() - 1].clone();
        record.observed_time_unix_nano = record.time_unix_nano + index;
        records::request(story::SERVICE, vec![record])
    };
    stage.saves(newest).await;
    let stage = crash(stage);
    story::tell(&stage.setup.grpc, &story::afterwards()).await;
    wait::until("an event about the new line", DEADLINE, || {
        stage
            .events()
            .iter()
            .any(is_about_the_new_line)
            .then_some(())
    });
    assert!(stage.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_state_is_set_aside() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("nonsense", |bytes| bytes.fill(b'x')),
        ("cut off", |bytes| bytes.truncate(5_000)),
        ("holes", |bytes| {
            bytes
                .iter_mut()
                .skip(4096)
                .step_by(7)
                .for_each(|byte| *byte = !*byte);
        }),
    ];
    let mut stage = with_counter(|| Ok(()));
    for (n_before, (what, damage)) in damages.into_iter().enumerate() {
        stage.saves(|index| one(index, SEVERITY_INFO)).await;
        stage.petrel.kill();
        let path = stage.setup.state.join("petrel.redb");
        let mut bytes = std::fs::read(&path).expect("Petrel has saved its state");
        damage(&mut bytes);
        std::fs::write(&path, bytes).expect("the scratch directory is writable");

        stage.petrel = stage.setup.start(&stage.scratch);
        let errors = stage.metrics().sum("petrel_state_snapshot_errors", &[]);
        assert_eq!(errors, 1.0, "{what}");
        let log = stage.petrel.stderr();
        let n_reports = log
            .matches("saved state cannot be read, is set aside")
            .count();
        assert_eq!(n_reports, n_before + 1, "{what}:\n{log}");
        let kept = std::fs::read_dir(&stage.setup.state).expect("it is there");
        assert_eq!(
            kept.count(),
            n_before + 2,
            "{what}: the damaged file is kept"
        );
        stage.accepts(&one(0, SEVERITY_INFO)).await;
        let seen = last(&stage).integer("petrel.counter.seen");
        assert_eq!(seen, Some(1), "{what}: learnt anew");
    }
    assert!(stage.petrel.stop().success());
}

/// Nobody downstream accepts anything when the anomaly opens, nor until Petrel has crashed and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_outlive_an_outage_and_a_crash() {
    let is_up = Arc::new(AtomicBool::new(true));
    let answer = {
        let is_up = Arc::clone(&is_up);
        move || match is_up.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Status::unavailable("out for a moment")),
        }
    };
    let mut stage = with_counter(answer);
    for second in (0..300).step_by(10) {
        stage.accepts(&one(second, SEVERITY_INFO)).await;
    }
    is_up.store(false, Ordering::Relaxed);
    let refused = one(300, SEVERITY_FATAL);
    let answer = stage.grpc(prost::Message::encode_to_vec(&refused)).await;
    answer.expect_err("nobody downstream accepts");
    let detected = |stage: &Stage| {
        let mut events = stage.events();
        events.retain(|event| event.record.event_name == "anomaly.detected");
        events
    };
    // What the sink has been shown is in the store already.
    let first = wait::until("the event to be offered", wait::SOON, || {
        detected(&stage).first().cloned()
    });
    assert_eq!(first.text("anomaly.detector.name"), Some("counter"));
    let n_offered = detected(&stage).len();

    stage.petrel.kill();
    is_up.store(true, Ordering::Relaxed);
    stage.petrel = stage.setup.start(&stage.scratch);
    let again = wait::until("the event to be offered again", wait::SOON, || {
        detected(&stage).get(n_offered).cloned()
    });
    assert_eq!(again, first);
    wait::until("the outbox to be empty", wait::SOON, || {
        let waiting = stage.metrics().sum("petrel_outbox_bytes", &[]);
        (waiting == 0.0).then_some(())
    });
    assert!(stage.petrel.stop().success());
}
