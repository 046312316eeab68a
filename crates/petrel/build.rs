//! Compiles the four built-in detectors to WASM, in a target directory of their own, for `builtin.rs`
//! to embed. Paths are mapped away so that the same sources give the same digests on every machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const DETECTORS: [&str; 4] = ["frequency", "latency", "novelty", "silence"];
const TARGET: &str = "wasm32-unknown-unknown";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let workspace = manifest
        .join("../..")
        .canonicalize()
        .expect("the workspace exists");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    // OUT_DIR is <target>/<profile>/build/<package>/out: one build serves all profiles.
    let target_dir = out
        .ancestors()
        .nth(4)
        .unwrap_or(&out)
        .join("wasm-detectors");

    for part in [
        "Cargo.toml",
        "Cargo.lock",
        "wasm-detectors",
        "crates/petrel-detector",
        "crates/petrel-batch",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(part).display());
    }
    build(&workspace, &target_dir);
    for detector in DETECTORS {
        let module = target_dir
            .join(TARGET)
            .join("guest")
            .join(format!("{detector}.wasm"));
        let name = detector.to_uppercase();
        println!("cargo::rustc-env=PETREL_WASM_{name}={}", module.display());
    }
}

fn build(workspace: &Path, target_dir: &Path) {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = vec![format!(
        "--remap-path-prefix={}=petrel",
        workspace.display()
    )];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    let mut command = Command::new(env::var_os("CARGO").expect("set by cargo"));
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--lib"]);
    command
        .args(["--target", TARGET, "--profile", "guest", "--target-dir"])
        .arg(target_dir);
    for detector in DETECTORS {
        command.args(["--package", detector]);
    }
    // What the outer build sets for its own compiler (clippy, coverage, flags) is not for guests.
    for variable in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(variable);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let status = command.status().expect("cargo can be started");
    assert!(
        status.success(),
        "the detectors did not compile to WASM; if the target is missing, \
         `rustup target add {TARGET}` installs it"
    );
}
