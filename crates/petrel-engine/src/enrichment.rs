//! What is added to the records of a request: templates, annotations, and the anomalies that a row
//! belongs to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use petrel_batch::{Attribute, AttributeValue, RowEdits, Values, names};
use petrel_detector::Annotation;

use crate::book::Belongs;
use crate::verdict::Verdict;
use crate::{Enrichment, Settings};

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
pub(crate) struct EditBuilder<'a> {
    settings: &'a Settings,
    mode: Enrichment,
    edits: RowEdits,
    belongs: Vec<(u32, Belongs)>,
    /// Rows that get what earlier ones get, and where these begin.
    copies: Vec<(Range<usize>, usize)>,
}

impl<'a> EditBuilder<'a> {
    pub(crate) fn new(settings: &'a Settings, n_rows: usize) -> Self {
        let mode = settings.enrichment;
        let mut edits = RowEdits::default();
        if mode >= Enrichment::Id {
            edits.base.reserve_exact(n_rows);
        }
        Self {
            settings,
            mode,
            edits,
            belongs: Vec::new(),
            copies: Vec::new(),
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
                let shown = match self.settings.privacy.mask(&text) {
                    Cow::Borrowed(_) => text,
                    Cow::Owned(masked) => masked.into(),
                };
                stale.insert(Entry {
                    id,
                    adopted,
                    attributes: attributes(id, shown, adopted || self.mode == Enrichment::Id),
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
        let privacy = &self.settings.privacy;
        if !privacy.may_show(&key) || !privacy.may_show(&annotation.key) {
            return;
        }
        for (index, &row) in annotation.rows.iter().enumerate() {
            if let Some(value) = value_at(&annotation.values, index) {
                let value = privacy.value(value);
                let set = self.push_set(vec![Attribute::new(key.clone(), value)]);
                self.edits.extra.push((row + from as u32, set));
            }
        }
    }

    /// Adds rows that get what as many earlier ones from `source` on get.
    pub(crate) fn push_copies(&mut self, rows: Range<usize>, source: usize) {
        if self.names_templates() {
            let sources = source..source + rows.len();
            self.edits.base.extend_from_within(sources);
        }
        self.copies.push((rows, source));
    }

    /// Adds the further attributes that rows got before.
    pub(crate) fn push_kept(&mut self, verdict: &Verdict, rows: &Range<usize>) {
        if self.mode < Enrichment::Anomalies {
            return;
        }
        let own = self.settings.attribute_prefix.as_str();
        let mut sets = Vec::new();
        for mut set in verdict.sets() {
            if self.mode < Enrichment::Id {
                set.retain(|attribute| attribute.key.starts_with(own));
            }
            for attribute in &mut set {
                // The masks may be stricter now than when it was added.
                let value = std::mem::replace(&mut attribute.value, AttributeValue::Bool(false));
                attribute.value = self.settings.privacy.value(value);
            }
            sets.push(self.push_set(set));
        }
        let extra = verdict.extra().iter();
        let extra = extra.filter_map(|&(row, set)| {
            let set = *sets.get(set as usize)?;
            let is_there = (row as usize) < rows.len();
            is_there.then_some((row + rows.start as u32, set))
        });
        self.edits.extra.extend(extra);
    }

    /// Gives copied rows what findings and annotations gave their sources.
    fn copy(&mut self) {
        let copies = std::mem::take(&mut self.copies);
        if copies.is_empty() {
            return;
        }
        self.belongs.sort_by_key(|&(row, _)| row);
        self.edits.extra.sort_by_key(|&(row, _)| row);
        let (n_belongs, n_extra) = (self.belongs.len(), self.edits.extra.len());
        for (rows, source) in copies {
            let sources = source as u32..(source + rows.len()) as u32;
            let target = |row: u32| row - sources.start + rows.start as u32;
            let known = &self.belongs[..n_belongs];
            let from = known.partition_point(|&(row, _)| row < sources.start);
            for index in from..n_belongs {
                let (row, belongs) = &self.belongs[index];
                if !sources.contains(row) {
                    break;
                }
                let copied = (target(*row), belongs.clone());
                self.belongs.push(copied);
            }
            let known = &self.edits.extra[..n_extra];
            let from = known.partition_point(|&(row, _)| row < sources.start);
            for index in from..n_extra {
                let (row, set) = self.edits.extra[index];
                if !sources.contains(&row) {
                    break;
                }
                self.edits.extra.push((target(row), set));
            }
        }
    }

    fn push_set(&mut self, set: Vec<Attribute>) -> u32 {
        self.edits.sets.push(set);
        self.edits.sets.len() as u32 - 1
    }

    /// The finished edits of `n_rows` rows.
    pub(crate) fn finish(mut self, n_rows: usize) -> RowEdits {
        self.copy();
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
                    let set = self.push_set(anomaly_attributes(
                        &self.settings.attribute_prefix,
                        &anomalies,
                    ));
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
