//! How detection is doing, as plain values: what `petrel status` shows.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use petrel_batch::EventTime;
use petrel_engine::{DetectorHealth, StreamStatus, WorkerStatus};
use serde::Serialize;

use super::{Analysis, Counts, SLOTS_KIB, lock};

/// Streams that a status tells of at most; of the rest it gives the number.
pub const STREAMS_TOLD_MAX: usize = 1_000;

/// How detection is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AnalysisStatus {
    /// Event time that the input as a whole has reached, ns.
    pub frontier: EventTime,
    /// Number of workers.
    pub n_workers: usize,
    /// Workers that did not answer.
    pub workers_gone: usize,
    /// Share of the room for requests in detection that is taken, 0 to 1.
    pub in_use: f64,
    /// What became of records since the start.
    pub totals: Totals,
    /// The detectors by name.
    pub detectors: Vec<DetectorOverall>,
    /// Streams, the one with the newest event first, at most [`STREAMS_TOLD_MAX`].
    pub streams: Vec<StreamStatus>,
    /// Streams that are left out for the bound.
    pub streams_omitted: usize,
}

/// What became of records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Records that detection has taken, retries included.
    pub records: u64,
    /// Records that came before: enriched as before, not learnt.
    pub retries: u64,
    /// Of these, records that went on without attributes, since what they had got was forgotten.
    pub retries_unenriched: u64,
    /// Below their stream's watermark; detectors saw them.
    pub late: u64,
    /// Skipped: too late for use.
    pub too_late: u64,
    /// Skipped: too far ahead of their stream to be believed.
    pub too_far_ahead: u64,
    /// Not seen by some detector, since the request's time was used up; once for each detector.
    pub over_budget: u64,
    /// Not judged, since their requests found no turn in time.
    pub missed: u64,
    /// Anomalies detected.
    pub detected: u64,
    /// Streams that made room for others.
    pub streams_evicted: u64,
}

/// How a detector is doing in all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DetectorOverall {
    /// How it is doing in the worker in which it does worst.
    #[serde(flatten)]
    pub worst: DetectorHealth,
    /// Number of workers in which it is in that health.
    pub n_workers: usize,
}

impl Analysis {
    /// How detection is doing, once each worker has dealt with what it has been handed.
    pub async fn status(&self) -> AnalysisStatus {
        let mut workers = Vec::new();
        let mut workers_gone = 0;
        for worker in 0..self.n_workers() {
            let asked = self
                .workers
                .control(worker, |worker| worker.status(STREAMS_TOLD_MAX));
            match asked.await {
                Some(status) => workers.push(status),
                None => workers_gone += 1,
            }
        }
        let free = self.slots.available_permits() as f64 / SLOTS_KIB as f64;
        AnalysisStatus {
            frontier: self.frontier(),
            n_workers: self.n_workers(),
            workers_gone,
            in_use: 1.0 - free,
            totals: self.totals(),
            ..joined(workers)
        }
    }

    /// What was counted since the process began, for the analysis that comes next.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    fn totals(&self) -> Totals {
        let tally = lock(&self.counts.totals);
        Totals {
            records: tally.rows,
            retries: tally.retries,
            retries_unenriched: tally.retries_unenriched,
            late: tally.late,
            too_late: tally.beyond_use,
            too_far_ahead: tally.in_doubt,
            over_budget: tally.over_budget,
            missed: self.counts.missed.load(Ordering::Relaxed),
            detected: tally.detected.values().sum(),
            streams_evicted: tally.streams_evicted,
        }
    }
}

fn joined(workers: Vec<WorkerStatus>) -> AnalysisStatus {
    let mut status = AnalysisStatus::default();
    let mut detectors: BTreeMap<_, DetectorOverall> = BTreeMap::new();
    for worker in workers {
        status.streams.extend(worker.streams);
        status.streams_omitted += worker.streams_omitted;
        for health in worker.detectors {
            match detectors.get_mut(&health.name) {
                Some(overall) if overall.worst.health == health.health => overall.n_workers += 1,
                Some(overall) if badness(&overall.worst) > badness(&health) => {}
                _ => {
                    let name = health.name.clone();
                    let overall = DetectorOverall {
                        worst: health,
                        n_workers: 1,
                    };
                    detectors.insert(name, overall);
                }
            }
        }
    }
    status.detectors = detectors.into_values().collect();
    status
        .streams
        .sort_by_key(|stream| (Reverse(stream.newest), stream.id.clone()));
    status.streams_omitted += status.streams.len().saturating_sub(STREAMS_TOLD_MAX);
    status.streams.truncate(STREAMS_TOLD_MAX);
    status
}

fn badness(health: &DetectorHealth) -> u32 {
    match health.health {
        "live" => 0,
        "disabled" => 1,
        _ => 2,
    }
}
