//! Protobuf's wire format, read in place and written: varints, tags, lengths, groups.
//!
//! It knows no message; what a field means is the business of those who read it.

use std::ops::Range;

/// Groups within groups that are still skipped; protobuf's own readers stop at the same depth.
const GROUP_DEPTH_MAX: u32 = 100;

/// Field numbers and wire types as they stand before a value: `number << 3 | wire type`.
pub(crate) const fn tag(number: u32, wire_type: u32) -> u32 {
    number << 3 | wire_type
}

/// Wire type of a varint.
pub(crate) const VARINT: u32 = 0;
/// Wire type of eight bytes.
pub(crate) const FIXED64: u32 = 1;
/// Wire type of a length and so many bytes.
pub(crate) const LENGTH: u32 = 2;
const GROUP_START: u32 = 3;
const GROUP_END: u32 = 4;
/// Wire type of four bytes.
pub(crate) const FIXED32: u32 = 5;

/// Bytes that are no protobuf message of the kind they should be.
///
/// Small, since every step of a walk may answer with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed OTLP at byte {offset}: {fault}")]
pub struct Malformed {
    /// Where in the request, in bytes after decompression.
    pub offset: u32,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with bytes that should be protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Fault {
    /// The message ends within a varint.
    #[error("a varint that is cut off")]
    VarintCut,
    /// More than ten bytes, or bits beyond the 64th.
    #[error("a varint of more than 64 bits")]
    VarintLong,
    /// The message ends within a value of 4 or 8 bytes.
    #[error("a fixed-size value that is cut off")]
    FixedCut,
    /// A length that leaves its message.
    #[error("a length that goes past the end of its message")]
    PastEnd,
    /// No field has it.
    #[error("field number 0")]
    FieldZero,
    /// No field has it.
    #[error("a field number over 536870911")]
    FieldLarge,
    /// A field of OTLP that is written as if it had another type.
    #[error("a field of OTLP with another wire type")]
    FieldType,
    /// 6 and 7 are none.
    #[error("a wire type that protobuf does not have")]
    WireType,
    /// Nothing was opened that could end.
    #[error("the end of a group that has no start")]
    GroupEnd,
    /// The message ends within a group.
    #[error("a group that does not end")]
    GroupCut,
    /// More groups within groups than any reader takes.
    #[error("groups nested too deep")]
    GroupDeep,
    /// Places in a request are counted in 32 bits.
    #[error("a request of 4 GiB or more")]
    RequestLarge,
}

/// A part of the request's bytes; never more than 4 GiB, since a walk refuses longer requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Reads the fields of one message; offsets count from the request's first byte.
///
/// What is rare takes the reader by value and answers where it goes on: a reader that is never
/// lent is kept in registers.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The request up to the end of the message.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader over the whole of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A reader over a part of `bytes` that was found in them before.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8], span: Span) -> Self {
        Self {
            bytes: &bytes[..span.end as usize],
            at: span.start as usize,
        }
    }

    #[inline]
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) const fn malformed(&self, fault: Fault) -> Malformed {
        Malformed {
            offset: self.at as u32,
            fault,
        }
    }

    /// The next tag; `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<u32>, Malformed> {
        let Some(&first) = self.bytes.get(self.at) else {
            return Ok(None);
        };
        if (8..0x80).contains(&first) {
            self.at += 1;
            return Ok(Some(u32::from(first)));
        }
        let (tag, after) = self.long_tag()?;
        self.at = after;
        Ok(Some(tag))
    }

    #[cold]
    fn long_tag(mut self) -> Result<(u32, usize), Malformed> {
        let before = self;
        let tag = u32::try_from(self.varint()?).map_err(|_| before.malformed(Fault::FieldLarge))?;
        if tag >> 3 == 0 {
            return Err(before.malformed(Fault::FieldZero));
        }
        Ok((tag, self.at))
    }

    /// The next varint.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some(&byte @ 0..0x80) = self.bytes.get(self.at) {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        let (value, after) = self.long_varint()?;
        self.at = after;
        Ok(value)
    }

    fn long_varint(self) -> Result<(u64, usize), Malformed> {
        let mut value = 0;
        for (index, &byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok((value, self.at + index + 1));
            }
        }
        Err(self.malformed(if self.bytes.len() - self.at < 10 {
            Fault::VarintCut
        } else {
            Fault::VarintLong
        }))
    }

    /// Where the next value of wire type 2 stands; the reader goes on after it.
    #[inline(always)]
    pub(crate) fn span(&mut self) -> Result<Span, Malformed> {
        let before = *self;
        let length = self.varint()?;
        if length > (self.bytes.len() - self.at) as u64 {
            return Err(before.malformed(Fault::PastEnd));
        }
        let start = self.at;
        self.at += length as usize;
        Ok(Span::new(start, self.at))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let Some(bytes) = self.bytes[self.at..].first_chunk::<8>() else {
            return Err(self.malformed(Fault::FixedCut));
        };
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// Skips the value after `tag`. A field of `known` (bit `n` = number `n`) is not skipped but
    /// refused: it comes here only with a wire type that is not its own.
    #[inline]
    pub(crate) fn skip(&mut self, tag: u32, known: u32) -> Result<(), Malformed> {
        if tag >> 3 < 32 && known >> (tag >> 3) & 1 == 1 {
            return Err(self.malformed(Fault::FieldType));
        }
        self.skip_value(tag, 0)
    }

    /// Skips the value of a field that is known and not needed.
    #[inline]
    pub(crate) fn skip_value(&mut self, tag: u32, depth: u32) -> Result<(), Malformed> {
        self.at = self.after_value(tag, depth)?;
        Ok(())
    }

    fn after_value(mut self, tag: u32, depth: u32) -> Result<usize, Malformed> {
        match tag & 7 {
            VARINT => self.varint().map(drop)?,
            LENGTH => self.span().map(drop)?,
            FIXED64 => self.skip_bytes(8)?,
            FIXED32 => self.skip_bytes(4)?,
            GROUP_START => self.skip_group(tag, depth)?,
            GROUP_END => return Err(self.malformed(Fault::GroupEnd)),
            _ => return Err(self.malformed(Fault::WireType)),
        }
        Ok(self.at)
    }

    #[inline]
    pub(crate) fn skip_bytes(&mut self, n_bytes: usize) -> Result<(), Malformed> {
        if self.bytes.len() - self.at < n_bytes {
            return Err(self.malformed(Fault::FixedCut));
        }
        self.at += n_bytes;
        Ok(())
    }

    fn skip_group(&mut self, start: u32, depth: u32) -> Result<(), Malformed> {
        if depth >= GROUP_DEPTH_MAX {
            return Err(self.malformed(Fault::GroupDeep));
        }
        while let Some(tag) = self.tag()? {
            if tag == (start & !7 | GROUP_END) {
                return Ok(());
            }
            self.skip_value(tag, depth + 1)?;
        }
        Err(self.malformed(Fault::GroupCut))
    }
}

