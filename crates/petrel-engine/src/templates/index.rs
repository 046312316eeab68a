//! The templates of a stream and the maps by which lines find them: ids, keys, siblings, prefixes and
//! learnt places. It adds and removes; which templates become one is `siblings`' to say.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use super::template::{Origin, Template, TemplateId};
use super::token::{self, TOKENS_MAX, Token};

/// Members of a group that differs in one place; further ones are not listed.
pub(super) const SIBLINGS_MAX: usize = 32;
/// Templates listed of those that share a prefix.
const PREFIX_MEMBERS_MAX: usize = 128;
/// Constant words in the longest prefix that is watched.
pub(super) const PREFIX_WORDS_MAX: usize = 8;

/// Position of a template in the index; used again once it is gone.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Option<Template>>,
    free_slots: Vec<Slot>,
    next_sequence: u64,
    ids: Map<Slot>,
    keys: Map<Known>,
    /// Of derived keys; all of another epoch are forgotten.
    epoch: u32,
    siblings: Map<SmallVec<[Slot; 4]>>,
    prefixes: Map<SmallVec<[Slot; 4]>>,
    free_text: Map<Slot>,
    /// For each number of tokens the sets of learnt places, those with fewer places first.
    learnt: Vec<Vec<u64>>,
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// A key and where it leads.
#[derive(Clone, Copy, Debug)]
struct Known {
    slot: Slot,
    /// [`OWN`], or the epoch in which the key was found to fit a template of another key.
    epoch: u32,
}

