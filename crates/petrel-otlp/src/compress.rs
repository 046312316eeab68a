//! gzip, both ways; unpacking is bounded, since a few bytes can unpack to as many as they like.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Bytes that are unpacked at a time.
pub const CHUNK: usize = 64 << 10;

/// Why packed bytes were not unpacked.
#[derive(Debug)]
pub(crate) enum Unpack<E> {
    /// They are no gzip, or damaged.
    Damaged(std::io::Error),
    /// They are more than may be.
    TooLarge,
    /// Whoever counts them says no.
    Refused(E),
}

/// Unpacks gzip to at most `bytes_max` bytes, telling `grown` of every chunk.
pub(crate) fn unpack<E>(
    packed: &[u8],
    bytes_max: usize,
    mut grown: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, Unpack<E>> {
    let mut decoder = MultiGzDecoder::new(packed);
    // Logs shrink to about a tenth.
    let mut out = Vec::with_capacity((packed.len() * 8).clamp(CHUNK, bytes_max.max(CHUNK)));
    loop {
        let before = out.len();
        let chunk = decoder.by_ref().take(CHUNK as u64).read_to_end(&mut out);
        chunk.map_err(Unpack::Damaged)?;
        let n_bytes = out.len() - before;
        if n_bytes == 0 {
            return Ok(Bytes::from(out));
        }
        grown(n_bytes).map_err(Unpack::Refused)?;
        if out.len() > bytes_max {
            return Err(Unpack::TooLarge);
        }
    }
}

/// Packs bytes as gzip at `level` (0 to 9).
pub(crate) fn pack(bytes: &[u8], level: u32) -> Bytes {
    let mut encoder = GzEncoder::new(
        Vec::with_capacity(bytes.len() / 4 + 64),
        Compression::new(level.min(9)),
    );
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Bytes::from(packed.expect("memory takes what is written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_is_bounded() {
        let packed = pack(&vec![b'a'; 1 << 20], 6);
        let never = |_| Ok::<_, ()>(());
        let unpacked = unpack(&packed, 1 << 20, never).expect("it fits");
        assert_eq!(unpacked.len(), 1 << 20);
        let too_large = unpack(&packed, (1 << 20) - 1, never);
        assert!(matches!(too_large, Err(Unpack::TooLarge)));
        let refused = unpack(&packed, 1 << 20, |_| Err("full"));
        assert!(matches!(refused, Err(Unpack::Refused("full"))));
        let damaged = unpack(&packed[..packed.len() / 2], 1 << 20, never);
        assert!(matches!(damaged, Err(Unpack::Damaged(_))));
    }
}
