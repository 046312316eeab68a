//! The scanner: one pass over a line that types its tokens, constant word, delimiter or variable.
//!
//! It knows text, not templates: nothing here depends on lines seen before.

mod groups;
mod runs;

use self::groups::Open;
use self::runs::colon_run;
use super::bytes::{self, Class, Counts};
use super::numbers;
use super::token::{self, Kind, TOKENS_MAX, Token};
use super::words;

/// Hex letters without a digit that make a word variable.
const HEX_LETTERS_MIN: usize = 8;

/// Tokens of the last line scanned; its vectors are used again.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) tokens: Vec<Token>,
    open: Vec<Open>,
    /// Brackets beyond [`NESTING_MAX`] that still wait for their end.
    deeper: u32,
}

impl Scanner {
    /// Forgets the last line.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.open.clear();
        self.deeper = 0;
    }

    /// Appends the tokens of the first line of `text` from `start` on; returns where the line ends, or
    /// where the bounds cut it.
    pub(super) fn scan(&mut self, text: &str, start: usize) -> usize {
        let limit = start.saturating_add(bytes::BYTES_MAX);
        let (end, is_cut) = if text.len() > limit {
            (text.floor_char_boundary(limit), true)
        } else {
            (text.len(), false)
        };
        let line = &text.as_bytes()[..end];
        let mut at = start;
        let mut space = !self.tokens.is_empty();
        while at < line.len() {
            match bytes::class(line[at]) {
                Class::Blank => {
                    at += 1;
                    // Blanks after an opening bracket are padding (`[    0.01]`) and leave no trace.
                    space = !self.follows_opening();
                    continue;
                }
                Class::Line => return at,
                Class::Word => at = self.word(line, at, space),
                Class::Dot => at = self.dots(line, at, space),
                Class::Delimiter => at = self.delimiter(line, at, space),
            }
            space = false;
            if self.tokens.len() >= TOKENS_MAX && !self.make_room(at, end) {
                return end;
            }
        }
        if is_cut {
            self.cut(end);
        }
        end
    }

    /// A word begins at `start`.
    #[inline]
    fn word(&mut self, line: &[u8], start: usize, space: bool) -> usize {
        let (end, counts, is_url) = word_end(line, start);
        if end == start {
            return self.only_end_marks(line, start, space);
        }
        if line.get(end) == Some(&b':')
            && let Some(end) = colon_run(line, start, end)
        {
            self.push_variable(line, start, end, space);
            return end;
        }
        if counts.has_digits() || is_url {
            self.push_variable(line, start, end, space);
        } else if !counts.has_letters() && line[start] != b'/' {
            self.marks(line, start, end, space);
        } else if self.is_variable(line, start, end, counts) {
            self.push_variable(line, start, end, space);
        } else if !self.swallow_unit(line, start, end, space) {
            let hash = token::hash_text(&line[start..end]);
            self.tokens
                .push(Token::new(Kind::Word, hash, start, end, space));
        }
        end + n_end_marks(&line[end..])
    }

    /// Nothing but end marks: they fall away, except in `!=`.
    fn only_end_marks(&mut self, line: &[u8], start: usize, space: bool) -> usize {
        let end = start
            + line[start..]
                .iter()
                .take_while(|byte| is_end_mark(**byte))
                .count()
                .max(1);
        if line.get(end) == Some(&b'=') {
            self.marks(line, start, end, space);
        }
        end
    }

    /// A word without letter or digit.
    fn marks(&mut self, line: &[u8], start: usize, end: usize, space: bool) {
        if &line[start..end] == b"%" && self.swallow_unit(line, start, end, space) {
            return;
        }
        let hash = token::hash_text(&line[start..end]);
        self.tokens
            .push(Token::new(Kind::Delimiter, hash, start, end, space));
    }

    /// The rules for words without a digit.
    fn is_variable(&self, line: &[u8], start: usize, end: usize, counts: Counts) -> bool {
        let word = &line[start..end];
        if counts.has_marks()
            && (is_path(word) || counts.has_at_signs() && word[1..word.len() - 1].contains(&b'@'))
        {
            return true;
        }
        let next = line.get(end).copied().unwrap_or_default();
        if next == b':'
            && line.get(end + 1).is_some_and(u8::is_ascii_digit)
            && word.iter().any(|byte| matches!(byte, b'.' | b'-'))
        {
            return true;
        }
        if next != b'=' && self.follows_equals(line, start) {
            return true;
        }
        match word.len() {
            2..=4 => {
                word[0].is_ascii_uppercase()
                    && (words::is_date(word)
                        && (self.follows_variable() || is_date_ahead(line, end))
                        || words::is_time_zone(word) && self.follows_variable())
            }
            length => length >= HEX_LETTERS_MIN && word.iter().all(u8::is_ascii_hexdigit),
        }
    }

    /// Whether the word that begins at `start` is the value of a key that holds no message.
    fn follows_equals(&self, line: &[u8], start: usize) -> bool {
        match self.tokens.last() {
            Some(last) => {
                last.byte == b'='
                    && last.end as usize == start
                    && !self.is_message_key(line, self.tokens.len() - 1)
            }
            None => false,
        }
    }

    /// Whether the token before the `=` at index `equals` names a message.
    fn is_message_key(&self, line: &[u8], equals: usize) -> bool {
        equals > 0
            && self.tokens[equals - 1].kind == Kind::Word
            && words::holds_message(&line[self.tokens[equals - 1].range()])
    }

    /// Whether a variable stands before, blanks and commas aside.
    fn follows_variable(&self) -> bool {
        let mut before = self
            .tokens
            .iter()
            .rev()
            .skip_while(|token| token.byte == b',');
        before
            .next()
            .is_some_and(|token| token.kind == Kind::Variable)
    }

    /// Lengthens a number by the unit word after it.
    fn swallow_unit(&mut self, line: &[u8], start: usize, end: usize, space: bool) -> bool {
        let Some(last) = self.tokens.last_mut() else {
            return false;
        };
        let is_swallowed = space
            && last.kind == Kind::Variable
            && words::unit(&line[start..end]).is_some()
            && numbers::is_bare(&line[last.range()]);
        if is_swallowed {
            last.end = end as u32;
        }
        is_swallowed
    }

    /// A dot that no word goes on with: begins a word, a run, or falls away.
    fn dots(&mut self, line: &[u8], start: usize, space: bool) -> usize {
        let n_dots = line[start..]
            .iter()
            .take_while(|byte| **byte == b'.')
            .count();
        let end = start + n_dots;
        let next = line.get(end).copied().unwrap_or(b' ');
        if n_dots == 1 && bytes::is_word(next) || n_dots == 2 && next == b'/' {
            return self.word(line, start, space);
        }
        if n_dots > 1 {
            self.tokens
                .push(Token::new(Kind::Dots, token::DOTS_HASH, start, end, space));
        }
        end
    }

    fn delimiter(&mut self, line: &[u8], start: usize, space: bool) -> usize {
        let byte = line[start];
        match byte {
            b'"' | b'\'' | b'`' => self.quote(line, start, space),
            b'(' | b'[' | b'{' => {
                let token = self.push_delimiter(line, start, start + 1, space);
                self.open(Open {
                    byte,
                    token,
                    separated: false,
                    is_message: false,
                });
            }
            b')' | b']' | b'}' => self.close_bracket(line, start, space),
            b'<' if line[start..].starts_with(token::VARIABLE.as_bytes()) => {
                self.push_variable(line, start, start + token::VARIABLE.len(), space);
                return start + token::VARIABLE.len();
            }
            b'=' => {
                let n_signs = line[start..]
                    .iter()
                    .take_while(|byte| **byte == b'=')
                    .count();
                self.separate(byte);
                let token = self.push_delimiter(line, start, start + n_signs, space);
                if n_signs > 1 {
                    self.tokens[token].byte = 0;
                }
                return start + n_signs;
            }
            b':' if !self.is_glued(start)
                && let Some(end) = colon_run(line, start, start) =>
            {
                self.push_variable(line, start, end, space);
                return end;
            }
            _ => {
                self.separate(byte);
                self.push_delimiter(line, start, start + 1, space);
            }
        }
        start + 1
    }

    /// Whether a word or variable ends where the next token starts.
    fn is_glued(&self, start: usize) -> bool {
        self.tokens
            .last()
            .is_some_and(|last| last.is_place() && last.end as usize == start)
    }

    fn push_delimiter(&mut self, line: &[u8], start: usize, end: usize, space: bool) -> usize {
        let hash = match &line[start..end] {
            [byte] => token::hash_byte(*byte),
            longer => token::hash_text(longer),
        };
        let mut token = Token::new(Kind::Delimiter, hash, start, end, space);
        token.byte = line[start];
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    fn follows_opening(&self) -> bool {
        self.tokens
            .last()
            .is_some_and(|last| matches!(last.byte, b'(' | b'[' | b'{'))
    }
}

