//! Configurations that come by SIGHUP, good and bad.

use crate::collector::Collector;
use crate::front::{assert_undisturbed, goes_on, under_load};
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

/// What makes a configuration bad: for who knows the keys, for who reads them, for who parses them.
const BAD: [&str; 3] = ["mode: sideways\n", "moods: enrich\n", "detectors: [\n"];
/// What a good one has more than the one before it.
const GOOD: [&str; 3] = ["enrichment: none\n", "mode: observe\nworkers: 1\n", ""];

/// Reads so many, half of them bad.
pub(super) async fn run(collector: Collector, fault: String, plan: Plan, n_reloads: usize) -> Row {
    let mut scene = Scene::start(collector, plan);
    let (row, told) = under_load(&mut scene, &fault, |scene| {
        let first = scene.config();
        // Each has another exporter than the one before it.
        let second = first.replace("timeout: 2s", "timeout: 3s");
        assert_ne!(first, second);
        for round in 0..n_reloads / 2 {
            let config = [&second, &first][round % 2];
            let (bad, good) = (BAD[round % BAD.len()], GOOD[round % GOOD.len()]);
            reload(scene, &format!("{config}{bad}"), false);
            reload(scene, &format!("{config}{good}"), true);
            goes_on(scene);
        }
    })
    .await;
    assert_undisturbed(&told);
    row
}

/// Has a configuration read after one that was not as good, or not as bad.
fn reload(scene: &Scene, config: &str, is_good: bool) {
    scene.write_config(config);
    scene.reload();
    wait::until("the configuration to be read", wait::SOON, || {
        let success = scene
            .metrics()
            .sum("petrel_config_last_reload_success", &[]);
        ((success > 0.0) == is_good).then_some(())
    });
}
