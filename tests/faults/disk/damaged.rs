//! A file that nobody can read any more: it is set aside and reported, and Petrel starts without.

use super::FILE;
use crate::collector::Collector;
use crate::load::Shape;
use crate::relay::Wire;
use crate::scene::{Plan, Scene};
use crate::table::Row;

const N_REQUESTS: u64 = 60;

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::start(collector, plan);
    scene.relay.set(Wire::Down);
    let shape = Shape {
        n_requests: N_REQUESTS,
        ..Shape::default()
    };
    let before = scene.load(shape).done().await;
    // What a Collector takes need not be in the file yet.
    scene.wait_for_metric("otelcol_exporter_queue_size", &[], 1.0);
    scene.kill();
    let path = scene.storage.join(FILE);
    let mut file = std::fs::read(&path).expect("the queue has a file");
    let middle = file.len().min(4096);
    file[..middle].fill(0x5a);
    std::fs::write(&path, file).expect("it is ours");
    scene.petrel = Some(scene.setup.start(&scene.scratch));

    let errors = "petrel_queue_file_errors";
    assert_eq!(scene.metrics().sum(errors, &[("reason", "set_aside")]), 1.0);
    assert!(scene.log().contains("cannot be read and is set aside"));
    assert!(scene.storage.join(format!("{FILE}.set-aside-1")).exists());
    scene.relay.set(Wire::Whole);
    let shape = Shape {
        first_request: N_REQUESTS,
        n_requests: 2 * N_REQUESTS,
        ..shape
    };
    let mut told = scene.load(shape).done().await;
    let after = told.acknowledged.clone();
    told.acknowledged.extend(before.acknowledged);
    // What was in the file is set aside with it, and that is what is said.
    let allowed = N_REQUESTS * crate::load::RECORDS_A_REQUEST;
    let row = scene.balance_allowing(fault, &told, allowed);
    let arrived = crate::load::arrivals(scene.arrived());
    let missing = after.iter().filter(|number| !arrived.contains_key(number));
    assert_eq!(missing.count(), 0, "what came after the damage arrives");
    row
}