fn is_path(word: &[u8]) -> bool {
    word[0] == b'/'
        || word.starts_with(b"./")
        || word.starts_with(b"../")
        || word.starts_with(b"~/")
}

fn is_text_prefix(word: &[u8]) -> bool {
    matches!(word, b"u" | b"b" | b"r")
}

/// An apostrophe between letters belongs to the word.
fn is_apostrophe(line: &[u8], start: usize, at: usize) -> bool {
    at > start
        && bytes::is_letter(line[at - 1])
        && line.get(at + 1).is_some_and(|next| bytes::is_letter(*next))
        && !is_text_prefix(&line[start..at])
}

/// A digit or a capital follows, after blanks and commas.
fn is_date_ahead(line: &[u8], at: usize) -> bool {
    let next = line[at..].iter().find(|byte| !matches!(byte, b' ' | b','));
    next.is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn is_end_mark(byte: u8) -> bool {
    matches!(byte, b'.' | b'!' | b'?')
}

/// End of the word that begins at `start`, its end marks left out, what it is made of, and whether it
/// is a URL, in which colons do not separate.
#[inline(always)]
fn word_end(line: &[u8], start: usize) -> (usize, Counts, bool) {
    let mut at = start;
    let mut counts = Counts::default();
    let mut is_url = false;
    while at < line.len() {
        let byte = line[at];
        if counts.add(byte) {
            at += 1;
            continue;
        }
        match byte {
            b'.' if line.get(at + 1).is_some_and(|next| bytes::is_word(*next)) => {
                counts.add_mark();
                at += 1;
            }
            b'.' if at == start => {
                at += line[at..].iter().take_while(|byte| **byte == b'.').count()
            }
            b'\'' if is_apostrophe(line, start, at) => at += 1,
            b':' if line[at + 1..].starts_with(b"//") && at > start => {
                is_url = true;
                at += 3;
            }
            b':' | b'=' | b';' if is_url => at += 1,
            _ => break,
        }
    }
    while at > start
        && (is_end_mark(line[at - 1]) || is_url && matches!(line[at - 1], b':' | b'=' | b';'))
    {
        at -= 1;
    }
    (at, counts, is_url)
}

/// End marks after a word that fall away with it; runs of dots stay.
fn n_end_marks(rest: &[u8]) -> usize {
    let n_marks = rest
        .iter()
        .take_while(|byte| matches!(byte, b'!' | b'?'))
        .count();
    match rest[n_marks..] {
        [b'.', b'.', ..] => n_marks,
        [b'.', ..] => n_marks + 1,
        _ => n_marks,
    }
}
