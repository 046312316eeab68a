//! Writes OTLP protobuf straight into a buffer that is used again: the generator must cost less than
//! what it feeds. Field numbers are those of `opentelemetry/proto/{logs,common,resource}/v1`.

use prost::encoding::{WireType, encode_key, encode_varint};

/// Field numbers of the messages that are written here, by message.
pub(super) mod field {
    pub(crate) const REQUEST_RESOURCE_LOGS: u32 = 1;
    pub(crate) const RESOURCE_LOGS_RESOURCE: u32 = 1;
    pub(crate) const RESOURCE_LOGS_SCOPE_LOGS: u32 = 2;
    pub(crate) const RESOURCE_ATTRIBUTES: u32 = 1;
    pub(crate) const SCOPE_LOGS_SCOPE: u32 = 1;
    pub(crate) const SCOPE_LOGS_LOG_RECORDS: u32 = 2;
    pub(crate) const SCOPE_NAME: u32 = 1;
    pub(crate) const RECORD_TIME: u32 = 1;
    pub(crate) const RECORD_SEVERITY_NUMBER: u32 = 2;
    pub(crate) const RECORD_SEVERITY_TEXT: u32 = 3;
    pub(crate) const RECORD_BODY: u32 = 5;
    pub(crate) const RECORD_ATTRIBUTES: u32 = 6;
    pub(crate) const RECORD_FLAGS: u32 = 8;
    pub(crate) const RECORD_TRACE_ID: u32 = 9;
    pub(crate) const RECORD_SPAN_ID: u32 = 10;
    pub(crate) const RECORD_OBSERVED_TIME: u32 = 11;
    pub(crate) const VALUE_STRING: u32 = 1;
    pub(crate) const VALUE_INT: u32 = 3;
    pub(crate) const VALUE_DOUBLE: u32 = 4;
    pub(crate) const KEY_VALUE_KEY: u32 = 1;
    pub(crate) const KEY_VALUE_VALUE: u32 = 2;
}

/// A value of an attribute, as an SDK sends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
}

/// Appends a length-delimited field whose content `write` appends.
pub(super) fn message(buffer: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(number, WireType::LengthDelimited, buffer);
    let length_at = buffer.len();
    buffer.push(0);
    write(buffer);
    let length = buffer.len() - length_at - 1;
    if length < 0x80 {
        buffer[length_at] = length as u8;
        return;
    }
    // The length needs more than the byte kept free for it: make room behind it.
    let mut varint = [0_u8; 10];
    let mut rest = &mut varint[..];
    encode_varint(length as u64, &mut rest);
    let n_varint = 10 - rest.len();
    let content_at = length_at + 1;
    buffer.resize(buffer.len() + n_varint - 1, 0);
    buffer.copy_within(content_at..content_at + length, length_at + n_varint);
    buffer[length_at..length_at + n_varint].copy_from_slice(&varint[..n_varint]);
}

/// Appends a field of bytes or text.
pub(super) fn bytes(buffer: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, buffer);
    encode_varint(content.len() as u64, buffer);
    buffer.extend_from_slice(content);
}

/// Appends a varint field.
pub(super) fn varint(buffer: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::Varint, buffer);
    encode_varint(value, buffer);
}

/// Appends a `fixed64` field.
pub(super) fn fixed64(buffer: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::SixtyFourBit, buffer);
    buffer.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `fixed32` field.
pub(super) fn fixed32(buffer: &mut Vec<u8>, number: u32, value: u32) {
    encode_key(number, WireType::ThirtyTwoBit, buffer);
    buffer.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `KeyValue`.
pub(super) fn attribute(buffer: &mut Vec<u8>, number: u32, key: &str, value: Value<'_>) {
    message(buffer, number, |buffer| {
        bytes(buffer, field::KEY_VALUE_KEY, key.as_bytes());
        message(buffer, field::KEY_VALUE_VALUE, |buffer| match value {
            Value::Text(text) => bytes(buffer, field::VALUE_STRING, text.as_bytes()),
            Value::Int(int) => varint(buffer, field::VALUE_INT, int as u64),
            Value::Double(double) => fixed64(buffer, field::VALUE_DOUBLE, double.to_bits()),
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_are_written_in_the_shortest_form() {
        for n in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let content = vec![7_u8; n];
            let mut expected = Vec::new();
            bytes(&mut expected, 5, &content);
            let mut written = Vec::new();
            message(&mut written, 5, |buffer| buffer.extend_from_slice(&content));
            assert_eq!(written, expected, "{n} bytes");
        }
    }
}
