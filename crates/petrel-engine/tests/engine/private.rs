//! What must not leave does not, in any event or attribute, from the first on.

use petrel_engine::{Privacy, Settings};
use regex::Regex;

use crate::harness::*;

fn engine(privacy: Privacy) -> Engine {
    let settings = Settings {
        privacy,
        ..Settings::default()
    };
    let mut engine = Engine::with(
        1,
        settings,
        &["frequency", "novelty", "silence", "telltale"],
    );
    engine.secret_host = Some("host-huntertwo");
    engine
}

/// A service that says a secret all the time, in constant text, new text, and its resource.
fn run(privacy: Privacy) -> Engine {
    let mut engine = engine(privacy);
    let records = merged(vec![
        steady("api", 0.0, 3_600.0, 2.0, "login with huntertwo served"),
        steady("api", 1_200.0, 1_320.0, 0.25, "login with huntertwo served"),
        vec![record("api", 1_500.5, "disk of huntertwo failed")],
        steady("huntertwo-job", 0.0, 1_200.0, 2.0, "step done"),
    ]);
    engine.feed(&records, 50);
    assert!(engine.events.len() >= 4, "{}", engine.story());
    engine
}

/// All that goes out, as text.
fn output(engine: &Engine) -> String {
    format!("{:?}{:?}", engine.events, engine.added)
}

#[test]
fn a_planted_secret_never_leaves() {
    let plain = run(Privacy::default());
    let said = output(&plain);
    for secret in [
        "login with huntertwo",
        "host-huntertwo",
        "seen: huntertwo",
        "user.name=huntertwo",
    ] {
        assert!(said.contains(secret), "{secret} is planted nowhere");
    }
    let privacy = Privacy {
        masks: vec![(
            Regex::new("hunter[a-z]+").expect("a pattern"),
            "[x]".to_owned(),
        )],
        ..Privacy::default()
    };
    let masked = run(privacy);
    assert!(!output(&masked).contains("huntertwo"), "{}", masked.story());
    assert!(output(&masked).contains("login with [x] served"));
    // The same anomalies under the same ids, and the same ids of templates.
    let ids = |engine: &Engine| -> Vec<_> {
        let events = engine.events.iter();
        events
            .map(|event| {
                (
                    value(event, "anomaly.id"),
                    value(event, "petrel.template.id"),
                )
            })
            .collect()
    };
    assert_eq!(ids(&masked), ids(&plain));
}

#[test]
fn denied_attributes_are_withheld() {
    let privacy = Privacy {
        denied: ["host.name", "user.name"].map(str::to_owned).into(),
        ..Privacy::default()
    };
    let engine = run(privacy);
    let said = output(&engine);
    for secret in [
        "host-huntertwo",
        "user.name=huntertwo",
        "user.name\", value: Text(\"huntertwo",
    ] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert!(said.contains("user.name=*** in api"), "{}", engine.story());
    assert!(
        engine
            .events
            .iter()
            .all(|event| value(event, "user.name") == "-")
    );
    // Nothing was said of the service's own words.
    assert!(said.contains("login with huntertwo served"));
}
