//! The demo: what is made to go wrong is found, the look-alikes stay quiet, and every record comes out.

use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::process::Scratch;
use crate::{petrel, wait};

/// Longest that the demo may play: it takes 45 s alone on two cores, built without optimization.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

/// A child that ends with the test.
struct Playing(Child);

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `petrel demo --once --json` ends by itself, with 0, and with one document that says how it went.
///
/// Four million records, 45 s alone on two cores in the dev profile, and a few times that beside others.
#[test]
fn once_finds_what_is_injected_and_nothing_else() {
    let scratch = Scratch::new("demo");
    let [out, err] = ["out", "err"].map(|name| scratch.write(name, ""));
    let open = |path| std::fs::File::options().append(true).open(path);
    let mut command = petrel::command(&[]);
    command.args(["demo", "--once", "--json", "--seed", "3"]);
    command.stdout(open(&out).expect("the scratch directory is writable"));
    command.stderr(open(&err).expect("the scratch directory is writable"));
    let mut demo = Playing(command.spawn().expect("the binary under test runs"));
    let status = wait::until("the demo to end", ENDS_WITHIN, || {
        demo.0.try_wait().expect("the child is ours")
    });
    let [out, err] = [out, err].map(|path| std::fs::read_to_string(path).expect("it is text"));
    assert_eq!(status.code(), Some(0), "{out}\n{err}");

    let document: Value = serde_json::from_str(&out).expect("stdout is one JSON document");
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["seed"], 3);
    assert!(document["records_in"].as_u64() > Some(1_000_000), "{out}");
    assert_eq!(document["records_in"], document["records_out"]);
    assert_eq!(document["records_unchanged"], true);
    assert_eq!(document["partial"], false);
    assert!(
        document["seconds_to_first_anomaly"].as_f64() > Some(0.0),
        "{out}"
    );
    assert!(list(&document, "missed").is_empty());
    assert!(list(&document, "false_alarms").is_empty());

    assert_eq!(
        sorted_kinds(list(&document, "injected")),
        [
            "latency_shift",
            "new_template",
            "rate_drop",
            "rate_spike",
            "silence"
        ]
    );
    assert_eq!(
        sorted_kinds(list(&document, "look_alikes")),
        ["cron_burst", "deploy", "slow_rise"]
    );
    for incident in list(&document, "injected") {
        for key in ["service", "start", "end"] {
            assert!(incident[key].is_string(), "no {key}: {incident}");
        }
        let is_named = |anomaly: &Value| anomaly["service"] == incident["service"];
        let mut anomalies = list(&document, "anomalies").iter();
        assert!(anomalies.any(is_named), "no anomaly for {incident}");
    }
    for anomaly in list(&document, "anomalies") {
        check_anomaly(anomaly);
    }
}

/// Checks that an anomaly has every field of `SCHEMA.md`; some of them hold nothing for some detectors.
#[track_caller]
fn check_anomaly(anomaly: &Value) {
    for key in ["id", "type", "service", "direction", "start", "end"] {
        assert!(anomaly[key].is_string(), "no {key}: {anomaly}");
    }
    for key in ["name", "version", "digest"] {
        assert!(anomaly["detector"][key].is_string(), "no {key}: {anomaly}");
    }
    assert!(anomaly["score"].is_f64(), "no score: {anomaly}");
    let template = anomaly.get("template");
    assert!(
        template.is_some_and(|template| template.is_string() || template.is_null()),
        "{anomaly}"
    );
    // A template never seen before is evidence enough; every other kind measures something.
    let is_measured = anomaly["type"] != "novelty";
    for key in ["observed", "expected", "lower", "upper"] {
        let value = anomaly.get(key);
        assert!(
            value.is_some_and(|value| value.is_number() || value.is_null()),
            "no {key}: {anomaly}"
        );
    }
    assert_eq!(anomaly["observed"].is_number(), is_measured, "{anomaly}");
    assert_eq!(anomaly["expected"].is_number(), is_measured, "{anomaly}");
}

#[track_caller]
fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    let list = document[key].as_array();
    list.unwrap_or_else(|| panic!("{key} is no list: {document}"))
}

fn sorted_kinds(scenes: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = scenes
        .iter()
        .map(|scene| scene["kind"].as_str().expect("a scene has a kind"))
        .collect();
    kinds.sort_unstable();
    kinds
}
