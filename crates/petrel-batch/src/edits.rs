//! What the engine wants added to the log records of a request, as plain values.

use std::borrow::Cow;
use std::sync::Arc;

/// A value of an attribute that Petrel writes.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Text.
    Text(Arc<str>),
    /// Signed integer.
    Int(i64),
    /// Finite double.
    Double(f64),
    /// Boolean.
    Bool(bool),
    /// Texts.
    Texts(Vec<Arc<str>>),
    /// Doubles.
    Doubles(Vec<f64>),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for AttributeValue {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<f64> for AttributeValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// An attribute that Petrel writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Key, most often one of a fixed set.
    pub key: Cow<'static, str>,
    /// Value.
    pub value: AttributeValue,
}

impl Attribute {
    /// An attribute of a key and a value.
    pub fn new(key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// Attributes to add to the rows of one `LogBatch`.
///
/// Rows share sets of attributes, since most rows of a request repeat a few templates: a set is
/// encoded once and copied to each row that names it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowEdits {
    /// Sets of attributes, each encoded once.
    pub sets: Vec<Vec<Attribute>>,
    /// For each row the set that it gets, [`RowEdits::NO_SET`] for none; empty when no row gets one.
    pub base: Vec<u32>,
    /// Further sets for single rows, ascending by row: (row, set).
    pub extra: Vec<(u32, u32)>,
}

impl RowEdits {
    /// Stands in `base` for "no set".
    pub const NO_SET: u32 = u32::MAX;

    /// Whether nothing is added to any row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extra.is_empty() && self.base.iter().all(|&set| set == Self::NO_SET)
    }
}
