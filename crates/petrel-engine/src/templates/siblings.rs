//! Which templates become one: siblings that differ in one word, a word against a variable, and
//! prefixes that lead free text. All of it depends on the set of templates, hardly on their order:
//! only where a template has enough siblings at two places at once do those go first that came first,
//! and free text and eviction depend on counts.

use super::index::{self, Index, PREFIX_WORDS_MAX, Slot};
use super::template;
use super::token::{self, Kind, Shape, Token};

/// Siblings that make a place variable, for a template of many words.
const SIBLINGS_MIN: usize = 3;
/// A template with fewer words needs one sibling more for each that is missing.
const WORDS_ENOUGH: usize = 5;
/// A template of one word tells nothing apart but that word.
const WORDS_MIN: usize = 2;
/// Siblings needed when they differ in a word of capitals, mostly a state.
const CAPITALS_SIBLINGS_MIN: usize = 8;
/// Siblings needed when they differ in the first word and it is always a host, program or class ...
const FIRST_IDENT_SIBLINGS_MIN: usize = 8;
/// ... and when it is not.
const FIRST_SIBLINGS_MIN: usize = 32;
/// Templates that make a prefix lead free text, and that many when the prefix is one word.
const FREE_TEXT_MIN: usize = 32;
const FREE_TEXT_ONE_WORD_MIN: usize = 128;
/// Share of them, in percent, that was seen at most so often.
const FREE_TEXT_RARE_PERCENT: usize = 90;
pub(super) const FREE_TEXT_RECORDS_MAX: u64 = 2;

/// The place at which these tokens hold a word and a known template a variable, or the other way
/// round; the first word aside.
pub(super) fn word_against_variable(
    index: &Index,
    key: u64,
    tokens: &[Token],
    learnt: u64,
) -> Option<usize> {
    let first = template::first_word(tokens, learnt);
    index::places(tokens).find(|place| {
        Some(*place) != first
            && index.siblings(key, tokens, *place).iter().any(|slot| {
                index.get(*slot).is_some_and(|sibling| {
                    sibling.tokens[*place].kind != tokens[*place].kind
                        && template::first_word(&sibling.tokens, sibling.learnt) != Some(*place)
                })
            })
    })
}

/// The place at which enough siblings of a template differ.
pub(super) fn varying_place(index: &Index, slot: Slot) -> Option<usize> {
    let template = index.get(slot)?;
    let tokens = &template.tokens[..];
    let key = token::key(tokens);
    let n_words = template::n_words(tokens);
    if n_words < WORDS_MIN {
        return None;
    }
    let first = template::first_word(tokens, template.learnt);
    index::places(tokens)
        .filter(|place| tokens[*place].kind == Kind::Word)
        .find(|place| {
            let group = index.siblings(key, tokens, *place);
            group.len() >= SIBLINGS_MIN && {
                let shapes = || {
                    group
                        .iter()
                        .filter_map(|slot| shape_at(index, *slot, *place))
                };
                let needed = if Some(*place) == first {
                    if shapes().all(|shape| shape == Shape::Ident) {
                        FIRST_IDENT_SIBLINGS_MIN
                    } else {
                        FIRST_SIBLINGS_MIN
                    }
                } else {
                    let usual = SIBLINGS_MIN + WORDS_ENOUGH.saturating_sub(n_words);
                    if shapes().any(|shape| shape == Shape::Capitals) {
                        usual.max(CAPITALS_SIBLINGS_MIN)
                    } else {
                        usual
                    }
                };
                shapes().count() >= needed
            }
        })
}

/// Shape of the constant word that a template has at a place.
fn shape_at(index: &Index, slot: Slot, place: usize) -> Option<Shape> {
    let template = index.get(slot)?;
    let token = template.tokens[place];
    (token.kind == Kind::Word).then(|| token::shape(&template.text[token.range()]))
}

/// The longest prefix of a template that turns out to lead free text: its tokens' number and hash.
pub(super) fn free_text_prefix(index: &Index, slot: Slot) -> Option<(usize, u64)> {
    let tokens = &index.get(slot)?.tokens[..];
    let mut found = None;
    token::prefixes(tokens, PREFIX_WORDS_MAX, |n_words, n_tokens, prefix| {
        let needed = if n_words == 1 {
            FREE_TEXT_ONE_WORD_MIN
        } else {
            FREE_TEXT_MIN
        };
        let members = index.sharing(prefix);
        if n_tokens < tokens.len() && members.len() >= needed {
            let is_rare = |slot: &&Slot| {
                index
                    .get(**slot)
                    .is_some_and(|member| member.n_records <= FREE_TEXT_RECORDS_MAX)
            };
            let n_rare = members.iter().filter(is_rare).count();
            if n_rare * 100 >= members.len() * FREE_TEXT_RARE_PERCENT {
                found = Some((n_tokens, prefix));
            }
        }
    });
    found
}
