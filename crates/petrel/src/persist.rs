//! State of streams between the engine's plain values and the store's bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use petrel_batch::StreamKey;
use petrel_engine::{Part, StreamState};
use serde::{Deserialize, Serialize};

use crate::store::Store;
use crate::telemetry::name;

/// Name of the frontier's bytes in the store.
pub const FRONTIER: &str = "frontier";
/// Name of the global stage's bytes in the store.
pub const GLOBAL_STAGE: &str = "global_stage";
/// Name of the bytes in the store that say what is switched.
pub const SWITCHES: &str = "switches";

/// What the engine knows, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Streams.
    pub streams: Vec<StreamState>,
    /// Streams that the store need not keep any longer.
    pub gone: Vec<StreamKey>,
    /// The frontier clock.
    pub frontier: Option<Vec<u8>>,
    /// The global stage.
    pub global_stage: Option<Vec<u8>>,
    /// Detectors that are switched off; [`Switches`] keeps them over restarts.
    pub disabled: BTreeSet<String>,
}

/// What somebody has switched while Petrel ran, in place of the configuration. It is written when it is
/// switched, not with what is learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// Name of the mode; none = the configured one.
    pub mode: Option<String>,
    /// Detectors that are off.
    pub detectors_off: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    tenant: String,
    values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SavedPart {
    name: String,
    version: u32,
    bytes: Vec<u8>,
}

/// Everything that a store has. A stream whose bytes make no sense is logged and left where it is.
///
/// # Errors
/// When the store cannot be read.
pub fn read(store: &Store) -> anyhow::Result<Knowledge> {
    let mut streams = Vec::new();
    for (key, bytes) in store.streams().context("reading streams")? {
        match decode(&key, &bytes) {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                tracing::warn!(%error, "the saved state of a stream cannot be read and is set aside");
                metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
            }
        }
    }
    Ok(Knowledge {
        gone: Vec::new(),
        streams,
        frontier: store.global(FRONTIER)?,
        global_stage: store.global(GLOBAL_STAGE)?,
        disabled: BTreeSet::new(),
    })
}

/// What was switched when the store was last written.
///
/// # Errors
/// When the store cannot be read.
pub fn read_switches(store: &Store) -> anyhow::Result<Switches> {
    let Some(bytes) = store.global(SWITCHES)? else {
        return Ok(Switches::default());
    };
    Ok(postcard::from_bytes(&bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "what was switched cannot be read: all is as configured");
        Switches::default()
    }))
}

/// Writes what is switched, synced to disk.
///
/// # Errors
/// When the store cannot be written; what it had stays.
pub async fn write_switches(store: Arc<Store>, switches: Switches) -> anyhow::Result<()> {
    let bytes = postcard::to_stdvec(&switches)?;
    let written = tokio::task::spawn_blocking(move || store.write(&[], &[], &[(SWITCHES, bytes)]));
    Ok(written.await.context("writing was interrupted")??)
}

/// Writes what is known, in one transaction, off the threads that serve requests.
///
/// # Errors
/// When the store cannot be written; what it had stays.
pub async fn write(store: Arc<Store>, knowledge: Knowledge) -> anyhow::Result<()> {
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<usize> {
        let streams = knowledge
            .streams
            .iter()
            .map(encode)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let gone = knowledge
            .gone
            .iter()
            .map(encode_key)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let n_bytes = streams
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let global = [
            (FRONTIER, knowledge.frontier),
            (GLOBAL_STAGE, knowledge.global_stage),
        ];
        let global: Vec<_> = global
            .into_iter()
            .filter_map(|(name, bytes)| Some((name, bytes?)))
            .collect();
        store.write(&streams, &gone, &global)?;
        Ok(n_bytes)
    });
    let n_bytes = written.await.context("the snapshot was interrupted")??;
    metrics::gauge!(name::SNAPSHOT_BYTES).set(n_bytes as f64);
    Ok(())
}

fn encode_key(key: &StreamKey) -> anyhow::Result<Vec<u8>> {
    let key = Key {
        tenant: key.tenant.clone(),
        values: key.values.clone(),
    };
    Ok(postcard::to_stdvec(&key)?)
}

fn encode(stream: &StreamState) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let parts: Vec<_> = stream
        .parts
        .iter()
        .map(|part| SavedPart {
            name: part.name.clone(),
            version: part.version,
            bytes: part.bytes.clone(),
        })
        .collect();
    Ok((encode_key(&stream.key)?, postcard::to_stdvec(&parts)?))
}

fn decode(key: &[u8], bytes: &[u8]) -> anyhow::Result<StreamState> {
    let key: Key = postcard::from_bytes(key).context("the key")?;
    let parts: Vec<SavedPart> = postcard::from_bytes(bytes).context("the parts")?;
    let parts = parts.into_iter().map(|part| Part {
        name: part.name,
        version: part.version,
        bytes: part.bytes,
    });
    Ok(StreamState {
        key: StreamKey {
            tenant: key.tenant,
            values: key.values,
        },
        parts: parts.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_back_as_it_was() {
        let stream = StreamState {
            key: StreamKey {
                tenant: "t".into(),
                values: vec!["shop".into(), "cart".into()],
            },
            parts: vec![Part {
                name: "templates".into(),
                version: 3,
                bytes: vec![1, 2, 3],
            }],
        };
        let (key, bytes) = encode(&stream).unwrap();
        assert_eq!(decode(&key, &bytes).unwrap(), stream);
        assert!(decode(&key, &bytes[..3]).is_err());
    }
}
