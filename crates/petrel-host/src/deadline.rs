//! How long a call may run: CPU time of the calling thread, with wall time as a backstop.
//!
//! Wall time alone would punish a guest for a busy machine. The two clocks are read nowhere else in
//! this crate, and never reach a guest.

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{EngineWeak, UpdateDeadline};

use crate::Limits;
use crate::limits::TICK;

/// The time that a call has used, read at each tick of the engine's epoch.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    /// Clocks at the call's first tick; most calls end before it and read no clock at all.
    first_tick: Option<Clocks>,
}

#[derive(Clone, Copy, Debug)]
struct Clocks {
    cpu: Duration,
    wall: Duration,
}

impl Deadline {
    /// A call begins.
    pub(crate) fn arm(&mut self) {
        self.first_tick = None;
    }

    /// Whether the call may go on for another tick.
    pub(crate) fn tick(&mut self, limits: &Limits) -> UpdateDeadline {
        let now = Clocks::read();
        let first_tick = self.first_tick.get_or_insert(now);
        let cpu = now.cpu.saturating_sub(first_tick.cpu);
        let wall = now.wall.saturating_sub(first_tick.wall);
        if cpu >= limits.call_cpu_max || wall >= limits.call_wall_max {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

impl Clocks {
    fn read() -> Self {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        Self {
            cpu: read(ClockId::ThreadCPUTime),
            wall: read(ClockId::Monotonic),
        }
    }
}

/// Moves the engine's epoch on every [`TICK`] for as long as anything of the engine lives.
///
/// # Errors
/// What the operating system says when it has no thread to give.
pub(crate) fn start_ticking(engine: EngineWeak) -> std::io::Result<()> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new()
        .name("petrel-epoch".into())
        .spawn(tick)
        .map(drop)
}
