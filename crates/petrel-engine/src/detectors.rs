//! What the engine remembers of a detector and its kinds for events: names, versions, digests, units.

use std::sync::Arc;

use petrel_detector::{Descriptor, Kind, Module};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::Xxh3;

/// Something to build instances of a detector from.
#[derive(Clone)]
pub struct DetectorSpec {
    /// Makes the instances.
    pub module: Arc<dyn Module>,
    /// Its settings: a JSON object with defaults left out, or empty text.
    pub settings: String,
}

impl std::fmt::Debug for DetectorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DetectorSpec")
            .field("module", &self.module.digest())
            .field("settings", &self.settings)
            .finish()
    }
}

/// Where a finding comes from, repeated on its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) module_digest: Arc<str>,
    pub(crate) config_digest: Arc<str>,
}

impl Provenance {
    pub(crate) fn new(descriptor: &Descriptor, spec: &DetectorSpec) -> Self {
        let settings = if spec.settings.is_empty() {
            "{}"
        } else {
            &spec.settings
        };
        Self {
            name: descriptor.name.as_str().into(),
            version: descriptor.version.as_str().into(),
            module_digest: spec.module.digest().into(),
            config_digest: format!("sha256:{}", hex(&Sha256::digest(settings))).into(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// A kind under the number that stands for it in keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KindFacts {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
    /// Hash of the names of detector and kind: the same after a restart or a new version.
    pub(crate) channel: u64,
}

impl KindFacts {
    pub(crate) fn new(detector: &str, kind: &Kind) -> Self {
        let mut hasher = Xxh3::with_seed(0);
        hasher.update(detector.as_bytes());
        hasher.update(&[0xff]);
        hasher.update(kind.name.as_bytes());
        Self {
            kind: kind.clone(),
            name: kind.name.as_str().into(),
            channel: hasher.digest(),
        }
    }

    /// Whether its findings count records.
    pub(crate) fn counts_records(&self) -> bool {
        self.kind.unit.starts_with("{record}")
    }
}
