//! A value as JSON text: what the template miner sees of a body that is a map or a list.
//!
//! A map is an object with its entries in order. Bytes, empty values, doubles that are not finite and
//! what lies deeper than is looked into are `null`.

use std::io::Write;

use super::value::{
    Pieces, Scalar, VALUE_DEPTH_MAX, Value, check_key_value, for_each_entry, read_value,
};
use crate::wire::{Malformed, Span};

/// Appends `value` to `out` as JSON; `false` when that would make `out` longer than `length_max`, and
/// `out` is then as it was.
///
/// The text of the value is copied unchecked: whoever takes `out` for text checks that it is UTF-8.
pub(crate) fn put_json(bytes: &[u8], value: &Value, length_max: usize, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let mut writer = JsonWriter {
        bytes,
        length_max,
        out,
    };
    let fits = matches!(writer.value(value, 0), Ok(()) if writer.fits());
    if !fits {
        out.truncate(before);
    }
    fits
}

struct JsonWriter<'a> {
    bytes: &'a [u8],
    length_max: usize,
    out: &'a mut Vec<u8>,
}

impl JsonWriter<'_> {
    fn fits(&self) -> bool {
        self.out.len() <= self.length_max
    }

    fn value(&mut self, value: &Value, depth: u32) -> Result<(), Malformed> {
        match value {
            Value::Scalar(Scalar::Text(span)) => self.text(*span),
            Value::Scalar(Scalar::Bool(value)) => self.put(if *value { b"true" } else { b"false" }),
            Value::Scalar(Scalar::Int(value)) => self.number(value),
            Value::Scalar(Scalar::Double(value)) if value.is_finite() => self.number(value),
            Value::List(pieces) if depth < VALUE_DEPTH_MAX - 1 => self.list(pieces, depth)?,
            Value::Map(pieces) if depth < VALUE_DEPTH_MAX - 1 => self.map(pieces, depth)?,
            _ => self.put(b"null"),
        }
        Ok(())
    }

    fn list(&mut self, pieces: &Pieces, depth: u32) -> Result<(), Malformed> {
        let mut separator: &[u8] = b"[";
        for_each_entry(self.bytes, pieces, |entry| {
            if self.fits() {
                self.put(std::mem::replace(&mut separator, b","));
                let value = read_value(self.bytes, entry)?;
                self.value(&value, depth + 1)?;
            }
            Ok(())
        })?;
        self.put(if separator == b"[" { b"[]" } else { b"]" });
        Ok(())
    }

    fn map(&mut self, pieces: &Pieces, depth: u32) -> Result<(), Malformed> {
        let mut separator: &[u8] = b"{";
        for_each_entry(self.bytes, pieces, |entry| {
            if self.fits() {
                self.put(std::mem::replace(&mut separator, b","));
                // The entry was checked before: reading it again costs more than it says.
                let entry = check_key_value(self.bytes, entry, VALUE_DEPTH_MAX)?;
                self.text(entry.key);
                self.put(b":");
                let value = entry.value(self.bytes)?;
                self.value(&value, depth + 1)?;
            }
            Ok(())
        })?;
        self.put(if separator == b"{" { b"{}" } else { b"}" });
        Ok(())
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn number(&mut self, number: &impl serde::Serialize) {
        serde_json::to_writer(&mut *self.out, number).expect("a number can be written to memory");
    }

    fn text(&mut self, span: Span) {
        self.out.push(b'"');
        let text = &self.bytes[span.range()];
        let mut copied = 0;
        for (at, &byte) in text.iter().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.out.extend_from_slice(&text[copied..at]);
            copied = at + 1;
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.put(b"\\n"),
                b'\r' => self.put(b"\\r"),
                b'\t' => self.put(b"\\t"),
                8 => self.put(b"\\b"),
                12 => self.put(b"\\f"),
                _ => write!(self.out, "\\u{byte:04x}").expect("memory takes what is written"),
            }
        }
        self.out.extend_from_slice(&text[copied..]);
        self.out.push(b'"');
    }
}
