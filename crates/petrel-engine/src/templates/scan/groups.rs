//! Brackets and quotes: what they hold is masked when it is a list or a value.

use super::super::token::{Kind, TOKENS_MAX, Token};
use super::{Scanner, is_text_prefix};

/// Brackets and quotes that may be open at once; deeper ones are plain delimiters.
const NESTING_MAX: usize = 32;
/// Quotations of so many tokens are values, shorter ones keep their words.
const QUOTED_TOKENS_MIN: usize = 8;

/// An open bracket or quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) byte: u8,
    /// Index of its token.
    pub(super) token: usize,
    /// Its own level holds a comma (in braces also `:` or `=`).
    pub(super) separated: bool,
    /// A quotation that holds a message (`msg="..."`).
    pub(super) is_message: bool,
}

impl Scanner {
    pub(super) fn open(&mut self, open: Open) {
        if self.open.len() < NESTING_MAX {
            self.open.push(open);
        } else if is_bracket(open.byte) {
            self.deeper += 1;
        }
    }

    /// Notes a separator at the level of the innermost open bracket.
    pub(super) fn separate(&mut self, byte: u8) {
        if let Some(open) = self.open.last_mut() {
            open.separated |= byte == b',' || open.byte == b'{' && matches!(byte, b':' | b'=');
        }
    }

    pub(super) fn quote(&mut self, line: &[u8], start: usize, space: bool) {
        let byte = line[start];
        let matching = self
            .open
            .iter()
            .rposition(|open| open.byte == byte || is_bracket(open.byte));
        match matching.filter(|index| self.open[*index].byte == byte) {
            Some(index) => {
                let open = self.open[index];
                self.open.truncate(index);
                self.end_quotation(line, open, start, space);
            }
            None => {
                let is_message = self.follows_message_key(line, start);
                let can_open =
                    byte != b'\'' || !self.is_glued(start) || self.follows_text_prefix(line);
                let token = self.push_delimiter(line, start, start + 1, space);
                if can_open {
                    self.open(Open {
                        byte,
                        token,
                        separated: false,
                        is_message,
                    });
                }
            }
        }
    }

    pub(super) fn follows_message_key(&self, line: &[u8], start: usize) -> bool {
        let Some(last) = self.tokens.last() else {
            return false;
        };
        last.byte == b'='
            && last.end as usize == start
            && self.is_message_key(line, self.tokens.len() - 1)
    }

    /// `u'text'`, `b'text'`, `r'text'`.
    pub(super) fn follows_text_prefix(&self, line: &[u8]) -> bool {
        self.tokens
            .last()
            .is_some_and(|last| is_text_prefix(&line[last.range()]))
    }

    /// Masks a quotation that holds a value rather than a name.
    pub(super) fn end_quotation(&mut self, line: &[u8], open: Open, start: usize, space: bool) {
        let first = open.token + 1;
        let quoted = &self.tokens[first..];
        let is_value = match quoted {
            [] => true,
            [only] if only.kind == Kind::Variable => true,
            [only] if only.kind == Kind::Word => {
                !open.is_message && self.follows_equals_at(open.token)
            }
            _ => !open.is_message && quoted.len() >= QUOTED_TOKENS_MIN,
        };
        if is_value {
            self.mask(first, start);
        }
        self.push_delimiter(line, start, start + 1, space && !is_value);
    }

    /// Whether the quote at index `quote` is glued to an `=`.
    pub(super) fn follows_equals_at(&self, quote: usize) -> bool {
        quote > 0 && !self.tokens[quote].space && self.tokens[quote - 1].byte == b'='
    }

    pub(super) fn close_bracket(&mut self, line: &[u8], start: usize, space: bool) {
        let opening = match line[start] {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        let matching = self
            .open
            .iter()
            .rposition(|open| open.byte == b'"' || is_bracket(open.byte));
        let matching =
            matching.filter(|index| self.open[*index].byte == opening && self.deeper == 0);
        self.deeper = self.deeper.saturating_sub(1);
        let Some(index) = matching else {
            self.push_delimiter(line, start, start + 1, space);
            return;
        };
        let open = self.open[index];
        self.open.truncate(index);
        let first = open.token + 1;
        let n_inside = self.tokens.len() - first;
        if n_inside == 0 && !self.follows_word_at(open.token) || n_inside > 1 && open.separated {
            self.mask(first, start);
        }
        self.push_delimiter(line, start, start + 1, false);
    }

    /// Whether the bracket at index `bracket` is glued to a word: `name()`.
    pub(super) fn follows_word_at(&self, bracket: usize) -> bool {
        bracket > 0 && !self.tokens[bracket].space && self.tokens[bracket - 1].kind == Kind::Word
    }

    /// Makes one variable of all tokens from index `first` on, up to byte `end`.
    pub(super) fn mask(&mut self, first: usize, end: usize) {
        let start = self
            .tokens
            .get(first)
            .map_or(end, |token| token.start as usize);
        self.tokens.truncate(first);
        self.tokens
            .push(Token::variable(start, end.max(start), false));
    }

    /// At the token bound: the outermost list that is still open becomes one variable, and `true`;
    /// without one the rest does.
    pub(super) fn make_room(&mut self, at: usize, end: usize) -> bool {
        self.deeper = 0;
        if let Some(index) = self
            .open
            .iter()
            .position(|open| open.separated && is_bracket(open.byte))
            && self.open[index].token + 2 < TOKENS_MAX
        {
            let first = self.open[index].token + 1;
            self.open.truncate(index + 1);
            self.mask(first, at);
            return true;
        }
        let last = TOKENS_MAX - 1;
        let start = self.tokens[last].start as usize;
        let space = self.tokens[last].space;
        self.tokens.truncate(last);
        self.tokens.push(Token::variable(start, end, space));
        false
    }

    /// At the byte bound: what was cut is variable, and so is the word or list that it was cut in.
    pub(super) fn cut(&mut self, end: usize) {
        let list = self
            .open
            .iter()
            .find(|open| open.separated && is_bracket(open.byte));
        match (list, self.tokens.last()) {
            (Some(open), _) => self.mask(open.token + 1, end),
            (None, Some(last)) if last.is_place() => {
                let space = last.space;
                let last = self.tokens.len() - 1;
                self.mask(last, end);
                self.tokens[last].space = space;
            }
            (None, _) => self.tokens.push(Token::variable(end, end, true)),
        }
    }
}

fn is_bracket(byte: u8) -> bool {
    matches!(byte, b'(' | b'[' | b'{')
}
