//! What is added to the records of a request: templates, annotations, and the anomalies that a row
//! belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use petrel_batch::{Attribute, AttributeValue, RowEdits, Values, names};
use petrel_detector::Annotation;

use crate::Enrichment;
use crate::book::Belongs;

/// Templates whose attributes are at hand, direct mapped by id. Two with the same place make each
/// other's attributes anew: slower, not wrong.
const AT_HAND: usize = 4_096;

/// Attributes of templates, kept from request to request.
#[derive(Debug)]
pub(crate) struct TemplateSets {
    entries: Box<[Option<Entry>]>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    adopted: bool,
    attributes: Vec<Attribute>,
    pass: u64,
    set: u32,
}

impl TemplateSets {
    pub(crate) fn new() -> Self {
        Self {
            entries: (0..AT_HAND).map(|_| None).collect(),
        }
    }
}

/// The edits of one request in the making.
#[derive(Debug)]
pub(crate) struct EditBuilder {
    mode: Enrichment,
    prefix: String,
    edits: RowEdits,
    belongs: Vec<(u32, Belongs)>,
}

impl EditBuilder {
    pub(crate) fn new(mode: Enrichment, prefix: &str, n_rows: usize) -> Self {
        let mut edits = RowEdits::default();
        if mode >= Enrichment::Id {
            edits.base.reserve_exact(n_rows);
        }
        Self {
            mode,
            prefix: prefix.to_owned(),
            edits,
            belongs: Vec::new(),
        }
    }

    /// Whether rows get template attributes at all.
    pub(crate) fn names_templates(&self) -> bool {
        self.mode >= Enrichment::Id
    }

    /// Adds the next row, with the attributes of its template; `text` is only asked for when they
    /// are not at hand. A template that came with its record is there already: only its id is added.
    #[inline]
    pub(crate) fn push_row(
        &mut self,
        pass: u64,
        sets: &mut TemplateSets,
        template: Option<(u64, bool)>,
        text: impl FnOnce() -> Option<Arc<str>>,
    ) {
        if !self.names_templates() {
            return;
        }
        let Some((id, adopted)) = template else {
            self.edits.base.push(RowEdits::NO_SET);
            return;
        };
        let place = id as usize % AT_HAND;
        let entry = match &mut sets.entries[place] {
            Some(entry) if entry.id == id && entry.adopted == adopted => entry,
            stale => {
                let Some(text) = text() else {
                    self.edits.base.push(RowEdits::NO_SET);
                    return;
                };
                stale.insert(Entry {
                    id,
                    adopted,
                    attributes: attributes(id, text, adopted || self.mode == Enrichment::Id),
                    pass: 0,
                    set: 0,
                })
            }
        };
        if entry.pass != pass {
            entry.pass = pass;
            entry.set = self.edits.sets.len() as u32;
            self.edits.sets.push(entry.attributes.clone());
        }
        self.edits.base.push(entry.set);
    }

    /// Notes that rows belong to an anomaly; `from` is the batch's row of the call's first.
    pub(crate) fn push_belongs(&mut self, rows: &[u32], from: usize, belongs: &Belongs) {
        if self.mode >= Enrichment::Anomalies {
            let rows = rows.iter().map(|&row| (row + from as u32, belongs.clone()));
            self.belongs.extend(rows);
        }
    }

    /// Adds a detector's annotation.
    pub(crate) fn push_annotation(&mut self, detector: &str, annotation: &Annotation, from: usize) {
        if self.mode < Enrichment::Id {
            return;
        }
        let key = format!("petrel.{}.{}", detector.replace('-', "_"), annotation.key);
        for (index, &row) in annotation.rows.iter().enumerate() {
            if let Some(value) = value_at(&annotation.values, index) {
                let set = self.push_set(vec![Attribute::new(key.clone(), value)]);
                self.edits.extra.push((row + from as u32, set));
            }
        }
    }

    fn push_set(&mut self, set: Vec<Attribute>) -> u32 {
        self.edits.sets.push(set);
        self.edits.sets.len() as u32 - 1
    }

    /// The finished edits of `n_rows` rows.
    pub(crate) fn finish(mut self, n_rows: usize) -> RowEdits {
        let mut by_row: BTreeMap<u32, BTreeMap<Arc<str>, Belongs>> = BTreeMap::new();
        for (row, belongs) in std::mem::take(&mut self.belongs) {
            if (row as usize) < n_rows {
                let id = Arc::clone(&belongs.id);
                by_row.entry(row).or_default().insert(id, belongs);
            }
        }
        let mut sets: BTreeMap<Vec<Arc<str>>, u32> = BTreeMap::new();
        for (row, anomalies) in by_row {
            let ids: Vec<_> = anomalies.keys().cloned().collect();
            let set = match sets.get(&ids) {
                Some(&set) => set,
                None => {
                    let set = self.push_set(anomaly_attributes(&self.prefix, &anomalies));
                    sets.insert(ids, set);
                    set
                }
            };
            self.edits.extra.push((row, set));
        }
        self.edits.extra.retain(|&(row, _)| (row as usize) < n_rows);
        self.edits.extra.sort_by_key(|&(row, _)| row);
        if self.edits.base.iter().all(|&set| set == RowEdits::NO_SET) {
            self.edits.base.clear();
        }
        self.edits
    }
}

fn attributes(id: u64, text: Arc<str>, id_alone: bool) -> Vec<Attribute> {
    let id = Attribute::new(names::PETREL_TEMPLATE_ID, format!("{id:016x}"));
    if id_alone {
        vec![id]
    } else {
        vec![Attribute::new(names::LOG_RECORD_TEMPLATE, text), id]
    }
}

fn anomaly_attributes(prefix: &str, anomalies: &BTreeMap<Arc<str>, Belongs>) -> Vec<Attribute> {
    let ids = anomalies.keys().cloned().collect();
    let mut types: Vec<_> = anomalies
        .values()
        .map(|belongs| Arc::clone(&belongs.kind))
        .collect();
    types.sort();
    types.dedup();
    let score = anomalies
        .values()
        .map(|belongs| belongs.score)
        .fold(0.0, f64::max);
    vec![
        Attribute::new(format!("{prefix}.ids"), AttributeValue::Texts(ids)),
        Attribute::new(format!("{prefix}.types"), AttributeValue::Texts(types)),
        Attribute::new(format!("{prefix}.score"), score),
    ]
}

/// Value `index` of an annotation's column.
fn value_at(values: &Values<'_>, index: usize) -> Option<AttributeValue> {
    Some(match values {
        Values::Boolean(bits) => AttributeValue::Bool(petrel_batch::bit(bits, index)),
        Values::Uint32(values) => AttributeValue::Int(i64::from(*values.get(index)?)),
        Values::Uint64(values) => AttributeValue::Int(i64::try_from(*values.get(index)?).ok()?),
        Values::Int64(values) => AttributeValue::Int(*values.get(index)?),
        Values::Float64(values) => AttributeValue::Double(*values.get(index)?),
        Values::Utf8(texts) => texts.get(index).into(),
        Values::Dictionary(texts) => texts.values.get(*texts.keys.get(index)? as usize).into(),
        Values::Float64List(_) | Values::Absent => return None,
    })
}