/// Bytes that `value` takes as a varint.
#[inline]
pub(crate) const fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends `value` as a varint.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as a varint of exactly `width` bytes, which must hold it.
#[inline]
pub(crate) fn put_varint_wide(out: &mut Vec<u8>, mut value: u64, width: usize) {
    for _ in 1..width {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a tag, which must be below 128, and a length.
pub(crate) fn put_head(out: &mut Vec<u8>, tag: u32, length: usize) {
    out.push(tag as u8);
    put_varint(out, length as u64);
}

/// Bytes of a field with a tag below 128 and `length` bytes of content.
pub(crate) const fn field_len(length: usize) -> usize {
    1 + varint_len(length) + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_length_that_is_said() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, 1 << 35, usize::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value as u64);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&out).varint(), Ok(value as u64));
        }
    }

    #[test]
    fn broken_framing_says_where() {
        let check = |bytes: &[u8], offset: u32, fault: Fault| {
            let mut reader = Reader::new(bytes);
            let error = loop {
                match reader
                    .tag()
                    .and_then(|tag| tag.map(|tag| reader.skip_value(tag, 0)).transpose())
                {
                    Ok(Some(())) => {}
                    Ok(None) => panic!("{bytes:?} is well formed"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error, Malformed { offset, fault });
        };
        check(&[0x08], 1, Fault::VarintCut);
        check(&[0x08, 0x80], 1, Fault::VarintCut);
        check(
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            1,
            Fault::VarintLong,
        );
        check(&[0x00, 0x00], 0, Fault::FieldZero);
        check(&[0x08, 1, 0x12, 3, 0, 0], 3, Fault::PastEnd);
        check(&[0x09, 1, 2, 3], 1, Fault::FixedCut);
        check(&[0x0f], 1, Fault::WireType);
        check(&[0x0c], 1, Fault::GroupEnd);
        check(&[0x0b, 0x08, 1], 3, Fault::GroupCut);
        check(&[0x0b; 200], 101, Fault::GroupDeep);
    }
}
