//! Commands that talk to a running Petrel over its admin endpoint.

mod client;
mod show;

use std::process::ExitCode;

use crate::admin::{SwitchDetector, SwitchMode};
use crate::cli::{AdminArgs, EXIT_UNREACHABLE, Output, StatusArgs, SwitchArgs};
use crate::validate::print;
use client::{Answer, Client};

/// `petrel status`.
///
/// # Errors
/// When the answer is none that can be read.
pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let answer = client(&args.admin)?.get("/api/v1/status");
    finish(&args.admin, answer, |status| match args.output {
        Output::Json => print(&format!("{status:#}\n")),
        Output::Text => print(&show::text(status)),
    })
}

/// `petrel mode`.
///
/// # Errors
/// When the answer is none that can be read.
pub fn mode(admin: &AdminArgs, mode: &str) -> anyhow::Result<ExitCode> {
    let wanted = SwitchMode {
        mode: Some(mode.to_owned()).filter(|mode| mode != "configured"),
    };
    let answer = client(admin)?.post("/api/v1/mode", &wanted);
    finish(admin, answer, |answer| {
        let mode = answer["mode"].as_str().unwrap_or_default();
        let until = until(answer, answer["mode_is_switched"] == true);
        print(&format!("mode: {mode}{until}\n"))
    })
}

/// `petrel detector enable` and `disable`.
///
/// # Errors
/// When the answer is none that can be read.
pub fn switch_detector(args: &SwitchArgs, enabled: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/detectors/{}", args.name);
    let answer = client(&args.admin)?.post(&path, &SwitchDetector { enabled });
    finish(&args.admin, answer, |answer| {
        let now = if enabled { "on" } else { "off" };
        let until = until(answer, !enabled);
        print(&format!("detector {} is {now}{until}\n", args.name))
    })
}

/// How long a switch lasts, where that is not until it is taken back.
fn until(answer: &serde_json::Value, is_switched: bool) -> &'static str {
    match is_switched && answer["is_kept"] == false {
        true => " until Petrel ends (state.directory would keep it over restarts)",
        false => "",
    }
}

fn client(admin: &AdminArgs) -> anyhow::Result<Client> {
    Client::new(&admin.admin)
}

/// Shows an answer, or says why there is none, with the exit code that this has.
fn finish(
    admin: &AdminArgs,
    answer: anyhow::Result<Answer>,
    show: impl FnOnce(&serde_json::Value) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(Answer::Done(value)) => {
            show(&value)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Answer::Refused(reason)) => anyhow::bail!("{reason}"),
        Err(error) => {
            eprintln!(
                "petrel: nobody answers at {}: {error:#}\n  is it running here, and is \
                 telemetry.admin.endpoint that address? (--admin HOST:PORT)",
                admin.admin
            );
            Ok(ExitCode::from(EXIT_UNREACHABLE))
        }
    }
}
