//! What a miner knows and how a line changes it: steps a to d for a line whose key is not known,
//! merges, and the bounds on templates and their creation.

use petrel_batch::EventTime;

use super::aliases::Aliases;
use super::body::Reading;
use super::index::{Index, PREFIX_WORDS_MAX, Slot};
use super::siblings;
use super::template::{self, OTHER, Origin, Template, TemplateId};
use super::token::{self, Kind, TOKENS_MAX, Token};
use super::{Change, TemplateLimits, TemplateRef};

/// Templates seen at most so often make room first.
const SELDOM_RECORDS_MAX: u64 = 3;
/// One in so many templates makes room when the stream is full.
const EVICTED_SHARE: usize = 16;

/// All that a miner knows, beside the buffers of its reader.
#[derive(Debug, Default)]
pub(super) struct Mine {
    pub(super) limits: TemplateLimits,
    pub(super) index: Index,
    pub(super) aliases: Aliases,
    pub(super) n_records: u64,
    pub(super) n_created: u64,
    pub(super) n_refused: u64,
    /// Number of the record that was last answered `<other>`, from 1; 0 when none was.
    pub(super) last_refused: u64,
}

impl Mine {
    /// Counts a record of the template at `slot`.
    #[inline]
    pub(super) fn seen(&mut self, slot: Slot, time: EventTime) -> TemplateRef {
        self.n_records += 1;
        let template = self
            .index
            .get_mut(slot)
            .expect("a slot just found or made is filled");
        template.see(time);
        TemplateRef {
            id: template.id,
            slot,
        }
    }

    #[inline]
    pub(super) fn assign(
        &mut self,
        reading: &Reading<'_>,
        time: EventTime,
        changes: &mut Vec<Change>,
    ) -> Slot {
        match self.index.known(reading.key) {
            Some(slot) => slot,
            None => self.assign_unknown(reading, time, changes),
        }
    }

    /// Steps a to d for a line whose key is not known.
    #[cold]
    fn assign_unknown(
        &mut self,
        reading: &Reading<'_>,
        time: EventTime,
        changes: &mut Vec<Change>,
    ) -> Slot {
        let Reading { key, tokens, .. } = *reading;
        if let Some(slot) = self
            .index
            .fitting(key, tokens)
            .or_else(|| self.index.free_text(tokens))
        {
            self.index.remember(key, slot, self.limits.known_keys_max);
            return slot;
        }
        if let Some(place) = siblings::word_against_variable(&self.index, key, tokens, 0) {
            let members = self.index.siblings(key, tokens, place).to_vec();
            let slot = self.generalise(place, &members, time, changes);
            let slot = self.settle(slot, time, changes);
            self.index.remember(key, slot, self.limits.known_keys_max);
            return slot;
        }
        if !self.may_create() {
            return self.refuse(time);
        }
        let mut tokens = tokens.to_vec();
        let text = template::render(&mut tokens, |token| reading.token_text(token));
        let template = Template::new(&text, Origin::Mined, tokens, time);
        if let Some(slot) = self.index.by_id(template.id) {
            return self.join_namesake(slot, key, template);
        }
        let slot = self.create(template, changes);
        self.settle(slot, time, changes)
    }

    /// A line whose text is that of a live template, though their tokens differ or are not known yet.
    fn join_namesake(&mut self, slot: Slot, key: u64, template: Template) -> Slot {
        if self
            .index
            .get(slot)
            .is_some_and(|namesake| namesake.origin == Origin::Adopted)
        {
            self.index.change(slot, |namesake| {
                namesake.origin = Origin::Mined;
                namesake.tokens = template.tokens;
            });
        } else {
            self.index.remember(key, slot, self.limits.known_keys_max);
        }
        slot
    }

    /// Whether the bound on creation leaves room for one more.
    pub(super) fn may_create(&self) -> bool {
        let earned = self.n_records / self.limits.records_per_creation.max(1);
        self.n_created < self.limits.creations_at_once.saturating_add(earned)
    }

    /// Answers `<other>`.
    pub(super) fn refuse(&mut self, time: EventTime) -> Slot {
        self.n_refused += 1;
        self.last_refused = self.n_records + 1;
        self.fixed(OTHER, time)
    }

    /// Adds a template and makes room for it.
    pub(super) fn create(&mut self, template: Template, changes: &mut Vec<Change>) -> Slot {
        if self.index.len() >= self.limits.templates_max {
            self.evict(changes);
        }
        self.n_created += 1;
        changes.push(Change::Created(template.id));
        self.add(template)
    }

    fn add(&mut self, template: Template) -> Slot {
        self.aliases.remove(template.id);
        self.index.add(template)
    }

    pub(super) fn fixed(&mut self, text: &str, time: EventTime) -> Slot {
        match self.index.by_id(TemplateId::of(text)) {
            Some(slot) => slot,
            None => self.add(Template::new(text, Origin::Fixed, Vec::new(), time)),
        }
    }

    /// Merges as long as the template at `slot`, or what it has become, gives cause.
    fn settle(&mut self, mut slot: Slot, time: EventTime, changes: &mut Vec<Change>) -> Slot {
        while let Some((place, members)) = self.cause_to_merge(slot) {
            slot = self.generalise(place, &members, time, changes);
        }
        match siblings::free_text_prefix(&self.index, slot) {
            Some((n_tokens, prefix)) => self.free_text(slot, n_tokens, prefix, time, changes),
            None => slot,
        }
    }

