//! The Python SDK before Petrel: a program that says which records its exporter reported as exported.

use std::ffi::OsString;
use std::process::Command;

use tokio::task::JoinSet;

use super::follow;
use crate::load::{Load, Progress, Shape, Told};
use crate::process::{Process, Scratch};
use crate::scene::Protocol;

const VARIABLE: &str = "PETREL_TEST_PYTHON";
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/conformance/load.py"
);

/// A Python with the SDK.
///
/// # Errors
/// When none is named.
pub(crate) fn interpreter() -> Result<OsString, String> {
    std::env::var_os(VARIABLE).ok_or(format!("{VARIABLE} names no Python with the SDK"))
}

/// Starts the program, with as many providers as the shape has senders.
pub(crate) fn load(scratch: &Scratch, protocol: Protocol, address: &str, shape: Shape) -> Load {
    let endpoint = match protocol {
        Protocol::Grpc => address.to_owned(),
        Protocol::Http => format!("http://{address}/v1/logs"),
    };
    let mut command = Command::new(interpreter().expect("asked before"));
    command.arg(PROGRAM).arg(endpoint);
    command.args([shape.first_request, shape.n_requests, shape.n_senders].map(|n| n.to_string()));
    command.args([shape.timeout, shape.pause].map(|it| it.as_secs_f64().to_string()));
    let process = Process::start(scratch, "python", command, &[]);
    let progress = Progress::default();
    let mut programs = JoinSet::new();
    let told = progress.clone();
    programs.spawn_blocking(move || outcome(process, &told));
    Load::of(programs, progress)
}

fn outcome(process: Process, progress: &Progress) -> Told {
    let mut told = Told::default();
    let mut n_read = 0;
    let status = follow(process, progress, |process| {
        let output = process.stdout();
        // A line may be half written.
        let lines = output[n_read..].split_inclusive('\n');
        for line in lines.take_while(|line| line.ends_with('\n')) {
            n_read += line.len();
            let (result, numbers) = line.split_once(' ').expect("a result and numbers");
            match result {
                "acknowledged" => {
                    let numbers = numbers.split_whitespace().map(str::parse);
                    let numbers: Result<Vec<u64>, _> = numbers.collect();
                    told.acknowledged.extend(numbers.expect("numbers"));
                    progress.add_done(1);
                }
                "failed" => told.n_retried += 1,
                _ => panic!("{line} is no result"),
            }
        }
    });
    assert!(status.success(), "it ended with {status}");
    told
}
