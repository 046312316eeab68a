//! Faults, rebuilding, replacement, damaged state.

use petrel_detector::FaultKind;
use petrel_engine::{Continuity, EngineError, Health, Scope, Settings};

use crate::detectors::{BOMB, Native};
use crate::harness::*;

#[test]
fn a_faulty_instance_is_set_aside_and_comes_back_knowing() {
    let mut engine = Engine::with(1, Settings::default(), &["silence"]);
    let fragile = Native::with("frequency", "1.0.0", 1, "fragile");
    engine.workers[0]
        .add(fragile)
        .expect("a test detector is fine");
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    engine.workers[0].snapshot(Scope::All);
    engine.feed(&[record("api", 1_200.0, BOMB)], 1);
    let Health::Quarantined { kind, reason, .. } = &engine.changes[0].health else {
        panic!("{:?}", engine.changes)
    };
    assert_eq!(
        (*kind, reason.as_str()),
        (FaultKind::Trap, "observe: the bomb went off")
    );
    let records = merged(vec![
        steady("api", 1_201.0, 2_400.0, 1.0, "request served"),
        steady("api", 1_800.0, 1_860.0, 0.1, "request served"),
    ]);
    engine.feed(&records, 50);
    assert_eq!(engine.changes[1].health, Health::Live);
    assert_eq!(engine.changes.len(), 2);
    let story = engine.story();
    assert_eq!(story.matches("detected Log rate of").count(), 1, "{story}");
}

#[test]
fn a_detector_that_keeps_faulting_waits_longer_and_harms_no_other() {
    let mut engine = Engine::with(1, Settings::default(), &["silence"]);
    let fragile = Native::with("frequency", "1.0.0", 1, "fragile");
    engine.workers[0]
        .add(fragile)
        .expect("a test detector is fine");
    engine.feed(&steady("api", 0.0, 3_000.0, 1.0, BOMB), 10);
    let faults: u64 = engine.tally.faults.values().sum();
    assert!((5..=12).contains(&faults), "{faults} faults in 50 minutes");
    assert_eq!(engine.added.len(), 3_000);
    let silence = &engine.workers[0].detectors()[1];
    assert_eq!(
        (&*silence.name, &silence.health),
        ("silence", &Health::Live)
    );
}

#[test]
fn a_new_version_takes_over_what_the_old_one_knows() {
    let mut engine = Engine::new(1);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    let status = engine.workers[0]
        .replace(Native::with("frequency", "2.0.0", 1, ""))
        .expect("it takes over");
    assert_eq!(&*status.version, "2.0.0");
    engine.feed(
        &merged(vec![
            steady("api", 1_200.0, 1_800.0, 1.0, "request served"),
            steady("api", 1_260.0, 1_320.0, 0.05, "request served"),
        ]),
        50,
    );
    let story = engine.story();
    assert_eq!(story.matches("detected Log rate of").count(), 1, "{story}");
    assert_eq!(
        value(&engine.events[0], "anomaly.detector.version"),
        "2.0.0"
    );
}

#[test]
fn the_old_one_stays_when_the_new_one_is_bad() {
    let mut engine = Engine::new(1);
    engine.feed(&steady("api", 0.0, 600.0, 1.0, "request served"), 50);
    let worker = &mut engine.workers[0];
    let error = worker
        .replace(Native::with("frequency", "3.0.0", 2, ""))
        .unwrap_err();
    assert!(matches!(&error, EngineError::HandOver { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "detector frequency does not take over the state of stream api: \
         load: a state of another version"
    );
    let error = worker
        .replace(Native::with("frequency", "3.0.0", 1, "nonsense"))
        .unwrap_err();
    assert!(matches!(error, EngineError::Build { .. }), "{error}");
    let error = worker.replace(Native::spec("sequence")).unwrap_err();
    assert!(matches!(error, EngineError::Unknown { .. }), "{error}");
    assert!(
        worker
            .detectors()
            .iter()
            .all(|status| &*status.version == "1.0.0")
    );
    assert!(matches!(
        worker.add(Native::spec("silence")),
        Err(EngineError::Duplicate { .. })
    ));
    assert_eq!(worker.remove("silence"), Ok(()));
    assert_eq!(worker.detectors().len(), 2);
}

#[test]
fn damaged_parts_are_set_aside_one_by_one() {
    let mut engine = Engine::new(1);
    engine.feed(&steady("api", 0.0, 600.0, 1.0, "request served"), 50);
    let mut state = engine.workers[0].snapshot(Scope::All).streams.remove(0);
    for part in &mut state.parts {
        match part.name.as_str() {
            "anomalies" => part.bytes[5] ^= 1,
            "detector/frequency" => part.bytes.truncate(3),
            "detector/novelty" => part.version = 9,
            "detector/silence" => part.name = "detector/other".to_owned(),
            _ => {}
        }
    }
    let mut fresh = Engine::new(1);
    let aside = fresh.workers[0].restore(state, Continuity::Seamless);
    let mut names: Vec<_> = aside.iter().map(|aside| aside.part.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "anomalies",
            "detector/frequency",
            "detector/novelty",
            "detector/other"
        ]
    );
    let status = fresh.workers[0].status(usize::MAX).streams;
    assert_eq!((status.len(), status[0].n_templates), (1, 1));
}

#[test]
fn after_an_interruption_absence_is_no_evidence() {
    let mut engine = Engine::new(1);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    let state = engine.workers[0].snapshot(Scope::All).streams.remove(0);
    let later = steady("api", 1_320.0, 1_800.0, 1.0, "request served");
    for (continuity, n_detected) in [(Continuity::Seamless, 1), (Continuity::Interrupted, 0)] {
        let mut restarted = Engine::new(1);
        restarted
            .clock
            .load(&engine.clock.save())
            .expect("saved just now");
        assert_eq!(restarted.workers[0].restore(state.clone(), continuity), []);
        restarted.feed(&later, 50);
        let n = restarted.story().matches("detected").count();
        assert_eq!(
            n.min(1),
            n_detected,
            "{continuity:?}:\n{}",
            restarted.story()
        );
    }
}

#[test]
fn a_full_worker_hands_streams_out() {
    let mut settings = Settings::default();
    settings.limits.streams = 2;
    let mut engine = Engine::with(1, settings, &["frequency"]);
    engine.feed(
        &[
            record("a", 0.0, "one"),
            record("b", 1.0, "one"),
            record("c", 2.0, "one"),
            record("a", 3.0, "one"),
        ],
        1,
    );
    let tally = &engine.tally;
    assert_eq!(
        (
            tally.streams_new,
            tally.streams_evicted,
            tally.streams_returned
        ),
        (4, 2, 1)
    );
    assert_eq!(engine.workers[0].n_streams(), 2);
}
