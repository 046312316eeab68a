//! A file that nobody can read any more: it is set aside and reported, and Petrel starts without.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::collector::Collector;
use crate::load::{self, RECORDS_A_REQUEST, Shape};
use crate::relay::Wire;
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

const N_REQUESTS: u64 = 60;
const PAGE: usize = 4096;

/// What happens to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Its first page is overwritten, after a crash.
    Head,
    /// All but its first page is, after a crash.
    Rest,
    /// All but its first page is, after an orderly end.
    RestAtRest,
    /// Its second half is missing, after a crash.
    Cut,
}

pub(super) const DAMAGES: [(&str, Damage); 4] = [
    ("queue's file damaged, first page", Damage::Head),
    ("queue's file damaged, all but the first page", Damage::Rest),
    ("the same after an orderly end", Damage::RestAtRest),
    ("queue's file cut in half", Damage::Cut),
];

fn damage(path: &Path, damage: Damage) {
    let mut file = std::fs::read(path).expect("the queue has a file");
    let mut rng = StdRng::seed_from_u64(5);
    match damage {
        Damage::Head => rng.fill_bytes(&mut file[..PAGE]),
        Damage::Rest | Damage::RestAtRest => rng.fill_bytes(&mut file[PAGE..]),
        Damage::Cut => file.truncate(file.len() / 2),
    }
    std::fs::write(path, file).expect("it is ours");
}

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan, kind: Damage) -> Row {
    let plan = Plan {
        more: "drain_timeout: 200ms\n",
        ..plan
    };
    let mut scene = Scene::start(collector, plan);
    scene.relay.set(Wire::Down);
    let shape = Shape {
        n_requests: N_REQUESTS,
        ..Shape::default()
    };
    let before = scene.load(shape).done().await;
    // What a Collector takes need not be in the file yet.
    scene.wait_for_metric("otelcol_exporter_queue_size", &[], 1.0);
    match kind {
        Damage::RestAtRest => scene.stop(fault),
        _ => scene.kill(),
    }
    damage(&scene.queue_file(), kind);
    scene.petrel = Some(scene.setup.start(&scene.scratch));

    let errors = "petrel_queue_file_errors";
    assert_eq!(scene.metrics().sum(errors, &[("reason", "set_aside")]), 1.0);
    assert!(scene.log().contains("cannot be read and is set aside"));
    let aside = scene.queue_file().with_extension("redb.set-aside-1");
    assert!(aside.exists(), "it is kept");
    scene.relay.set(Wire::Whole);
    let shape = Shape {
        first_request: N_REQUESTS,
        n_requests: 2 * N_REQUESTS,
        ..shape
    };
    let mut told = scene.load(shape).done().await;
    tokio::task::block_in_place(|| {
        let what = "what came after the damage to arrive";
        wait::until(what, wait::SOON, || {
            let arrived = load::arrivals(scene.arrived());
            let is_there = |number| arrived.contains_key(number);
            told.acknowledged.iter().all(is_there).then_some(())
        });
    });
    told.acknowledged.extend(before.acknowledged);
    // What was in the file is set aside with it, and that is what is said.
    scene.balance_allowing(fault, &told, N_REQUESTS * RECORDS_A_REQUEST)
}
