//! What is found in short stories, and that it does not depend on how they are told.

use std::collections::BTreeMap;

use novelty::Novelty;
use petrel_detector::story::{Story, Telling, Told};
use petrel_detector::{EvidenceValue, Finding, Level, PerStream};
use proptest::prelude::*;

type Detector = PerStream<Novelty>;

/// Scores from which the engine opens an anomaly in a stream that was calm so far.
const OPENS: f64 = 6.0;

/// Four templates that come all the time, one of them failing, and one that is rare.
const STEADY: &str = "
    0d..4d placed     ~30/min severity_number=9 resource.service.version=v1
    0d..4d paid       ~20/min severity_number=9 resource.service.version=v1
    0d..4d timeout_at ~1/min  severity_number=17 resource.service.version=v1
    0d..4d refreshed  ~6/h    severity_number=9 resource.service.version=v1
";

fn tell(more: &str) -> Told {
    Story::new(&format!("{STEADY}{more}")).tell::<Detector>("")
}

fn check(more: &str, expected: &[&str]) -> Told {
    let told = tell(more);
    assert_eq!(told.episodes(OPENS), expected, "{more}");
    // What is below the bar is not said at all: a long-lived stream would make much of it.
    assert!(told.findings.iter().all(|finding| finding.score >= OPENS));
    told
}

fn evidence<'f>(finding: &'f Finding, name: &str) -> Option<&'f EvidenceValue> {
    let mut evidence = finding.evidence.iter();
    evidence
        .find(|evidence| evidence.name == name)
        .map(|evidence| &evidence.value)
}

#[test]
fn steady_is_quiet_and_ready() {
    let told = check("", &[]);
    assert_eq!(told.readiness[0].level, Level::Ready);
    assert!(told.while_learning.is_empty());
}

#[test]
fn a_new_failure_that_recurs_is_found() {
    let told = check(
        "3d..3d20m pool_exhausted ~5/min severity_number=17",
        &["pool_exhausted appeared 3d 00:00..3d 00:20"],
    );
    let first = &told.findings[0];
    assert_eq!((first.rows.len(), first.records), (1, Some(3.0)));
    assert!(first.score >= 9.0, "{}", first.score);
    assert_eq!(evidence(first, "level"), Some(&"ERROR".into()));
    assert!(first.end.since(first.start).as_secs() <= 120);
    let start = told
        .findings
        .iter()
        .map(|finding| finding.start)
        .collect::<Vec<_>>();
    assert!(
        start.iter().all(|own| *own == start[0]),
        "one episode has one start"
    );
}

#[test]
fn a_word_of_failure_will_do_for_a_level() {
    check(
        "3d..3d20m upload_refused ~5/min",
        &["upload_refused appeared 3d 00:00..3d 00:20"],
    );
}

#[test]
fn a_new_message_that_tells_of_no_failure_is_quiet() {
    check("3d..4d feature_gate ~5/min severity_number=9", &[]);
    check("3d..4d slow_shard ~5/min severity_number=13", &[]);
    check("3d..4d some_text ~5/min", &[]);
}

#[test]
fn a_failure_that_comes_once_is_quiet() {
    check("3d..3d1m once_rejected 1/min severity_number=17", &[]);
    check("3d..4d rarely_rejected ~6/d severity_number=17", &[]);
}

#[test]
fn a_fatal_message_is_found_at_once() {
    let told = check(
        "3d..3d1m panic_index_out_of_range 1/min severity_number=17",
        &["panic_index_out_of_range appeared 3d 00:00..3d 00:01"],
    );
    assert_eq!(told.findings[0].records, Some(1.0));
    check(
        "3d..3d1m disk_gone 1/min severity_number=21",
        &["disk_gone appeared 3d 00:00..3d 00:01"],
    );
}

#[test]
fn a_burst_is_one_finding() {
    let told = check(
        "3d1m..3d2m  a_failed 1/min
         3d3m..3d4m  b_refused 1/min
         3d4m..3d5m  c_failed 1/min",
        &["a_failed appeared 3d 00:01..3d 00:04"],
    );
    assert!(
        matches!(evidence(&told.findings[0], "other_new_templates"), Some(EvidenceValue::Text(t)) if t == "b_refused")
    );
}

#[test]
fn a_deploy_is_quiet() {
    check(
        "3d..3d1m  starting_checkout_v2 1/min severity_number=9 resource.service.version=v2
         3d..3d1m  loaded_configuration 1/min severity_number=9 resource.service.version=v2
         3d..3d1m  warmed_cache         1/min severity_number=9 resource.service.version=v2
         3d..3d2m  migrated_schema      1/min severity_number=13 resource.service.version=v2
         3d..3d1m  index_built          1/min severity_number=13 resource.service.version=v2
         3d..3d1m  plugins_scanned      1/min severity_number=13 resource.service.version=v2
         3d..4d    feature_gate        ~3/min severity_number=9 resource.service.version=v2",
        &[],
    );
}

#[test]
fn a_deploy_is_known_by_its_banner() {
    check(
        "3d..3d1m  Starting_checkout    1/min
         3d1m..3d2m loaded_configuration 1/min
         3d1m..3d2m warmed_cache        1/min
         3d1m..3d2m migrated_schema     1/min",
        &[],
    );
}

