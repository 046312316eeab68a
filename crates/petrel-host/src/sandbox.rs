//! The engine that compiles guests and ticks their deadlines.

use std::sync::Arc;

use wasmtime::{Config, Engine, WasmBacktraceDetails};

use crate::deadline::start_ticking;
use crate::limits::STACK_BYTES_MAX;
use crate::load::{LoadError, load};
use crate::{GuestLog, Limits, WasmModule};

/// Compiles modules and keeps the time of their instances. One a process is enough for each [`Meter`].
pub struct Sandbox {
    engine: Engine,
    meter: Meter,
    log: Arc<dyn GuestLog>,
}

/// What ends a call that does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// CPU time: live, where a request must not wait.
    CpuTime,
    /// Fuel, the same on every machine: replay.
    Fuel,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This machine cannot run what the compiler makes.
    #[error("the WASM engine does not start: {0}")]
    Engine(String),
    /// The thread that ticks deadlines could not be started.
    #[error("no thread for deadlines: {0}")]
    Ticker(#[from] std::io::Error),
}

impl Sandbox {
    /// A sandbox whose guests write to `log`.
    ///
    /// # Errors
    /// [`SandboxError`] when the engine or its thread do not start.
    pub fn new(meter: Meter, log: Arc<dyn GuestLog>) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config(meter))
            .map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        if meter == Meter::CpuTime {
            start_ticking(engine.weak())?;
        }
        Ok(Self { engine, meter, log })
    }

    /// Checks and compiles a module: a component, or a core module as the compilers make it, which is
    /// wrapped into one.
    ///
    /// Takes a fifth of a second for a Rust or C module, seconds where a language brings its runtime.
    ///
    /// # Errors
    /// [`LoadError`] saying what is wrong with the module and, where it is known, what to do.
    pub fn load(&self, bytes: &[u8], limits: Limits) -> Result<WasmModule, LoadError> {
        load(
            &self.engine,
            self.meter,
            limits,
            Arc::clone(&self.log),
            bytes,
        )
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

fn config(meter: Meter) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(meter == Meter::CpuTime)
        .consume_fuel(meter == Meter::Fuel)
        // Without it there are no fibers, and a call runs on its caller's stack.
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // One NaN on all machines; costs nothing that could be measured.
        .cranelift_nan_canonicalization(true)
        // What relaxed instructions leave to the machine is settled the same way on all.
        .relaxed_simd_deterministic(true);
    config
}
