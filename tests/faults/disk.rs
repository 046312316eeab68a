//! The disk under a file queue: synced before each reply, slow, full, damaged.

mod damaged;
mod full;
mod slow;
mod traced;

use crate::collector::did_not_run;
use crate::scene::{Mode, Plan, Upstream};
use crate::table::{Extent, Table};

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    let plan = Plan::new(Mode::File, Upstream::Client);
    let (fault, n_requests) = ("synced before each reply", table.choose(10, 60));
    match traced::is_possible() {
        Ok(()) => {
            let row = traced::run(collector, fault, plan.clone(), n_requests);
            table.run(&plan.title(fault), row).await;
        }
        Err(why) => did_not_run(fault, &why),
    }
    for upstream in Upstream::USUAL {
        if table.extent == Extent::Quick && upstream == Upstream::Collector {
            continue;
        }
        let plan = Plan::new(Mode::File, upstream);
        for (fault, is_freed) in [
            ("disk full, then not", true),
            ("disk full, until the queue is sent", false),
        ] {
            if table.extent == Extent::Quick && is_freed {
                continue;
            }
            match full::Volume::mount() {
                Ok(volume) => {
                    let row = full::run(collector, fault, plan.clone(), volume, is_freed);
                    table.run(&plan.title(fault), row).await;
                }
                Err(why) => did_not_run(fault, &why),
            }
        }
        for (fault, damage) in damaged::DAMAGES {
            if table.extent == Extent::Quick && damage != damaged::Damage::Head {
                continue;
            }
            let row = damaged::run(collector, fault, plan.clone(), damage);
            table.run(&plan.title(fault), row).await;
        }
        if table.extent == Extent::Full {
            let fault = "slow disk, 200 ms a sync";
            match slow::library() {
                Ok(library) => {
                    let row = slow::run(collector, fault, plan.clone(), library);
                    table.run(&plan.title(fault), row).await;
                }
                Err(why) => did_not_run(fault, &why),
            }
        }
    }
}
