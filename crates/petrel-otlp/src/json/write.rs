//! A request in protobuf, written as OTLP/JSON while it is read: for next hops that take nothing else.
//!
//! 64-bit integers are text, ids are hex, bytes are base64, enums are numbers, doubles that are no
//! number `"NaN"` and the like, as OTLP and protobuf's JSON have it. Unknown fields are left out.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::schema::{self, Field, Kind, Presence};
use crate::signal::Signal;
use crate::wire::{FIXED32, FIXED64, Fault, LENGTH, Malformed, Reader, Span, VARINT, tag};

/// Messages within messages that are written; what JSON readers take.
const DEPTH_MAX: u32 = 100;

/// A request in protobuf as the same request in OTLP/JSON. Text that is no UTF-8 gets replacement
/// characters.
///
/// # Errors
/// [`Malformed`] when it is no protobuf of that signal, or is nested too deep.
pub fn protobuf_to_json(signal: Signal, request: &[u8]) -> Result<Bytes, Malformed> {
    let mut writer = Writer {
        request,
        out: Vec::with_capacity(request.len() * 2),
    };
    let whole = Span::new(0, request.len());
    writer.message(schema::request(signal), &[whole], 0)?;
    Ok(writer.out.into())
}

struct Writer<'a> {
    request: &'a [u8],
    out: Vec<u8>,
}

/// An occurrence of a field: which of the table, and where its value stands.
#[derive(Clone, Copy)]
struct Found {
    field_index: usize,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Bits(u64),
    Span(Span),
}

