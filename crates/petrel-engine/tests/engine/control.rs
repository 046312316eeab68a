//! Detectors switched off and on while records pass, and what the status says.

use petrel_batch::EventTime;
use petrel_engine::{EngineError, Health, Settings};

use crate::detectors::{BOMB, Native};
use crate::harness::*;
use crate::invariance::restart;

fn switch(engine: &mut Engine, detector: &str, is_enabled: bool) {
    for worker in &mut engine.workers {
        let change = worker
            .set_detector_enabled(detector, is_enabled)
            .expect("it runs");
        let health = if is_enabled {
            Health::Live
        } else {
            Health::Disabled
        };
        assert_eq!(change.expect("it changes").health, health);
        let again = worker.set_detector_enabled(detector, is_enabled);
        assert_eq!(again, Ok(None));
    }
}

/// A burst while the detector is off, a silence and a new template at its end, and a burst when it is
/// on again; perhaps a restart in between.
fn run(is_restarted: bool) -> Engine {
    let mut engine = Engine::new(2);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    let detectors = ["frequency", "novelty", "silence"];
    for detector in detectors {
        switch(&mut engine, detector, false);
    }
    engine.feed(
        &merged(vec![
            steady("api", 1_200.0, 1_500.0, 1.0, "request served"),
            steady("api", 1_260.0, 1_320.0, 0.1, "request served"),
            steady("api", 1_320.0, 1_380.0, 1.0, "disk failed badly"),
            // Moves the frontier on while the other is silent.
            steady("web", 1_200.0, 1_800.0, 1.0, "page served"),
        ]),
        50,
    );
    assert_eq!(engine.story(), "");
    if is_restarted {
        restart(&mut engine);
        for detector in detectors {
            switch(&mut engine, detector, false);
        }
    }
    for detector in detectors {
        switch(&mut engine, detector, true);
    }
    engine.feed(
        &merged(vec![
            steady("api", 1_800.0, 3_000.0, 1.0, "request served"),
            steady("api", 2_400.0, 2_460.0, 0.1, "request served"),
            steady("web", 1_800.0, 3_000.0, 1.0, "page served"),
        ]),
        50,
    );
    engine
}

#[test]
fn what_came_while_a_detector_was_off_is_neither_seen_nor_missed() {
    for is_restarted in [false, true] {
        let story = run(is_restarted).story();
        let detected: Vec<_> = story
            .lines()
            .filter(|line| line.contains("detected"))
            .collect();
        assert_eq!(
            detected,
            ["40.0 detected Log rate of \"request served\" in api is 660/min, expected 48-72/min"],
            "restarted: {is_restarted}"
        );
    }
}

#[test]
fn one_detector_off_leaves_the_others_as_they_are() {
    let mut engine = Engine::new(1);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    switch(&mut engine, "frequency", false);
    let burst = merged(vec![
        steady("api", 1_200.0, 1_320.0, 0.1, "request served"),
        vec![record("api", 1_250.0, "disk failed badly")],
    ]);
    engine.feed(&burst, 50);
    assert!(engine.story().contains("New in api"), "{}", engine.story());
    assert!(!engine.story().contains("Log rate"), "{}", engine.story());
    let replaced = engine.workers[0].replace(Native::with("frequency", "2.0.0", 1, ""));
    assert_eq!(replaced.expect("it takes over").health, Health::Disabled);
    let unknown = engine.workers[0].set_detector_enabled("latency", false);
    assert!(matches!(unknown, Err(EngineError::Unknown { .. })));
}

#[test]
fn templates_that_merge_meanwhile_are_told_when_it_is_on_again() {
    let mut engine = Engine::new(1);
    let records: Vec<_> = crate::invariance::tale()
        .into_iter()
        .filter(|record| record.service == "auth")
        .collect();
    engine.feed(&records[..2], 1);
    switch(&mut engine, "novelty", false);
    engine.feed(&records[2..200], 50);
    assert!(engine.tally.templates_merged > 0);
    switch(&mut engine, "novelty", true);
    // The test detector panics over templates that it has not been told of.
    engine.feed(&records[200..], 50);
    assert!(
        !engine.story().contains("New in auth"),
        "{}",
        engine.story()
    );
}

#[test]
fn the_status_says_what_is_learnt_and_what_was_skipped() {
    let mut engine = Engine::with(1, Settings::default(), &["silence"]);
    engine.digests = true;
    let fragile = Native::with("frequency", "1.0.0", 1, "fragile");
    engine.workers[0]
        .add(fragile)
        .expect("a test detector is fine");
    engine.feed(&steady("old", 0.0, 60.0, 1.0, "request served"), 60);
    let records = steady("api", 60.0, 3_000.0, 1.0, "request served");
    engine.feed(&records, 60);
    engine.request(&records[records.len() - 60..]);
    engine.feed(
        &[
            record("api", 30.0, "very late"),
            record("api", 2_900.0, "late"),
        ],
        1,
    );
    engine.feed(&[record("api", 900_000.0, "wild")], 1);
    let key = engine.resources[&("", "api")].stream.clone();
    let times = [START, START + SECOND].map(EventTime);
    engine.workers[0].miss(&key, times[0], times[1], 7);
    let status = engine.workers[0].status(1);
    let text = serde_json::to_string_pretty(&status).expect("plain values");
    assert_eq!((status.streams.len(), status.streams_omitted), (1, 1));
    let api = &status.streams[0];
    assert_eq!(
        (api.name.as_str(), api.n_templates, api.n_open),
        ("api", 4, 0),
        "{text}"
    );
    let counts = api.counts;
    assert_eq!(
        (counts.records, counts.retries, counts.missed),
        (2_943, 60, 7)
    );
    assert_eq!(
        (counts.late, counts.too_late, counts.too_far_ahead),
        (1, 1, 1)
    );
    assert!(text.contains("\"detector\": \"frequency\"") && text.contains("\"level\": \"ready\""));
    engine.feed(&[record("old", 3_001.0, BOMB)], 1);
    switch(&mut engine, "silence", false);
    let status = engine.workers[0].status(9);
    assert_eq!(status.streams[0].name, "old");
    let [frequency, silence] = &status.detectors[..] else {
        panic!("{status:?}")
    };
    assert_eq!(
        (frequency.health, silence.health),
        ("quarantined", "disabled")
    );
    assert_eq!(
        frequency.reason.as_deref(),
        Some("trap: observe: the bomb went off")
    );
    assert!(frequency.until.is_some_and(|until| until.0 > START));
}
