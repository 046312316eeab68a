//! Builds guests as their authors would: those in Rust with cargo, the one in C as its README says. The
//! end-to-end tests include this file and share what it builds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// The contract, as authors get it.
pub(crate) const CONTRACT: &str = include_str!("../../../petrel-detector/wit/detector.wit");

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

/// Builds packages of this workspace; the directory with their modules.
///
/// A target directory of its own: the one that runs these tests is locked by the cargo that does.
pub(crate) fn rust(packages: &[&str]) -> PathBuf {
    let target_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--target",
            "wasm32-unknown-unknown",
            "--profile",
            "guest",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .env("CARGO_TARGET_DIR", &target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the guests do not build: {status}");
    target_dir.join("wasm32-unknown-unknown/guest")
}

/// The module of `examples/c-detector`, or why there is no compiler for it.
///
/// # Panics
/// Where CI=true and there is none, and when there is one and it fails.
pub(crate) fn c_detector() -> Result<Vec<u8>, String> {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("c-detector");
    std::fs::create_dir_all(&place).expect("the target directory is writable");
    match zig(&place) {
        Ok(python) => Ok(c(&python, &place)),
        Err(why) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            Err(why)
        }
    }
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

fn c(python: &Path, place: &Path) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("detector.wit", CONTRACT)
        .expect("the contract can be read");
    let world = resolve
        .select_world(&[package], None)
        .expect("the contract has one world");
    let mut files = Files::default();
    let mut bindings = wit_bindgen_c::Opts::default().build();
    bindings
        .generate(&mut resolve, world, &mut files)
        .expect("the contract can be written in C");
    for (name, contents) in files.iter() {
        std::fs::write(place.join(name), contents).expect("the target directory is writable");
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
    if let Err(said) = run(&mut compiler) {
        panic!("the C detector does not build: {said}");
    }
    std::fs::read(place.join("error_burst.wasm")).expect("the compiler has written it")
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
