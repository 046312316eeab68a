//! What is found in short stories, and that it does not depend on how they are told.

use latency::Latency;
use petrel_detector::story::{Story, Telling, Told};
use petrel_detector::{Direction, EvidenceValue, Finding, Level, PerStream};
use proptest::prelude::*;

type Detector = PerStream<Latency>;

/// Scores from which the engine opens an anomaly in a series that was calm so far.
const OPENS: f64 = 6.0;

fn check(story: &str, expected: &[&str]) -> Told {
    let told = Story::new(story).tell::<Detector>("");
    assert_eq!(told.episodes(OPENS), expected, "{story}");
    told
}

fn evidence<'f>(finding: &'f Finding, name: &str) -> Option<&'f EvidenceValue> {
    let mut evidence = finding.evidence.iter();
    evidence
        .find(|evidence| evidence.name == name)
        .map(|evidence| &evidence.value)
}

#[test]
fn steady_is_quiet() {
    let told = check(
        "0d..4d order ~20..60/min attribute.duration_ms=20..200",
        &[],
    );
    assert_eq!(told.readiness[0].level, Level::Ready);
}

#[test]
fn a_shift_is_found_where_it_begins() {
    let told = check(
        "0d..3d      order ~40/min attribute.duration_ms=50..150 trace=1..900000
         3d..3d15m   order ~40/min attribute.duration_ms=125..375 trace=1..900000
         3d15m..3d6h order ~40/min attribute.duration_ms=50..150 trace=1..900000",
        &["order attribute=duration_ms above 3d 00:00..3d 00:15"],
    );
    let finding = told.within("3d5m..3d10m").next().expect("it lasts");
    let (observed, expected) = (finding.observed.unwrap(), finding.expected.unwrap());
    assert!(
        (2.2..2.8).contains(&(observed / expected)),
        "{observed} {expected}"
    );
    assert!((0.09..0.16).contains(&expected));
    assert!(finding.lower.unwrap() < expected && expected < finding.upper.unwrap());
    assert!(
        matches!(evidence(finding, "slowest_traces"), Some(EvidenceValue::Text(t)) if t.len() == 50)
    );
    assert!(matches!(
        evidence(finding, "slow_share"),
        Some(EvidenceValue::Text(_))
    ));
    assert!(evidence(finding, "unit_change").is_none());
}

#[test]
fn few_values_need_longer_windows() {
    let told = Story::new(
        "0d..6d    order ~6/min attribute.duration_ms=50..150
         6d..6d30m order ~6/min attribute.duration_ms=150..450",
    )
    .tell::<Detector>("");
    let first = told
        .findings
        .iter()
        .find(|finding| finding.score >= OPENS)
        .expect("found");
    assert!(first.score >= OPENS && first.direction == Direction::Above);
    assert!(first.end.since(first.start).as_secs() <= 900, "{first:?}");
    assert_eq!(told.episodes(OPENS).len(), 1);
}

#[test]
fn a_slow_tail_is_found() {
    check(
        "0d..3d    order ~36/min attribute.duration_ms=50..150
         0d..3d    order ~4/min  attribute.duration_ms=150..160
         3d..3d20m order ~36/min attribute.duration_ms=50..150
         3d..3d20m order ~9/min  attribute.duration_ms=900..1600",
        &["order attribute=duration_ms above 3d 00:00..3d 00:20"],
    );
}

#[test]
fn errors_that_return_early_are_found() {
    let told = check(
        "0d..3d    order ~60/min attribute.duration_ms=50..150
         3d..3d20m order ~60/min attribute.duration_ms=2..4",
        &["order attribute=duration_ms below 3d 00:00..3d 00:20"],
    );
    let finding = told.within("3d..3d20m").next().unwrap();
    assert!(finding.observed < finding.expected);
}

#[test]
fn a_slow_rise_is_quiet() {
    let mut story = "0d..3d order ~30/min attribute.duration_ms=50..150\n".to_owned();
    for hour in 0..24 {
        let factor = 1.0 + 0.02 * f64::from(hour);
        let (low, high) = (50.0 * factor, 150.0 * factor);
        story += &format!(
            "3d{hour}h..3d{}h order ~30/min attribute.duration_ms={low}..{high}\n",
            hour + 1
        );
    }
    let told = Story::new(&story).tell::<Detector>("");
    // What is significant is too small to matter: the engine holds it against the kind's floor.
    let opens = |finding: &&Finding| finding.score >= OPENS && passes_floors(finding);
    assert_eq!(told.findings.iter().find(opens), None);
}

