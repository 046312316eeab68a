//! Broken configurations, each with what is said of it beside it, and what `petrel validate` and
//! `petrel config` print and end with.
//!
//! `PETREL_UPDATE_GOLDEN=1 cargo test -p petrel --test configurations` writes the texts anew: read them
//! as an operator would at night, then commit them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use petrel::config::{Reading, Severity, render, to_json};
use petrel::validate::check;

/// What stands for every secret in the corpus.
const SECRET: &str = "SECRET";

fn corpus() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bad_configs");
    let listed = std::fs::read_dir(directory).expect("the corpus is part of the repository");
    let paths = listed.map(|entry| entry.expect("a readable directory").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    paths
}

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "IP" => "::1",
        "TOKEN" => "SECRET-token",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A file of the corpus and what is said of it.
struct Case {
    path: PathBuf,
    name: String,
    source: String,
    reading: Reading,
}

/// All of them, read once: detectors are compiled for some.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| corpus().into_iter().map(read).collect())
}

fn read(path: PathBuf) -> Case {
    let source = std::fs::read_to_string(&path).expect("a text file");
    let name = path.file_name().expect("it has a name").to_string_lossy();
    Case {
        name: name.into_owned(),
        reading: check(&source, &variable),
        source,
        path,
    }
}

#[test]
fn every_broken_configuration_is_explained() {
    const FILES_MIN: usize = 40;
    assert!(cases().len() >= FILES_MIN);
    let is_update = std::env::var_os("PETREL_UPDATE_GOLDEN").is_some();
    let mut stale = Vec::new();
    for case in cases() {
        let Case {
            path,
            name,
            reading,
            ..
        } = case;
        let text = render(&reading.diagnostics, name, &reading.shown, false);
        let golden = path.with_extension("txt");
        if is_update {
            std::fs::write(&golden, &text).expect("it can be written");
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != text {
            stale.push(format!("{}:\n{text}", golden.display()));
        }
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn every_error_has_a_place_an_excerpt_and_advice() {
    for case in cases() {
        let Case {
            name,
            source,
            reading,
            ..
        } = case;
        assert!(reading.has_errors(), "{name} is right");
        for error in reading.of(Severity::Error) {
            let (line, column) = error
                .position(source)
                .expect("errors of a file have a place");
            let alone = render(std::slice::from_ref(error), name, &reading.shown, false);
            assert!(
                alone.contains(&format!("{name}:{line}:{column}: ")),
                "{alone}"
            );
            assert!(
                alone.contains(&format!(" {line} │ ")),
                "no excerpt:\n{alone}"
            );
            assert!(error.help.is_some(), "what to do?\n{alone}");
        }
    }
}

#[test]
fn secrets_are_never_shown() {
    let mut n_files = 0;
    for case in cases() {
        let Case {
            name,
            source,
            reading,
            ..
        } = case;
        n_files += usize::from(source.contains(SECRET));
        let text = render(&reading.diagnostics, name, &reading.shown, false);
        let json = to_json(&reading.diagnostics, name, source);
        let debug = format!("{:?}", (&reading.diagnostics, &reading.config.exporters));
        for shown in [text, json, debug] {
            assert!(!shown.contains(SECRET), "{name}:\n{shown}");
        }
    }
    assert!(n_files >= 10, "the corpus has secrets in it");
}

fn petrel(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_petrel"));
    command.args(arguments).arg("-c").arg(file).env_clear();
    command.output().expect("the binary runs")
}

/// A file with a content; both are gone once the test ends.
fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), content).expect("it can be written");
    file
}

#[test]
fn validate_speaks_json_and_ends_with_its_codes() {
    let bad = file("mode: obsrve\nworkers: 0\n");
    let output = petrel(&["validate", "-o", "json"], bad.path());
    assert_eq!(output.status.code(), Some(3));
    let array: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(array.as_array().map(Vec::len), Some(2));
    assert_eq!(array[0]["code"], "PTL-C005");
    assert_eq!(array[0]["severity"], "error");
    assert_eq!(
        (&array[0]["line"], &array[0]["column"]),
        (&1.into(), &7.into())
    );
    assert!(
        array[0]["help"]
            .as_str()
            .is_some_and(|help| help.contains("observe"))
    );

    let odd = file("receivers: {otlp: {protocols: {http: {endpoint: '0.0.0.0:0'}}}}\n");
    let output = petrel(&["validate"], odd.path());
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("PTL-W003") && said.contains("1 warning in"),
        "{said}"
    );
    let output = petrel(&["validate", "--deny-warnings"], odd.path());
    assert_eq!(output.status.code(), Some(4));

    let noted = file("exporters: {otlp_grpc: {endpoint: 'http://localhost:1'}}\n");
    let output = petrel(&["validate", "--deny-warnings"], noted.path());
    assert_eq!(output.status.code(), Some(0), "notes are no warnings");
}

#[test]
fn what_holds_is_printed_and_valid() {
    let secret = file(
        "exporters: {otlp_grpc: {endpoint: 'https://a:1', headers: {x-key: SECRET}}}\nmode: observe\n",
    );
    let output = petrel(&["config", "print"], secret.path());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text.contains("mode: observe") && text.contains("[redacted]"),
        "{text}"
    );
    assert!(!text.contains(SECRET), "{text}");
    let printed = file(&text);
    assert_eq!(
        petrel(&["validate"], printed.path()).status.code(),
        Some(0),
        "{text}"
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_petrel"));
    let output = command
        .args(["config", "default"])
        .output()
        .expect("the binary runs");
    let default = file(&String::from_utf8_lossy(&output.stdout));
    let validated = petrel(&["validate", "--deny-warnings"], default.path());
    assert_eq!(validated.status.code(), Some(0), "{validated:?}");

    let bad = file("mode: obsrve\n");
    assert_eq!(
        petrel(&["config", "print"], bad.path()).status.code(),
        Some(3)
    );
}
