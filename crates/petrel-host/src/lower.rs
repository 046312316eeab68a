//! From plain values to what a call lends to the guest. No column is copied here: wasmtime copies each
//! once, into memory that it asks of the guest.

use petrel_detector::{
    Batch, Column, Dictionary, Float64List, Template, TemplateMerge, Utf8, Values, Watermark,
};

use crate::bindings::exports::petrel::detector::detector as wit;

/// A batch of slices, and the lists that hold them.
pub(crate) struct LoweredBatch<'a> {
    rows: u32,
    columns: Vec<wit::Column<'a>>,
    templates: Vec<wit::Template<'a>>,
    merges: Vec<wit::TemplateMerge>,
}

impl LoweredBatch<'_> {
    pub(crate) fn as_batch(&self) -> wit::Batch<'_> {
        wit::Batch {
            rows: self.rows,
            columns: &self.columns,
            templates: &self.templates,
            merges: &self.merges,
        }
    }
}

pub(crate) fn batch<'a>(batch: &'a Batch<'_>) -> LoweredBatch<'a> {
    LoweredBatch {
        rows: batch.rows,
        columns: batch.columns.iter().map(column).collect(),
        templates: batch.templates.iter().map(template).collect(),
        merges: batch.merges.iter().map(template_merge).collect(),
    }
}

fn column<'a>(column: &'a Column<'_>) -> wit::Column<'a> {
    wit::Column {
        values: values(&column.values),
        validity: column.validity.as_deref(),
    }
}

fn values<'a>(values: &'a Values<'_>) -> wit::ValuesParam<'a> {
    match values {
        Values::Boolean(bits) => wit::ValuesParam::Boolean(bits),
        Values::Uint32(values) => wit::ValuesParam::Uint32(values),
        Values::Uint64(values) => wit::ValuesParam::Uint64(values),
        Values::Int64(values) => wit::ValuesParam::Int64(values),
        Values::Float64(values) => wit::ValuesParam::Float64(values),
        Values::Float64List(list) => wit::ValuesParam::Float64List(float64_list(list)),
        Values::Utf8(texts) => wit::ValuesParam::Utf8(utf8(texts)),
        Values::Dictionary(dictionary) => {
            wit::ValuesParam::Dictionary(self::dictionary(dictionary))
        }
        Values::Absent => wit::ValuesParam::Absent,
    }
}

fn float64_list<'a>(list: &'a Float64List<'_>) -> wit::Float64ListParam<'a> {
    wit::Float64ListParam {
        offsets: &list.offsets,
        values: &list.values,
    }
}

fn utf8<'a>(texts: &'a Utf8<'_>) -> wit::Utf8Param<'a> {
    wit::Utf8Param {
        offsets: &texts.offsets,
        bytes: &texts.bytes,
    }
}

fn dictionary<'a>(dictionary: &'a Dictionary<'_>) -> wit::DictionaryParam<'a> {
    wit::DictionaryParam {
        keys: &dictionary.keys,
        values: utf8(&dictionary.values),
    }
}

fn template(template: &Template) -> wit::Template<'_> {
    wit::Template {
        stream: template.stream.0,
        id: template.id.0,
        text: &template.text,
        failure: template.failure,
    }
}

fn template_merge(merge: &TemplateMerge) -> wit::TemplateMerge {
    wit::TemplateMerge {
        stream: merge.stream.0,
        source: merge.source.0,
        target: merge.target.0,
    }
}

pub(crate) fn watermark(watermark: &Watermark) -> wit::Watermark {
    wit::Watermark {
        stream: watermark.stream.0,
        time: watermark.time.0,
        completeness: watermark.completeness,
    }
}
