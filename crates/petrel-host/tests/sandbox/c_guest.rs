//! The detector of `examples/c-detector`, built as its README says and run on a short story.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use petrel_detector::{
    Batch, Column, Detector, Direction, EventTime, FaultKind, Finding, Level, Module, StreamId,
    Values, Watermark,
};
use petrel_host::Limits;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use crate::guests::sandbox;
use crate::text_guest::CONTRACT;

/// The compiler that was tried; its wheel brings its own C library.
const ZIG: &str = "ziglang==0.17.1";
const FLAGS: [&str; 7] = [
    "--target=wasm32-wasi",
    "-mexec-model=reactor",
    "-O3",
    "-msimd128",
    "-Wl,--strip-debug",
    "-Wl,-z,stack-size=65536",
    "-Werror",
];
const MINUTE: u64 = 60_000_000_000;

#[test]
fn the_c_detector_works() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("c-detector");
    std::fs::create_dir_all(&place).unwrap();
    let wasm = match zig(&place) {
        Ok(python) => build(&python, &place),
        Err(why) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            eprintln!("the C detector was not tested: {why}");
            return;
        }
    };
    let module = sandbox().load(&wasm, Limits::default()).unwrap();
    assert_eq!(module.descriptor().name, "error-burst");

    let mut detector = module.instantiate().unwrap();
    let fault = detector.configure(r#"{"threshold": "high"}"#).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Settings, "{fault}");
    let plan = detector.configure(r#"{"threshold": 5}"#).unwrap();
    assert_eq!(plan.kinds[0].report_from, 5.0);

    let findings = steady_burst_steady(&mut *detector);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let burst = &findings[0];
    assert_eq!(burst.start, EventTime(40 * MINUTE));
    assert_eq!(
        (burst.direction, burst.observed),
        (Direction::Above, Some(50.0))
    );
    assert!(burst.expected.unwrap() < 5.0, "{burst:?}");

    let state = detector.save(StreamId(0)).unwrap();
    let mut heir = module.instantiate().unwrap();
    heir.configure("").unwrap();
    heir.load(StreamId(0), 1, &state).unwrap();
    assert_eq!(heir.save(StreamId(0)).unwrap(), state);
    assert_eq!(heir.status(StreamId(0)).unwrap()[0].level, Level::Ready);
    let fault = heir.load(StreamId(0), 1, &state[1..]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::State, "{fault}");
}

/// Sixty minutes of four errors each, fifty in the fortieth; what is found.
fn steady_burst_steady(detector: &mut dyn Detector) -> Vec<Finding> {
    let mut findings = Vec::new();
    for minute in 1..60 {
        let n_errors = if minute == 40 { 50 } else { 4 };
        let n_rows = n_errors + 20;
        let times = (0..n_rows as u64)
            .map(|row| minute * MINUTE + row)
            .collect();
        let severities = (0..n_rows)
            .map(|row| if row < n_errors { 17 } else { 9 })
            .collect();
        let batch = Batch {
            rows: n_rows as u32,
            columns: vec![
                Column::full(Values::Uint32(vec![0; n_rows].into())),
                Column::full(Values::Uint64(times)),
                Column::full(Values::Uint32(severities)),
            ],
            ..Batch::default()
        };
        findings.extend(detector.observe(&batch).unwrap().findings);
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime(minute * MINUTE),
            completeness: 1.0,
        };
        findings.extend(detector.advance(&[watermark]).unwrap().findings);
        let learning = detector.status(StreamId(0)).unwrap()[0].level == Level::Learning;
        assert_eq!(learning, minute <= 30, "minute {minute}");
    }
    findings
}

/// The Python that has the compiler, or why there is none.
fn zig(place: &Path) -> Result<PathBuf, String> {
    let venv = place.join("venv");
    let python = venv.join("bin/python");
    let has_zig =
        |python: &Path| run(Command::new(python).args(["-m", "ziglang", "version"])).is_ok();
    if !has_zig(&python) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", ZIG]))?;
    }
    Ok(python)
}

fn build(python: &Path, place: &Path) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("detector.wit", CONTRACT).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut files = Files::default();
    let mut bindings = wit_bindgen_c::Opts::default().build();
    bindings.generate(&mut resolve, world, &mut files).unwrap();
    for (name, contents) in files.iter() {
        std::fs::write(place.join(name), contents).unwrap();
    }

    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/c-detector/error_burst.c"
    );
    let mut compiler = Command::new(python);
    compiler
        .args(["-m", "ziglang", "cc"])
        .args(FLAGS)
        .args([
            "-I.",
            example,
            "petrel_detector.c",
            "petrel_detector_component_type.o",
        ])
        .args(["-o", "error_burst.wasm"])
        .env("ZIG_GLOBAL_CACHE_DIR", place.join("zig-cache"))
        .env("ZIG_LOCAL_CACHE_DIR", place.join("zig-cache"))
        .current_dir(place);
    run(&mut compiler).unwrap();
    std::fs::read(place.join("error_burst.wasm")).unwrap()
}

/// Runs a command; what it said when it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{} fails: {}",
        command.get_program().display(),
        said.trim()
    ))
}
