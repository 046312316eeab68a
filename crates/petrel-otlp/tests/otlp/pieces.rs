//! A request as the pieces that it is written in: what a splice and a split leave alone stays the same
//! to the byte, unknown fields, odd varints, order and repetition included.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// `ExportLogsServiceRequest.resource_logs`, `ResourceLogs.scope_logs`, `ScopeLogs.log_records`.
const LEVELS: [u32; 3] = [1, 2, 2];
/// Index of the log record's.
pub(crate) const RECORD: usize = 2;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    /// A message of that level starts: its tag and its length as written.
    Start {
        level: usize,
        tag: &'a [u8],
        length: &'a [u8],
    },
    /// Any other field of such a message, tag and all.
    Field(&'a [u8]),
    /// A message of that level ends.
    End { level: usize },
}

pub(crate) fn pieces(request: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = vec![];
    push_message(request, 0, &mut pieces);
    pieces
}

fn push_message<'a>(mut bytes: &'a [u8], level: usize, pieces: &mut Vec<Piece<'a>>) {
    while !bytes.is_empty() {
        let field = bytes;
        let (number, wire_type) = decode_key(&mut bytes).expect("a tag");
        if wire_type == WireType::LengthDelimited && LEVELS.get(level) == Some(&number) {
            let tag = up_to(field, bytes);
            let length_on = bytes;
            let n_bytes = decode_varint(&mut bytes).expect("a length");
            let length = up_to(length_on, bytes);
            let (content, rest) = bytes.split_at(n_bytes as usize);
            pieces.push(Piece::Start { level, tag, length });
            push_message(content, level + 1, pieces);
            pieces.push(Piece::End { level });
            bytes = rest;
        } else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).expect("a value");
            pieces.push(Piece::Field(up_to(field, bytes)));
        }
    }
}

/// The bytes of `all` before `rest`, which ends where it does.
fn up_to<'a>(all: &'a [u8], rest: &[u8]) -> &'a [u8] {
    &all[..all.len() - rest.len()]
}
