//! From Arrow arrays to the plain views that detectors get; lends where the layout allows it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, StringViewArray};
use arrow_buffer::BooleanBuffer;

use crate::{Column, DataType, Dictionary, Float64List, Utf8, Values};

/// Rows `rows` of an array as a column of `data_type`.
///
/// Numbers are lent; bitmaps are lent when `rows` starts at a multiple of 8 and shifted otherwise;
/// text is gathered, since the array holds views. An array without any value, or one that does not
/// have the type, is [`Values::Absent`].
#[must_use]
pub fn lower(array: &dyn Array, data_type: DataType, rows: Range<usize>) -> Column<'_> {
    if array.null_count() == array.len() && !array.is_empty() {
        return Column::full(Values::Absent);
    }
    let validity = array
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .map(|nulls| bitmap(nulls.inner(), &rows));
    Column {
        values: values(array, data_type, rows),
        validity,
    }
}

fn values(array: &dyn Array, data_type: DataType, rows: Range<usize>) -> Values<'_> {
    let found = match data_type {
        DataType::Boolean => array
            .as_boolean_opt()
            .map(|array| Values::Boolean(bitmap(array.values(), &rows))),
        DataType::Uint32 => array
            .as_primitive_opt::<UInt32Type>()
            .map(|array| Values::Uint32(Cow::Borrowed(&array.values()[rows]))),
        DataType::Uint64 => array
            .as_primitive_opt::<UInt64Type>()
            .map(|array| Values::Uint64(Cow::Borrowed(&array.values()[rows]))),
        DataType::Int64 => array
            .as_primitive_opt::<Int64Type>()
            .map(|array| Values::Int64(Cow::Borrowed(&array.values()[rows]))),
        DataType::Float64 => array
            .as_primitive_opt::<Float64Type>()
            .map(|array| Values::Float64(Cow::Borrowed(&array.values()[rows]))),
        DataType::Float64List => float64_list(array, rows),
        DataType::Utf8 => array
            .as_string_view_opt()
            .map(|texts| Values::Utf8(utf8(texts, rows))),
        DataType::Dictionary => array
            .as_string_view_opt()
            .map(|texts| Values::Dictionary(dictionary(texts, rows))),
    };
    found.unwrap_or(Values::Absent)
}

/// The bits of `rows`, row 0 of the answer at bit 0.
fn bitmap<'a>(bits: &'a BooleanBuffer, rows: &Range<usize>) -> Cow<'a, [u8]> {
    let from = bits.offset() + rows.start;
    if from.is_multiple_of(8) {
        let to = from / 8 + rows.len().div_ceil(8);
        return Cow::Borrowed(&bits.values()[from / 8..to]);
    }
    let slice = bits.slice(rows.start, rows.len());
    Cow::Owned(slice.sliced().as_slice().to_vec())
}

fn float64_list(array: &dyn Array, rows: Range<usize>) -> Option<Values<'_>> {
    let list = array.as_list_opt::<i32>()?;
    let offsets = &list.value_offsets()[rows.start..=rows.end];
    let all = list.values().as_primitive_opt::<Float64Type>()?.values();
    let (from, to) = (offsets[0] as usize, offsets[rows.len()] as usize);
    Some(Values::Float64List(Float64List {
        offsets: offsets
            .iter()
            .map(|&offset| offset as u32 - from as u32)
            .collect(),
        values: Cow::Borrowed(&all[from..to]),
    }))
}

fn utf8(texts: &StringViewArray, rows: Range<usize>) -> Utf8<'static> {
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let mut bytes = Vec::new();
    offsets.push(0);
    for row in rows {
        if texts.is_valid(row) {
            bytes.extend_from_slice(texts.value(row).as_bytes());
        }
        offsets.push(bytes.len() as u32);
    }
    Utf8 {
        offsets: offsets.into(),
        bytes: bytes.into(),
    }
}

fn dictionary(texts: &StringViewArray, rows: Range<usize>) -> Dictionary<'static> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut keys = Vec::with_capacity(rows.len());
    let (mut offsets, mut bytes) = (vec![0], Vec::new());
    for row in rows {
        if !texts.is_valid(row) {
            keys.push(0);
            continue;
        }
        let text = texts.value(row);
        let key = *known.entry(text).or_insert_with(|| {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as u32);
            offsets.len() as u32 - 2
        });
        keys.push(key);
    }
    let values = Utf8 {
        offsets: offsets.into(),
        bytes: bytes.into(),
    };
    Dictionary {
        keys: keys.into(),
        values,
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{StringViewArray, UInt64Array};

    use super::*;

    #[test]
    fn numbers_keep_their_nulls_at_any_offset() {
        let array: UInt64Array = (0..20).map(|i| (i % 3 != 0).then_some(i)).collect();
        for from in 0..12 {
            let column = lower(&array, DataType::Uint64, from..20);
            for row in from..20 {
                assert_eq!(
                    column.is_valid(row - from),
                    row % 3 != 0,
                    "row {row} from {from}"
                );
                assert_eq!(
                    column.uint64()[row - from],
                    if row % 3 == 0 { 0 } else { row as u64 }
                );
            }
        }
    }

    #[test]
    fn texts_are_gathered() {
        let array = StringViewArray::from(vec![
            Some("a"),
            None,
            Some("a longer text than a view"),
            Some("a"),
        ]);
        for data_type in [DataType::Utf8, DataType::Dictionary] {
            let column = lower(&array, data_type, 1..4);
            let texts: Vec<_> = (0..3).map(|row| column.text(row)).collect();
            assert_eq!(texts, [None, Some("a longer text than a view"), Some("a")]);
        }
    }

    #[test]
    fn a_column_of_nulls_is_absent() {
        let array = UInt64Array::from(vec![None, None]);
        assert_eq!(
            lower(&array, DataType::Uint64, 0..2),
            Column::full(Values::Absent)
        );
    }
}
