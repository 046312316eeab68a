//! A `ResourceLogs` that comes again: enriched as before, not learnt twice.

use std::time::Duration;

use petrel_batch::Attribute;
use petrel_engine::{Continuity, Enrichment, Scope, Settings};

use crate::harness::*;
use crate::invariance::{restart, tale};

fn engine(n_workers: usize) -> Engine {
    // The tale has a gap of 20 minutes.
    let settings = Settings {
        retry_window: Duration::from_hours(1),
        ..Settings::default()
    };
    let detectors = ["frequency", "novelty", "silence"];
    let mut engine = Engine::with(n_workers, settings, &detectors);
    engine.digests = true;
    engine
}

/// What the last request's records got.
fn last(engine: &Engine, n: usize) -> Vec<Vec<Attribute>> {
    engine.added[engine.added.len() - n..].to_vec()
}

/// Whether records got the same twice, but for those whose templates merge all the time.
fn is_same(records: &[Record], got: &[Vec<Attribute>], expected: &[Vec<Attribute>]) -> bool {
    let mut all = records.iter().zip(got).zip(expected);
    got.len() == records.len()
        && all.all(|((record, got), expected)| record.service == "auth" || got == expected)
}

#[test]
fn a_retry_of_everything_tells_the_same() {
    for n_workers in [1, 3] {
        let (mut once, mut twice) = (engine(n_workers), engine(n_workers));
        let records = tale();
        let mut n_retried = 0;
        for (index, request) in records.chunks(64).enumerate() {
            once.request(request);
            twice.request(request);
            let expected = last(&twice, request.len());
            // At once, and after others have come.
            let late = index
                .checked_sub(3)
                .and_then(|index| records.chunks(64).nth(index));
            for again in [Some(request), late].into_iter().flatten() {
                twice.request(again);
                n_retried += again.len() as u64;
            }
            let again = late.map_or(0, <[_]>::len);
            let retried = &twice.added[twice.added.len() - again - request.len()..];
            assert!(
                is_same(request, &retried[..request.len()], &expected),
                "request {index}"
            );
        }
        assert_eq!(twice.all_events(), once.all_events());
        assert_eq!(twice.tally.retries, n_retried);
        assert_eq!(once.tally.retries, 0);
        let n_seen = |engine: &mut Engine| -> Vec<_> {
            let status = engine
                .workers
                .iter()
                .flat_map(|worker| worker.status(usize::MAX).streams);
            status
                .map(|status| (status.newest, status.watermark, status.n_templates))
                .collect()
        };
        assert_eq!(n_seen(&mut twice), n_seen(&mut once));
    }
}

#[test]
fn a_retry_is_no_burst_and_its_rows_belong_to_the_anomaly() {
    let mut engine = engine(1);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    let broken = [
        record("api", 1_200.0, "disk 7 failed"),
        record("api", 1_200.5, "request served"),
    ];
    engine.request(&broken);
    let expected = last(&engine, 2);
    assert!(
        expected[0]
            .iter()
            .any(|attribute| attribute.key == "anomaly.ids")
    );
    // Split otherwise, beside others, many times: as a load balancer's retries come.
    for _ in 0..500 {
        let request = [
            record("web", 1_201.0, "hello"),
            broken[0].clone(),
            broken[1].clone(),
        ];
        engine.request(&request);
        assert_eq!(last(&engine, 2), expected);
    }
    engine.feed(&steady("api", 1_201.0, 1_800.0, 1.0, "request served"), 50);
    assert_eq!(
        engine.story().matches("detected").count(),
        1,
        "{}",
        engine.story()
    );
    assert_eq!(engine.tally.retries, 2 * 500 + 499);
}

#[test]
fn twice_in_one_request_is_once() {
    let mut engine = engine(1);
    engine.feed(&steady("api", 0.0, 1_200.0, 1.0, "request served"), 50);
    let broken = record("api", 1_200.0, "disk 7 failed");
    let other = record("web", 1_200.0, "hello");
    engine.request(&[broken.clone(), other, broken.clone()]);
    let got = last(&engine, 3);
    assert_eq!(got[0], got[2]);
    assert!(
        got[0]
            .iter()
            .any(|attribute| attribute.key == "anomaly.ids")
    );
    assert_eq!(engine.tally.retries, 1);
}

#[test]
fn a_template_that_has_merged_is_told_by_its_present_name() {
    let mut engine = engine(1);
    let records: Vec<_> = tale()
        .into_iter()
        .filter(|record| record.service == "auth")
        .collect();
    engine.feed(&records[..1], 1);
    let before = last(&engine, 1);
    engine.feed(&records[1..40], 39);
    assert!(engine.tally.templates_merged > 0);
    engine.request(&records[..1]);
    let after = last(&engine, 1);
    assert_ne!(before, after);
    let present = engine.added[engine.added.len() - 2].clone();
    assert_eq!(after, [present]);
}

#[test]
fn digests_outlive_a_restart() {
    let mut engine = engine(2);
    let records = tale();
    for (index, request) in records.chunks(64).take(20).enumerate() {
        engine.request(request);
        let expected = last(&engine, request.len());
        if index % 5 == 0 {
            restart(&mut engine);
        }
        engine.request(request);
        assert!(
            is_same(request, &last(&engine, request.len()), &expected),
            "request {index}"
        );
    }
    assert_eq!(engine.tally.retries, 20 * 64);
}

#[test]
fn a_record_without_a_digest_is_always_learnt() {
    let mut engine = Engine::new(1);
    let beat = [record("api", 0.0, "beat")];
    engine.request(&beat);
    engine.request(&beat);
    assert_eq!(engine.tally.retries, 0);
}

#[test]
fn without_room_for_what_rows_got_they_pass_and_are_counted() {
    let mut settings = Settings::default();
    settings.limits.retry_verdict_bytes = 0;
    for (enrichment, n_unenriched) in [(Enrichment::Template, 1), (Enrichment::None, 0)] {
        settings.enrichment = enrichment;
        let mut engine = Engine::with(1, settings.clone(), &["frequency"]);
        engine.digests = true;
        let records = [record("api", 0.0, "request served")];
        engine.request(&records);
        engine.request(&records);
        assert_eq!(last(&engine, 1), [vec![]]);
        let tally = &engine.tally;
        assert_eq!((tally.retries, tally.retries_unenriched), (1, n_unenriched));
    }
}

#[test]
fn a_retry_of_a_wild_time_agrees_with_nobody() {
    let mut engine = engine(1);
    engine.feed(&steady("api", 0.0, 600.0, 1.0, "request served"), 50);
    let (before, wild) = (
        engine.clock.time(),
        [record("api", 90_000.0, "from the future")],
    );
    for _ in 0..10 {
        engine.request(&wild);
    }
    assert_eq!(engine.clock.time(), before);
    let streams = engine.workers[0].status(usize::MAX).streams;
    assert!(streams[0].newest.0 < START + 600 * SECOND);
}

#[test]
fn what_leaves_takes_its_digests_along() {
    let mut engine = engine(1);
    let records = [record("api", 0.0, "request served")];
    engine.request(&records);
    let key = engine.workers[0].snapshot(Scope::All).streams.remove(0).key;
    let state = engine.workers[0].release(&key).expect("it was there");
    let mut other = self::engine(1);
    assert_eq!(other.workers[0].restore(state, Continuity::Seamless), []);
    other.request(&records);
    assert_eq!(other.tally.retries, 1);
    engine.request(&records);
    assert_eq!(engine.tally.retries, 0);
}
