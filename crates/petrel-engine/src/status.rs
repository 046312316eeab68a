//! How a worker is doing, as plain values for status pages: nothing is asked of detectors.

use std::cmp::Reverse;
use std::sync::Arc;

use petrel_batch::{EventTime, StreamId};
use petrel_detector::{Level, Readiness};
use serde::{Deserialize, Serialize};

use crate::instance::Instance;
use crate::streams::Stream;
use crate::worker::Worker;
use crate::{Health, Privacy};

/// How a worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Its streams, the one seen last first.
    pub streams: Vec<StreamStatus>,
    /// Streams that are left out for the bound.
    pub streams_omitted: usize,
    /// Its detectors by name.
    pub detectors: Vec<DetectorHealth>,
}

/// What there is to say of a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamStatus {
    /// `petrel.stream.id`.
    pub id: Arc<str>,
    /// Empty unless tenants are kept apart.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// Values of the attributes that make up its key, in the configured order.
    pub key: Vec<String>,
    /// Largest believed event time, ns.
    pub newest: EventTime,
    /// All before it is held to have come, ns.
    pub watermark: EventTime,
    /// Live templates.
    pub n_templates: usize,
    /// Open anomalies.
    pub n_open: usize,
    /// What became of its records.
    pub counts: StreamCounts,
    /// What each detector has learnt of it.
    pub detectors: Vec<StreamDetector>,
}

/// What became of the records of a stream since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCounts {
    /// Records judged, those included that are skipped for their time.
    pub records: u64,
    /// Records of `ResourceLogs` that came before: enriched as before, not learnt.
    pub retries: u64,
    /// Below the watermark; detectors saw them.
    pub late: u64,
    /// Skipped: too late for use.
    pub too_late: u64,
    /// Skipped: too far ahead of the stream to be believed.
    pub too_far_ahead: u64,
    /// Not seen by some detector, since the request's time was used up; once for each detector.
    pub over_budget: u64,
    /// Not judged, since their requests found no turn in time.
    pub missed: u64,
}

/// What a detector has learnt of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamDetector {
    /// Name.
    pub detector: Arc<str>,
    /// Its kinds of findings, as far as it was asked: once a window, none before the first.
    pub kinds: Vec<KindStatus>,
}

/// How far a kind of finding is learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindStatus {
    /// Name of the kind.
    pub kind: Arc<str>,
    /// `learning`, `provisional` or `ready`.
    pub level: &'static str,
    /// What is missing, in the detector's own words; empty when ready.
    pub missing: String,
}

/// How a detector is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DetectorHealth {
    /// Name by its descriptor.
    pub name: Arc<str>,
    /// Version by its descriptor.
    pub version: Arc<str>,
    /// Digest of its module.
    pub module_digest: Arc<str>,
    /// `live`, `disabled` or `quarantined`.
    pub health: &'static str,
    /// Class of the fault and what happened, where it is quarantined.
    pub reason: Option<String>,
    /// Frontier from which on it is rebuilt, where it is quarantined.
    pub until: Option<EventTime>,
}

impl Worker {
    /// How the worker is doing, with at most so many streams.
    #[must_use]
    pub fn status(&self, streams_max: usize) -> WorkerStatus {
        let ids = self.streams.ids().into_iter();
        let mut streams: Vec<_> = ids
            .filter_map(|id| Some((id, self.streams.get(id)?)))
            .collect();
        streams.sort_by_key(|(_, stream)| {
            let facts = &stream.facts;
            (
                Reverse((stream.last_row, stream.clock.newest())),
                facts.hash,
            )
        });
        let streams_omitted = streams.len().saturating_sub(streams_max);
        streams.truncate(streams_max);
        let streams = streams
            .into_iter()
            .map(|(id, stream)| self.stream_status(id, stream));
        WorkerStatus {
            streams: streams.collect(),
            streams_omitted,
            detectors: self
                .instances
                .iter()
                .map(|instance| detector_health(instance, &self.settings.privacy))
                .collect(),
        }
    }

    fn stream_status(&self, id: StreamId, stream: &Stream) -> StreamStatus {
        let privacy = &self.settings.privacy;
        let key = stream.facts.key.values.iter();
        StreamStatus {
            id: Arc::clone(&stream.facts.id_hex),
            tenant: stream.facts.key.tenant.clone(),
            name: privacy.display(&stream.facts),
            key: key.map(|value| privacy.mask(value).into_owned()).collect(),
            newest: EventTime(stream.clock.newest()),
            watermark: EventTime(stream.clock.watermark),
            n_templates: stream.miner.health().n_templates,
            n_open: stream.book.n_open(),
            counts: stream.counts,
            detectors: self
                .instances
                .iter()
                .map(|instance| stream_detector(instance, id))
                .collect(),
        }
    }
}

fn stream_detector(instance: &Instance, id: StreamId) -> StreamDetector {
    let slot = instance.known_slot(id);
    let readiness = slot.map_or(&[][..], |slot| &slot.readiness);
    let kinds = instance.kinds.iter().zip(readiness);
    let kinds = kinds.map(|(kind, Readiness { level, missing })| KindStatus {
        kind: Arc::clone(&kind.name),
        level: match level {
            Level::Learning => "learning",
            Level::Provisional => "provisional",
            Level::Ready => "ready",
        },
        missing: missing.clone(),
    });
    StreamDetector {
        detector: Arc::clone(instance.name()),
        kinds: kinds.collect(),
    }
}

fn detector_health(instance: &Instance, privacy: &Privacy) -> DetectorHealth {
    let (health, reason, until) = match instance.health() {
        Health::Live => ("live", None, None),
        Health::Disabled => ("disabled", None, None),
        Health::Quarantined {
            kind,
            reason,
            until,
        } => {
            // A guest's last words may repeat what it was shown.
            let reason = format!("{}: {}", kind.as_str(), privacy.mask(&reason));
            ("quarantined", Some(reason), Some(until))
        }
    };
    DetectorHealth {
        name: Arc::clone(instance.name()),
        version: Arc::clone(&instance.provenance.version),
        module_digest: Arc::clone(&instance.provenance.module_digest),
        health,
        reason,
        until,
    }
}
