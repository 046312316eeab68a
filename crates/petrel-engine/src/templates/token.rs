//! Tokens, the key of a line, and the keys with one place exchanged.
//!
//! A key is a sum over places, so exchanging one place costs one subtraction and one addition. Keys
//! live in memory only: ids are hashes of the text, and saved state holds no key.

/// Tokens a line has at most; what follows is one variable. Places fit in the bits of a `u64`.
pub(super) const TOKENS_MAX: usize = 64;

/// How a variable part is written in the text of a template.
pub(super) const VARIABLE: &str = "<*>";
/// How a run of two or more dots is written, whatever its length.
pub(super) const DOTS: &str = "...";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A constant word.
    Word,
    /// A variable part.
    Variable,
    /// A separator, or a word without letter or digit.
    Delimiter,
    /// A run of dots.
    Dots,
    /// The sorted keys of a JSON object, always first.
    Keys,
}

/// One token of a line or of a template, as a span of its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) hash: u64,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) kind: Kind,
    /// A blank stands before it.
    pub(super) space: bool,
    /// The byte of a delimiter of one byte, else 0.
    pub(super) byte: u8,
}

impl Token {
    pub(super) fn new(kind: Kind, hash: u64, start: usize, end: usize, space: bool) -> Self {
        // A line is read up to BYTES_MAX past its start; offsets beyond u32 are cut by the reader.
        let (start, end) = (start as u32, end as u32);
        Token {
            hash,
            start,
            end,
            kind,
            space,
            byte: 0,
        }
    }

    pub(super) fn variable(start: usize, end: usize, space: bool) -> Self {
        Token::new(Kind::Variable, VARIABLE_HASH, start, end, space)
    }

    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether a word may give way to a variable here.
    pub(super) fn is_place(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Variable)
    }

    #[inline(always)]
    fn term(&self, place: usize) -> u64 {
        term(self.hash, self.space, place)
    }
}

pub(super) const VARIABLE_HASH: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const DOTS_HASH: u64 = 0xc2b2_ae3d_27d4_eb4f;
const BLANK_HASH: u64 = 0x1656_67b1_9e37_79f9;
const SPACE: u64 = 0x85eb_ca77_c2b2_ae63;
const STEP: u64 = 0xd6e8_feb8_6659_fd93;
const SPREAD: u64 = 0xa076_1d64_78bd_642f;

#[inline(always)]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
fn term(hash: u64, space: bool, place: usize) -> u64 {
    let spaced = hash.wrapping_add(if space { SPACE } else { 0 });
    fold(spaced ^ STEP.wrapping_mul(place as u64 + 1), SPREAD)
}

/// Hash of a word or delimiter: fast and fixed, for keys only.
#[inline]
pub(super) fn hash_text(text: &[u8]) -> u64 {
    let mut hash = SPREAD ^ (text.len() as u64).wrapping_mul(STEP);
    let mut rest = text;
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        hash = fold(hash ^ u64::from_le_bytes(*head), STEP);
        rest = tail;
    }
    let last = match *rest {
        [] => return fold(hash, SPREAD),
        [a] => u64::from(a),
        [a, b] => u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        [a, b, c] => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        [a, b, c, d] => u64::from_le_bytes([a, b, c, d, 0, 0, 0, 0]),
        [a, b, c, d, e] => u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]),
        [a, b, c, d, e, f] => u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
        [a, b, c, d, e, f, g, ..] => u64::from_le_bytes([a, b, c, d, e, f, g, 0]),
    };
    fold(fold(hash ^ last, STEP), SPREAD)
}

/// Hash of a delimiter of one byte, the same as [`hash_text`]'s.
#[inline(always)]
pub(super) fn hash_byte(byte: u8) -> u64 {
    fold(fold(SPREAD ^ STEP ^ u64::from(byte), STEP), SPREAD)
}

/// Key of a whole line.
pub(super) fn key(tokens: &[Token]) -> u64 {
    let mut sum = fold(tokens.len() as u64 ^ SPREAD, STEP);
    for (place, token) in tokens.iter().enumerate() {
        sum = sum.wrapping_add(token.term(place));
    }
    sum
}

/// Key of the line as if `place` could be anything: what siblings share.
pub(super) fn key_blank(key: u64, tokens: &[Token], place: usize) -> u64 {
    let token = tokens[place];
    key.wrapping_sub(token.term(place))
        .wrapping_add(term(BLANK_HASH, token.space, place))
}

/// Key of the line with a variable at each place of `places`; none when one of them is a delimiter.
pub(super) fn key_generalised(key: u64, tokens: &[Token], places: u64) -> Option<u64> {
    let mut sum = key;
    for place in bits(places) {
        let token = tokens.get(place).filter(|token| token.is_place())?;
        sum = sum.wrapping_sub(token.term(place)).wrapping_add(term(
            VARIABLE_HASH,
            token.space,
            place,
        ));
    }
    Some(sum)
}

/// Calls `visit` with (number of words, number of tokens, hash) for each prefix that ends in one of
/// the first `words_max` constant words.
pub(super) fn prefixes(
    tokens: &[Token],
    words_max: usize,
    mut visit: impl FnMut(usize, usize, u64),
) {
    let mut sum = 0u64;
    let mut n_words = 0;
    for (place, token) in tokens.iter().enumerate() {
        sum = sum.wrapping_add(token.term(place));
        if token.kind == Kind::Word {
            n_words += 1;
            visit(n_words, place + 1, fold(sum ^ SPREAD, STEP));
            if n_words == words_max {
                return;
            }
        }
    }
}

/// The set bits of a mask, lowest first.
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (place < 64).then_some(place)
    })
}

/// Shape of a constant word: what it probably is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Has a mark inside, or a small letter followed by a capital: host, program, class.
    Ident,
    /// Two or more letters, all capitals: mostly a state.
    Capitals,
    Plain,
}

pub(super) fn shape(word: &str) -> Shape {
    let bytes = word.as_bytes();
    let is_mark = |byte: &u8| !super::bytes::is_letter(*byte) && *byte != b'\'';
    let inside = bytes
        .get(1..bytes.len().saturating_sub(1))
        .unwrap_or_default();
    let humps = bytes
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    if humps || inside.iter().any(is_mark) {
        Shape::Ident
    } else if bytes.len() >= 2 && bytes.iter().all(u8::is_ascii_uppercase) {
        Shape::Capitals
    } else {
        Shape::Plain
    }
}
