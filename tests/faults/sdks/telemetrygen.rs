//! telemetrygen before Petrel: it says of no record what became of it, only by ending with 0 that all were
//! taken. So it is put through what its own retries ride out, a next hop that is away for a second.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Code;

use super::follow;
use crate::answering::{Answer, Answering};
use crate::collector::Collector;
use crate::load::{self, Load, Progress, RECORDS_A_REQUEST, Shape, Told};
use crate::process::{Process, Scratch};
use crate::relay::Wire;
use crate::scene::{Mode, Plan, Protocol, Scene, Upstream};
use crate::table::{Row, Table};
use crate::wait;

const VARIABLE: &str = "PETREL_TEST_TELEMETRYGEN";
/// Every record has this and a time of its own.
pub(crate) const BODY: &str = "telemetrygen's record of the load";
/// Two seconds of it.
const N_REQUESTS: u64 = 60;
const RECORDS_A_SECOND: u64 = 600;
/// The Go SDK comes back after some five seconds.
const TIMEOUT: &str = "30s";
const AWAY: Duration = Duration::from_secs(1);

/// Its binary.
///
/// # Errors
/// When none is named.
pub(crate) fn binary() -> Result<OsString, String> {
    std::env::var_os(VARIABLE).ok_or(format!("{VARIABLE} names no telemetrygen"))
}

/// Starts it, with one worker, whose records have different times.
pub(crate) fn load(scratch: &Scratch, protocol: Protocol, address: &str, shape: Shape) -> Load {
    let n_records = shape.n_requests * RECORDS_A_REQUEST;
    let mut command = Command::new(binary().expect("asked before"));
    command.args(["logs", "--otlp-insecure", "--otlp-endpoint", address]);
    if protocol == Protocol::Http {
        command.arg("--otlp-http");
    }
    command.args(["--body", BODY, "--timeout", TIMEOUT]);
    command.args(["--logs".to_owned(), n_records.to_string()]);
    command.args(["--batch-size".to_owned(), RECORDS_A_REQUEST.to_string()]);
    command.args(["--rate".to_owned(), RECORDS_A_SECOND.to_string()]);
    let process = Process::start(scratch, "telemetrygen", command, &[]);
    let progress = Progress::default();
    let mut programs = JoinSet::new();
    let told = progress.clone();
    programs.spawn_blocking(move || {
        let mut words = String::new();
        let status = follow(process, &told, |process| words = process.stderr());
        assert!(status.success(), "it ended with {status}: {words}");
        told.add_done(shape.n_requests);
        Told {
            acknowledged: (0..n_records).collect(),
            ..Told::default()
        }
    });
    Load::of(programs, progress)
}

/// Arrivals by their time, numbered from 0: how many there should be is all that is known.
pub(crate) fn numbered(arrivals: BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    (0..).zip(arrivals.into_values()).collect()
}

/// How the next hop is away.
#[derive(Clone, Copy, PartialEq)]
enum Away {
    Down,
    Unavailable,
}

/// Takes the next hop away for a while when a third of the load has arrived.
async fn run(collector: Collector, fault: &str, away: Away, plan: Plan) -> Row {
    let is_away = Arc::new(AtomicBool::new(false));
    let mut answering = None;
    let mut scene = Scene::before_petrel(collector, plan, |sink| {
        let address = wait::free_address();
        let is_away = Arc::clone(&is_away);
        let choose = move |_| match is_away.load(Ordering::Relaxed) {
            true => Answer::Later(Code::Unavailable, None),
            false => Answer::Pass,
        };
        answering = Some(Answering::start(&address, &sink, choose));
        address
    });
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    let shape = Shape {
        n_requests: N_REQUESTS,
        ..Shape::default()
    };
    let load = scene.load(shape);
    tokio::task::block_in_place(|| {
        wait::until("a third of the load", wait::SOON, || {
            let n_arrived = load::arrivals(scene.arrived()).len() as u64;
            (n_arrived >= N_REQUESTS / 3 * RECORDS_A_REQUEST).then_some(())
        });
    });
    match away {
        Away::Down => scene.relay.set(Wire::Down),
        Away::Unavailable => is_away.store(true, Ordering::Relaxed),
    }
    tokio::time::sleep(AWAY).await;
    is_away.store(false, Ordering::Relaxed);
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    let row = scene.balance(fault, &told);
    let n_postponed = answering.expect("it was started").facts().n_postponed;
    assert_eq!(n_postponed > 0, away == Away::Unavailable);
    row
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for mode in Mode::ALL {
        for protocol in Protocol::ALL {
            for (fault, away) in [
                ("downstream down 1 s", Away::Down),
                ("downstream UNAVAILABLE 1 s", Away::Unavailable),
            ] {
                let plan = Plan::new(mode, Upstream::Telemetrygen(protocol));
                let title = plan.title(fault);
                let row = run(collector, fault, away, plan);
                table.run(&title, row).await;
            }
        }
    }
}
