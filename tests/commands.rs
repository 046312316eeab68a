//! The command line: what a person types first, and what is said of a file that is wrong.

use std::process::Output;

use crate::collector::did_not_run;
use crate::process::{Process, Scratch};
use crate::{petrel, story, wait};

/// The ports of OTLP, which `petrel run` takes without a file.
const PORTS: [u16; 2] = [4317, 4318];
const EXIT_INVALID_CONFIG: i32 = 3;

/// `petrel run` alone: OTLP in, anomalies as JSON lines on stdout, and a word about where records go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_without_a_file() {
    if PORTS.into_iter().any(wait::listens) {
        return did_not_run(
            "commands::run_without_a_file",
            "somebody has ports 4317 or 4318",
        );
    }
    let scratch = Scratch::new("run");
    let mut command = petrel::command(&[]);
    command.arg("run");
    let petrel = Process::start(&scratch, "petrel", command, &PORTS);
    let address = format!("127.0.0.1:{}", PORTS[0]);
    story::tell(&address, &story::history()).await;
    story::tell(&address, &story::afterwards()).await;
    let line = wait::until("an anomaly to be printed", wait::SOON, || {
        let out = petrel.stdout();
        let mut lines = out.lines().filter(|line| line.contains(story::NEW));
        lines.next().map(str::to_owned)
    });
    let event: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!(event["event_name"], "anomaly.detected");
    assert_eq!(event["resource"]["service.name"], story::SERVICE);
    for key in ["anomaly.id", "anomaly.type", "anomaly.detector.name"] {
        assert!(event["attributes"][key].is_string(), "no {key}: {event}");
    }
    assert!(event["body"].as_str().is_some_and(|body| !body.is_empty()));
    for line in petrel.stdout().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "nothing but JSON on stdout: {line}");
    }
    let log = petrel.stderr();
    assert!(
        log.contains("no exporter is named: records end here"),
        "{log}"
    );
    assert!(log.contains("--to http://host:4317"), "what to do: {log}");
    assert!(petrel.stop().success());
}

/// Every error of a file at once, each with its place and what to do, and an exit code of its own.
#[test]
fn validate_reports_all_errors_of_a_file() {
    let scratch = Scratch::new("validate");
    let file = scratch.write(
        "petrel.yaml",
        "\
receivers: {otlp: {protocols: {grpc: {endpoint: 'localhost:4317'}}}}
exporters:
  otlp_grpc: {endpoint: 'localhost:14317', tls: {insecure: true}, timeout: soon}
enrichmnt: template
workers: many
detectors:
  directory: /nowhere/at/all
  novelty: {no_such_setting: 1}
  nonesuch: {}
",
    );
    let output = run("validate", &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(EXIT_INVALID_CONFIG), "{said}");
    let file_name = file.display();
    for (line, column, about) in [(3, 76, "timeout"), (4, 1, "enrichmnt"), (5, 10, "workers")] {
        let place = format!("{file_name}:{line}:{column}: ");
        let reported = said.lines().find(|line| line.contains(&place));
        assert!(
            reported.is_some_and(|line| line.contains(about)),
            "{place}{about} is missing:\n{said}"
        );
    }
    assert!(said.contains("help: "), "what to do is missing:\n{said}");
    assert!(
        said.contains("did you mean"),
        "a near miss is named:\n{said}"
    );
    assert!(said.contains("6 errors"), "{said}");

    let output = run("run", &file);
    assert_eq!(output.status.code(), Some(EXIT_INVALID_CONFIG));
}

/// What only the machine can tell is checked too: directories, modules, the detectors' own settings.
#[test]
fn validate_asks_detectors_and_directories() {
    let scratch = Scratch::new("validate");
    let directory = scratch.directory("detectors");
    std::fs::write(directory.join("broken.wasm"), "no module").expect("it is writable");
    let state = scratch.write("a-file", "");
    let (directory, state) = (directory.display(), state.display());
    let file = scratch.write(
        "petrel.yaml",
        format!(
            "\
detectors:
  directory: {directory}
  novelty: {{no_such_setting: 1}}
  nonesuch: {{}}
state: {{directory: {state}}}
"
        ),
    );
    let output = run("validate", &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(EXIT_INVALID_CONFIG), "{said}");
    let file_name = file.display();
    for (place, about) in [
        ("2:14", "broken.wasm"),
        ("3:13", "no_such_setting"),
        ("4:3", "no detector is named nonesuch"),
        ("5:20", "is no directory"),
    ] {
        let reported = said.contains(&format!("{file_name}:{place}: ")) && said.contains(about);
        assert!(reported, "{place} {about} is missing:\n{said}");
    }
    assert!(said.contains("4 errors"), "{said}");
}

#[test]
fn validate_accepts_a_good_file() {
    let scratch = Scratch::new("validate");
    let file = scratch.write("petrel.yaml", "enrichment: id\n");
    let output = run("validate", &file);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("petrel.yaml: valid"), "{said}");
    assert!(said.contains("no exporter is named"), "{said}");
}

/// Runs a subcommand on a file until it ends.
fn run(subcommand: &str, file: &std::path::Path) -> Output {
    let mut command = petrel::command(&[]);
    command.arg(subcommand).arg("-c").arg(file);
    command.output().expect("the binary under test runs")
}
