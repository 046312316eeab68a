//! One log record: its fields in any order, its attributes as they come, its row.

use petrel_batch::EventTime;

use super::columns::{Cell, Columns};
use super::json_text::put_json;
use super::plan::{Rule, Source, WalkPlan, WantedKey};
use super::value::{
    KeyValue, Pieces, Scalar, Value, check_any_key_value, check_value, plain_key_value,
    plain_value, read_pieces, read_value,
};
use crate::wire::{FIXED32, FIXED64, LENGTH, Malformed, Reader, Span, VARINT, tag};

const TIME: u32 = tag(1, FIXED64);
const SEVERITY_NUMBER: u32 = tag(2, VARINT);
const SEVERITY_TEXT: u32 = tag(3, LENGTH);
const BODY: u32 = tag(5, LENGTH);
const ATTRIBUTES: u32 = tag(6, LENGTH);
const DROPPED: u32 = tag(7, VARINT);
const FLAGS: u32 = tag(8, FIXED32);
const TRACE_ID: u32 = tag(9, LENGTH);
const SPAN_ID: u32 = tag(10, LENGTH);
const OBSERVED_TIME: u32 = tag(11, FIXED64);
const EVENT_NAME: u32 = tag(12, LENGTH);
const RECORD_FIELDS: u32 = 0b1_1111_1110_1110;

/// The fields of a record that fill columns.
#[derive(Clone, Copy, Default)]
pub(super) struct RecordFields {
    /// The record itself.
    record: Span,
    time: u64,
    observed_time: u64,
    severity_number: u32,
    /// The only body, or the last of several; empty when there is none, which means the same as one
    /// without content.
    body: Span,
    n_bodies: u32,
    trace_id: Span,
    span_id: Span,
}

impl RecordFields {
    /// Whether it says at all when it happened or was seen.
    pub(super) fn is_timed(&self) -> bool {
        self.time != 0 || self.observed_time != 0
    }

    /// The record's time, else its observed time, else `arrival`.
    pub(super) fn event_time(&self, arrival: EventTime) -> EventTime {
        EventTime(match (self.time, self.observed_time) {
            (0, 0) => arrival.nanos(),
            (0, observed_time) => observed_time,
            (time, _) => time,
        })
    }
}

/// Checks a record and reads its fields; `attribute` gets each of its attributes.
#[inline]
pub(super) fn read_record(
    bytes: &[u8],
    record: Span,
    mut attribute: impl FnMut(&KeyValue) -> Result<(), Malformed>,
) -> Result<RecordFields, Malformed> {
    let mut reader = Reader::of(bytes, record);
    let mut fields = RecordFields {
        record,
        ..RecordFields::default()
    };
    while let Some(tag) = reader.tag()? {
        match tag {
            TIME => fields.time = reader.fixed64()?,
            OBSERVED_TIME => fields.observed_time = reader.fixed64()?,
            // An enum is an int32: of a negative number nothing is known.
            SEVERITY_NUMBER => {
                fields.severity_number = u32::try_from(reader.varint()? as i32).unwrap_or(0);
            }
            BODY => {
                fields.body = reader.span()?;
                fields.n_bodies += 1;
                check_value(bytes, fields.body, 0)?;
            }
            ATTRIBUTES => {
                let entry = reader.span()?;
                let entry = match plain_key_value(bytes, entry) {
                    Some(plain) => plain,
                    None => check_any_key_value(bytes, entry, 0)?,
                };
                attribute(&entry)?;
            }
            TRACE_ID => fields.trace_id = reader.span()?,
            SPAN_ID => fields.span_id = reader.span()?,
            SEVERITY_TEXT | EVENT_NAME => {
                reader.span()?;
            }
            DROPPED => {
                reader.varint()?;
            }
            FLAGS => reader.skip_bytes(4)?,
            other => reader.skip(other, RECORD_FIELDS)?,
        }
    }
    Ok(fields)
}

/// What its attributes say of a record beside the cells that they fill.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    /// It comes from a Petrel.
    pub(super) is_enriched: bool,
    /// It has a key that Petrel might write too.
    pub(super) is_reserved: bool,
}

/// Fills the cells of the current row that an attribute was asked for.
#[inline]
pub(super) fn put_attribute(
    bytes: &[u8],
    attribute: &KeyValue,
    plan: &WalkPlan,
    columns: &mut Columns,
    marks: &mut Marks,
) -> Result<(), Malformed> {
    let key = &bytes[attribute.key.range()];
    marks.is_reserved |= plan.reserved.begin(key);
    let Some(wanted) = plan.keys.find(key) else {
        return Ok(());
    };
    marks.is_enriched |= wanted.marks_enriched();
    if wanted.columns.is_empty() {
        return Ok(());
    }
    let scalar = match attribute.plain(bytes) {
        Some(plain) => Some(plain),
        None => attribute.any_scalar(bytes)?,
    };
    match scalar {
        Some(Scalar::Text(span)) => put_cell(Columns::view(bytes, span), wanted, columns),
        Some(Scalar::Bool(value)) => put_cell(Cell::Bool(value), wanted, columns),
        Some(Scalar::Int(value)) => put_cell(Cell::Int(value), wanted, columns),
        Some(Scalar::Double(value)) => put_cell(Cell::Double(value), wanted, columns),
        None => {}
    }
    Ok(())
}

