//! Stories that the frequency detector must get right.

use frequency::Frequency;
use petrel_detector::story::{Story, Telling, Told};
use petrel_detector::{Level, PerStream};
use proptest::prelude::*;

/// Where an anomaly opens, here on raw scores with the floors of the kind.
const OPEN: f64 = 6.0;

fn tell(story: &str) -> Told {
    Story::new(story).tell::<PerStream<Frequency>>("")
}

/// Episodes of findings that pass the floors of the kind, as an engine would hold them.
fn episodes(mut told: Told) -> Vec<String> {
    told.findings.retain(|finding| {
        let (Some(observed), Some(expected)) = (finding.observed, finding.expected) else {
            return true;
        };
        let ratio = (observed / expected).max(expected / observed.max(1e-9));
        (observed - expected).abs() >= 10.0 && ratio >= 2.0
    });
    told.episodes(OPEN)
}

fn check(story: &str, expected: &[&str]) {
    assert_eq!(episodes(tell(story)), expected, "in {story}");
}

#[test]
fn a_steady_stream_is_quiet() {
    check(
        "0d..5d  order  ~20..60/min
         0d..5d  login  ~5..15/min
         0d..5d  rare   ~2/h",
        &[],
    );
}

#[test]
fn a_burst_is_found_with_its_evidence() {
    let told = tell(
        "0d..3d4h       order ~20..60/min
         0d..3d4h       login ~8..12/min
         3d2h..3d2h8m   order 160/min",
    );
    let finding = told
        .within("3d2h..3d2h8m")
        .find(|f| f.template.is_some() && f.score > 20.0)
        .expect("the burst");
    assert!(finding.observed.unwrap() > 4.0 * finding.expected.unwrap());
    assert!(finding.lower.unwrap() < finding.expected.unwrap());
    assert!(finding.upper.unwrap() > finding.expected.unwrap());
    let names: Vec<_> = finding.evidence.iter().map(|e| e.name.as_str()).collect();
    assert!(names.contains(&"ratio"), "{names:?}");
    assert!(names.contains(&"same_hour_last_7_days"), "{names:?}");
    assert_eq!(
        episodes(told),
        [
            "* above 3d 02:00..3d 02:08",
            "order above 3d 02:00..3d 02:08",
        ]
    );
}

#[test]
fn a_drop_is_found_and_a_silent_stream_is_left_to_silence() {
    check(
        "0d..3d2h          order ~20..60/min
         3d2h15m..4d       order ~20..60/min
         0d..3d12h         login ~20..30/min
         3d12h30m..4d      login ~20..30/min
         3d12h..3d12h30m   login ~4/min
         0d..3d18h         b:ping ~30/min
         3d18h30m..4d      b:ping ~30/min",
        &[
            "* below 3d 02:00..3d 02:16",
            "order below 3d 02:00..3d 02:16",
            "login below 3d 12:00..3d 12:30",
        ],
    );
}

#[test]
fn a_daily_and_an_hourly_job_are_quiet_once_learnt() {
    let jobs = "0d..6d  order ~20..60/min
                0d..6d  order ~150/min  every 1d at 3h for 5m
                0d..6d  sync  ~40/min   every 1h at 10m for 2m
                0d..6d  backup ~300/min every 1d at 4h for 3m";
    let told = tell(jobs);
    assert_eq!(told.readiness[0].level, Level::Ready);
    assert!(
        told.within("3d..6d").all(|f| f.score < OPEN),
        "{:?}",
        told.episodes(OPEN)
    );
    let burst = format!("{jobs}\n 5d3h..5d3h5m order ~1500/min");
    let found = tell(&burst).episodes(OPEN);
    assert!(
        found.iter().any(|e| e.starts_with("order above 5d 03:0")),
        "{found:?}"
    );
}

#[test]
fn a_rare_template_that_comes_in_numbers_is_found() {
    check(
        "0d..4d          order  ~20..60/min
         0d..4d          error  ~6/d
         3d6h..3d6h12m   error  ~20/min",
        &[
            "* above 3d 06:00..3d 06:12",
            "error above 3d 06:02..3d 06:12",
        ],
    );
}

