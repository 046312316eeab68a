//! Columns for detectors: what the batch brings is lowered once, what the engine computes is lent,
//! and a call gets the rows between two cuts.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use petrel_batch::{Column, ColumnRequest, ColumnSet, DataType, Dictionary, Float64List, LogBatch};
use petrel_batch::{Utf8, Values, bit, lower, names};

/// Where a column of a plan comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stream,
    Template,
    Numbers,
    /// Index in the batch's set of columns.
    Batch(usize),
    /// Nobody read it from the request.
    Nowhere,
}

impl Source {
    /// The source of a column among what a batch was read for.
    pub(crate) fn of(request: &ColumnRequest, column_set: &ColumnSet) -> Self {
        match (request.name.as_str(), request.data_type) {
            (names::STREAM, DataType::Uint32) => Self::Stream,
            (names::TEMPLATE, DataType::Uint64) => Self::Template,
            (names::BODY_NUMBERS, DataType::Float64List) => Self::Numbers,
            (name, data_type) => column_set
                .index_of(name, data_type)
                .map_or(Self::Nowhere, Self::Batch),
        }
    }
}

/// The rows of a pass: what the engine computes of them, filled row by row.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    pub(crate) stream: Vec<u32>,
    pub(crate) template: Vec<u64>,
    /// One bit a row; only looked at when some row has no template.
    pub(crate) has_template: Vec<u8>,
    pub(crate) n_without_template: usize,
    pub(crate) number_offsets: Vec<u32>,
    pub(crate) numbers: Vec<f64>,
    pub(crate) has_numbers: Vec<u8>,
}

impl Computed {
    pub(crate) fn clear(&mut self) {
        self.stream.clear();
        self.template.clear();
        self.has_template.clear();
        self.n_without_template = 0;
        self.number_offsets.clear();
        self.number_offsets.push(0);
        self.numbers.clear();
        self.has_numbers.clear();
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, stream: u32, template: Option<u64>) {
        let row = self.stream.len();
        if row.is_multiple_of(8) {
            self.has_template.push(0);
        }
        self.stream.push(stream);
        self.template.push(template.unwrap_or(0));
        if template.is_some() {
            self.has_template[row / 8] |= 1 << (row % 8);
        } else {
            self.n_without_template += 1;
        }
    }

    /// Ends the numbers of a row, which stand at the end of `numbers`.
    pub(crate) fn push_numbers(&mut self, has_any: bool) {
        let row = self.number_offsets.len() - 1;
        if row.is_multiple_of(8) {
            self.has_numbers.push(0);
        }
        if has_any {
            self.has_numbers[row / 8] |= 1 << (row % 8);
        }
        self.number_offsets.push(self.numbers.len() as u32);
    }
}

/// The columns of a batch, lowered on first use.
pub(crate) struct Lowered<'b> {
    batch: &'b LogBatch,
    columns: Vec<Option<Column<'b>>>,
}

impl<'b> Lowered<'b> {
    pub(crate) fn new(batch: &'b LogBatch) -> Self {
        Self {
            batch,
            columns: vec![None; batch.column_set().requests().len()],
        }
    }

    pub(crate) fn column_set(&self) -> &Arc<ColumnSet> {
        self.batch.column_set()
    }

    /// Makes sure that a column is there.
    pub(crate) fn ensure(&mut self, index: usize) {
        if self.columns[index].is_some() {
            return;
        }
        let request = &self.batch.column_set().requests()[index];
        let array = self.batch.column(&request.name, request.data_type);
        let column = array.map_or(Column::full(Values::Absent), |array| {
            lower(array, request.data_type, 0..self.batch.n_rows())
        });
        self.columns[index] = Some(column);
    }

    /// A lowered column; absent when nobody ensured it.
    pub(crate) fn get(&self, index: usize) -> Option<&Column<'b>> {
        self.columns.get(index)?.as_ref()
    }
}

