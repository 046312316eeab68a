//! The `petrel` command: parses arguments, hands over to the library, ends with its exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use petrel::cli::{Cli, Command, DetectorCommand, EXIT_FAILURE};
use petrel::commands;

/// The static binary's: musl's own takes one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(
    clippy::disallowed_methods,
    reason = "this crate decides by the wall clock"
)]
fn main() -> ExitCode {
    let process_start = Instant::now();
    let outcome = match Cli::parse().command {
        Command::Run(args) => petrel::run::run(&args),
        Command::Validate(args) => petrel::validate::validate(&args),
        Command::Config(command) => petrel::validate::config(&command),
        Command::Demo(args) => petrel::demo::demo(&args, process_start),
        Command::Status(args) => commands::status(&args),
        Command::Mode(args) => commands::mode(&args.admin, &args.mode),
        Command::Detector(DetectorCommand::Enable(args)) => commands::switch_detector(&args, true),
        Command::Detector(DetectorCommand::Disable(args)) => {
            commands::switch_detector(&args, false)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("petrel: {error:#}");
        ExitCode::from(EXIT_FAILURE)
    })
}