    fn cause_to_merge(&self, slot: Slot) -> Option<(usize, Vec<Slot>)> {
        let template = self
            .index
            .get(slot)
            .filter(|template| template.is_mined())?;
        let tokens = &template.tokens[..];
        let key = token::key(tokens);
        let place = siblings::word_against_variable(&self.index, key, tokens, template.learnt)
            .or_else(|| siblings::varying_place(&self.index, slot))?;
        Some((place, self.index.siblings(key, tokens, place).to_vec()))
    }

    /// Makes one template of `members`, which differ at `place` only.
    fn generalise(
        &mut self,
        place: usize,
        members: &[Slot],
        time: EventTime,
        changes: &mut Vec<Change>,
    ) -> Slot {
        let model = self
            .index
            .get(members[0])
            .expect("siblings listed are alive");
        let mut tokens = model.tokens.to_vec();
        let Token {
            start, end, space, ..
        } = tokens[place];
        tokens[place] = Token::variable(start as usize, end as usize, space);
        let text = model.text.clone();
        let text = template::render(&mut tokens, |token| match token.kind {
            Kind::Variable => token::VARIABLE.into(),
            _ => text[token.range()].into(),
        });
        let target = self.target(Template::new(&text, Origin::Mined, tokens, time));
        self.index
            .change(target, |template| template.learnt |= 1 << place);
        self.merge(members, target, time, changes);
        let fitting = self.fitting(target);
        self.merge(&fitting, target, time, changes);
        target
    }

    /// The live template with the text of `template`, or that one, added.
    fn target(&mut self, template: Template) -> Slot {
        match self.index.by_id(template.id) {
            Some(slot)
                if self.index.get(slot).is_some_and(|found| {
                    found.origin == template.origin || found.origin == Origin::FreeText
                }) =>
            {
                slot
            }
            Some(slot) => {
                self.index.change(slot, |found| {
                    found.origin = template.origin;
                    found.tokens = template.tokens;
                });
                slot
            }
            None => self.add(template),
        }
    }

    /// Templates that a more general one leaves no reason for.
    fn fitting(&self, target: Slot) -> Vec<Slot> {
        let Some(general) = self.index.get(target) else {
            return Vec::new();
        };
        let key = token::key(&general.tokens);
        let fits = |template: &Template| {
            template.is_mined()
                && template.tokens.len() == general.tokens.len()
                && token::key_generalised(
                    token::key(&template.tokens),
                    &template.tokens,
                    general.learnt,
                ) == Some(key)
        };
        let in_order = self.index.in_order().into_iter();
        in_order
            .filter(|(slot, template)| *slot != target && fits(template))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// Moves what `members` have seen to `target` and leaves aliases in their place.
    fn merge(
        &mut self,
        members: &[Slot],
        target: Slot,
        time: EventTime,
        changes: &mut Vec<Change>,
    ) {
        for member in members.iter().filter(|member| **member != target) {
            let Some(source) = self.index.remove(*member) else {
                continue;
            };
            let mut target_id = source.id;
            self.index.change(target, |template| {
                template.absorb(&source);
                target_id = template.id;
            });
            self.aliases.add(source.id, target_id, time, &self.limits);
            changes.push(Change::Merged {
                source: source.id,
                target: target_id,
            });
        }
        self.index.forget_derived();
    }

    /// Makes `prefix <*>` of the seldom templates that share a prefix with the one at `slot`; returns
    /// what has become of that one.
    fn free_text(
        &mut self,
        slot: Slot,
        n_tokens: usize,
        prefix: u64,
        time: EventTime,
        changes: &mut Vec<Change>,
    ) -> Slot {
        let model = self
            .index
            .get(slot)
            .expect("the template that gave cause is alive");
        let mut tokens = model.tokens[..n_tokens].to_vec();
        tokens.push(Token::variable(0, 0, true));
        let text = model.text.clone();
        let text = template::render(&mut tokens, |token| match token.kind {
            Kind::Variable => token::VARIABLE.into(),
            _ => text[token.range()].into(),
        });
        let is_member = |template: &Template| {
            let mut shares = false;
            token::prefixes(&template.tokens, PREFIX_WORDS_MAX, |_, end, other| {
                shares |= other == prefix && end < template.tokens.len();
            });
            shares && template.is_mined() && template.n_records <= siblings::FREE_TEXT_RECORDS_MAX
        };
        let in_order = self.index.in_order().into_iter();
        let members: Vec<Slot> = in_order
            .filter(|(_, template)| is_member(template))
            .map(|(slot, _)| slot)
            .collect();
        let target = self.target(Template::new(&text, Origin::FreeText, tokens, time));
        self.merge(&members, target, time, changes);
        if members.contains(&slot) {
            target
        } else {
            slot
        }
    }

    /// Makes room: the longest unseen go, those seldom seen first, with their aliases.
    fn evict(&mut self, changes: &mut Vec<Change>) {
        let live = self
            .index
            .live()
            .filter(|(_, template)| template.origin != Origin::Fixed);
        let mut candidates: Vec<_> = live
            .map(|(slot, template)| {
                (
                    template.n_records > SELDOM_RECORDS_MAX,
                    template.last_seen,
                    template.id,
                    slot,
                )
            })
            .collect();
        candidates.sort_unstable();
        for (_, _, id, slot) in candidates
            .into_iter()
            .take((self.limits.templates_max / EVICTED_SHARE).max(1))
        {
            self.index.remove(slot);
            self.aliases.remove_target(id);
            changes.push(Change::Evicted(id));
        }
        self.index.forget_derived();
    }
}

const _: () = assert!(TOKENS_MAX <= u64::BITS as usize, "places are bits of a u64");
