//! Any bytes as gzip and as Zstandard: however much they claim to unpack to, the bound holds.

use petrel_otlp::fuzzing::{CHUNK, pack_as, unpack_as};

/// Unpacks the input: its first byte is the bound, as a power of two up to a MiB, and from 128 on says
/// that the rest is Zstandard.
///
/// # Panics
/// When what is unpacked is larger than the bound, is not what was counted, or is not the same when
/// packed and unpacked again; or when more than a chunk over the bound is unpacked before it ends.
pub fn decompression(input: &[u8]) {
    let Some((&size, packed)) = input.split_first() else {
        return;
    };
    let (method, bytes_max) = (size >> 7, 1 << (size % 128 % 21));
    let (unpacked, n_bytes) = unpack_as(method, packed, bytes_max);
    assert!(n_bytes <= bytes_max + CHUNK, "{n_bytes} bytes unpacked");
    if let Some(unpacked) = unpacked {
        assert!(unpacked.len() <= bytes_max);
        assert_eq!(unpacked.len(), n_bytes);
        let packed = pack_as(method, unpacked.clone());
        let again = unpack_as(method, &packed, bytes_max);
        assert_eq!(again, (Some(unpacked), n_bytes));
    }
}
