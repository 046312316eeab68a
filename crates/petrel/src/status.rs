//! What `petrel status` shows: the whole of a running Petrel on one page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use petrel_otlp::receive::Admission;
use serde::Serialize;
use tokio::time::Instant;

use crate::analysis::AnalysisStatus;
use crate::config::Mode;
use crate::control::{Control, report_detector};
use crate::delivery::QueueStatus;
use crate::inline::Inline;
use crate::limiter::resident_bytes;
use crate::persist::{self, Switches};
use crate::running::Running;
use crate::store::Store;
use crate::telemetry::name;
use crate::ways::ExporterStatus;

/// Version of the JSON that the admin endpoint answers with.
const SCHEMA_VERSION: u32 = 1;

/// Where the status comes from.
#[derive(Clone, Debug)]
pub struct Source {
    inline: Arc<Inline>,
    control: Arc<Control>,
    admission: Admission,
    store: Option<Arc<Store>>,
    began: Instant,
    refused_reload: Arc<Mutex<Option<String>>>,
}

/// A running Petrel at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of this JSON.
    pub schema_version: u32,
    /// Of Petrel.
    pub version: &'static str,
    /// `enrich`, `observe` or `off`.
    pub mode: &'static str,
    /// Whether a switch has set the mode in place of the configuration.
    pub mode_is_switched: bool,
    /// Since it takes requests.
    pub uptime_seconds: u64,
    /// Why the configuration that was read last is not in force; none = it is.
    pub refused_reload: Option<String>,
    /// Detectors that are switched off.
    pub detectors_off: BTreeSet<String>,
    /// What is in flight and how much memory it all takes.
    pub load: Load,
    /// Where requests go, by exporter.
    pub exporters: BTreeMap<String, ExporterStatus>,
    /// What waits to be sent, by exporter.
    pub queues: BTreeMap<String, QueueStatus>,
    /// Streams and detectors.
    pub detection: AnalysisStatus,
}

/// What is in flight and how much memory it all takes.
#[derive(Debug, Serialize)]
pub struct Load {
    /// Requests that have not been answered.
    pub requests_in_flight: usize,
    /// Their bytes.
    pub bytes_in_flight: usize,
    /// Bytes that may be in flight.
    pub bytes_in_flight_max: usize,
    /// Whether the memory limiter refuses requests now.
    pub memory_is_short: bool,
    /// Memory of the process in RAM; none where the system does not say.
    pub resident_bytes: Option<u64>,
}

impl Source {
    /// The status of what runs.
    #[must_use]
    pub fn of(running: &Running) -> Self {
        Self {
            inline: running.inline(),
            control: running.control(),
            admission: running.admission(),
            store: running.store(),
            began: Instant::now(),
            refused_reload: Arc::default(),
        }
    }

    /// The configuration was read again: why it is not in force, or none when it is.
    pub fn reloaded(&self, refused: Option<String>) {
        *self.refused_reload() = refused;
    }

    fn refused_reload(&self) -> MutexGuard<'_, Option<String>> {
        let refused = self.refused_reload.lock();
        refused.unwrap_or_else(PoisonError::into_inner)
    }

    /// The mode, and whether a switch has set it in place of the configuration.
    #[must_use]
    pub fn mode(&self) -> (Mode, bool) {
        (self.control.mode(), self.control.switched().is_some())
    }

    /// Switches to a mode, or back to the configured one; whether that outlives the process.
    pub async fn switch_mode(&self, mode: Option<Mode>) -> bool {
        let _turn = self.control.turn().await;
        self.control.switch(mode);
        self.keep_switches().await
    }

    /// Switches a detector off or on; whether that outlives the process.
    ///
    /// # Errors
    /// When none of that name runs, and none is switched off.
    pub async fn switch_detector(&self, detector: &str, is_on: bool) -> Result<bool, String> {
        let _turn = self.control.turn().await;
        let analysis = Arc::clone(&self.inline.pipeline().analysis);
        analysis.set_detector_enabled(detector, is_on).await?;
        report_detector(detector, is_on);
        Ok(self.keep_switches().await)
    }

    /// Writes what is switched, so that it holds after a restart too, where state is kept; whether it is
    /// written. It is in force in any case.
    async fn keep_switches(&self) -> bool {
        let Some(store) = &self.store else {
            return false;
        };
        let switches = Switches {
            mode: self.control.switched().map(|mode| mode.name().to_owned()),
            detectors_off: self.inline.pipeline().analysis.disabled_detectors(),
        };
        let written = persist::write_switches(Arc::clone(store), switches).await;
        if let Err(error) = &written {
            tracing::error!(
                "what was switched is forgotten at a restart, it could not be written: {error:#}"
            );
            metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
        }
        written.is_ok()
    }

    /// How it is now.
    pub async fn status(&self) -> Status {
        let pipeline = self.inline.pipeline();
        let (mode, mode_is_switched) = self.mode();
        let refused_reload = self.refused_reload().clone();
        Status {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            mode: mode.name(),
            mode_is_switched,
            uptime_seconds: self.began.elapsed().as_secs(),
            refused_reload,
            detectors_off: pipeline.analysis.disabled_detectors(),
            load: Load {
                requests_in_flight: self.admission.n_requests(),
                bytes_in_flight: self.admission.in_flight(),
                bytes_in_flight_max: self.admission.bytes_max(),
                memory_is_short: self.admission.has_pressure(),
                resident_bytes: resident_bytes(),
            },
            exporters: pipeline.ways.exporters(),
            queues: pipeline.ways.queues(),
            detection: pipeline.analysis.status().await,
        }
    }
}
