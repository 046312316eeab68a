//! Frontier, watermarks, late and wild records, gaps.

use std::time::Duration;

use petrel_batch::{EventTime, StreamKey};

use crate::harness::*;

#[test]
fn an_idle_stream_follows_the_frontier() {
    let mut engine = Engine::new(2);
    engine.feed(
        &merged(vec![
            steady("api", 0.0, 1_200.0, 1.0, "request served"),
            steady("job", 0.0, 600.0, 2.0, "step done"),
        ]),
        40,
    );
    let story = engine.story();
    assert!(story.contains("job has been silent"), "{story}");
}

#[test]
fn a_wild_record_moves_nothing() {
    let steady = merged(vec![
        steady("api", 0.0, 1_800.0, 1.0, "request served"),
        steady("job", 0.5, 1_800.0, 2.0, "step done"),
    ]);
    let mut calm = Engine::new(1);
    calm.feed(&steady, 40);
    let mut records = steady;
    for (index, years) in [(300, 1), (900, 7), (901, 8), (1_500, 1)] {
        let mut wild = record("api", 0.0, "request served");
        wild.time += years * 365 * 24 * 60 * MINUTE;
        records.insert(index, wild);
    }
    let mut engine = Engine::new(1);
    engine.feed(&records, 40);
    assert_eq!(engine.all_events(), calm.all_events());
    assert_eq!((engine.tally.in_doubt, engine.tally.late), (4, 0));
    assert_eq!(engine.clock.time(), calm.clock.time());
}

#[test]
fn a_clock_that_runs_ahead_carries_nobody_along() {
    let mut records = merged(vec![
        steady("fast", 0.0, 7_200.0, 1.0, "tick"),
        steady("api", 0.1, 7_200.0, 1.0, "request served"),
        steady("job", 0.5, 7_200.0, 2.0, "step done"),
    ]);
    let mut engine = Engine::new(2);
    for request in records.chunks_mut(40) {
        let arrival = request.last().map_or(0, |record| record.time);
        engine.latest = EventTime(arrival + 5 * MINUTE);
        for record in request.iter_mut().filter(|record| record.service == "fast") {
            record.time += 60 * MINUTE;
        }
        // As a Collector sends them: one resource after the other.
        request.sort_by_key(|record| record.service);
        engine.request(request);
    }
    let newest = START + 7_200 * SECOND;
    assert!(
        engine.clock.time().0 <= newest,
        "the frontier was carried along"
    );
    let tally = &engine.tally;
    assert_eq!((tally.late, tally.beyond_use), (0, 0));
    assert_eq!(
        tally.in_doubt, 2,
        "before three agree on a time of their own"
    );
    assert_eq!(engine.story(), "");
}

#[test]
fn a_first_record_from_the_far_future_pins_nothing() {
    let mut records = steady("api", 0.0, 600.0, 1.0, "request served");
    records[0].time = u64::MAX;
    let mut engine = Engine::new(1);
    engine.latest = EventTime(START + 15 * MINUTE);
    engine.feed(&records, 40);
    assert_eq!((engine.tally.in_doubt, engine.tally.late), (1, 0));
    let streams = engine.workers[0].status(usize::MAX).streams;
    assert_eq!(streams[0].newest, EventTime(START + 599 * SECOND));
}

#[test]
fn what_was_missed_is_no_absence() {
    let api = [(0.0, 1_800.0), (2_100.0, 3_600.0)]
        .map(|(from, to)| steady("api", from, to, 1.0, "request served"));
    let job = steady("job", 0.5, 3_600.0, 1.0, "step done");
    let records = merged(api.into_iter().chain([job]).collect());
    let story = |is_told: bool| {
        let mut engine = Engine::new(1);
        let (before, after): (Vec<_>, Vec<_>) = records
            .iter()
            .cloned()
            .partition(|record| record.time < START + 1_800 * SECOND);
        engine.feed(&before, 40);
        if is_told {
            let stream = StreamKey {
                tenant: String::new(),
                values: vec![String::new(), "api".to_owned(), String::new()],
            };
            let span = [1_800, 2_100].map(|second| EventTime(START + second * SECOND));
            engine.workers[0].miss(&stream, span[0], span[1], 1);
        }
        engine.feed(&after, 40);
        engine.story()
    };
    assert!(story(false).contains("api"), "{}", story(false));
    assert_eq!(story(true), "");
}

