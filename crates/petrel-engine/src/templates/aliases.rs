//! Aliases: under which id a template is known that has merged into another.

use std::collections::BTreeMap;

use petrel_batch::EventTime;

use super::TemplateLimits;
use super::template::TemplateId;

/// Ids that templates once had. A live template's id is no alias, so chains end.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    targets: BTreeMap<TemplateId, Alias>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) target: TemplateId,
    /// Event time of the merge.
    pub(super) time: EventTime,
}

impl Aliases {
    pub(super) fn resolve(&self, id: TemplateId) -> TemplateId {
        let mut id = id;
        // Saved state may be anything, so even a ring must end.
        for _ in 0..=self.targets.len() {
            match self.targets.get(&id) {
                Some(alias) => id = alias.target,
                None => break,
            }
        }
        id
    }

    /// Adds an alias; those beyond their age, and the oldest beyond the bound, are forgotten.
    pub(super) fn add(
        &mut self,
        source: TemplateId,
        target: TemplateId,
        time: EventTime,
        limits: &TemplateLimits,
    ) {
        if self.targets.len() >= limits.aliases_max {
            self.targets
                .retain(|_, alias| time.since(alias.time) <= limits.alias_age_max);
        }
        if self.targets.len() >= limits.aliases_max
            && let Some(oldest) = self
                .targets
                .iter()
                .min_by_key(|(id, alias)| (alias.time, **id))
                .map(|(id, _)| *id)
        {
            self.targets.remove(&oldest);
        }
        self.targets.insert(source, Alias { target, time });
    }

    pub(super) fn remove(&mut self, source: TemplateId) {
        self.targets.remove(&source);
    }

    /// Forgets all that leads to a template that is gone.
    pub(super) fn remove_target(&mut self, target: TemplateId) {
        let gone: Vec<_> = self
            .targets
            .keys()
            .copied()
            .filter(|source| self.resolve(*source) == target)
            .collect();
        for source in gone {
            self.targets.remove(&source);
        }
    }

    pub(super) fn insert(&mut self, source: TemplateId, alias: Alias) -> bool {
        self.targets.insert(source, alias).is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TemplateId, Alias)> + '_ {
        self.targets.iter().map(|(source, alias)| (*source, *alias))
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }
}
