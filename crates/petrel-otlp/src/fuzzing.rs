//! What fuzz targets reach and nobody else should: no part of what this crate promises.

use bytes::Bytes;

pub use crate::compress::CHUNK;

/// Unpacks gzip to at most `bytes_max` bytes; answers them, if that went well, and how many bytes were
/// counted meanwhile.
#[must_use]
pub fn unpack_gzip(packed: &[u8], bytes_max: usize) -> (Option<Bytes>, usize) {
    let mut counted = 0;
    let unpacked = crate::compress::unpack(packed, bytes_max, |n_bytes| {
        counted += n_bytes;
        Ok::<(), ()>(())
    });
    (unpacked.ok(), counted)
}

/// Packs bytes as gzip.
#[must_use]
pub fn pack_gzip(bytes: &[u8]) -> Bytes {
    crate::compress::pack(bytes, 1)
}