/// Fills the cells of the current row that `wanted` stands for; inlined, as [`Columns::set`] is.
#[inline(always)]
fn put_cell(cell: Cell, wanted: &WantedKey, columns: &mut Columns) {
    for &(column, rule) in &wanted.columns {
        if rule == Rule::AsIs || matches!(cell, Cell::Int(1..)) {
            columns.set(column, cell);
        }
    }
}

/// Fills the cells of the current row that come from the record's own fields.
#[inline]
pub(super) fn put_fields(
    bytes: &[u8],
    fields: &RecordFields,
    event_time: EventTime,
    plan: &WalkPlan,
    columns: &mut Columns,
) -> Result<(), Malformed> {
    for &(column, source) in &plan.record_columns {
        match source {
            Source::EventTime => columns.set(column, Cell::Uint(event_time.nanos())),
            Source::ObservedTime => {
                if fields.observed_time != 0 {
                    columns.set(column, Cell::Uint(fields.observed_time));
                }
            }
            Source::SeverityNumber => {
                columns.set(column, Cell::Uint(u64::from(fields.severity_number)));
            }
            Source::Body => put_body(bytes, fields, column, columns)?,
            Source::TraceId => {
                if let Some(id) = id(bytes, fields.trace_id) {
                    put_hex(u128::from_be_bytes(id), 32, column, columns);
                }
            }
            Source::SpanId => {
                if let Some(id) = id(bytes, fields.span_id) {
                    put_hex(u64::from_be_bytes(id).into(), 16, column, columns);
                }
            }
            // The low half: the high one is a time in some tracers.
            Source::Trace => {
                if let Some(id) = id(bytes, fields.trace_id) {
                    columns.set(column, Cell::Uint(u128::from_be_bytes(id) as u64));
                }
            }
        }
    }
    Ok(())
}

/// The body as text: in place, or for anything but text as JSON; none for bytes and for no body.
#[inline]
fn put_body(
    bytes: &[u8],
    fields: &RecordFields,
    column: usize,
    columns: &mut Columns,
) -> Result<(), Malformed> {
    if fields.n_bodies == 1
        && let Some(Scalar::Text(span)) = plain_value(bytes, fields.body)
    {
        columns.set(column, Columns::view(bytes, span));
        return Ok(());
    }
    if let Some(cell) = any_body(bytes, fields, columns)? {
        columns.set(column, cell);
    }
    Ok(())
}

#[inline(never)]
fn any_body(
    bytes: &[u8],
    fields: &RecordFields,
    columns: &mut Columns,
) -> Result<Option<Cell>, Malformed> {
    let value = match fields.n_bodies {
        0 | 1 => read_value(bytes, fields.body)?,
        _ => scattered_body(bytes, fields.record)?,
    };
    Ok(match value {
        Value::Scalar(Scalar::Text(span)) => Some(Columns::view(bytes, span)),
        Value::Empty | Value::Bytes => None,
        value => columns.view_beside(|out, length_max| put_json(bytes, &value, length_max, out)),
    })
}

#[cold]
fn scattered_body(bytes: &[u8], record: Span) -> Result<Value, Malformed> {
    let (mut reader, mut pieces) = (Reader::of(bytes, record), Pieces::default());
    while let Some(tag) = reader.tag()? {
        if tag == BODY {
            pieces.push(reader.span()?);
        } else {
            reader.skip_value(tag, 0)?;
        }
    }
    read_pieces(bytes, &pieces)
}

/// An id of `N` bytes; OTLP says that one of another length or of zeros is none.
#[inline]
fn id<const N: usize>(bytes: &[u8], span: Span) -> Option<[u8; N]> {
    let id = <[u8; N]>::try_from(&bytes[span.range()]).ok()?;
    (id != [0; N]).then_some(id)
}

/// Fills a cell with an id as so many digits.
fn put_hex(id: u128, n_digits: usize, column: usize, columns: &mut Columns) {
    let cell = columns.view_beside(|out, length_max| {
        let fits = out.len() + n_digits <= length_max;
        if fits {
            let digits = (0..n_digits)
                .rev()
                .map(|index| (id >> (4 * index)) as usize & 15);
            out.extend(digits.map(|digit| b"0123456789abcdef"[digit]));
        }
        fits
    });
    if let Some(cell) = cell {
        columns.set(column, cell);
    }
}