#[test]
fn a_failure_right_after_a_deploy_is_found() {
    let told = check(
        "3d..4d      placed    ~30/min severity_number=9 resource.service.version=v2
         3d5m..3d30m null_deref ~6/min severity_number=17 resource.service.version=v2",
        &["null_deref appeared 3d 00:05..3d 00:30"],
    );
    assert!(
        matches!(evidence(&told.findings[0], "deploy"), Some(EvidenceValue::Text(t)) if t.starts_with("version v2"))
    );
}

#[test]
fn a_daily_job_is_quiet_from_its_second_day() {
    check(
        "0d..4d export_row     ~200/min severity_number=9 every 1d at 14h for 4m
         0d..4d export_skipped ~12/min  severity_number=13 every 1d at 14h for 4m",
        &[],
    );
}

#[test]
fn a_growing_vocabulary_says_nothing() {
    let mut story = String::new();
    for n in 0..400 {
        let at = n * 10;
        story += &format!(
            "0d{at}m..0d{}m error_{n} 4/min severity_number=17\n",
            at + 1
        );
    }
    let told = Story::new(&story).tell::<Detector>("");
    assert_eq!(told.episodes(OPENS), Vec::<String>::new());
    assert_eq!(told.readiness[0].level, Level::Learning);
    assert!(
        told.readiness[0].missing.contains("in 1,000 records"),
        "{}",
        told.readiness[0].missing
    );
}

#[test]
fn a_dense_two_hour_recording_makes_it_ready() {
    let story = "
        0h..2h30m     a ~400/min
        0h..2h30m     b ~60/min
        0h..2h30m     c ~10/min
        2h..2h10m     mount_failed ~6/min";
    let told = Story::new(story).tell::<Detector>("");
    assert_eq!(told.readiness[0].level, Level::Ready);
    assert_eq!(
        told.episodes(OPENS),
        ["mount_failed appeared 0d 02:00..0d 02:10"]
    );
}

#[test]
fn what_merges_into_a_new_template_is_known() {
    check(
        "3d..3d20m timeout_at_<*> ~5/min severity_number=17
         merge timeout_at timeout_at_<*> at 3d",
        &[],
    );
}

#[test]
fn a_template_is_forgotten_after_a_month() {
    let told = Story::new(
        "0d..45d    placed  ~2/min  severity_number=9
         0d..1d     disk_failed ~1/min severity_number=17
         40d..40d20m disk_failed ~3/min severity_number=17",
    )
    .tell::<Detector>("");
    assert_eq!(
        told.episodes(OPENS),
        ["disk_failed appeared 40d 00:01..40d 00:20"]
    );
    let days = evidence(&told.findings[0], "last_seen_days_ago");
    assert!(matches!(days, Some(EvidenceValue::Number(days)) if (38.9..39.1).contains(days)));
}

#[test]
fn continuations_and_overflow_are_never_new() {
    check("3d..3d20m <continued> ~50/min severity_number=17", &[]);
    let told = tell("3d..4d <other> ~5/min severity_number=17");
    assert_eq!(told.readiness[0].level, Level::Learning);
}

#[test]
fn wrong_settings_are_named() {
    use petrel_detector::Detector as _;
    for (settings, named) in [
        (r#"{"burst": true}"#, "burst"),
        (r#"{"version_attribute": ""}"#, "version_attribute"),
    ] {
        let fault = Detector::default().configure(settings).unwrap_err();
        assert!(fault.message.contains(named), "{}", fault.message);
    }
    let schema = Detector::default().describe().unwrap().settings_schema;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["bursts"]["default"], true);
}

/// What remains of findings that replace one another (same series, start and end), without rows, which
/// are numbered by batch; and how many rows each names.
fn lasting(told: &Told) -> BTreeMap<String, (String, usize)> {
    let mut last = BTreeMap::new();
    for finding in &told.findings {
        let key = format!(
            "{:?} {:?} {:?}",
            finding.stream, finding.template, finding.end
        );
        let mut plain = finding.clone();
        plain.rows.clear();
        let entry: &mut (String, usize) = last.entry(key).or_default();
        entry.0 = format!("{plain:?}");
        entry.1 += finding.rows.len();
    }
    last
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn how_a_story_is_told_changes_nothing(
        seed in 0..1_000_u64,
        rows_max in 1..200_usize,
        windows_an_advance in 1..9_u64,
        restart_minutes in 0..500_u64,
    ) {
        let story = Story::new(
            "0d..14h     placed  ~30/min   severity_number=9 resource.service.version=v1
             0d..14h     a:paid  ~5..40/min severity_number=9
             0d..14h     rare    ~2/h      severity_number=17
             8h..8h20m   gone_failed ~4/min severity_number=17
             9h..14h     starting_up ~1/h  severity_number=9 resource.service.version=v2
             10h..10h5m  a:x_refused ~4/min
             10h..10h5m  a:y_failed ~4/min
             11h..11h1m  panic   1/min
             merge       rare rare_<*> at 12h",
        )
        .seed(seed);
        let plain = story.tell::<Detector>("");
        let telling = Telling { rows_max, windows_an_advance, restart_minutes };
        let other = story.tell_as::<Detector>("", telling);
        prop_assert!(plain.findings.len() > 3);
        prop_assert_eq!(lasting(&plain), lasting(&other));
    }
}
