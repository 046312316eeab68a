//! Faults at Petrel's own front door: strangers, too much at once, and what changes under its feet.

mod certificates;
mod clock;
mod descriptors;
mod in_flight;
mod overload;
mod reloads;
mod strangers;

use std::time::Duration;

use crate::collector::did_not_run;
use crate::faketime::Clock;
use crate::load::{Shape, Told};
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};
use crate::wait;

/// Who sends, and what Petrel promises: both senders in the default mode, each other mode once.
const SCENES: [(Mode, Upstream); 4] = [
    (Mode::Wait, Upstream::Client),
    (Mode::Wait, Upstream::Collector),
    (Mode::Memory, Upstream::Client),
    (Mode::File, Upstream::Client),
];
/// So many records more mean that those who send are served.
const SERVED: usize = 500;
/// When nothing arrived for so long, somebody is not served.
const SILENCE: Duration = Duration::from_secs(1);

/// Makes a load without end, whatever else is done meanwhile; the load goes on before it and after it.
async fn under_load(
    scene: &mut Scene,
    fault: &str,
    deed: impl FnOnce(&mut Scene) + Send,
) -> (Row, Told) {
    let load = scene.load(Shape {
        n_requests: u64::MAX,
        pause: Duration::from_millis(40),
        ..Shape::default()
    });
    tokio::task::block_in_place(|| {
        goes_on(scene);
        deed(scene);
        goes_on(scene);
    });
    let told = load.finish().await;
    assert!(told.refused.is_empty(), "{:?}", told.messages);
    (scene.balance(fault, &told), told)
}

/// Waits until more has arrived.
#[track_caller]
fn goes_on(scene: &mut Scene) {
    let least = scene.arrived().len() + SERVED;
    wait::until("senders to be served", wait::SOON, || {
        (scene.arrived().len() >= least).then_some(())
    });
}

/// Waits until nothing more arrives.
#[track_caller]
fn stops(scene: &mut Scene) {
    wait::until("nothing more to arrive", wait::SOON, || {
        let before = scene.arrived().len();
        std::thread::park_timeout(SILENCE);
        (scene.arrived().len() == before).then_some(())
    });
}

/// Checks that no sender was told to come back, nor lost its connection.
fn assert_undisturbed(told: &Told) {
    assert_eq!(told.n_retried, 0, "{:?}", told.messages);
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for (mode, upstream) in SCENES {
        let plan = Plan::new(mode, upstream);
        let is_quick = mode == Mode::Wait && upstream == Upstream::Client;
        if table.extent == Extent::Quick && !is_quick {
            continue;
        }
        let n_reloads = table.choose(4, 20);
        let fault = format!("reloaded {n_reloads} times, good and bad in turn");
        let title = plan.title(&fault);
        let row = reloads::run(collector, fault, plan.clone(), n_reloads);
        table.run(&title, row).await;

        let n_connections = table.choose(500, 5_000);
        let fault = format!("{n_connections} connections begun and abandoned");
        let title = plan.title(&fault);
        let row = strangers::abandoned(collector, fault, plan.clone(), n_connections);
        table.run(&title, row).await;

        let fault = "300 requests in flight on one connection, each way";
        let row = in_flight::run(collector, fault, in_flight::plan(mode, upstream));
        table.run(&plan.title(fault), row).await;
        if table.extent == Extent::Quick {
            continue;
        }

        let fault = "300 connections that dribble bytes";
        let row = strangers::slow(collector, fault, plan.clone());
        table.run(&plan.title(fault), row).await;

        let fault = "file descriptors run out for a while";
        let row = descriptors::run(collector, fault, plan.clone());
        table.run(&plan.title(fault), row).await;

        let fault = "wall clock jumps 2 days on, 3 back";
        match Clock::find() {
            Some(clock) => {
                let row = clock::run(collector, fault, plan.clone(), clock);
                table.run(&plan.title(fault), row).await;
            }
            None => did_not_run(fault, "no libfaketime on this machine"),
        }
    }
    if table.extent == Extent::Quick {
        return;
    }
    for mode in Mode::ALL {
        // The client of these tests speaks no TLS.
        let plan = Plan::new(mode, Upstream::Collector);
        let fault = "certificate changed ten times";
        let row = certificates::run(collector, fault, plan.clone());
        table.run(&plan.title(fault), row).await;

        // A Collector before Petrel would take all of it at once.
        let plan = overload::plan(mode);
        let fault = "twice the load that can be taken, 60 s";
        let row = overload::run(collector, fault, plan.clone());
        table.run(&plan.title(fault), row).await;
    }
}
