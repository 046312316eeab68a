//! One service under two tenants is two streams.

use petrel_engine::Scope;

use crate::harness::*;

#[test]
fn tenants_have_baselines_and_anomalies_of_their_own() {
    let mut engine = Engine::new(2);
    let burst = steady("api", 1_200.0, 1_260.0, 0.1, "request served");
    for minute in 0..40 {
        let from = f64::from(minute) * 60.0;
        let usual = steady("api", from, from + 60.0, 2.0, "request served");
        let with_burst = if minute == 20 {
            merged(vec![usual.clone(), burst.clone()])
        } else {
            usual
        };
        // What is a burst for one is the other's daily bread, and both have one of their own.
        for (tenant, factor) in [("one", 1), ("two", 5)] {
            engine.tenant = tenant;
            let records = vec![with_burst.clone(); factor];
            engine.feed(&merged(records), 1_000);
        }
    }
    let mut detected: Vec<_> = engine
        .events
        .iter()
        .filter(|event| event.event_name == "anomaly.detected")
        .map(|event| {
            (
                event.tenant.as_str(),
                value(event, "anomaly.id"),
                event.body.as_str(),
            )
        })
        .collect();
    detected.sort();
    let [one, two] = &detected[..] else {
        panic!("{}", engine.story())
    };
    assert_eq!((one.0, two.0), ("one", "two"));
    assert_ne!(one.1, two.1);
    assert_eq!(
        one.2,
        "Log rate of \"request served\" in api is 630/min, expected 24-36/min"
    );
    assert_eq!(
        two.2,
        "Log rate of \"request served\" in api is 3150/min, expected 120-180/min"
    );
    let mut keys: Vec<_> = engine
        .workers
        .iter_mut()
        .flat_map(|worker| worker.snapshot(Scope::All).streams)
        .map(|stream| stream.key.tenant)
        .collect();
    keys.sort();
    assert_eq!(keys, ["one", "two"]);
}
