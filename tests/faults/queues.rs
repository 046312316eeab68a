//! A queue that is full, and one whose next hop was never there.

use std::time::Duration;

use crate::collector::Collector;
use crate::load::Shape;
use crate::relay::Wire;
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};
use crate::wait;

const SIZE: &str = "otelcol_exporter_queue_size";

/// The queue is full while the next hop is away: senders are told to come back.
async fn refuses(collector: Collector, fault: &str, plan: Plan) -> Row {
    let upstream = plan.upstream;
    let mut scene = Scene::start(collector, plan);
    scene.relay.set(Wire::Down);
    let shape = Shape {
        n_requests: 200,
        ..Shape::default()
    };
    let load = scene.load(shape);
    let failed = "otelcol_exporter_enqueue_failed_log_records";
    scene.wait_for_metric(failed, &[], 1.0);
    assert_eq!(scene.metrics().sum(SIZE, &[]), 30.0, "it is full");
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    if upstream == Upstream::Client {
        let words = "sending queue is full: 30 of 30 requests wait for the next hop";
        let is_said = told.messages.iter().any(|message| message.contains(words));
        assert!(is_said, "{:?}", told.messages);
    }
    scene.balance(fault, &told)
}

/// The same where senders wait for room: none of them is refused.
async fn blocks(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::start(collector, plan);
    scene.relay.set(Wire::Down);
    let shape = Shape {
        n_requests: 200,
        timeout: Duration::from_secs(60),
        ..Shape::default()
    };
    let load = scene.load(shape);
    scene.wait_for_metric(SIZE, &[], 30.0);
    // The senders that wait are in the queue's way, not in it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.metrics().sum(SIZE, &[]), 30.0);
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    assert_eq!((told.n_retried, &told.messages), (0, &Default::default()));
    scene.balance(fault, &told)
}

/// The next hop is not where the configuration says, until the configuration says another place.
async fn moves(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let (wire, nowhere) = (scene.wire.clone(), wait::free_address());
    scene.rewrite(&wire, &nowhere);
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    scene.start_upstream(collector);
    let shape = Shape {
        n_requests: 60,
        ..Shape::default()
    };
    let load = scene.load(shape);
    scene.wait_for_metric(SIZE, &[], 1.0);
    scene.rewrite(&nowhere, &wire);
    scene.reload();
    let told = load.done().await;
    assert!(told.refused.is_empty());
    scene.balance(fault, &told)
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for mode in Mode::QUEUES {
        for upstream in Upstream::USUAL {
            let is_quick = mode == Mode::File && upstream == Upstream::Client;
            if table.extent == Extent::Quick && !is_quick {
                continue;
            }
            let fault = "queue full while downstream is down";
            let plan = Plan {
                queue: "sizer: requests, queue_size: 30",
                ..Plan::new(mode, upstream)
            };
            let title = plan.title(fault);
            table.run(&title, refuses(collector, fault, plan)).await;

            let fault = "exporter's endpoint dead, then changed by SIGHUP";
            let plan = Plan::new(mode, upstream);
            let title = plan.title(fault);
            table.run(&title, moves(collector, fault, plan)).await;

            if table.extent == Extent::Quick {
                continue;
            }
            let fault = "queue full, block_on_overflow";
            let plan = Plan {
                queue: "sizer: requests, queue_size: 30, block_on_overflow: true",
                ..Plan::new(mode, upstream)
            };
            let title = plan.title(fault);
            table.run(&title, blocks(collector, fault, plan)).await;
        }
    }
}