const OWN: u32 = u32::MAX;

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = token::hash_text(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

impl Index {
    pub(super) fn get(&self, slot: Slot) -> Option<&Template> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Template> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn by_id(&self, id: TemplateId) -> Option<Slot> {
        self.ids.get(&id.0).copied()
    }

    /// Templates that are alive, in the order of their creation.
    pub(super) fn in_order(&self) -> Vec<(Slot, &Template)> {
        let mut live: Vec<_> = self.live().collect();
        live.sort_unstable_by_key(|(_, template)| template.sequence);
        live
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (Slot, &Template)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(slot, template)| {
            template.as_ref().map(|template| (slot as Slot, template))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    #[inline]
    pub(super) fn known(&self, key: u64) -> Option<Slot> {
        let known = self.keys.get(&key)?;
        (known.epoch == OWN || known.epoch == self.epoch).then_some(known.slot)
    }

    /// The template with this very key, its places learnt or not.
    pub(super) fn own(&self, key: u64) -> Option<Slot> {
        self.keys
            .get(&key)
            .filter(|known| known.epoch == OWN)
            .map(|known| known.slot)
    }

    /// Remembers that lines with `key` belong to the template at `slot`.
    pub(super) fn remember(&mut self, key: u64, slot: Slot, known_keys_max: usize) {
        if self.keys.len() >= known_keys_max {
            self.keys.retain(|_, known| known.epoch == OWN);
        }
        let epoch = self.epoch;
        let known = self.keys.entry(key).or_insert(Known { slot, epoch });
        if known.epoch != OWN {
            *known = Known { slot, epoch };
        }
    }

    /// Forgets the keys that were found to fit: the templates have changed.
    pub(super) fn forget_derived(&mut self) {
        // The last value before `OWN` starts over, with nothing left of the first round.
        self.epoch += 1;
        if self.epoch == OWN {
            self.epoch = 0;
            self.keys.retain(|_, known| known.epoch == OWN);
        }
    }

    /// Changes whenever a body might belong to another template than before.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Adds a template that has no live namesake.
    pub(super) fn add(&mut self, mut template: Template) -> Slot {
        template.sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.free_slots.pop().unwrap_or(self.slots.len() as Slot);
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        self.ids.insert(template.id.0, slot);
        self.link(slot, &template);
        self.slots[slot as usize] = Some(template);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Template> {
        let template = self.slots.get_mut(slot as usize)?.take()?;
        self.unlink(slot, &template);
        self.ids.remove(&template.id.0);
        self.free_slots.push(slot);
        Some(template)
    }

    /// Changes a template in a way that the maps must follow; its text stays.
    pub(super) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Template)) {
        if let Some(mut template) = self.slots.get_mut(slot as usize).and_then(Option::take) {
            self.unlink(slot, &template);
            change(&mut template);
            self.link(slot, &template);
            self.slots[slot as usize] = Some(template);
        }
    }

    fn link(&mut self, slot: Slot, template: &Template) {
        match template.origin {
            Origin::Fixed | Origin::Adopted => return,
            Origin::FreeText => {
                self.free_text.insert(free_text_prefix(template), slot);
                return;
            }
            Origin::Mined => {}
        }
        let tokens = &template.tokens[..];
        let key = token::key(tokens);
        self.keys.insert(key, Known { slot, epoch: OWN });
        for place in places(tokens) {
            let group = self
                .siblings
                .entry(token::key_blank(key, tokens, place))
                .or_default();
            if group.len() < SIBLINGS_MAX {
                group.push(slot);
            }
        }
        token::prefixes(tokens, PREFIX_WORDS_MAX, |_, _, prefix| {
            let members = self.prefixes.entry(prefix).or_default();
            if members.len() < PREFIX_MEMBERS_MAX {
                members.push(slot);
            }
        });
        self.learn(tokens.len(), template.learnt);
    }

    fn unlink(&mut self, slot: Slot, template: &Template) {
        match template.origin {
            Origin::Fixed | Origin::Adopted => return,
            Origin::FreeText => {
                self.free_text.remove(&free_text_prefix(template));
                return;
            }
            Origin::Mined => {}
        }
        let tokens = &template.tokens[..];
        let key = token::key(tokens);
        if self.own(key) == Some(slot) {
            self.keys.remove(&key);
        }
        for place in places(tokens) {
            unlist(
                &mut self.siblings,
                token::key_blank(key, tokens, place),
                slot,
            );
        }
        let prefixes = &mut self.prefixes;
        token::prefixes(tokens, PREFIX_WORDS_MAX, |_, _, prefix| {
            unlist(prefixes, prefix, slot)
        });
    }

    /// Notes that some template of so many tokens has learnt these places. Sets outlive their
    /// templates: one too many costs a look-up on a miss.
    fn learn(&mut self, n_tokens: usize, places: u64) {
        if places == 0 {
            return;
        }
        self.learnt.resize(TOKENS_MAX + 1, Vec::new());
        let sets = &mut self.learnt[n_tokens.min(TOKENS_MAX)];
        let order = |places: &u64| (places.count_ones(), *places);
        if let Err(position) = sets.binary_search_by_key(&order(&places), order) {
            sets.insert(position, places);
        }
    }

    /// The template whose learnt places, and only they, hold anything else than these tokens.
    pub(super) fn fitting(&self, key: u64, tokens: &[Token]) -> Option<Slot> {
        let sets = self.learnt.get(tokens.len())?;
        sets.iter().find_map(|places| {
            let slot = self.own(token::key_generalised(key, tokens, *places)?)?;
            let learnt = self.get(slot)?.learnt;
            (learnt & places == *places).then_some(slot)
        })
    }

    /// The templates that differ from these tokens at `place` only.
    pub(super) fn siblings(&self, key: u64, tokens: &[Token], place: usize) -> &[Slot] {
        self.siblings
            .get(&token::key_blank(key, tokens, place))
            .map_or(&[], |group| group)
    }

    /// The templates that share a prefix.
    pub(super) fn sharing(&self, prefix: u64) -> &[Slot] {
        self.prefixes.get(&prefix).map_or(&[], |members| members)
    }

    /// The free text that a line belongs to, that of the longest prefix.
    pub(super) fn free_text(&self, tokens: &[Token]) -> Option<Slot> {
        if self.free_text.is_empty() {
            return None;
        }
        let mut found = None;
        token::prefixes(tokens, PREFIX_WORDS_MAX, |_, n_tokens, prefix| {
            if n_tokens < tokens.len()
                && let Some(slot) = self.free_text.get(&prefix)
            {
                found = Some(*slot);
            }
        });
        found
    }

    pub(super) fn n_keys(&self) -> usize {
        self.keys.len()
    }
}

/// Places in which a word may vary.
pub(super) fn places(tokens: &[Token]) -> impl Iterator<Item = usize> + '_ {
    tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is_place())
        .map(|(place, _)| place)
}

/// Hash of the prefix of a free text, its last word's.
fn free_text_prefix(template: &Template) -> u64 {
    let mut last = 0;
    token::prefixes(&template.tokens, PREFIX_WORDS_MAX, |_, _, prefix| {
        last = prefix
    });
    last
}

fn unlist(groups: &mut Map<SmallVec<[Slot; 4]>>, key: u64, slot: Slot) {
    if let Some(group) = groups.get_mut(&key) {
        group.retain(|member| *member != slot);
        if group.is_empty() {
            groups.remove(&key);
        }
    }
}
