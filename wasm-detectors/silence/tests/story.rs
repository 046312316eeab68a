//! What is found in short stories, and that it does not depend on how they are told.

use petrel_detector::story::{Story, Telling, Told};
use petrel_detector::{Direction, EvidenceValue, Finding, Level, PerStream};
use proptest::prelude::*;
use silence::Silence;

type Detector = PerStream<Silence>;

/// Scores from which the engine opens an anomaly in a series that was calm so far.
const OPENS: f64 = 6.0;

fn check(story: &str, expected: &[&str]) -> Told {
    let told = Story::new(story).tell::<Detector>("");
    assert_eq!(told.episodes(OPENS), expected, "{story}");
    told
}

/// Seconds after a silence's start at which it was told.
fn delay(told: &Told) -> u64 {
    let first = told.findings.iter().find(|finding| finding.score >= OPENS);
    let first = first.expect("found");
    first.end.since(first.start).as_secs()
}

fn text<'f>(finding: &'f Finding, name: &str) -> Option<&'f str> {
    let mut evidence = finding.evidence.iter();
    let found = evidence.find(|evidence| evidence.name == name)?;
    match &found.value {
        EvidenceValue::Text(text) => Some(text),
        _ => None,
    }
}

fn number(finding: &Finding, name: &str) -> f64 {
    let mut evidence = finding.evidence.iter();
    match evidence.find(|e| e.name == name).map(|e| &e.value) {
        Some(EvidenceValue::Number(number)) => *number,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_stream_that_talks_all_day_is_quiet() {
    let told = check("0d..8d order ~20..60/min", &[]);
    assert!(told.findings.is_empty());
    assert_eq!(told.readiness[0].level, Level::Ready);
    assert_eq!(told.readiness[0].missing, "");
}

#[test]
fn who_writes_each_second_is_missed_within_minutes() {
    let told = check(
        "0d..2d order 1/s
         2d..2d1m other 0/s
         2d25m..2d1h order 1/s",
        &["* disappeared 1d 23:59..2d 00:25"],
    );
    assert!(delay(&told) <= 180, "{}", delay(&told));
    let finding = told.within("2d10m..2d11m").next().expect("it lasts");
    assert_eq!(finding.direction, Direction::Disappeared);
    assert!((600.0..720.0).contains(&finding.observed.unwrap()));
    assert!((0.8..1.2).contains(&finding.expected.unwrap()));
    assert_eq!(text(finding, "last_record"), Some("order"));
    assert!(
        text(finding, "last_record_time")
            .unwrap()
            .starts_with("2024-01-02T23:59:59")
    );
    assert!((100.0..180.0).contains(&number(finding, "min_detectable_silence")));
    assert!(number(finding, "expected_per_day") < 1e-6);
    assert!(told.within("2d26m..2d1h").next().is_none(), "it is over");
}

#[test]
fn random_traffic_that_stops_is_found() {
    let told = check(
        "0d..4d    order ~60..90/min
         4d..4d20m other 0/s
         4d20m..5d order ~60..90/min",
        &["* disappeared 3d 23:59..4d 00:20"],
    );
    assert!(delay(&told) <= 180);
}

#[test]
fn slow_sources_take_longer() {
    let told = check(
        "0d..7d    beat 1/min
         7d..7d30m other 0/s",
        &["* disappeared 6d 23:59..7d 00:30"],
    );
    assert!(delay(&told) <= 300, "{}", delay(&told));
    let told = check(
        "0d..7d   order ~12/h
         7d..7d4h other 0/s",
        &["* disappeared 6d 23:44..7d 04:00"],
    );
    assert!((3_600..7_200).contains(&delay(&told)), "{}", delay(&told));
}

#[test]
fn bursts_are_quiet_and_their_end_is_found() {
    check(
        "0d..8d mail ~40/min every 37m at 5m for 3m
         8d..9d other 0/s",
        &["* disappeared 7d 23:54..9d 00:00"],
    );
}

#[test]
fn nights_and_weekends_are_quiet() {
    check("0d..21d clerk ~8/min every 1d at 8h for 9h", &[]);
    let week = |week: u32| {
        (0..5).map(move |day| {
            let day = week * 7 + day;
            format!("{day}d8h..{day}d17h clerk ~8/min")
        })
    };
    let story: Vec<_> = (0..4).flat_map(week).collect();
    check(&story.join("\n"), &[]);
    // On a Wednesday morning nobody comes.
    let story = story.join("\n").replace("23d8h..23d17h", "23d12h..23d17h");
    check(&story, &["* disappeared 22d 16:59..23d 12:00"]);
}

#[test]
fn a_missed_job_is_found() {
    let told = check(
        "0d..3d6h   job 60/min every 1h at 5m for 1m
         3d8h..3d9h job 60/min every 1h at 5m for 1m",
        &["* disappeared 3d 05:05..3d 08:05"],
    );
    assert!(delay(&told) <= 70 * 60, "{}", delay(&told));
    let finding = told.within("3d6h20m..3d6h21m").next().unwrap();
    assert!(
        text(finding, "missed_appointment")
            .unwrap()
            .ends_with("there on the 78 visits before"),
        "{finding:?}"
    );
    let told = check(
        "0d..20d  backup 60/min every 1d at 2h for 10m
         20d..21d other  0/s",
        &["* disappeared 19d 02:09..21d 00:00"],
    );
    assert!(delay(&told) <= 25 * 3_600);
}

#[test]
fn short_pauses_as_of_restarts_are_quiet() {
    let mut story = String::new();
    for day in 0..12 {
        story += &format!("{day}d..{day}d12h order ~70/min\n");
        story += &format!("{day}d12h1m..{}d order ~70/min\n", day + 1);
    }
    let told = Story::new(&story).tell::<Detector>("");
    assert!(told.episodes(OPENS).is_empty());
}

#[test]
fn a_planned_end_is_given_time() {
    let told = Story::new(
        "0d..4d         order   ~60/min
         3d23h59m55s..4d sigterm 60/min
         4d..4d2h       other   0/s",
    )
    .tell::<Detector>("");
    assert!((1_800..2_400).contains(&delay(&told)), "{}", delay(&told));
    let finding = told.within("4d1h..4d2h").next().expect("it lasts");
    assert!(text(finding, "planned_end").is_some());
}

#[test]
fn what_was_not_watched_is_no_evidence() {
    check(
        "0d..4d   order ~30/min
         gap      2d..2d1h
         3d..3d1m other 0/s",
        &[],
    );
}

#[test]
fn late_records_withdraw() {
    let story = |late: &str| {
        format!(
            "0d..2d         order ~60/min
             2d10m..2d12m   order ~60/min {late}
             2d12m..2d2h    order ~60/min"
        )
    };
    let told = Story::new(&story("")).tell::<Detector>("");
    assert_eq!(told.episodes(OPENS).len(), 1);
    let told = Story::new(&story("late=480s")).tell::<Detector>("");
    let withdrawn = told.findings.iter().filter(|finding| finding.score == 0.0);
    assert!(withdrawn.count() > 0);
}

#[test]
fn a_new_rhythm_is_accepted() {
    let told = Story::new(
        "0d..4d order 1/s
         4d..9d order ~6/h",
    )
    .tell::<Detector>("");
    assert!(told.within("4d..5d").any(|finding| finding.score >= OPENS));
    assert!(told.within("5d..7d").all(|finding| finding.score < OPENS));
}

#[test]
fn learning_says_what_is_missing() {
    let readiness = |story: &str| {
        let told = Story::new(story).tell::<Detector>("");
        (told.readiness[0].level, told.readiness[0].missing.clone())
    };
    let (level, missing) = readiness("0d..10m order 10/min");
    assert_eq!(
        (level, missing.as_str()),
        (Level::Learning, "99 of 200 gaps")
    );
    let (level, missing) = readiness("0d..4h order 1/s");
    assert_eq!(
        (level, missing.as_str()),
        (Level::Provisional, "4 of 25 hours")
    );
    assert_eq!(readiness("0d..26h order 1/s").0, Level::Ready);
    let (level, missing) = readiness("0d..20h order 1/min");
    assert_eq!(
        (level, missing.as_str()),
        (Level::Learning, "20 of 25 hours")
    );
    assert_eq!(readiness("0d..50h order 1/min").0, Level::Provisional);
}

#[test]
fn wrong_settings_are_named() {
    use petrel_detector::Detector as _;
    for (settings, named) in [
        (r#"{"floor": 0}"#, "floor"),
        (r#"{"flor": 60}"#, "flor"),
        (r#"{"gaps_min": 3}"#, "gaps_min"),
        (r#"{"pause": 0.5}"#, "pause"),
    ] {
        let fault = Detector::default().configure(settings).unwrap_err();
        assert!(fault.message.contains(named), "{}", fault.message);
    }
    let schema = Detector::default().describe().unwrap().settings_schema;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["floor"]["default"], 60.0);
}

/// Findings in an order of their own, since windows crossed at once are told stream by stream.
fn sorted(told: &Told) -> Vec<String> {
    let findings = told.findings.iter().chain(&told.while_learning);
    let mut findings: Vec<_> = findings.map(|finding| format!("{finding:?}")).collect();
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
            "0d..1d1h       order    ~5..40/min
             0d..1d1h       a:mail   ~40/min every 37m at 5m for 3m
             0d..1d4h       b:beat   1/min
             0d..20h        c:job    60/min every 1h at 5m for 1m
             1d..1d1h       sigterm  ~10/min
             gap            12h..12h30m
             1d2h..1d5h     order    ~40/min",
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
