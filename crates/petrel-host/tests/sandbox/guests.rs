//! Builds the guests under `tests/guests` as an author would, once a process, and loads them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use petrel_host::{GuestLog, Limits, Meter, Sandbox, WasmModule};

/// Bytes of the core module of `guest-<name>`, as cargo builds it.
pub(crate) fn wasm(name: &str) -> Vec<u8> {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    let path = BUILT.join(format!("guest_{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A target directory of its own: the one that runs these tests is locked by the cargo that does.
fn build() -> PathBuf {
    const GUESTS: [&str; 2] = ["guest-honest", "guest-evil"];
    let target_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--target",
            "wasm32-unknown-unknown",
            "--profile",
            "guest",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args(GUESTS.iter().flat_map(|guest| ["-p", guest]))
        .env("CARGO_TARGET_DIR", &target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the guests do not build: {status}");
    target_dir.join("wasm32-unknown-unknown/guest")
}

/// What guests wrote.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl GuestLog for Lines {
    fn line(&self, detector: &str, line: &str) {
        self.0.lock().unwrap().push(format!("{detector}: {line}"));
    }

    fn dropped(&self, detector: &str, n_lines: u32) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{detector}: {n_lines} dropped"));
    }
}

/// A sandbox for all tests, as a process has one; what its guests write goes nowhere.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: LazyLock<Sandbox> =
        LazyLock::new(|| Sandbox::new(Meter::CpuTime, Arc::new(Lines::default())).unwrap());
    &SANDBOX
}

/// The guest under default limits.
pub(crate) fn load(name: &str) -> WasmModule {
    sandbox().load(&wasm(name), Limits::default()).unwrap()
}