/// A column of the rows `rows`, lent.
pub(crate) fn column<'a>(
    source: Source,
    computed: &'a Computed,
    lowered: &'a Lowered<'_>,
    rows: Range<usize>,
) -> Column<'a> {
    let absent = || Column::full(Values::Absent);
    match source {
        Source::Stream => Column::full(Values::Uint32(Cow::Borrowed(&computed.stream[rows]))),
        Source::Template if computed.n_without_template == computed.template.len() => absent(),
        Source::Template => Column {
            validity: (computed.n_without_template > 0)
                .then(|| bits(&computed.has_template, &rows)),
            values: Values::Uint64(Cow::Borrowed(&computed.template[rows])),
        },
        Source::Numbers if computed.numbers.is_empty() => absent(),
        Source::Numbers => Column {
            validity: Some(bits(&computed.has_numbers, &rows)),
            values: Values::Float64List(lists(&computed.number_offsets, &computed.numbers, &rows)),
        },
        Source::Batch(index) => lowered
            .get(index)
            .map_or_else(absent, |all| slice(all, &rows)),
        Source::Nowhere => absent(),
    }
}

/// The rows `rows` of a column, lent but for bitmaps and offsets that do not begin where a byte or
/// the values begin.
fn slice<'a>(all: &'a Column<'_>, rows: &Range<usize>) -> Column<'a> {
    let values = match &all.values {
        Values::Boolean(bitmap) => Values::Boolean(bits(bitmap, rows)),
        Values::Uint32(values) => Values::Uint32(Cow::Borrowed(&values[rows.clone()])),
        Values::Uint64(values) => Values::Uint64(Cow::Borrowed(&values[rows.clone()])),
        Values::Int64(values) => Values::Int64(Cow::Borrowed(&values[rows.clone()])),
        Values::Float64(values) => Values::Float64(Cow::Borrowed(&values[rows.clone()])),
        Values::Float64List(list) => Values::Float64List(lists(&list.offsets, &list.values, rows)),
        Values::Utf8(texts) => Values::Utf8(Utf8 {
            offsets: rebase(&texts.offsets, rows),
            bytes: Cow::Borrowed(&texts.bytes[span(&texts.offsets, rows)]),
        }),
        Values::Dictionary(dictionary) => Values::Dictionary(Dictionary {
            keys: Cow::Borrowed(&dictionary.keys[rows.clone()]),
            values: Utf8 {
                offsets: Cow::Borrowed(&dictionary.values.offsets),
                bytes: Cow::Borrowed(&dictionary.values.bytes),
            },
        }),
        Values::Absent => Values::Absent,
    };
    Column {
        values,
        validity: all.validity.as_ref().map(|bitmap| bits(bitmap, rows)),
    }
}

fn lists<'a>(offsets: &'a [u32], values: &'a [f64], rows: &Range<usize>) -> Float64List<'a> {
    Float64List {
        offsets: rebase(offsets, rows),
        values: Cow::Borrowed(&values[span(offsets, rows)]),
    }
}

/// The values that the offsets of `rows` span.
fn span(offsets: &[u32], rows: &Range<usize>) -> Range<usize> {
    offsets[rows.start] as usize..offsets[rows.end] as usize
}

/// Offsets of `rows`, beginning at 0.
fn rebase<'a>(offsets: &'a [u32], rows: &Range<usize>) -> Cow<'a, [u32]> {
    let offsets = &offsets[rows.start..=rows.end];
    match offsets[0] {
        0 => Cow::Borrowed(offsets),
        first => Cow::Owned(offsets.iter().map(|offset| offset - first).collect()),
    }
}

/// The bits of `rows`, row 0 of the answer at bit 0.
fn bits<'a>(bitmap: &'a [u8], rows: &Range<usize>) -> Cow<'a, [u8]> {
    if rows.start.is_multiple_of(8) {
        return Cow::Borrowed(&bitmap[rows.start / 8..rows.end.div_ceil(8)]);
    }
    let mut shifted = vec![0; rows.len().div_ceil(8)];
    for (to, from) in rows.clone().enumerate() {
        shifted[to / 8] |= u8::from(bit(bitmap, from)) << (to % 8);
    }
    Cow::Owned(shifted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_column_keeps_its_rows() {
        let texts = ["a", "", "longer", "b", "c", "d", "e", "f", "g", "h", "i"];
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as u32);
        }
        let validity = vec![0b1110_1101, 0b111];
        let all = Column {
            values: Values::Utf8(Utf8 {
                offsets: offsets.into(),
                bytes: bytes.into(),
            }),
            validity: Some(validity.into()),
        };
        for from in 0..texts.len() {
            for to in from..=texts.len() {
                let cut = slice(&all, &(from..to));
                for row in from..to {
                    assert_eq!(cut.text(row - from), all.text(row), "{from}..{to}");
                }
            }
        }
    }
}
