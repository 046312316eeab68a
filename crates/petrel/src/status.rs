//! What `petrel status` shows: the whole of a running Petrel on one page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use petrel_otlp::receive::Admission;
use serde::Serialize;

use crate::analysis::AnalysisStatus;
use crate::control::{Control, report_detector};
use crate::delivery::QueueStatus;
use crate::inline::Inline;
use crate::limiter::resident_bytes;
use crate::running::Running;

/// Version of the JSON that the admin endpoint answers with.
const SCHEMA_VERSION: u32 = 1;

/// Where the status comes from.
#[derive(Clone, Debug)]
pub struct Source {
    inline: Arc<Inline>,
    control: Arc<Control>,
    admission: Admission,
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
    /// Detectors that are switched off.
    pub detectors_off: BTreeSet<String>,
    /// What is in flight and how much memory it all takes.
    pub load: Load,
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
        }
    }

    /// The switches.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Switches a detector off or on.
    ///
    /// # Errors
    /// When none of that name runs.
    pub async fn switch_detector(&self, detector: &str, is_on: bool) -> Result<(), String> {
        let analysis = Arc::clone(&self.inline.pipeline().analysis);
        analysis.set_detector_enabled(detector, is_on).await?;
        report_detector(detector, is_on);
        Ok(())
    }

    /// How it is now.
    pub async fn status(&self) -> Status {
        let pipeline = self.inline.pipeline();
        Status {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            mode: self.control.mode().name(),
            mode_is_switched: self.control.is_switched(),
            detectors_off: pipeline.analysis.disabled_detectors(),
            load: Load {
                requests_in_flight: self.admission.n_requests(),
                bytes_in_flight: self.admission.in_flight(),
                bytes_in_flight_max: self.admission.bytes_max(),
                memory_is_short: self.admission.has_pressure(),
                resident_bytes: resident_bytes(),
            },
            queues: pipeline.ways.queues(),
            detection: pipeline.analysis.status().await,
        }
    }
}
