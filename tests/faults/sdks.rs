//! OTLP's Rust SDK before Petrel, over gRPC and over HTTP, through the faults that a sender notices.

pub(crate) mod rust;

use std::time::Duration;

use crate::scene::{Mode, Plan, Protocol, Upstream};
use crate::table::{Extent, Table};
use crate::{crashes, statuses, wires};

/// Fewer and further apart than for the client of these tests: the SDKs wait seconds between two tries.
const N_KILLS: u32 = 10;
const ALIVE_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn rows(table: &mut Table) {
    retryable(table, Mode::Wait, Upstream::RustSdk(Protocol::Grpc)).await;
    if table.extent == Extent::Quick {
        return;
    }
    for mode in Mode::ALL {
        for protocol in Protocol::ALL {
            if (mode, protocol) != (Mode::Wait, Protocol::Grpc) {
                retryable(table, mode, Upstream::RustSdk(protocol)).await;
            }
        }
    }
    broken(table, Upstream::RustSdk, 1_200).await;
}

/// The next hop answers with each status that an SDK tries again after.
async fn retryable(table: &mut Table, mode: Mode, upstream: Upstream) {
    let plan = Plan::new(mode, upstream);
    let title = plan.title(statuses::RETRYABLE.name);
    let n_requests = table.choose(66, 132);
    let row = statuses::run(table.collector, statuses::RETRYABLE, plan, n_requests);
    table.run(&title, row).await;
}

/// The wire breaks, or Petrel is killed. The protocols take turns: each fault and each mode has both.
async fn broken(table: &mut Table, upstream: fn(Protocol) -> Upstream, n_requests: u64) {
    let collector = table.collector;
    for (mode_index, mode) in Mode::ALL.into_iter().enumerate() {
        for (index, fault) in wires::FAULTS.into_iter().enumerate() {
            let protocol = Protocol::ALL[(index + mode_index) % 2];
            let plan = Plan::new(mode, upstream(protocol));
            let title = plan.title(&fault.title());
            let row = wires::run(collector, fault.title(), fault, plan, n_requests);
            table.run(&title, row).await;
        }
        let plan = crashes::plan(mode, upstream(Protocol::ALL[(mode_index + 1) % 2]));
        let title = plan.title("killed with -9");
        let row = crashes::run(collector, plan, N_KILLS, ALIVE_MAX);
        table.run(&title, row).await;
    }
}
