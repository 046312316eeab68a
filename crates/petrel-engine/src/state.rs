//! Saved state of a stream: parts, each with its own version and checksum, so that one damaged part
//! costs no other.

use petrel_batch::StreamKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

/// Name of the part that holds the templates.
pub const PART_TEMPLATES: &str = "templates";
/// Name of the part that holds the stream's clock and what is known of its resource.
pub const PART_STREAM: &str = "stream";
/// Name of the part that holds calibration and open anomalies.
pub const PART_ANOMALIES: &str = "anomalies";
/// Name of the part that holds the digests by which retries are known, and what their rows got.
pub const PART_RETRIES: &str = "retries";
/// Name of the part that says where input is missing.
pub const PART_MISSING: &str = "missing";
/// Name of the part that counts what became of the stream's records.
pub const PART_COUNTS: &str = "counts";
/// What the names of the detectors' parts begin with; the detector's name follows.
pub const PART_DETECTOR_PREFIX: &str = "detector/";

/// Version of the engine's own parts; raised with every change of their layout.
pub(crate) const VERSION: u32 = 1;

/// All that is known of a stream at a request boundary; the unit of snapshots, moves and restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Whose it is.
    pub key: StreamKey,
    /// Its parts, in no order that matters.
    pub parts: Vec<Part>,
}

/// One part of a stream's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// One of the `PART_` names.
    pub name: String,
    /// Version of the bytes: the engine's for its own, the descriptor's for a detector's.
    pub version: u32,
    /// The same knowledge gives the same bytes.
    pub bytes: Vec<u8>,
}

/// A part that could not be put back, for the operator; the stream goes on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Whose it was.
    pub key: StreamKey,
    /// The part, as it was given.
    pub part: Part,
    /// What is wrong with it.
    pub reason: String,
}

/// Why saved bytes of the engine's own were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by another version.
    #[error("state of version {found}, this is version {known}")]
    Version {
        /// Version that wrote it.
        found: u32,
        /// Version that reads.
        known: u32,
    },
    /// Cut or changed.
    #[error("damaged state: {0}")]
    Damaged(String),
}

/// A value as bytes: version, content, checksum.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let content = VERSION.to_le_bytes().to_vec();
    let mut bytes = postcard::to_extend(value, content)
        .expect("plain values are serialised into a vector, which cannot fail");
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The value that [`encode`] made bytes of.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    let damaged = |what: &str| StateError::Damaged(what.to_owned());
    let (content, checksum) = bytes
        .split_last_chunk::<8>()
        .ok_or_else(|| damaged("too short"))?;
    if xxh3_64(content) != u64::from_le_bytes(*checksum) {
        return Err(damaged("the checksum differs"));
    }
    let (version, content) = content
        .split_first_chunk()
        .ok_or_else(|| damaged("too short"))?;
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(StateError::Version {
            found,
            known: VERSION,
        });
    }
    postcard::from_bytes(content).map_err(|error| StateError::Damaged(error.to_string()))
}
