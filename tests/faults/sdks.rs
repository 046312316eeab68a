//! Other people's clients before Petrel: the Rust SDK, the Python SDK and telemetrygen (with the Go SDK), each
//! over gRPC and over HTTP, through the faults that a sender notices.

pub(crate) mod python;
pub(crate) mod rust;
pub(crate) mod telemetrygen;

use std::process::ExitStatus;
use std::time::Duration;

use crate::collector::did_not_run;
use crate::load::Progress;
use crate::process::Process;
use crate::scene::{Mode, Plan, Protocol, Upstream};
use crate::table::{Extent, Table};
use crate::{crashes, statuses, wait, wires};

/// Fewer and further apart than for the client of these tests: the SDKs wait seconds between two tries.
const N_KILLS: u32 = 10;
const ALIVE_MAX: Duration = Duration::from_secs(2);
/// After this long a program that sends is not waited for any more.
const PROGRAM_ENDS: Duration = Duration::from_secs(300);

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

    let python = "rows with the Python SDK before Petrel";
    match python::interpreter() {
        Ok(_) => {
            for mode in Mode::ALL {
                for protocol in Protocol::ALL {
                    retryable(table, mode, Upstream::PythonSdk(protocol)).await;
                }
            }
            broken(table, Upstream::PythonSdk, 600).await;
        }
        Err(why) => did_not_run(python, &why),
    }
    match telemetrygen::binary() {
        Ok(_) => telemetrygen::rows(table).await,
        Err(why) => did_not_run("rows with telemetrygen before Petrel", &why),
    }
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

/// Waits until a program that sends has ended, which it is asked to when the load finishes; `look` at it
/// meanwhile, and once more at its end.
fn follow(mut process: Process, progress: &Progress, mut look: impl FnMut(&Process)) -> ExitStatus {
    let deadline = wait::Deadline::after(PROGRAM_ENDS);
    let mut is_asked = false;
    loop {
        if progress.is_finishing() && !is_asked {
            process.terminate();
            is_asked = true;
        }
        let status = process.status();
        look(&process);
        if let Some(status) = status {
            return status;
        }
        assert!(!deadline.is_over(), "it still sends:\n{}", process.stderr());
        wait::a_moment();
    }
}
