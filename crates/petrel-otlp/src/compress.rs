//! gzip, zlib and Zstandard; unpacking is bounded, since a few bytes can unpack to as many as they like.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;

use crate::export::Compression;

/// Bytes that are unpacked at a time.
const CHUNK: usize = 64 << 10;
/// Largest window of Zstandard that is taken, as a power of two: 128 MiB, what its own program writes at
/// most. Its memory is touched only as far as bytes come out.
const WINDOW_LOG_MAX: u32 = 27;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    /// What HTTP calls `deflate`, and a Collector also `zlib`.
    Zlib,
    Zstd,
}

impl Packing {
    /// What HTTP's `content-encoding` says; `None` in it where bytes are as they are.
    pub(crate) fn of_http(encoding: &[u8]) -> Result<Option<Self>, ()> {
        match encoding.to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(None),
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" | b"zlib" => Ok(Some(Self::Zlib)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(()),
        }
    }

    /// What gRPC's `grpc-encoding` says; `None` in it where bytes are as they are.
    pub(crate) fn of_grpc(encoding: &[u8]) -> Result<Option<Self>, ()> {
        match encoding {
            b"identity" => Ok(None),
            b"gzip" => Ok(Some(Self::Gzip)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(()),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Why packed bytes were not unpacked.
#[derive(Debug)]
pub(crate) enum Unpack<E> {
    /// They are not packed that way, or damaged.
    Damaged(io::Error),
    /// They are more than may be.
    TooLarge,
    /// Whoever counts them says no.
    Refused(E),
}

/// Unpacks to at most `bytes_max` bytes, telling `grown` of every chunk.
pub(crate) fn unpack<E>(
    packing: Packing,
    packed: &[u8],
    bytes_max: usize,
    grown: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, Unpack<E>> {
    // Logs shrink to about a tenth.
    let expected = (packed.len() * 8).clamp(CHUNK, bytes_max.max(CHUNK));
    match packing {
        Packing::Gzip => gather(MultiGzDecoder::new(packed), expected, bytes_max, grown),
        Packing::Zlib => gather(ZlibDecoder::new(packed), expected, bytes_max, grown),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(packed).map_err(Unpack::Damaged)?;
            let bounded = decoder.window_log_max(WINDOW_LOG_MAX);
            bounded.map_err(Unpack::Damaged)?;
            gather(decoder, expected, bytes_max, grown)
        }
    }
}

fn gather<E>(
    mut unpacked: impl Read,
    expected: usize,
    bytes_max: usize,
    mut grown: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, Unpack<E>> {
    let mut out = Vec::with_capacity(expected);
    loop {
        let before = out.len();
        let chunk = unpacked.by_ref().take(CHUNK as u64).read_to_end(&mut out);
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

/// Packs bytes; as they are where nothing is to be packed.
pub(crate) fn pack(compression: Compression, bytes: Bytes) -> Bytes {
    match compression {
        Compression::None => bytes,
        Compression::Gzip(level) => gzip(&bytes, level),
        Compression::Zstd(level) => zstd::bulk::compress(&bytes, level.clamp(-7, 22))
            .expect("memory takes what is written")
            .into(),
    }
}

fn gzip(bytes: &[u8], level: u32) -> Bytes {
    let mut encoder = GzEncoder::new(
        Vec::with_capacity(bytes.len() / 4 + 64),
        flate2::Compression::new(level.min(9)),
    );
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Bytes::from(packed.expect("memory takes what is written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_is_bounded() {
        let plain = Bytes::from(vec![b'a'; 1 << 20]);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&plain).expect("memory");
        let check = |packing: Packing, packed: &[u8]| {
            let never = |_| Ok::<_, ()>(());
            let unpacked = unpack(packing, packed, 1 << 20, never).expect("it fits");
            assert_eq!(unpacked, plain);
            let too_large = unpack(packing, packed, (1 << 20) - 1, never);
            assert!(matches!(too_large, Err(Unpack::TooLarge)));
            let refused = unpack(packing, packed, 1 << 20, |_| Err("full"));
            assert!(matches!(refused, Err(Unpack::Refused("full"))));
            let damaged = unpack(packing, &packed[..packed.len() / 2], 1 << 20, never);
            assert!(matches!(damaged, Err(Unpack::Damaged(_))), "{packing:?}");
        };
        check(Packing::Gzip, &pack(Compression::Gzip(6), plain.clone()));
        check(Packing::Zlib, &zlib.finish().expect("memory"));
        check(Packing::Zstd, &pack(Compression::Zstd(3), plain.clone()));
    }

    #[test]
    fn windows_of_zstd_are_bounded() {
        let packed = |window_log: u32| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
            encoder
                .window_log(window_log)
                .expect("a size that there is");
            encoder.write_all(b"a few bytes").expect("memory");
            encoder.finish().expect("memory")
        };
        let never = |_| Ok::<_, ()>(());
        assert!(unpack(Packing::Zstd, &packed(27), 1 << 20, never).is_ok());
        let refused = unpack(Packing::Zstd, &packed(28), 1 << 20, never);
        assert!(matches!(refused, Err(Unpack::Damaged(_))));
    }
}
