//! Petrel killed with -9 at random moments, and started again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::collector::Collector;
use crate::load::{RECORDS_A_REQUEST, Shape};
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};

const SEED: u64 = 9;
/// Longest time from when it is ready until it is killed, in the rows here.
const ALIVE_MAX: Duration = Duration::from_millis(400);
/// Requests that a queue in memory holds in these rows, so that what a crash loses has a bound.
const IN_MEMORY_MAX: u64 = 40;

/// How a scene of these rows is set up.
pub(crate) fn plan(mode: Mode, upstream: Upstream) -> Plan {
    let mut plan = Plan::new(mode, upstream);
    if mode == Mode::Memory {
        plan.queue = "sizer: requests, queue_size: 40";
    }
    plan
}

/// Kills Petrel `n_kills` times, each within `alive_max`, while somebody sends without end.
pub(crate) async fn run(
    collector: Collector,
    plan: Plan,
    n_kills: u32,
    alive_max: Duration,
) -> Row {
    let mode = plan.mode;
    let mut scene = Scene::start(collector, plan);
    let shape = Shape {
        n_requests: u64::MAX,
        // Slow enough that a Collector, which takes all at once, is not far behind in the end.
        pause: Duration::from_millis(40),
        ..Shape::default()
    };
    let load = scene.load(shape);
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..n_kills {
        tokio::time::sleep(alive_max.mul_f64(rng.random())).await;
        tokio::task::block_in_place(|| scene.crash());
    }
    let told = load.finish().await;
    let fault = format!("killed with -9, {n_kills} times");
    match mode {
        // Each crash loses what is in memory, and says so nowhere: it is dead.
        Mode::Memory => {
            let most = u64::from(n_kills) * IN_MEMORY_MAX * RECORDS_A_REQUEST;
            scene.balance_allowing(&fault, &told, most)
        }
        Mode::Wait | Mode::File => scene.balance(&fault, &told),
    }
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for mode in Mode::ALL {
        for upstream in Upstream::USUAL {
            let is_quick = mode == Mode::File && upstream == Upstream::Client;
            if table.extent == Extent::Quick && !is_quick {
                continue;
            }
            let plan = plan(mode, upstream);
            let n_kills = table.choose(3, 50);
            let title = plan.title("killed with -9");
            let row = run(collector, plan, n_kills, ALIVE_MAX);
            table.run(&title, row).await;
        }
    }
}
