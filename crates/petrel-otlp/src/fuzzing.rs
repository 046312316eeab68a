//! What fuzz targets reach and nobody else should: no part of what this crate promises.

use bytes::Bytes;

pub use crate::compress::CHUNK;
use crate::compress::{Packing, pack, unpack};
use crate::export::Compression;

/// Unpacks what is packed with the method that [`pack_as`] has under the same number, to at most
/// `bytes_max` bytes; answers them, if that went well, and how many bytes were counted meanwhile.
#[must_use]
pub fn unpack_as(method: u8, packed: &[u8], bytes_max: usize) -> (Option<Bytes>, usize) {
    let packing = match method % 2 {
        0 => Packing::Gzip,
        _ => Packing::Zstd,
    };
    let mut counted = 0;
    let unpacked = unpack(packing, packed, bytes_max, |n_bytes| {
        counted += n_bytes;
        Ok::<(), ()>(())
    });
    (unpacked.ok(), counted)
}

/// Packs bytes: gzip for an even number, Zstandard for an odd one.
#[must_use]
pub fn pack_as(method: u8, bytes: Bytes) -> Bytes {
    let compression = match method % 2 {
        0 => Compression::default_gzip(),
        _ => Compression::default_zstd(),
    };
    pack(compression, bytes)
}
