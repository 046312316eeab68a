//! Same records, same events: whatever the requests, the workers, the restarts.

use petrel_engine::{Continuity, FrontierClock, GlobalStage, Scope, Settings, Worker};
use proptest::prelude::*;
use std::sync::Arc;

use crate::detectors::Native;
use crate::harness::*;

/// Four services over an hour with a burst, a silence, a new template, a gap of the whole input and
/// templates that merge.
pub(crate) fn tale() -> Vec<Record> {
    let names = [
        "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi",
    ];
    let logins = (0..400).map(|i| {
        let body = format!(
            "user {} logged in from office",
            names[(i * i / 7) % names.len()]
        );
        record("auth", 3.0 + 7.0 * i as f64, &body)
    });
    let mut records = merged(vec![
        steady("api", 0.0, 3_000.0, 2.0, "request served"),
        steady("api", 0.5, 3_000.0, 3.0, "cache refreshed"),
        steady("api", 1_200.0, 1_300.0, 0.2, "request served"),
        steady("api", 1_200.0, 1_300.0, 0.2, "cache refreshed"),
        steady("cart", 1.0, 3_000.0, 5.0, "item added"),
        vec![
            record("cart", 1_500.2, "stock table broken"),
            record("cart", 1_501.2, "stock table broken"),
        ],
        steady("job", 0.2, 1_800.0, 4.0, "step done"),
        logins.collect(),
    ]);
    for record in &mut records {
        if record.time >= START + 2_400 * SECOND {
            record.time += 20 * MINUTE;
        }
    }
    records
}

fn run(records: &[Record], n_workers: usize, sizes: &[usize]) -> Engine {
    let mut engine = Engine::new(n_workers);
    let (mut rest, mut next) = (records, 0);
    while !rest.is_empty() {
        let (request, after) = rest.split_at(sizes[next % sizes.len()].clamp(1, rest.len()));
        engine.request(request);
        (rest, next) = (after, next + 1);
    }
    engine
}

#[test]
fn the_tale_has_something_to_tell() {
    let engine = run(&tale(), 1, &[100]);
    let story = engine.story();
    for expected in [
        "Log rate of api is",
        "stock table broken",
        "job has been silent",
        "The whole input",
    ] {
        assert!(
            story.contains(expected),
            "{expected} is missing in\n{story}"
        );
    }
    assert!(engine.tally.templates_merged > 0);
}

#[test]
fn any_number_of_workers_tells_the_same() {
    let expected = run(&tale(), 1, &[100]).all_events();
    for n_workers in 2..=4 {
        assert_eq!(
            run(&tale(), n_workers, &[100]).all_events(),
            expected,
            "{n_workers} workers"
        );
    }
}

#[test]
fn records_get_the_same_whatever_the_workers() {
    let expected = run(&tale(), 1, &[100]).added;
    assert_eq!(run(&tale(), 3, &[100]).added, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_split_tells_the_same(sizes in prop::collection::vec(1_usize..700, 1..12), workers in 1_usize..4) {
        let expected = run(&tale(), 1, &[100]).all_events();
        prop_assert_eq!(run(&tale(), workers, &sizes).all_events(), expected);
    }

    #[test]
    fn a_restart_at_any_request_tells_the_same(at in 1_usize..40) {
        let records = tale();
        let expected = run(&records, 2, &[64]).all_events();
        let mut engine = Engine::new(2);
        for (index, request) in records.chunks(64).enumerate() {
            if index == at {
                restart(&mut engine);
            }
            engine.request(request);
        }
        prop_assert_eq!(engine.all_events(), expected);
    }
}

/// Saves all, builds all anew, puts all back.
pub(crate) fn restart(engine: &mut Engine) {
    let settings = Arc::new(Settings::default());
    let mut clock = FrontierClock::new(&settings);
    clock.load(&engine.clock.save()).expect("saved just now");
    let mut global = GlobalStage::new(Arc::clone(&settings));
    global.load(&engine.global.save()).expect("saved just now");
    for worker in &mut engine.workers {
        let snapshot = worker.snapshot(Scope::All);
        let again = worker.snapshot(Scope::All);
        assert_eq!(snapshot, again, "the same knowledge gives the same bytes");
        *worker = Worker::new(Arc::clone(&settings));
        for detector in ["frequency", "novelty", "silence"] {
            worker
                .add(Native::spec(detector))
                .expect("a test detector is fine");
        }
        for state in snapshot.streams {
            assert_eq!(worker.restore(state, Continuity::Seamless), []);
        }
    }
    (engine.clock, engine.global) = (clock, global);
}
