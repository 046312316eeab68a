//! An anomaly as its consumer gets it: through a real Collector, a log record of its own with all that the
//! contract calls required.

use std::time::Duration;

use crate::collector;
use crate::process::Scratch;
use crate::records::{Output, Record};
use crate::{petrel, story, wait};

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

    let (history, afterwards) = (story::history(), story::afterwards());
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        story::tell(&setup.grpc, &history).await;
        story::tell(&setup.grpc, &afterwards).await;
    });
    let n_records = history.len() + afterwards.len();
    let mut output = Output::new(path);
    assert_eq!(output.wait_for(n_records, DEADLINE).len(), n_records);
    let event = wait::until("an event about the new template", DEADLINE, || {
        output.events().into_iter().find(|event| {
            let template = event.text("log.record.template").unwrap_or_default();
            event.record.event_name == "anomaly.detected" && template.contains(story::NEW)
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
    assert_eq!(event.service(), story::SERVICE);
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
    assert!(event.record.time_unix_nano >= story::NEW_FROM_NS);
}
