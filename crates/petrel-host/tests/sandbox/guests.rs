//! The guests under `tests/guests`, built once a process, and loaded.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use petrel_host::{GuestLog, Limits, Meter, Sandbox, WasmModule};

use crate::build;

/// Bytes of the core module of `guest-<name>`, as cargo builds it.
pub(crate) fn wasm(name: &str) -> Vec<u8> {
    static BUILT: LazyLock<PathBuf> =
        LazyLock::new(|| build::rust(&["guest-honest", "guest-evil"]));
    let path = BUILT.join(format!("guest_{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// The guest under [`patient`] limits.
pub(crate) fn load(name: &str) -> WasmModule {
    sandbox().load(&wasm(name), patient()).unwrap()
}

/// Default limits, but time enough for a machine that is busy with other tests: what is not about the
/// deadline must not depend on it.
pub(crate) fn patient() -> Limits {
    Limits {
        call_cpu_max: Duration::from_secs(10),
        call_wall_max: Duration::from_secs(100),
        ..Limits::default()
    }
}
