//! What opens, what belongs together, what is told when, and how it ends.

use petrel_engine::Settings;

use crate::harness::*;

/// Feeds the records in requests of 50 and compares the story.
fn check(records: &[Record], expected: &str) {
    let mut engine = Engine::new(1);
    engine.feed(records, 50);
    let lines = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&engine.story()),
        lines(expected),
        "\n{}",
        engine.story()
    );
}

#[test]
fn a_burst_is_told_once_and_ends() {
    check(
        &merged(vec![
            steady("api", 0.0, 3_600.0, 2.0, "request served"),
            steady("api", 0.0, 3_600.0, 6.0, "cache refreshed"),
            steady("api", 1_200.0, 1_320.0, 0.25, "cache refreshed"),
        ]),
        r#"
        20.0 detected Log rate of "cache refreshed" in api is 250/min, expected 8-12/min
        32.0 resolved Over after 2 min: Log rate of "cache refreshed" in api is 250/min, expected 8-12/min
        "#,
    );
}

#[test]
fn all_templates_threefold_is_one_anomaly() {
    let bodies = [
        "alpha sent",
        "beta sent",
        "gamma sent",
        "delta sent",
        "omega sent",
    ];
    let mut sources = Vec::new();
    for body in bodies {
        sources.push(steady("api", 0.0, 2_400.0, 3.0, body));
        sources.push(steady("api", 1_200.0, 1_320.0, 0.5, body));
    }
    check(
        &merged(sources),
        r#"
        20.0 detected Log rate of api is 700/min, expected 80-120/min
        32.0 resolved Over after 2 min: Log rate of api is 700/min, expected 80-120/min
        "#,
    );
}

#[test]
fn silence_takes_the_drop_with_it() {
    check(
        &merged(vec![
            steady("api", 0.0, 3_600.0, 1.0, "request served"),
            steady("job", 0.0, 1_200.0, 2.0, "step done"),
        ]),
        r#"
        20.0 detected Log rate of "step done" in job is 0/min, expected 24-36/min
        21.0 resolved Part of a larger anomaly: Log rate of "step done" in job is 0/min, expected 24-36/min
        20.0 detected job has been silent for 1 min 2 s, expected a record every 2 s
        26.0 updated job has been silent for 6 min 2 s, expected a record every 2 s
        31.0 updated job has been silent for 11 min, expected a record every 2 s
        36.0 updated job has been silent for 16 min, expected a record every 2 s
        42.0 updated job has been silent for 22 min, expected a record every 2 s
        50.0 updated job has been silent for 30 min, expected a record every 2 s
        "#,
    );
}

#[test]
fn novelty_is_told_after_warm_up_only() {
    check(
        &merged(vec![
            steady("api", 0.0, 1_800.0, 1.0, "request served"),
            vec![
                record("api", 10.5, "started up"),
                record("api", 1_000.5, "disk failed badly"),
            ],
        ]),
        r#"
        16.7 detected New in api: "disk failed badly" was never logged before
        27.0 resolved Over after 19.5 s: New in api: "disk failed badly" was never logged before
        "#,
    );
}

#[test]
fn an_event_has_what_the_schema_asks() {
    let mut engine = Engine::new(1);
    engine.feed(
        &merged(vec![
            steady("api", 0.0, 1_800.0, 2.0, "request served"),
            steady("api", 1_200.0, 1_260.0, 0.1, "request served"),
        ]),
        100,
    );
    let event = &engine.events[0];
    for (key, expected) in [
        ("anomaly.type", "frequency"),
        ("anomaly.state", "active"),
        ("anomaly.tier", "warning"),
        ("anomaly.direction", "above"),
        ("anomaly.value.observed", "630.000"),
        ("anomaly.value.unit", "{record}"),
        ("anomaly.start.time", "2019-03-01T10:20:00Z"),
        ("anomaly.detector.name", "frequency"),
        ("anomaly.detector.version", "1.0.0"),
        ("petrel.detector.module.digest", "native:frequency@1.0.0"),
        ("log.record.template", "request served"),
        ("otel.event.name", "anomaly.detected"),
        ("anomaly.evidence.raw_score", "8.000"),
    ] {
        assert_eq!(value(event, key), expected, "{key}");
    }
    assert_eq!(value(event, "anomaly.id").len(), 32);
    assert_eq!(
        event.resource,
        [("service.name".to_owned(), "api".to_owned())]
    );
    assert_eq!(event.scope_name, "petrel/detectors/frequency");
    assert!(event.attributes.len() <= Settings::default().limits.event_attributes + 17);
}
