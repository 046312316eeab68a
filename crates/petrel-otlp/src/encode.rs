//! Attributes as the bytes of a `LogRecord`'s field `attributes`.

use petrel_batch::{Attribute, AttributeValue};

use crate::wire::{FIXED64, LENGTH, VARINT, field_len, put_head, put_varint, tag, varint_len};

/// `LogRecord.attributes`.
const ATTRIBUTES: u32 = tag(6, LENGTH);
/// Field 1 as bytes: a key, a text, an entry of a list.
const FIRST: u32 = tag(1, LENGTH);
/// `KeyValue.value`.
const VALUE: u32 = tag(2, LENGTH);
const BOOL: u32 = tag(2, VARINT);
const INT: u32 = tag(3, VARINT);
const DOUBLE: u32 = tag(4, FIXED64);
const LIST: u32 = tag(5, LENGTH);

/// A tag and eight bytes.
const DOUBLE_LEN: usize = 9;

/// Appends an attribute as an entry of a log record.
pub(crate) fn put_attribute(out: &mut Vec<u8>, attribute: &Attribute) {
    let key = attribute.key.as_bytes();
    let value_len = value_len(&attribute.value);
    put_head(out, ATTRIBUTES, field_len(key.len()) + field_len(value_len));
    put_head(out, FIRST, key.len());
    out.extend_from_slice(key);
    put_head(out, VALUE, value_len);
    put_value(out, &attribute.value);
}

/// Bytes of an `AnyValue`.
fn value_len(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Text(text) => field_len(text.len()),
        AttributeValue::Int(value) => 1 + varint_len(*value as usize),
        AttributeValue::Double(_) => DOUBLE_LEN,
        AttributeValue::Bool(_) => 2,
        AttributeValue::Texts(_) | AttributeValue::Doubles(_) => field_len(list_len(value)),
    }
}

/// Bytes of an `ArrayValue`.
fn list_len(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Texts(texts) => {
            let entries = texts.iter().map(|text| field_len(field_len(text.len())));
            entries.sum()
        }
        AttributeValue::Doubles(values) => values.len() * field_len(DOUBLE_LEN),
        _ => 0,
    }
}

fn put_value(out: &mut Vec<u8>, value: &AttributeValue) {
    match value {
        AttributeValue::Text(text) => put_text(out, text),
        AttributeValue::Int(value) => {
            out.push(INT as u8);
            put_varint(out, *value as u64);
        }
        AttributeValue::Double(value) => put_double(out, *value),
        AttributeValue::Bool(value) => out.extend_from_slice(&[BOOL as u8, u8::from(*value)]),
        AttributeValue::Texts(texts) => {
            put_head(out, LIST, list_len(value));
            for text in texts {
                put_head(out, FIRST, field_len(text.len()));
                put_text(out, text);
            }
        }
        AttributeValue::Doubles(values) => {
            put_head(out, LIST, list_len(value));
            for value in values {
                put_head(out, FIRST, DOUBLE_LEN);
                put_double(out, *value);
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, FIRST, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_double(out: &mut Vec<u8>, value: f64) {
    out.push(DOUBLE as u8);
    out.extend_from_slice(&value.to_le_bytes());
}
