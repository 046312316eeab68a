//! An anomaly as its consumer gets it: through a real Collector, a log record of its own with all that the
//! contract calls required.

use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::client::Grpc;
use crate::collector;
use crate::process::Scratch;
use crate::records::{self, Output, Record};
use crate::{petrel, wait};

const SECOND_NS: u64 = 1_000_000_000;
const FIRST_NS: u64 = 1_700_000_000 * SECOND_NS;
const HISTORY_SECONDS: u64 = 8 * 3_600;
const AFTERWARDS_SECONDS: u64 = 1_800;
const RECORDS_A_REQUEST: usize = 1_000;
const NEW: &str = "Ledger checksum mismatch, refusing to settle";
/// The whole story through an unoptimised build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Eight steady hours, then a line that nobody has seen before, again and again.
#[test]
fn a_new_template_arrives_as_an_event() {
    let name = "anomalies::a_new_template_arrives_as_an_event";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let scratch = Scratch::new("anomalies");
    let (sink_address, path) = (wait::free_address(), scratch.path("arrived.binpb"));
    let config = collector::sink_config(&sink_address, &path);
    let _sink = collector.start(&scratch, "sink", &config, &[wait::port_of(&sink_address)]);
    let setup = petrel::Setup::new(&scratch, "petrel", &sink_address, "");
    let petrel = setup.start(&scratch);

    let story = story();
    send(&setup.grpc, &story);
    let mut output = Output::new(path);
    let arrived = output.wait_for(story.len(), DEADLINE);
    assert_eq!(arrived.len(), story.len());
    let event = wait::until("an event about the new template", DEADLINE, || {
        output.events().into_iter().find(|event| {
            let template = event.text("log.record.template").unwrap_or_default();
            event.record.event_name == "anomaly.detected" && template.contains("Ledger checksum")
        })
    });
    assert_contract(&event);
    assert!(petrel.stop().success());
}

/// What `SCHEMA` calls required of `anomaly.detected`.
#[track_caller]
fn assert_contract(event: &Record) {
    for key in [
        "anomaly.id",
        "anomaly.type",
        "anomaly.state",
        "anomaly.tier",
        "anomaly.start.time",
        "anomaly.detector.name",
        "anomaly.detector.version",
    ] {
        assert!(
            event.text(key).is_some_and(|text| !text.is_empty()),
            "no {key}: {event:#?}"
        );
    }
    let detector = event.text("anomaly.detector.name").unwrap_or_default();
    assert_eq!(event.scope.name, format!("petrel/detectors/{detector}"));
    assert_eq!(event.text("anomaly.state"), Some("active"));
    assert_eq!(event.service(), "ledger");
    assert!(!event.body().is_empty(), "a sentence for people");
    let expected_severity = match event.text("anomaly.tier") {
        Some("info") => 9,
        Some("warning") => 13,
        Some("critical") => 17,
        other => panic!("tier {other:?}"),
    };
    assert_eq!(event.record.severity_number, expected_severity);
    let score = event
        .record
        .attributes
        .iter()
        .any(|attribute| attribute.key == "anomaly.score");
    assert!(score, "no anomaly.score: {event:#?}");
    assert!(event.record.time_unix_nano >= FIRST_NS + HISTORY_SECONDS * SECOND_NS);
}

fn story() -> Vec<LogRecord> {
    const LINES: [&str; 4] = [
        "Booked entry {} on account 4{}",
        "Balance of account 4{} read in {} ms",
        "Statement {} queued for printing",
        "Heartbeat {}: ledger open",
    ];
    let record = |second: u64, body: String| LogRecord {
        time_unix_nano: FIRST_NS + second * SECOND_NS,
        severity_number: 9,
        body: Some(records::string_value(body)),
        ..LogRecord::default()
    };
    let end = HISTORY_SECONDS + AFTERWARDS_SECONDS;
    (0..end)
        .flat_map(|second| {
            let line = LINES[usize::try_from(second % 4).expect("below four")];
            let usual = record(second, line.replace("{}", &(second % 977).to_string()));
            let is_new =
                second >= HISTORY_SECONDS && second % 5 == 0 && second < HISTORY_SECONDS + 600;
            let new = is_new.then(|| record(second, format!("{NEW} batch {second}")));
            [Some(usual), new].into_iter().flatten()
        })
        .collect()
}

fn send(address: &str, story: &[LogRecord]) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        let mut client = Grpc::new(address);
        for records in story.chunks(RECORDS_A_REQUEST) {
            let request = records::request("ledger", records.to_vec());
            client
                .export(&request)
                .await
                .expect("Petrel accepts the story");
        }
    });
}
