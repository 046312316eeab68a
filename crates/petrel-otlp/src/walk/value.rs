//! `AnyValue` and `KeyValue` in place: check their framing, read what somebody asked for.
//!
//! Singular fields that stand twice are merged as protobuf demands: the last scalar wins, two lists
//! (or maps) in a row are one, a value of another kind in between starts anew.
//!
//! Nearly all values are plain: one scalar and nothing else. The walk reads those in line and leaves
//! what is not plain to functions of its own. One result for both would go through memory, written
//! part by part and read back whole, which stalls: a quarter of the walk's time went there.

use crate::wire::{FIXED64, LENGTH, Malformed, Reader, Span, VARINT, tag};

/// Values within values that are still looked into. What lies deeper is passed on unread, and is
/// null where it would be shown. Petrel's neighbours stop near here (prost: 100 messages, which is
/// 33 to 50 values).
pub(crate) const VALUE_DEPTH_MAX: u32 = 64;

const TEXT: u32 = tag(1, LENGTH);
const BOOL: u32 = tag(2, VARINT);
const INT: u32 = tag(3, VARINT);
const DOUBLE: u32 = tag(4, FIXED64);
const LIST: u32 = tag(5, LENGTH);
const MAP: u32 = tag(6, LENGTH);
const BYTES: u32 = tag(7, LENGTH);
const STRING_INDEX: u32 = tag(8, VARINT);
const VALUE_FIELDS: u32 = 0b1_1111_1110;

const KEY: u32 = tag(1, LENGTH);
const VALUE: u32 = tag(2, LENGTH);
const KEY_INDEX: u32 = tag(3, VARINT);
const KEY_VALUE_FIELDS: u32 = 0b1110;

/// The entries of a list or a map, both field 1.
const ENTRY: u32 = tag(1, LENGTH);
const ENTRY_FIELDS: u32 = 0b10;

/// The bytes of one message, which may stand in several pieces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pieces {
    first: Option<Span>,
    more: Vec<Span>,
}

impl Pieces {
    pub(crate) fn push(&mut self, span: Span) {
        if self.first.is_none() {
            self.first = Some(span);
        } else {
            self.more.push(span);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// All bytes, copied only when they stand in several pieces.
    pub(crate) fn joined<'a>(&self, bytes: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        match (self.first, self.more.as_slice()) {
            (None, _) => (&[][..]).into(),
            (Some(span), []) => (&bytes[span.range()]).into(),
            _ => self
                .iter()
                .flat_map(|span| &bytes[span.range()])
                .copied()
                .collect::<Vec<_>>()
                .into(),
        }
    }
}

impl From<Span> for Pieces {
    fn from(span: Span) -> Self {
        Self {
            first: Some(span),
            more: Vec::new(),
        }
    }
}

/// A value without entries, its text left where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Text(Span),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// An `AnyValue`, its text and its entries left where they are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// No value at all, or one that has no meaning on logs (`string_value_strindex`).
    Empty,
    Scalar(Scalar),
    List(Pieces),
    Map(Pieces),
    Bytes,
}

/// A value as nearly all are: one scalar and nothing else, a text of less than 16 KiB.
#[inline(always)]
pub(crate) fn plain_value(bytes: &[u8], value: Span) -> Option<Scalar> {
    match bytes[value.range()] {
        [0x0a, length @ 0..0x80, ref text @ ..] if text.len() == length as usize => {
            Some(Scalar::Text(Span {
                start: value.start + 2,
                end: value.end,
            }))
        }
        [0x0a, low @ 0x80..=0xff, high @ 0..0x80, ref text @ ..]
            if text.len() == usize::from(low & 0x7f) | usize::from(high) << 7 =>
        {
            Some(Scalar::Text(Span {
                start: value.start + 3,
                end: value.end,
            }))
        }
        [0x18, low @ 0..0x80] => Some(Scalar::Int(i64::from(low))),
        [0x18, low @ 0x80..=0xff, high @ 0..0x80] => {
            Some(Scalar::Int(i64::from(low & 0x7f) | i64::from(high) << 7))
        }
        [0x21, a, b, c, d, e, f, g, h] => {
            Some(Scalar::Double(f64::from_le_bytes([a, b, c, d, e, f, g, h])))
        }
        [0x10, value @ 0..0x80] => Some(Scalar::Bool(value != 0)),
        _ => None,
    }
}

