//! What the variable parts of bodies are worth.

use petrel_batch::EventTime;
use petrel_engine::templates::numbers;

use super::{feed, miner};

/// The values of a body as text, by both ways to ask for them.
fn values(earlier: &[&str], body: &str) -> String {
    let mut miner = miner();
    feed(&mut miner, earlier.iter().copied());
    let template = miner.assign(body, EventTime::UNKNOWN, &mut Vec::new());
    let (mut at_once, mut anew) = (Vec::new(), Vec::new());
    assert!(miner.numbers_of_last(body, &mut at_once));
    let template = miner.template(template).expect("just assigned");
    assert!(numbers(body, template, &mut anew));
    assert_eq!(format!("{at_once:?}"), format!("{anew:?}"), "{body}");
    assert_eq!(
        at_once.len(),
        template.text.matches("<*>").count(),
        "{}",
        template.text
    );
    at_once
        .iter()
        .map(f64::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn check(cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        assert_eq!(values(&[], body), *expected, "body {body:?}");
    }
}

#[test]
fn reads_numbers_with_units() {
    check(&[
        ("took 12ms and 4.66 KB (5%) of 1,234", "0.012 4771.84 5 NaN"),
        (
            "in 3 us, for 7 ns; or 2 µs",
            "0.000003 0.000000007 0.000002",
        ),
        ("free 1.5 GiB of 2 TB", "1610612736 2199023255552"),
        ("balance -3.5 and +2", "-3.5 2"),
        ("after 5 minutes or 2 hours", "300 7200"),
        ("after 250 milliseconds", "0.25"),
        ("ran 1m30.5s then 2h0m5s", "90.5 7205"),
        ("ran 5s3m then 2m2m1s", "NaN NaN"),
        ("elapsed_ms=12 sizeBytes=7 size_kb: 2", "0.012 7 2048"),
        ("status 200 1234 0.003", "200 1234 0.003"),
    ]);
}

#[test]
fn what_is_no_number_is_nan() {
    check(&[
        (
            "hex 0x12 ip 10.0.0.1 day 2024-01-01 clock 12:30:45",
            "NaN NaN NaN NaN",
        ),
        ("id abc123 list 1, 2, 3 version 1.2.3", "NaN NaN NaN"),
        (
            "long 12345678901234567890 short 1234567890123456789",
            "NaN 1234567890123456800",
        ),
        ("alone 5m 3h 2d", "NaN"),
        ("no variable part", ""),
        ("  continued 5", ""),
    ]);
}

#[test]
fn learnt_places_and_objects_have_slots() {
    let users = [
        "login of user ann took 5 ms",
        "login of user bob took 6 ms",
        "login of user cid took 7 ms",
    ];
    assert_eq!(values(&users, "login of user dan took 8 ms"), "NaN 0.008");
    assert_eq!(
        values(&[], r#"{"msg":"took 8 ms \"ok\"","7":1}"#),
        "NaN 0.008"
    );
}

#[test]
fn adopted_templates_have_none() {
    let mut miner = miner();
    let adopted = miner.adopt("took <*>", EventTime::UNKNOWN, &mut Vec::new());
    let mut out = Vec::new();
    assert!(!miner.numbers_of_last("took 5", &mut out));
    assert!(!numbers(
        "took 5",
        miner.template(adopted).expect("just adopted"),
        &mut out
    ));
    assert!(out.is_empty());
}