#[test]
fn a_slow_rise_and_a_quiet_weekend_are_no_findings() {
    let days: String = (0..10)
        .map(|day| {
            let factor = 1.0 + 0.1 * f64::from(day);
            let week = if day % 7 >= 5 { 0.6 } else { 1.0 };
            let (low, high) = (20.0 * factor * week, 60.0 * factor * week);
            format!("{day}d..{}d order ~{low:.0}..{high:.0}/min\n", day + 1)
        })
        .collect();
    check(&days, &[]);
}

#[test]
fn templates_that_merge_go_on_quietly() {
    check(
        "0d..5d  order   ~20..60/min
         0d..5d  orders  ~10..20/min
         0d..5d  login   ~10/min
         merge   order   purchase at 3d12h
         merge   orders  purchase at 4d",
        &[],
    );
}

#[test]
fn a_gap_is_no_drop() {
    check(
        "0d..5d  order  ~20..60/min
         0d..5d  login  ~5..15/min
         gap     3d3h..3d9h",
        &[],
    );
}

#[test]
fn late_records_take_a_drop_back() {
    let told = tell(
        "0d..4d               order ~20..30/min
         0d..3d2h             login ~20..30/min
         3d2h15m..4d          login ~20..30/min
         3d2h15m..3d2h16m     login 375/min late=15m
         3d2h14m..3d2h15m     login 375/min late=9m
         3d2h16m..3d2h17m     login 375/min late=5m",
    );
    let last_of = |end: u64| told.findings.iter().rev().find(|f| f.end.0 == end);
    let drops: Vec<_> = told
        .within("3d2h..3d2h16m")
        .filter(|f| f.score > OPEN)
        .collect();
    assert!(!drops.is_empty());
    assert!(
        drops
            .iter()
            .any(|drop| last_of(drop.end.0).unwrap().score == 0.0)
    );
}

#[test]
fn a_young_stream_is_learning_and_says_what_is_missing() {
    let told = tell("0d..6h order ~20..60/min\n 5h..5h5m order 500/min");
    assert_eq!(told.readiness[0].level, Level::Learning);
    assert_eq!(told.readiness[0].missing, "6.0 of 24 hours watched");
    assert!(told.findings.is_empty());
}

const MIXED: &str = "
    0d..30h       order ~20..60/min
    0d..30h       login ~5..15/min
    0d..30h       late  ~5/min late=4m
    2h..30h       b:job ~200/min every 1h at 5m for 2m
    27h..27h6m    order 400/min
    28h..28h12m   rare  ~10/min
    merge         login session at 26h
    gap           20h..20h40m
";
/// So that a day and a half is enough to have findings.
const SETTINGS: &str = r#"{"learning_hours": 12, "provisional_hours": 24}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn cuts_and_restarts_change_nothing(
        rows_max in 1..300usize,
        restart_minutes in 1..2_000u64,
        windows_an_advance in 1..2u64,
    ) {
        let story = Story::new(MIXED);
        let telling = Telling { rows_max, restart_minutes, windows_an_advance };
        let told = story.tell_as::<PerStream<Frequency>>(SETTINGS, telling);
        let whole = story.tell::<PerStream<Frequency>>(SETTINGS);
        prop_assert!(whole.findings.iter().any(|finding| finding.score > OPEN));
        // As text, since evidence has NaN; that is bit for bit all the same.
        let same = format!("{told:?}") == format!("{whole:?}");
        prop_assert!(same, "findings or state differ");
    }

    #[test]
    fn foreign_state_is_refused(bytes: Vec<u8>) {
        use petrel_detector::{Detector, StreamId};
        let mut detector = PerStream::<Frequency>::default();
        detector.configure("").unwrap();
        if !bytes.is_empty() {
            prop_assert!(detector.load(StreamId(0), 1, &bytes).is_err());
        }
        prop_assert!(detector.load(StreamId(0), 2, &[0; 64]).is_err());
    }
}
