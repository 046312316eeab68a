//! A template: its text, its id, and what the miner keeps of it.

use std::sync::Arc;

use petrel_batch::EventTime;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::token::{Kind, Token};
use super::words;

/// Seed of template ids. Ids are stored and compared across hosts and versions: it never changes.
const ID_SEED: u64 = 0x5045_5452_454c_0001;

/// Stable id of a template: XXH3 (64 bits, fixed seed) of its text. The same text has the same id in
/// every stream and on every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// The id of a template with this text.
    pub fn of(text: &str) -> Self {
        TemplateId(xxh3_64_with_seed(text.as_bytes(), ID_SEED))
    }
}

impl std::fmt::Display for TemplateId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// How a template came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One of the few that stand for what is not mined (`<continued>`, `<empty>`, `<other>`). Never
    /// novel, never announced as created.
    Fixed,
    /// It came with its record.
    Adopted,
    /// Found by the scanner, perhaps with places that turned out to be variable.
    Mined,
    /// A prefix and whatever follows.
    FreeText,
}

/// A log body with its variable parts taken out.
#[derive(Clone, Debug)]
pub struct Template {
    /// Hash of `text`.
    pub id: TemplateId,
    /// Variable parts are `<*>`.
    pub text: Arc<str>,
    /// Its constant part holds a word of failure: error, timeout, refused ...
    pub failure: bool,
    /// How it came to be.
    pub origin: Origin,
    /// Records seen, those of templates merged into it included.
    pub n_records: u64,
    /// Smallest event time seen.
    pub first_seen: EventTime,
    /// Largest event time seen.
    pub last_seen: EventTime,
    /// Spans of `text`; empty unless mined or free text.
    pub(super) tokens: Box<[Token]>,
    /// Places that became variable because words varied there.
    pub(super) learnt: u64,
    /// Position in the order of creation.
    pub(super) sequence: u64,
}

/// Stands for wrapped text and stack frames that arrive as records of their own.
pub const CONTINUED: &str = "<continued>";
/// Stands for bodies without a word.
pub const EMPTY: &str = "<empty>";
/// Stands for bodies that came when no template could be created.
pub const OTHER: &str = "<other>";

impl Template {
    pub(super) fn new(text: &str, origin: Origin, tokens: Vec<Token>, time: EventTime) -> Self {
        let keys_end = match tokens.first() {
            Some(token) if token.kind == Kind::Keys => token.end as usize,
            _ => 0,
        };
        Template {
            id: TemplateId::of(text),
            text: Arc::from(text),
            failure: origin != Origin::Fixed && words::has_failure(&text[keys_end..]),
            origin,
            n_records: 0,
            first_seen: time,
            last_seen: time,
            tokens: tokens.into_boxed_slice(),
            learnt: 0,
            sequence: 0,
        }
    }

    /// Whether lines are matched to it by their tokens, all of them.
    pub(super) fn is_mined(&self) -> bool {
        self.origin == Origin::Mined
    }

    #[inline]
    pub(super) fn see(&mut self, time: EventTime) {
        self.n_records += 1;
        self.first_seen = self.first_seen.min(time);
        self.last_seen = self.last_seen.max(time);
    }

    /// Takes over what a template that merges into it has seen.
    pub(super) fn absorb(&mut self, source: &Template) {
        self.n_records += source.n_records;
        self.first_seen = self.first_seen.min(source.first_seen);
        self.last_seen = self.last_seen.max(source.last_seen);
        self.learnt |= source.learnt;
    }
}

/// Writes tokens as the text of a template and turns them into spans of it.
pub(super) fn render<'a>(
    tokens: &mut [Token],
    token_text: impl Fn(&Token) -> std::borrow::Cow<'a, str>,
) -> String {
    let mut text = String::new();
    for token in tokens.iter_mut() {
        if token.space && !text.is_empty() {
            text.push(' ');
        }
        let start = text.len() as u32;
        text.push_str(&token_text(token));
        (token.start, token.end) = (start, text.len() as u32);
    }
    text
}

/// Place of the first word: program, host or class, for which stricter rules hold. A variable that
/// the scanner found is no such place.
pub(super) fn first_word(tokens: &[Token], learnt: u64) -> Option<usize> {
    tokens.iter().enumerate().position(|(place, token)| {
        token.kind == Kind::Word || token.kind == Kind::Variable && learnt & (1 << place) != 0
    })
}

pub(super) fn n_words(tokens: &[Token]) -> usize {
    tokens
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .count()
}
