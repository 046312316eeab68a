//! How state becomes bytes and comes back: the same state gives the same bytes, damage is refused.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of state of one stream at most (`detector.wit`, `save`).
pub const STATE_BYTES_MAX: usize = 4 << 20;

/// Length of the checksum that ends saved bytes.
const CHECKSUM_BYTES: usize = 8;

/// State as bytes: `postcard`, which is canonical as long as the state holds no map of random order,
/// and a checksum of it.
#[must_use]
pub fn save<T: Serialize>(state: &T) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(state).expect("state has lengths and no foreign types");
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// State from bytes that [`save`] made.
///
/// Allocates no more than a small multiple of the bytes given.
///
/// # Errors
/// A text saying what is wrong: too long, damaged, or bytes of something else.
pub fn load<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > STATE_BYTES_MAX {
        return Err(format!(
            "saved state of {} bytes is over {STATE_BYTES_MAX}",
            bytes.len()
        ));
    }
    let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!("saved state of {} bytes is too short", bytes.len()));
    };
    if xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return Err("saved state is damaged: its checksum does not match".to_owned());
    }
    match postcard::take_from_bytes::<T>(body) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(format!("saved state has {} bytes too many", rest.len())),
        Err(error) => Err(format!("saved state is of another kind: {error}")),
    }
}

/// The error of a detector that is given state of a version it cannot read.
#[must_use]
pub fn unknown_version(version: u32, known: u32) -> String {
    format!("saved state has version {version}, this detector reads version {known}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type State = (Vec<u64>, Vec<(String, f64)>, Option<i16>);

    proptest! {
        #[test]
        fn what_is_saved_comes_back(state: State) {
            let bytes = save(&state);
            let back: State = load(&bytes).expect("own bytes");
            prop_assert_eq!(save(&back), bytes);
        }

        #[test]
        fn garbage_is_refused(mut bytes: Vec<u8>, sealed: bool) {
            // A matching checksum must not be what keeps the reader safe.
            if sealed {
                bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
            }
            let _ = load::<State>(&bytes);
        }
    }

    #[test]
    fn a_huge_length_allocates_nothing_huge() {
        let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        assert!(load::<Vec<[u64; 32]>>(&bytes).is_err());
    }
}
