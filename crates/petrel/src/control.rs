//! How much Petrel does, as it may be switched while it runs without touching the configuration. It lasts
//! until it is taken back; where state is kept, over restarts too.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::config::Mode;
use crate::telemetry::name;

/// The switch, shared by all requests.
#[derive(Debug)]
pub struct Control {
    configured: AtomicU8,
    /// [`NOT_SET`], or a mode in place of the configured one.
    switched: AtomicU8,
    turn: Mutex<()>,
}

const NOT_SET: u8 = u8::MAX;

impl Control {
    /// Switched to a mode, or nothing is.
    #[must_use]
    pub fn new(configured: Mode, switched: Option<Mode>) -> Self {
        let control = Self {
            configured: AtomicU8::new(index(configured)),
            switched: AtomicU8::new(switched.map_or(NOT_SET, index)),
            turn: Mutex::new(()),
        };
        control.report();
        control
    }

    /// How much Petrel does now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let configured = || mode(self.configured.load(Ordering::Relaxed));
        self.switched().unwrap_or_else(configured)
    }

    /// The mode that somebody switched to, in place of the configured one.
    #[must_use]
    pub fn switched(&self) -> Option<Mode> {
        match self.switched.load(Ordering::Relaxed) {
            NOT_SET => None,
            switched => Some(mode(switched)),
        }
    }

    /// Whoever switches something, or brings another configuration into force, does so while it holds
    /// this: one at a time.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The configuration says something else from now on.
    pub fn set_configured(&self, mode: Mode) {
        self.configured.store(index(mode), Ordering::Relaxed);
        self.report();
    }

    /// Switches to a mode, or back to the configured one.
    pub fn switch(&self, mode: Option<Mode>) {
        self.switched
            .store(mode.map_or(NOT_SET, index), Ordering::Relaxed);
        self.report();
    }

    fn report(&self) {
        let now = self.mode();
        for mode in Mode::ALL {
            let value = if mode == now { 1.0 } else { 0.0 };
            metrics::gauge!(name::MODE, "mode" => mode.name()).set(value);
        }
    }
}

fn index(mode: Mode) -> u8 {
    Mode::ALL
        .iter()
        .position(|known| *known == mode)
        .map_or(0, |index| index as u8)
}

fn mode(index: u8) -> Mode {
    Mode::ALL
        .get(usize::from(index))
        .copied()
        .unwrap_or(Mode::Enrich)
}

/// Says by a metric whether a detector is switched off.
pub fn report_detector(detector: &str, is_on: bool) {
    let value = if is_on { 0.0 } else { 1.0 };
    metrics::gauge!(name::DETECTOR_OFF, "detector" => detector.to_owned()).set(value);
}
