//! Any bytes as gzip: however much they claim to unpack to, the bound holds.

use petrel_otlp::fuzzing::{CHUNK, pack_gzip, unpack_gzip};

/// Unpacks the input as gzip: its first byte is the bound, as a power of two up to a MiB.
///
/// # Panics
/// When what is unpacked is larger than the bound, is not what was counted, or is not the same when
/// packed and unpacked again; or when more than a chunk over the bound is unpacked before it ends.
pub fn decompression(input: &[u8]) {
    let Some((&size, packed)) = input.split_first() else {
        return;
    };
    let bytes_max = 1 << (size % 21);
    let (unpacked, n_bytes) = unpack_gzip(packed, bytes_max);
    assert!(n_bytes <= bytes_max + CHUNK, "{n_bytes} bytes unpacked");
    if let Some(unpacked) = unpacked {
        assert!(unpacked.len() <= bytes_max);
        assert_eq!(unpacked.len(), n_bytes);
        let again = unpack_gzip(&pack_gzip(&unpacked), bytes_max);
        assert_eq!(again, (Some(unpacked), n_bytes));
    }
}