/// Reads a value whose framing was checked and that stands in one piece.
pub(crate) fn read_value(bytes: &[u8], value: Span) -> Result<Value, Malformed> {
    match plain_value(bytes, value) {
        Some(scalar) => Ok(Value::Scalar(scalar)),
        None => read_pieces(bytes, &value.into()),
    }
}

/// Reads a value whose framing was checked.
pub(crate) fn read_pieces(bytes: &[u8], pieces: &Pieces) -> Result<Value, Malformed> {
    let mut value = Value::Empty;
    for piece in pieces.iter() {
        merge_value(bytes, piece, &mut value)?;
    }
    Ok(value)
}

fn merge_value(bytes: &[u8], piece: Span, value: &mut Value) -> Result<(), Malformed> {
    let mut reader = Reader::of(bytes, piece);
    while let Some(tag) = reader.tag()? {
        *value = match tag {
            TEXT => Value::Scalar(Scalar::Text(reader.span()?)),
            BOOL => Value::Scalar(Scalar::Bool(reader.varint()? != 0)),
            INT => Value::Scalar(Scalar::Int(reader.varint()? as i64)),
            DOUBLE => Value::Scalar(Scalar::Double(f64::from_bits(reader.fixed64()?))),
            LIST => match std::mem::replace(value, Value::Empty) {
                Value::List(mut pieces) => {
                    pieces.push(reader.span()?);
                    Value::List(pieces)
                }
                _ => Value::List(reader.span()?.into()),
            },
            MAP => match std::mem::replace(value, Value::Empty) {
                Value::Map(mut pieces) => {
                    pieces.push(reader.span()?);
                    Value::Map(pieces)
                }
                _ => Value::Map(reader.span()?.into()),
            },
            BYTES => {
                reader.span()?;
                Value::Bytes
            }
            STRING_INDEX => {
                reader.varint()?;
                Value::Empty
            }
            other => {
                reader.skip(other, VALUE_FIELDS)?;
                continue;
            }
        };
    }
    Ok(())
}

/// Checks the framing of a value and of all in it, down to [`VALUE_DEPTH_MAX`].
#[inline]
pub(crate) fn check_value(bytes: &[u8], span: Span, depth: u32) -> Result<(), Malformed> {
    if plain_value(bytes, span).is_some() {
        return Ok(());
    }
    check_any_value(bytes, span, depth)
}

fn check_any_value(bytes: &[u8], span: Span, depth: u32) -> Result<(), Malformed> {
    let mut reader = Reader::of(bytes, span);
    while let Some(tag) = reader.tag()? {
        match tag {
            TEXT | BYTES => {
                reader.span()?;
            }
            BOOL | INT | STRING_INDEX => {
                reader.varint()?;
            }
            DOUBLE => {
                reader.fixed64()?;
            }
            LIST | MAP => check_entries(bytes, reader.span()?, tag == MAP, depth + 1)?,
            other => reader.skip(other, VALUE_FIELDS)?,
        }
    }
    Ok(())
}

fn check_entries(bytes: &[u8], span: Span, is_map: bool, depth: u32) -> Result<(), Malformed> {
    if depth >= VALUE_DEPTH_MAX {
        return Ok(());
    }
    let mut reader = Reader::of(bytes, span);
    while let Some(tag) = reader.tag()? {
        match tag {
            ENTRY if is_map => {
                check_key_value(bytes, reader.span()?, depth)?;
            }
            ENTRY => check_value(bytes, reader.span()?, depth)?,
            other => reader.skip(other, ENTRY_FIELDS)?,
        }
    }
    Ok(())
}

/// Where key and value of a `KeyValue` stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyValue {
    /// Empty when there is none.
    pub(crate) key: Span,
    /// The only value, or the last of several; empty when there is none, which means the same as a
    /// value without content.
    value: Span,
    /// The whole entry when its value stands in several pieces, else empty.
    scattered: Span,
}