#[test]
fn late_records_are_counted_and_very_late_ones_not_used() {
    let mut records = steady("api", 0.0, 7_200.0, 1.0, "request served");
    records.insert(4_000, record("api", 3_700.0, "request served"));
    records.insert(6_000, record("api", 10.0, "request served"));
    let mut engine = Engine::new(1);
    engine.feed(&records, 100);
    assert_eq!((engine.tally.late, engine.tally.beyond_use), (1, 1));
}

#[test]
fn a_backfilling_stream_keeps_its_own_distance() {
    let mut old = steady("backfill", 0.0, 1_200.0, 1.0, "row copied");
    for record in &mut old {
        record.time -= 5 * 24 * 60 * MINUTE;
    }
    let live = steady("api", 0.0, 1_200.0, 1.0, "request served");
    let records: Vec<_> = live
        .into_iter()
        .zip(old)
        .flat_map(|(a, b)| [a, b])
        .collect();
    let mut engine = Engine::new(1);
    engine.feed(&records, 100);
    assert_eq!((engine.tally.late, engine.tally.beyond_use), (0, 0));
    let status = engine.workers[0].status(usize::MAX).streams;
    let distance = status
        .iter()
        .map(|status| status.watermark.0)
        .max()
        .unwrap()
        - status
            .iter()
            .map(|status| status.watermark.0)
            .min()
            .unwrap();
    assert!(distance / MINUTE >= 5 * 24 * 60 - 1, "{status:?}");
}

#[test]
fn a_gap_of_the_input_is_one_anomaly() {
    let mut records = merged(vec![
        steady("api", 0.0, 1_200.0, 1.0, "request served"),
        steady("job", 0.0, 1_200.0, 2.0, "step done"),
    ]);
    for record in &mut records {
        if record.time >= START + 600 * SECOND {
            record.time += 60 * MINUTE;
        }
    }
    let mut engine = Engine::new(2);
    engine.feed(&records, 50);
    let story = engine.story();
    assert_eq!(
        story,
        "10.0 detected The whole input has been silent for 1 h: nothing was judged in that time\n\
         70.0 resolved The whole input is back after 1 h of silence"
    );
}

#[test]
fn the_clock_announces_the_same_gap_sooner() {
    let before = steady("api", 0.0, 600.0, 1.0, "request served");
    let after = steady("api", 4_200.0, 4_300.0, 1.0, "request served");
    let mut replayed = Engine::new(1);
    replayed.feed(&before, 50).feed(&after, 50);
    let mut live = Engine::new(1);
    live.feed(&before, 50);
    let since = live.clock.time();
    let announced = live
        .global
        .quiet(since, Duration::from_mins(6))
        .expect("it is news");
    assert_eq!(live.global.quiet(since, Duration::from_mins(7)), None);
    live.feed(&after, 50);
    let ids = |engine: &Engine| {
        engine
            .events
            .iter()
            .map(|event| value(event, "anomaly.id"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&replayed).len(), 2);
    assert_eq!(ids(&live), [value(&announced, "anomaly.id")]);
    assert_eq!(ids(&replayed)[0], value(&announced, "anomaly.id"));
}

#[test]
fn an_input_without_times_of_its_own_is_left_alone() {
    let mut engine = Engine::new(1);
    assert_eq!(engine.clock.time(), EventTime::UNKNOWN);
    engine.feed(&[record("api", 0.0, "one"), record("api", 1.0, "two")], 1);
    assert_eq!(engine.events, []);
}
