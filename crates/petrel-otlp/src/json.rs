//! OTLP/JSON of all signals, written as protobuf while it is read: no objects in between, so a request takes about
//! as much memory as it has bytes, however many empty things it is made of.
//!
//! Read leniently, as OTLP and protobuf's JSON allow: `null` for absent, numbers also as strings,
//! doubles also as `"NaN"` and `"Infinity"`, ids in hex of either case, base64 in either alphabet,
//! unknown fields ignored. What is not understood of a known field refuses the request.

mod schema;
mod write;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};

use self::schema::{Field, Kind, Presence};
pub use self::write::protobuf_to_json;
use crate::signal::Signal;
use crate::status::{Code, Refusal};
use crate::wire::{FIXED32, FIXED64, LENGTH, VARINT, put_varint, tag};

/// A request in JSON as the same request in protobuf. Unknown fields are dropped, as OTLP allows.
///
/// # Errors
/// A [`Refusal`] with `InvalidArgument` that says what is wrong and at which byte, give or take one.
pub fn json_to_protobuf(signal: Signal, json: &[u8]) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let request = Message {
        fields: schema::request(signal),
        out: &mut out,
    };
    request
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| {
            let offset = offset_of(json, error.line(), error.column());
            let message = format!("malformed OTLP/JSON at byte {offset}: {error}");
            Refusal {
                field: Some(format!("byte {offset}")),
                ..Refusal::new(Code::InvalidArgument, message)
            }
        })?;
    Ok(out.into())
}

/// The byte at a line and column, both counted from 1.
fn offset_of(json: &[u8], line: usize, column: usize) -> usize {
    let before: usize = json
        .split_inclusive(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(json.len())
}

/// The content of a message, read from an object.
struct Message<'a> {
    fields: &'static [Field],
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(FieldName(self.fields))? {
            match field {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(field) => map.next_value_seed(FieldValue {
                    field,
                    is_entry: false,
                    out: self.out,
                })?,
            }
        }
        Ok(())
    }
}

/// The field of a name; `None` for one that is not known.
struct FieldName(&'static [Field]);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.name == name))
    }
}

/// The value of a field, or one entry of a repeated one.
struct FieldValue<'a> {
    field: &'static Field,
    is_entry: bool,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.name;
        if self.field.presence == Presence::Repeated && !self.is_entry {
            return write!(formatter, "a list for {name}");
        }
        write!(formatter, "{} for {name}", self.field.kind.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.is_single() => {
                self.put_varint(u64::from(value));
                Ok(())
            }
            _ => Err(E::invalid_type(de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value, de::Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value, de::Unexpected::Signed(value))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        // An integer may be written as 1e3.
        let is_whole = value.fract() == 0.0 && value.abs() < 9e15;
        match self.field.kind {
            Kind::Double if self.is_single() => {
                self.put_double(value);
                Ok(())
            }
            _ if is_whole => self.number(value as i64, de::Unexpected::Float(value)),
            _ => Err(E::invalid_type(de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let invalid = |this: &Self| E::invalid_value(de::Unexpected::Str(text), this);
        if !self.is_single() {
            return Err(invalid(&self));
        }
        match self.field.kind {
            Kind::Text => self.put_bytes(text.as_bytes()),
            Kind::Hex => match hex_bytes(text) {
                Some(id) => self.put_bytes(&id),
                None => return Err(invalid(&self)),
            },
            Kind::Base64 => match base64_bytes(text) {
                Some(bytes) => self.put_bytes(&bytes),
                None => return Err(invalid(&self)),
            },
            Kind::Double => match text.parse() {
                Ok(value) => self.put_double(value),
                Err(_) => return Err(invalid(&self)),
            },
            _ => match i128::from_str(text) {
                Ok(value) => return self.number(value, de::Unexpected::Str(text)),
                Err(_) => return Err(invalid(&self)),
            },
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(fields) = self.field.kind else {
            return Err(A::Error::invalid_type(de::Unexpected::Map, &self));
        };
        if !self.is_single() {
            return Err(A::Error::invalid_type(de::Unexpected::Map, &self));
        }
        put_varint(self.out, tag(self.field.number, LENGTH).into());
        let start = self.out.len();
        let content = Message {
            fields,
            out: self.out,
        };
        content.visit_map(map)?;
        put_length_before(self.out, start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if self.is_single() {
            return Err(A::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        while let Some(()) = entries.next_element_seed(FieldValue {
            field: self.field,
            is_entry: true,
            out: self.out,
        })? {}
        Ok(())
    }
}

impl FieldValue<'_> {
    /// Whether one value stands here, not a list of them.
    fn is_single(&self) -> bool {
        self.is_entry || self.field.presence != Presence::Repeated
    }

    /// Whether a value that is the type's default is left out, as protobuf does.
    fn leaves_out(&self, is_default: bool) -> bool {
        is_default && self.field.presence == Presence::Implicit
    }

    fn number<E, N>(mut self, value: N, unexpected: de::Unexpected<'_>) -> Result<(), E>
    where
        E: Error,
        N: Copy,
        i128: From<N>,
    {
        let value = i128::from(value);
        // Each kind as the 64 bits that are written of it.
        let bits = match self.field.kind {
            _ if !self.is_single() => None,
            Kind::Uint32 | Kind::Fixed32 => u32::try_from(value).ok().map(u64::from),
            Kind::Int32 => i32::try_from(value)
                .ok()
                .map(|value| i64::from(value) as u64),
            // Small either way: the sign is the lowest bit.
            Kind::Sint32 => i32::try_from(value)
                .ok()
                .map(|value| u64::from(((value << 1) ^ (value >> 31)) as u32)),
            Kind::Int64 | Kind::Sfixed64 => i64::try_from(value).ok().map(|value| value as u64),
            Kind::Uint64 | Kind::Fixed64 => u64::try_from(value).ok(),
            Kind::Double => {
                self.put_double(value as f64);
                return Ok(());
            }
            _ => None,
        };
        let Some(bits) = bits else {
            return Err(E::invalid_value(unexpected, &self));
        };
        match self.field.kind {
            Kind::Fixed32 => self.put_fixed(FIXED32, &(bits as u32).to_le_bytes()),
            Kind::Fixed64 | Kind::Sfixed64 => self.put_fixed(FIXED64, &bits.to_le_bytes()),
            _ => self.put_varint(bits),
        }
        Ok(())
    }

    fn put_varint(&mut self, value: u64) {
        if !self.leaves_out(value == 0) {
            put_varint(self.out, tag(self.field.number, VARINT).into());
            put_varint(self.out, value);
        }
    }

    fn put_double(&mut self, value: f64) {
        self.put_fixed(FIXED64, &value.to_le_bytes());
    }

    fn put_fixed(&mut self, wire_type: u32, bytes: &[u8]) {
        if !self.leaves_out(bytes.iter().all(|&byte| byte == 0)) {
            put_varint(self.out, tag(self.field.number, wire_type).into());
            self.out.extend_from_slice(bytes);
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        if !self.leaves_out(bytes.is_empty()) {
            put_varint(self.out, tag(self.field.number, LENGTH).into());
            put_varint(self.out, bytes.len() as u64);
            self.out.extend_from_slice(bytes);
        }
    }
}

/// Moves what was written from `start` on and puts its length before it.
fn put_length_before(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    put_varint(out, length as u64);
    let n_bytes = out.len() - start - length;
    out[start..].rotate_right(n_bytes);
}

fn hex_bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = hex.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// Base64, standard or for URLs, padded or not.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let decode = |alphabet: &Alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok();
    decode(&STANDARD).or_else(|| decode(&URL_SAFE))
}