impl KeyValue {
    /// Its value.
    pub(crate) fn value(&self, bytes: &[u8]) -> Result<Value, Malformed> {
        if self.scattered.is_empty() {
            return read_value(bytes, self.value);
        }
        self.scattered_value(bytes)
    }

    /// Its value when that is plain.
    #[inline]
    pub(crate) fn plain(&self, bytes: &[u8]) -> Option<Scalar> {
        if !self.scattered.is_empty() {
            return None;
        }
        plain_value(bytes, self.value)
    }

    /// Its value when that is a scalar, plain or not.
    #[cold]
    pub(crate) fn any_scalar(&self, bytes: &[u8]) -> Result<Option<Scalar>, Malformed> {
        Ok(match self.value(bytes)? {
            Value::Scalar(scalar) => Some(scalar),
            Value::Empty | Value::List(_) | Value::Map(_) | Value::Bytes => None,
        })
    }

    #[cold]
    fn scattered_value(&self, bytes: &[u8]) -> Result<Value, Malformed> {
        let mut reader = Reader::of(bytes, self.scattered);
        let mut pieces = Pieces::default();
        while let Some(tag) = reader.tag()? {
            if tag == VALUE {
                pieces.push(reader.span()?);
            } else {
                reader.skip_value(tag, 0)?;
            }
        }
        read_pieces(bytes, &pieces)
    }
}

/// A `KeyValue` as nearly all are: a key and a plain value in either order, each with a length of one
/// byte.
#[inline(always)]
pub(crate) fn plain_key_value(bytes: &[u8], entry: Span) -> Option<KeyValue> {
    let [first_tag, first_length @ 0..0x80, ref rest @ ..] = bytes[entry.range()] else {
        return None;
    };
    let &[second_tag, second_length @ 0..0x80, ref second @ ..] =
        rest.get(first_length as usize..)?
    else {
        return None;
    };
    if second.len() != second_length as usize {
        return None;
    }
    let first = Span {
        start: entry.start + 2,
        end: entry.start + 2 + u32::from(first_length),
    };
    let second = Span {
        start: first.end + 2,
        end: entry.end,
    };
    let (key, value) = match (u32::from(first_tag), u32::from(second_tag)) {
        (KEY, VALUE) => (first, second),
        (VALUE, KEY) => (second, first),
        _ => return None,
    };
    plain_value(bytes, value)?;
    Some(KeyValue {
        key,
        value,
        scattered: Span::default(),
    })
}

/// Checks the framing of a `KeyValue` and of all in it; answers where its parts are.
pub(crate) fn check_key_value(bytes: &[u8], span: Span, depth: u32) -> Result<KeyValue, Malformed> {
    match plain_key_value(bytes, span) {
        Some(plain) => Ok(plain),
        None => check_any_key_value(bytes, span, depth),
    }
}

/// Checks any `KeyValue`, most often one that is not plain.
#[inline(never)]
pub(crate) fn check_any_key_value(
    bytes: &[u8],
    span: Span,
    depth: u32,
) -> Result<KeyValue, Malformed> {
    let mut reader = Reader::of(bytes, span);
    let mut found = KeyValue {
        key: Span::default(),
        value: Span::default(),
        scattered: Span::default(),
    };
    let mut n_values = 0;
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => found.key = reader.span()?,
            VALUE => {
                found.value = reader.span()?;
                check_value(bytes, found.value, depth)?;
                n_values += 1;
                if n_values > 1 {
                    found.scattered = span;
                }
            }
            KEY_INDEX => {
                reader.varint()?;
            }
            other => reader.skip(other, KEY_VALUE_FIELDS)?,
        }
    }
    Ok(found)
}

/// Calls `each` with the entries of a list or a map, in order.
pub(crate) fn for_each_entry(
    bytes: &[u8],
    pieces: &Pieces,
    mut each: impl FnMut(Span) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for piece in pieces.iter() {
        let mut reader = Reader::of(bytes, piece);
        while let Some(tag) = reader.tag()? {
            match tag {
                ENTRY => each(reader.span()?)?,
                other => reader.skip(other, ENTRY_FIELDS)?,
            }
        }
    }
    Ok(())
}
