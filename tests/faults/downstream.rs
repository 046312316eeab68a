//! A next hop that goes away, hangs, is slow, or breaks connections half way.

use std::time::Duration;

use crate::collector::{self, Collector, build};
use crate::load::Shape;
use crate::relay::Wire;
use crate::scene::{Mode, Scene, Upstream};
use crate::table::Row;
use crate::wait;

/// A fault of the wire: what it does, and for how many requests that are meanwhile done or tried.
#[derive(Clone, Copy)]
struct Fault {
    name: &'static str,
    wire: Wire,
}

const FAULTS: [Fault; 5] = [
    Fault {
        name: "downstream down",
        wire: Wire::Down,
    },
    Fault {
        name: "downstream silent",
        wire: Wire::Silent,
    },
    Fault {
        name: "downstream slow",
        wire: Wire::Slow(200_000),
    },
    Fault {
        name: "connections cut half way",
        wire: Wire::CutAfter(30_000),
    },
    Fault {
        name: "connections cut before the answer",
        wire: Wire::CutAnswers,
    },
];

/// Sends through a wire that breaks after a third of the load, for `lasting`, and is whole again.
async fn run(
    collector: Collector,
    fault: Fault,
    mode: Mode,
    upstream: Upstream,
    shape: Shape,
    lasting: Duration,
) -> Row {
    let scene = Scene::start(collector, mode, upstream, "");
    let load = scene.load(shape);
    wait::until("a third of the load", wait::SOON, || {
        (load.n_done() >= shape.n_requests / 3).then_some(())
    });
    scene.relay.set(fault.wire);
    tokio::time::sleep(lasting).await;
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    tokio::task::block_in_place(|| scene.balance(fault.name, &told))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_next_hop_that_breaks_loses_nothing() {
    let Some(collector) = collector::available("faults::downstream") else {
        return;
    };
    build::announce(&Row::head());
    let shape = Shape {
        n_requests: 600,
        ..Shape::default()
    };
    for (index, fault) in FAULTS.into_iter().enumerate() {
        // Each mode with each sender somewhere; all of them together with `--ignored`.
        let mode = Mode::ALL[index % Mode::ALL.len()];
        let upstream = [Upstream::Client, Upstream::Collector][index % 2];
        let lasting = Duration::from_secs(1);
        let row = run(collector, fault, mode, upstream, shape, lasting).await;
        build::announce(&row.to_string());
        assert_eq!(row.lost, 0, "{row}");
    }
}
