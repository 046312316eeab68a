//! Columns as plain views: what a detector asks for and how it gets it, without Arrow's crates.
//!
//! The layout is Arrow's (values, offsets, validity bitmaps), so that host and guest pass it on as it
//! is. `Cow` lets one type serve both: the host lends slices of Arrow arrays, a guest owns what came.

use std::borrow::Cow;

/// Arrow types that a column comes in. Ask for `Dictionary` where few texts repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// Bitmap.
    Boolean,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 64 bits.
    Int64,
    /// IEEE double.
    Float64,
    /// A list of doubles a row.
    Float64List,
    /// Text.
    Utf8,
    /// Text, each distinct value once a batch.
    Dictionary,
}

/// A column that somebody asked for; names are those of [`crate::names`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnRequest {
    /// Name, as `event_time` or `attribute.http.route`.
    pub name: String,
    /// Form in which it comes; a value of another type is null, but for integers, which fill every
    /// numeric type they fit.
    pub data_type: DataType,
    /// Rows without it are to be treated as if they were not there.
    pub required: bool,
}

impl ColumnRequest {
    /// A column that may be null.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            name: name.into(),
            data_type,
            required: false,
        }
    }

    /// The same, required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// One column: row `i` at index `i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Column<'a> {
    /// The values; where a row has none, what stands here means nothing.
    pub values: Values<'a>,
    /// Bitmap of the rows that have a value, row `i` at bit `i % 8` of byte `i / 8`; none = all have.
    pub validity: Option<Cow<'a, [u8]>>,
}

/// The values of a column in Arrow layout.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// Bitmap, laid out as validity.
    Boolean(Cow<'a, [u8]>),
    /// One a row.
    Uint32(Cow<'a, [u32]>),
    /// One a row.
    Uint64(Cow<'a, [u64]>),
    /// One a row.
    Int64(Cow<'a, [i64]>),
    /// One a row.
    Float64(Cow<'a, [f64]>),
    /// A list a row.
    Float64List(Float64List<'a>),
    /// A text a row.
    Utf8(Utf8<'a>),
    /// A key a row.
    Dictionary(Dictionary<'a>),
    /// No row has it.
    Absent,
}

/// Text `i` is `bytes[offsets[i]..offsets[i + 1]]`; one more offset than texts, the first is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Utf8<'a> {
    /// Ascending, the last is the length of `bytes`.
    pub offsets: Cow<'a, [u32]>,
    /// Valid UTF-8.
    pub bytes: Cow<'a, [u8]>,
}

/// Row `i` has `values[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Float64List<'a> {
    /// As in [`Utf8`], in values.
    pub offsets: Cow<'a, [u32]>,
    /// All lists, one after the other.
    pub values: Cow<'a, [f64]>,
}

/// Row `i` has text `keys[i]` of `values`; keys belong to one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary<'a> {
    /// One a row, below the number of texts where the row is valid.
    pub keys: Cow<'a, [u32]>,
    /// The distinct texts.
    pub values: Utf8<'a>,
}

/// Bit `index` of a bitmap, least significant bit first; `false` past its end.
#[must_use]
pub fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap
        .get(index / 8)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

impl<'a> Utf8<'a> {
    /// Text `index`; empty when it is out of range or not UTF-8 on its bounds.
    #[must_use]
    pub fn get(&self, index: usize) -> &str {
        let (Some(&from), Some(&to)) = (self.offsets.get(index), self.offsets.get(index + 1))
        else {
            return "";
        };
        self.bytes
            .get(from as usize..to as usize)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Column<'a> {
    /// A column of which every row has a value.
    #[must_use]
    pub fn full(values: Values<'a>) -> Self {
        Self {
            values,
            validity: None,
        }
    }

    /// Whether a row has a value.
    #[must_use]
    pub fn is_valid(&self, row: usize) -> bool {
        !matches!(self.values, Values::Absent)
            && self.validity.as_ref().is_none_or(|bitmap| bit(bitmap, row))
    }

    /// Values of a `uint32` column; empty when it is absent or of another type.
    #[must_use]
    pub fn uint32(&self) -> &[u32] {
        if let Values::Uint32(values) = &self.values {
            values
        } else {
            &[]
        }
    }

    /// Values of a `uint64` column; empty when it is absent or of another type.
    #[must_use]
    pub fn uint64(&self) -> &[u64] {
        if let Values::Uint64(values) = &self.values {
            values
        } else {
            &[]
        }
    }

    /// Values of an `int64` column; empty when it is absent or of another type.
    #[must_use]
    pub fn int64(&self) -> &[i64] {
        if let Values::Int64(values) = &self.values {
            values
        } else {
            &[]
        }
    }

    /// Values of a `float64` column; empty when it is absent or of another type.
    #[must_use]
    pub fn float64(&self) -> &[f64] {
        if let Values::Float64(values) = &self.values {
            values
        } else {
            &[]
        }
    }

    /// The list of a row of a `float64-list` column; `None` where there is none.
    #[must_use]
    pub fn float64_list(&self, row: usize) -> Option<&[f64]> {
        let Values::Float64List(list) = &self.values else {
            return None;
        };
        if !self.is_valid(row) {
            return None;
        }
        let (from, to) = (*list.offsets.get(row)?, *list.offsets.get(row + 1)?);
        list.values.get(from as usize..to as usize)
    }

    /// The text of a row of a `utf8` or `dictionary` column; `None` where there is none.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<&str> {
        if !self.is_valid(row) {
            return None;
        }
        match &self.values {
            Values::Utf8(texts) => Some(texts.get(row)),
            Values::Dictionary(dictionary) => {
                Some(dictionary.values.get(*dictionary.keys.get(row)? as usize))
            }
            _ => None,
        }
    }

    /// The value of a row of a `boolean` column; `None` where there is none.
    #[must_use]
    pub fn boolean(&self, row: usize) -> Option<bool> {
        match &self.values {
            Values::Boolean(bitmap) if self.is_valid(row) => Some(bit(bitmap, row)),
            _ => None,
        }
    }
}
