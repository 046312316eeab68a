//! Templates of rows: assigned or brought along, added to the record, told to detectors.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, StringViewArray};
use petrel_batch::{DataType, EventTime, LogBatch, StreamId, names};

use crate::pass::Pass;
use crate::templates::{CONTINUED, Change, EMPTY, OTHER, StreamMiner, TemplateId, TemplateRef};
use crate::worker::Worker;

/// What the miner reads of a batch.
pub(crate) struct Bodies<'b> {
    body: Option<&'b StringViewArray>,
    /// Attributes that bring a template along, best first; those without any value left out.
    brought: Vec<&'b StringViewArray>,
}

/// The template of a row.
#[derive(Clone, Copy)]
struct Assigned {
    template: TemplateRef,
    adopted: bool,
}

impl Worker {
    /// Gives a row its template, and all computed columns their value for it.
    #[inline]
    pub(crate) fn template_row(
        &mut self,
        pass: &mut Pass<'_>,
        id: StreamId,
        row: usize,
        time: u64,
        bodies: &Bodies<'_>,
    ) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let assigned = bodies.assign(&mut stream.miner, row, time, &mut self.changes);
        if !self.changes.is_empty() {
            self.apply_changes(pass, id, row);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        stream.last_row = (pass.number, row);
        let key = assigned.map(|assigned| (assigned.template.id.0, assigned.adopted));
        pass.computed.push(id.0, key.map(|(id, _)| id));
        pass.edits
            .push_row(pass.number, &mut self.template_sets, key, || {
                let template = stream.miner.template(assigned?.template)?;
                Some(Arc::clone(&template.text))
            });
        if pass.wants_numbers {
            let body = bodies.body(row).unwrap_or_default();
            let has_any = assigned.is_some_and(|assigned| !assigned.adopted)
                && stream
                    .miner
                    .numbers_of_last(body, &mut pass.computed.numbers);
            pass.computed.push_numbers(has_any);
        }
        if let Some((template, _)) = key
            && self.fixed.contains(&template)
            && !stream.told_fixed.contains(&template)
        {
            stream.told_fixed.push(template);
            self.tell(id, TemplateId(template));
        }
    }

    /// Tells detectors what happened to templates before the row at `row`.
    fn apply_changes(&mut self, pass: &mut Pass<'_>, id: StreamId, row: usize) {
        let mut changes = std::mem::take(&mut self.changes);
        if changes
            .iter()
            .any(|change| matches!(change, Change::Merged { .. }))
        {
            // Rows before a merge carry the ids from before it.
            for index in 0..self.instances.len() {
                if self.instances[index].wants_templates() {
                    self.flush(pass, index, row);
                }
            }
        }
        for change in changes.drain(..) {
            let tally = &mut pass.judgement.tally;
            match change {
                Change::Created(template) => {
                    tally.templates_created += 1;
                    self.tell(id, template);
                }
                Change::Merged { source, target } => {
                    tally.templates_merged += 1;
                    self.tell(id, target);
                    self.merge(id, source, target);
                }
                Change::Evicted(_) => tally.templates_evicted += 1,
            }
        }
        self.changes = changes;
    }

    fn tell(&mut self, id: StreamId, template: TemplateId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let Some(template) = stream.miner.find(template) else {
            return;
        };
        for instance in &mut self.instances {
            if instance.wants_templates() {
                instance.tell(id, template);
            }
        }
    }

    fn merge(&mut self, id: StreamId, source: TemplateId, target: TemplateId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        stream.book.merge_template(source.0, target.0, &self.rules);
        if stream.merges.len() >= self.settings.limits.merges_remembered {
            stream.merges.remove(0);
        }
        stream.merges.push((source.0, target.0));
        let max = self.settings.limits.merges_remembered;
        for instance in &mut self.instances {
            if instance.wants_templates() {
                instance.merge(id, source.0, target.0, max);
            }
        }
    }
}

/// Ids of the templates that are never announced as created.
pub(crate) fn fixed_templates() -> [u64; 3] {
    [CONTINUED, EMPTY, OTHER].map(|text| TemplateId::of(text).0)
}

impl<'b> Bodies<'b> {
    pub(crate) fn of(batch: &'b LogBatch, templates: bool) -> Self {
        let text = |name: &str| batch.column(name, DataType::Utf8)?.as_string_view_opt();
        if !templates {
            return Self {
                body: None,
                brought: Vec::new(),
            };
        }
        let brought = names::TEMPLATE_ATTRIBUTES
            .iter()
            .filter_map(|name| text(&format!("{}{name}", names::ATTRIBUTE_PREFIX)));
        Self {
            body: text(names::BODY),
            brought: brought.filter(|texts| has_any(texts)).collect(),
        }
    }

    #[inline]
    fn body(&self, row: usize) -> Option<&'b str> {
        text_at(self.body?, row)
    }

    /// The template of a row: the one it brought, else the one that is mined; none without a body.
    #[inline]
    fn assign(
        &self,
        miner: &mut StreamMiner,
        row: usize,
        time: u64,
        changes: &mut Vec<Change>,
    ) -> Option<Assigned> {
        let time = EventTime(time);
        let brought = self.brought.iter().find_map(|texts| text_at(texts, row));
        if let Some(text) = brought.filter(|text| !text.is_empty()) {
            return Some(Assigned {
                template: miner.adopt(text, time, changes),
                adopted: true,
            });
        }
        let body = self.body(row)?;
        Some(Assigned {
            template: miner.assign(body, time, changes),
            adopted: false,
        })
    }
}

fn has_any(texts: &StringViewArray) -> bool {
    texts.null_count() < texts.len()
}

#[inline]
fn text_at(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}
