//! A next hop that goes away, hangs, is slow, or breaks connections half way.

use std::time::Duration;

use crate::collector::Collector;
use crate::load::Shape;
use crate::relay::Wire;
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Row, Table};
use crate::wait;

/// A fault of the wire: what it does, and for how long in the full run.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    name: &'static str,
    wire: Wire,
    lasting: Duration,
}

impl Fault {
    /// Its name, and how long it lasts.
    pub(crate) fn title(&self) -> String {
        let lasting = self.lasting.as_secs();
        format!("{} {lasting} s (60 x faster)", self.name)
    }
}

/// Retries of the rows are at most 500 ms apart where they are 30 s by default: all of it 60 times faster, ten
/// seconds for ten minutes.
pub(crate) const FAULTS: [Fault; 5] = [
    Fault {
        name: "downstream down",
        wire: Wire::Down,
        lasting: Duration::from_secs(10),
    },
    Fault {
        name: "downstream silent",
        wire: Wire::Silent,
        lasting: Duration::from_secs(4),
    },
    Fault {
        name: "downstream slow, 200 kB/s",
        wire: Wire::Slow(200_000),
        lasting: Duration::from_secs(4),
    },
    Fault {
        name: "connections cut half way, after 30 kB",
        wire: Wire::CutAfter(30_000),
        lasting: Duration::from_secs(3),
    },
    Fault {
        name: "connections cut before the answer",
        wire: Wire::CutAnswers,
        lasting: Duration::from_secs(3),
    },
];
/// In the quick run.
const LASTING: Duration = Duration::from_secs(1);

/// Sends through a wire that breaks after a third of the load, for a while, and is whole again.
pub(crate) async fn run(
    collector: Collector,
    title: String,
    fault: Fault,
    plan: Plan,
    n_requests: u64,
) -> Row {
    let mut scene = Scene::start(collector, plan);
    let shape = Shape {
        n_requests,
        ..Shape::default()
    };
    let load = scene.load(shape);
    tokio::task::block_in_place(|| {
        wait::until("a third of the load", wait::SOON, || {
            (load.n_done() >= n_requests / 3).then_some(())
        });
    });
    scene.relay.set(fault.wire);
    tokio::time::sleep(fault.lasting).await;
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    scene.balance(&title, &told)
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for (index, fault) in FAULTS.into_iter().enumerate() {
        for (mode_index, mode) in Mode::ALL.into_iter().enumerate() {
            for (upstream_index, upstream) in Upstream::USUAL.into_iter().enumerate() {
                // The first and the last, each with another mode and another sender.
                let is_quick =
                    [(0, 0, 0), (4, 1, 1)].contains(&(index, mode_index, upstream_index));
                if !table.choose(is_quick, true) {
                    continue;
                }
                let fault = Fault {
                    lasting: table.choose(LASTING, fault.lasting),
                    ..fault
                };
                let plan = Plan::new(mode, upstream);
                let n_requests = table.choose(300, 1_200);
                let name = fault.title();
                let title = plan.title(&name);
                let row = run(collector, name, fault, plan, n_requests);
                table.run(&title, row).await;
            }
        }
    }
}