impl Writer<'_> {
    /// Writes a message that stands in several places as one, as protobuf merges it.
    fn message(
        &mut self,
        fields: &'static [Field],
        places: &[Span],
        depth: u32,
    ) -> Result<(), Malformed> {
        let mut found = Vec::new();
        for &place in places {
            self.find(fields, place, depth, &mut found)?;
        }
        drop_all_but_last_of_oneof(fields, &mut found);
        // Stable: entries of one field stay in their order.
        found.sort_by_key(|it| it.field_index);
        self.out.push(b'{');
        for of_field in found.chunk_by(|a, b| a.field_index == b.field_index) {
            if self.out.last() != Some(&b'{') {
                self.out.push(b',');
            }
            let field = &fields[of_field[0].field_index];
            self.text(field.name.as_bytes());
            self.out.push(b':');
            self.field(field, of_field, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Finds the known fields of a message.
    fn find(
        &self,
        fields: &'static [Field],
        place: Span,
        depth: u32,
        found: &mut Vec<Found>,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::of(self.request, place);
        if depth > DEPTH_MAX {
            return Err(reader.malformed(Fault::GroupDeep));
        }
        while let Some(tag) = reader.tag()? {
            let field_index = fields.iter().position(|field| field.number == tag >> 3);
            let Some(field_index) = field_index else {
                reader.skip_value(tag, 0)?;
                continue;
            };
            let kind = fields[field_index].kind;
            let is_repeated = fields[field_index].presence == Presence::Repeated;
            match tag & 7 {
                LENGTH if kind.wire_type() == LENGTH => {
                    let value = Value::Span(reader.span()?);
                    found.push(Found { field_index, value });
                }
                LENGTH if is_repeated => {
                    let span = reader.span()?;
                    let mut packed = Reader::of(self.request, span);
                    while packed.at() < span.range().end {
                        let value = Value::Bits(number(self.request, &mut packed, kind)?);
                        found.push(Found { field_index, value });
                    }
                }
                wire_type if wire_type == kind.wire_type() => {
                    let value = Value::Bits(number(self.request, &mut reader, kind)?);
                    found.push(Found { field_index, value });
                }
                _ => return Err(reader.malformed(Fault::FieldType)),
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, found: &[Found], depth: u32) -> Result<(), Malformed> {
        if field.presence != Presence::Repeated {
            return self.value(field.kind, found, depth);
        }
        self.out.push(b'[');
        for (index, entry) in found.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(field.kind, std::slice::from_ref(entry), depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes a value that occurs at least once: the last, or, of a message, all of them merged.
    fn value(&mut self, kind: Kind, found: &[Found], depth: u32) -> Result<(), Malformed> {
        let Some(last) = found.last() else {
            return Ok(());
        };
        match (kind, last.value) {
            (Kind::Message(fields), Value::Span(place)) if found.len() == 1 => {
                self.message(fields, &[place], depth + 1)?;
            }
            (Kind::Message(fields), _) => {
                let places = found.iter().filter_map(|it| match it.value {
                    Value::Span(place) => Some(place),
                    Value::Bits(_) => None,
                });
                self.message(fields, &places.collect::<Vec<_>>(), depth + 1)?;
            }
            (Kind::Hex, Value::Span(place)) => {
                self.out.push(b'"');
                for byte in &self.request[place.range()] {
                    self.print(format_args!("{byte:02x}"));
                }
                self.out.push(b'"');
            }
            (Kind::Base64, Value::Span(place)) => {
                let encoded = STANDARD.encode(&self.request[place.range()]);
                self.print(format_args!("\"{encoded}\""));
            }
            (_, Value::Span(place)) => {
                let request = self.request;
                self.text(&request[place.range()]);
            }
            (kind, Value::Bits(bits)) => self.number(kind, bits),
        }
        Ok(())
    }

    fn number(&mut self, kind: Kind, bits: u64) {
        match kind {
            Kind::Bool => self.print(format_args!("{}", bits != 0)),
            Kind::Double => self.double(f64::from_bits(bits)),
            Kind::Int64 | Kind::Sfixed64 => self.print(format_args!("\"{}\"", bits as i64)),
            Kind::Uint64 | Kind::Fixed64 => self.print(format_args!("\"{bits}\"")),
            Kind::Int32 => self.print(format_args!("{}", bits as i32)),
            Kind::Sint32 => {
                let bits = bits as u32;
                let value = (bits >> 1) as i32 ^ -((bits & 1) as i32);
                self.print(format_args!("{value}"));
            }
            _ => self.print(format_args!("{}", bits as u32)),
        }
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            // Debug keeps the exponent of large and small numbers, which JSON takes.
            self.print(format_args!("{value:?}"));
        } else if value.is_nan() {
            self.out.extend_from_slice(b"\"NaN\"");
        } else {
            let sign = if value < 0.0 { "-" } else { "" };
            self.print(format_args!("\"{sign}Infinity\""));
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        serde_json::to_writer(&mut self.out, &text).expect("memory takes what is written");
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        self.out
            .write_fmt(text)
            .expect("memory takes what is written");
    }
}

/// Of fields of which a message can have one, the last one counts; before another one came, even its own
/// entries do not.
fn drop_all_but_last_of_oneof(fields: &[Field], found: &mut Vec<Found>) {
    let is_one_of = |it: &Found| fields[it.field_index].presence == Presence::OneOf;
    let Some(last) = found.iter().rev().find(|it| is_one_of(it)) else {
        return;
    };
    let last_index = last.field_index;
    let is_other = |it: &Found| is_one_of(it) && it.field_index != last_index;
    let Some(end) = found.iter().rposition(is_other) else {
        return;
    };
    let mut place = 0..;
    found.retain(|it| place.next().is_some_and(|at| at > end) || !is_one_of(it));
}

impl Kind {
    const fn wire_type(self) -> u32 {
        match self {
            Self::Text | Self::Hex | Self::Base64 | Self::Message(_) => LENGTH,
            Self::Fixed32 => FIXED32,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => FIXED64,
            _ => VARINT,
        }
    }
}

/// The next number, as the bits that stand for it.
fn number(request: &[u8], reader: &mut Reader<'_>, kind: Kind) -> Result<u64, Malformed> {
    match kind.wire_type() {
        FIXED64 => reader.fixed64(),
        FIXED32 => {
            let start = reader.at();
            reader.skip_value(tag(1, FIXED32), 0)?;
            let bytes = request[start..reader.at()].iter().rev();
            Ok(bytes.fold(0, |bits, &byte| bits << 8 | u64::from(byte)))
        }
        _ => reader.varint(),
    }
}
