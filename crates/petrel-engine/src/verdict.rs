//! What the rows of a `ResourceLogs` got, in few bytes: about one a row where a request has fewer than
//! 128 templates. Texts of templates are not kept but looked up again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use petrel_batch::{Attribute, AttributeValue, RowEdits};
use serde::{Deserialize, Serialize};

use crate::columns::Computed;

/// What rows got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Ids of templates, and whether the id alone was added.
    templates: Vec<(u64, bool)>,
    /// For each row 1 + the index of its template, 0 for none; empty when no row has one.
    base: Vec<u32>,
    /// Sets of further attributes, and which row got which.
    sets: Vec<Vec<(String, Kept)>>,
    extra: Vec<(u32, u32)>,
}

/// A value of an attribute as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kept {
    Text(Arc<str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    Texts(Vec<Arc<str>>),
    Doubles(Vec<f64>),
}

impl Verdict {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self)
            .expect("plain values are serialised into a vector, which cannot fail")
    }

    /// `None` for bytes that make no sense, which saved ones may not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// The template of a row, and whether its id alone was added.
    pub(crate) fn template(&self, row: usize) -> Option<(u64, bool)> {
        let index = self.base.get(row)?.checked_sub(1)?;
        self.templates.get(index as usize).copied()
    }

    /// Further attributes of rows: (row, set).
    pub(crate) fn extra(&self) -> &[(u32, u32)] {
        &self.extra
    }

    /// The sets of further attributes.
    pub(crate) fn sets(&self) -> impl Iterator<Item = Vec<Attribute>> {
        self.sets.iter().map(|set| {
            let attributes = set.iter();
            attributes
                .map(|(key, value)| Attribute::new(key.clone(), AttributeValue::from(value)))
                .collect()
        })
    }
}

/// Makes verdicts of the finished edits of one pass.
pub(crate) struct Recorder<'a> {
    edits: &'a RowEdits,
    computed: &'a Computed,
    /// For each set of the edits 1 + its index in the verdict being made, 0 for none.
    places: Vec<u32>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(edits: &'a RowEdits, computed: &'a Computed) -> Self {
        Self {
            edits,
            computed,
            places: vec![0; edits.sets.len()],
        }
    }

    /// The verdict of some rows.
    pub(crate) fn verdict(&mut self, rows: &Range<usize>) -> Verdict {
        let mut verdict = Verdict::default();
        if let Some(base) = self.edits.base.get(rows.clone()) {
            let mut used = Vec::new();
            verdict.base.reserve_exact(base.len());
            for (row, &set) in rows.clone().zip(base) {
                let Some(place) = self.places.get_mut(set as usize) else {
                    verdict.base.push(0);
                    continue;
                };
                if *place == 0 {
                    let is_alone = self.edits.sets[set as usize].len() == 1;
                    let template = (self.computed.template[row], is_alone);
                    verdict.templates.push(template);
                    *place = verdict.templates.len() as u32;
                    used.push(set as usize);
                }
                verdict.base.push(*place);
            }
            used.into_iter().for_each(|set| self.places[set] = 0);
        }
        self.add_extra(rows, &mut verdict);
        verdict
    }

    fn add_extra(&self, rows: &Range<usize>, verdict: &mut Verdict) {
        let extra = &self.edits.extra;
        let at = |row: usize| extra.partition_point(|&(other, _)| (other as usize) < row);
        let mut sets: BTreeMap<u32, u32> = BTreeMap::new();
        for &(row, set) in &extra[at(rows.start)..at(rows.end)] {
            let set = *sets.entry(set).or_insert_with(|| {
                let attributes = self.edits.sets[set as usize].iter();
                let kept = attributes
                    .map(|attribute| (attribute.key.to_string(), Kept::from(&attribute.value)));
                verdict.sets.push(kept.collect());
                verdict.sets.len() as u32 - 1
            });
            verdict.extra.push((row - rows.start as u32, set));
        }
    }
}

impl From<&AttributeValue> for Kept {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::Text(text) => Self::Text(Arc::clone(text)),
            AttributeValue::Int(value) => Self::Int(*value),
            AttributeValue::Double(value) => Self::Double(*value),
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Texts(texts) => Self::Texts(texts.clone()),
            AttributeValue::Doubles(values) => Self::Doubles(values.clone()),
        }
    }
}

impl From<&Kept> for AttributeValue {
    fn from(kept: &Kept) -> Self {
        match kept {
            Kept::Text(text) => Self::Text(Arc::clone(text)),
            Kept::Int(value) => Self::Int(*value),
            Kept::Double(value) => Self::Double(*value),
            Kept::Bool(value) => Self::Bool(*value),
            Kept::Texts(texts) => Self::Texts(texts.clone()),
            Kept::Doubles(values) => Self::Doubles(values.clone()),
        }
    }
}
