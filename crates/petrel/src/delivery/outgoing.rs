//! One request on its way out, and what of it decides in which order it may go.

use std::sync::Arc;

use bytes::Bytes;
use petrel_batch::StreamKey;
use petrel_otlp::Signal;
use serde::{Deserialize, Serialize};

/// Headers that belong to a tenant, by key; they go out with each of its requests.
pub type Metadata = Arc<[(String, String)]>;

/// A request that is to be sent on, encoded as protobuf.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// All but the bytes.
    pub head: Head,
    /// The bytes. Those of several requests in a row are one request.
    pub body: Bytes,
}

/// What is known of a request without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it carries.
    pub signal: Signal,
    /// Log records, spans or data points.
    pub n_items: u64,
    /// Bytes.
    pub n_bytes: usize,
    /// The streams whose order must be kept.
    pub streams: StreamSet,
    /// Headers of its tenant. Requests with different ones never go together.
    pub metadata: Metadata,
}

/// A set of streams, as buckets of their hashes: it may say that two sets meet that do not, never the
/// other way round. 128 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSet([u64; WORDS]);

const WORDS: usize = 16;

impl StreamSet {
    /// All streams.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds a stream.
    pub fn insert(&mut self, stream: &StreamKey) {
        let bucket = stream.stable_hash() % (WORDS as u64 * 64);
        self.0[(bucket / 64) as usize] |= 1 << (bucket % 64);
    }

    /// Adds all streams of another set.
    pub fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Takes out all streams of another set.
    pub fn take(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
    }

    /// Whether some stream may be in both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .any(|(word, other)| word & other != 0)
    }
}