/// Whether the engine would take the difference for one that matters.
fn passes_floors(finding: &Finding) -> bool {
    let (observed, expected) = (
        finding.observed.unwrap_or(1.0),
        finding.expected.unwrap_or(1.0),
    );
    let ratio = (observed / expected).max(expected / observed);
    ratio >= 1.2 && (observed - expected).abs() >= 0.01
}

#[test]
fn a_change_of_unit_is_named() {
    let told = Story::new(
        "0d..2d    order ~40/min attribute.duration_ms=50..150
         2d..2d10m order ~40/min attribute.duration_ms=50000..150000",
    )
    .tell::<Detector>("");
    let found = told
        .findings
        .iter()
        .any(|finding| evidence(finding, "unit_change").is_some());
    assert!(found);
}

#[test]
fn durations_in_bodies_are_watched() {
    check(
        "0d..2d    took=<*> ~40/min body.numbers=0.1..0.3
         0d..2d    port=<*> ~40/min body.numbers=0.1..0.3
         2d..2d10m took=<*> ~40/min body.numbers=0.5..0.9
         2d..2d10m port=<*> ~40/min body.numbers=0.5..0.9",
        &["took=<*> slot=duration 1 above 2d 00:00..2d 00:10"],
    );
}

#[test]
fn a_merge_carries_on_what_was_learnt() {
    check(
        "0d..2d    took=<*> ~40/min body.numbers=0.1..0.3
         2d..2d10m took=<*> ~40/min body.numbers=0.6..0.9
         merge took=<*> done,took=<*> at 1d23h",
        &["done,took=<*> slot=duration 1 above 2d 00:00..2d 00:10"],
    );
}

#[test]
fn a_shift_that_stays_becomes_normal() {
    let told = Story::new(
        "0d..3d order ~30/min attribute.duration_ms=50..150
         3d..5d order ~30/min attribute.duration_ms=100..300",
    )
    .tell::<Detector>("");
    assert!(
        told.within("3d..3d1h")
            .any(|finding| finding.score >= OPENS)
    );
    assert!(
        told.within("4d12h..5d")
            .all(|finding| finding.score < OPENS)
    );
}

#[test]
fn learning_says_what_is_missing() {
    let few = Story::new("0d..10m order 34/min attribute.duration_ms=1..2").tell::<Detector>("");
    assert_eq!(few.readiness[0].level, Level::Learning);
    assert!(
        few.readiness[0].missing.ends_with("of 500 values"),
        "{}",
        few.readiness[0].missing
    );
    let hours = Story::new("0d..3h order 34/min attribute.duration_ms=1..2").tell::<Detector>("");
    assert_eq!(hours.readiness[0].level, Level::Provisional);
    let none = Story::new("0d..3h order 34/min").tell::<Detector>("");
    assert_eq!(none.readiness[0].missing, "no durations yet");
}

#[test]
fn wrong_settings_are_named() {
    use petrel_detector::Detector as _;
    for (settings, named) in [
        (r#"{"floor_ratio": 0.5}"#, "floor_ratio"),
        (r#"{"atributes": []}"#, "atributes"),
        (r#"{"values_min": 3}"#, "values_min"),
        (r#"{"slots": [{"template": "x", "slot": 99}]}"#, "slots"),
    ] {
        let fault = Detector::default().configure(settings).unwrap_err();
        assert!(fault.message.contains(named), "{}", fault.message);
    }
    let schema = Detector::default().describe().unwrap().settings_schema;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["floor_ratio"]["default"], 1.2);
}

/// Findings in an order of their own, since windows crossed at once are told series by series.
fn sorted(told: &Told) -> Vec<String> {
    let mut findings: Vec<_> = told
        .findings
        .iter()
        .map(|finding| format!("{finding:?}"))
        .collect();
    findings.sort();
    findings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn how_a_story_is_told_changes_nothing(
        seed in 0..1_000_u64,
        rows_max in 1..200_usize,
        windows_an_advance in 1..9_u64,
        restart_minutes in 0..500_u64,
    ) {
        let story = Story::new(
            "0d..1d     order     ~5..40/min attribute.duration_ms=50..150 trace=1..900000
             0d..1d2h   a:took=<*> ~20/min   body.numbers=0.01..0.9
             1d..1d20m  order     ~40/min    attribute.duration_ms=125..375 trace=1..900000
             0d..1d2h   order     ~3/min     attribute.http.server.request.duration=0.1..4",
        )
        .seed(seed);
        let plain = story.tell::<Detector>("");
        let telling = Telling { rows_max, windows_an_advance, restart_minutes };
        let other = story.tell_as::<Detector>("", telling);
        prop_assert!(!plain.findings.is_empty());
        prop_assert_eq!(sorted(&plain), sorted(&other));
        prop_assert_eq!(&plain.saved, &other.saved);
    }
}
