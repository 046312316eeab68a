//! The scanner: one pass over a line that types its tokens, constant word, delimiter or variable.
//!
//! It knows text, not templates: nothing here depends on lines seen before.

use super::bytes::{self, Class, Counts};
use super::numbers;
use super::token::{self, Kind, TOKENS_MAX, Token};
use super::words;

/// Brackets and quotes that may be open at once; deeper ones are plain delimiters.
const NESTING_MAX: usize = 32;
/// Quotations of so many tokens are values, shorter ones keep their words.
const QUOTED_TOKENS_MAX: usize = 8;
/// Plain numbers in a row that keep their places.
const NUMBER_ROW_MAX: usize = 4;
/// Hex letters without a digit that make a word variable.
const HEX_LETTERS_MIN: usize = 8;
/// Hex characters in one group of a clock, hardware address or IPv6 address.
const COLON_GROUP_MAX: usize = 4;

/// Tokens of the last line scanned; its vectors are used again.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) tokens: Vec<Token>,
    open: Vec<Open>,
    /// Brackets beyond [`NESTING_MAX`] that still wait for their end.
    deeper: u32,
}

/// An open bracket or quote.
#[derive(Clone, Copy, Debug)]
struct Open {
    byte: u8,
    /// Index of its token.
    token: usize,
    /// Its own level holds a comma (in braces also `:` or `=`).
    separated: bool,
    /// A quotation that holds a message (`msg="..."`).
    is_message: bool,
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
            && (matches!(line[at - 1], b'.' | b'!' | b'?')
                || is_url && matches!(line[at - 1], b':' | b'=' | b';'))
        {
            at -= 1;
        }
        if at == start {
            // Nothing but end marks: they fall away.
            return start
                + line[start..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'.' | b'!' | b'?'))
                    .count()
                    .max(1);
        }
        if line.get(at) == Some(&b':')
            && let Some(end) = colon_run(line, start, at)
        {
            self.push_variable(line, start, end, space);
            return end;
        }
        let skip = end_marks(line, at);
        if counts.has_digits() || is_url {
            self.push_variable(line, start, at, space);
        } else if !counts.has_letters() && line[start] != b'/' {
            self.marks(line, start, at, space);
        } else if self.is_variable(line, start, at, counts) {
            self.push_variable(line, start, at, space);
        } else if !self.swallow_unit(line, start, at, space) {
            let hash = token::hash_text(&line[start..at]);
            self.tokens
                .push(Token::new(Kind::Word, hash, start, at, space));
        }
        at + skip
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
        let hash = token::hash_text(&line[start..end]);
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

    fn open(&mut self, open: Open) {
        if self.open.len() < NESTING_MAX {
            self.open.push(open);
        } else if is_bracket(open.byte) {
            self.deeper += 1;
        }
    }

    /// Notes a separator at the level of the innermost open bracket.
    fn separate(&mut self, byte: u8) {
        if let Some(open) = self.open.last_mut() {
            open.separated |= byte == b',' || open.byte == b'{' && matches!(byte, b':' | b'=');
        }
    }

    fn quote(&mut self, line: &[u8], start: usize, space: bool) {
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

    fn follows_message_key(&self, line: &[u8], start: usize) -> bool {
        let Some(last) = self.tokens.last() else {
            return false;
        };
        last.byte == b'='
            && last.end as usize == start
            && self.is_message_key(line, self.tokens.len() - 1)
    }

    /// `u'text'`, `b'text'`, `r'text'`.
    fn follows_text_prefix(&self, line: &[u8]) -> bool {
        self.tokens
            .last()
            .is_some_and(|last| is_text_prefix(&line[last.range()]))
    }

    /// Masks a quotation that holds a value rather than a name.
    fn end_quotation(&mut self, line: &[u8], open: Open, start: usize, space: bool) {
        let first = open.token + 1;
        let quoted = &self.tokens[first..];
        let is_value = match quoted {
            [] => true,
            [only] if only.kind == Kind::Variable => true,
            [only] if only.kind == Kind::Word => {
                !open.is_message && self.follows_equals_at(open.token)
            }
            _ => !open.is_message && quoted.len() >= QUOTED_TOKENS_MAX,
        };
        if is_value {
            self.mask(first, start);
        }
        self.push_delimiter(line, start, start + 1, space && !is_value);
    }

    /// Whether the quote at index `quote` is glued to an `=`.
    fn follows_equals_at(&self, quote: usize) -> bool {
        quote > 0 && !self.tokens[quote].space && self.tokens[quote - 1].byte == b'='
    }

    fn close_bracket(&mut self, line: &[u8], start: usize, space: bool) {
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
    fn follows_word_at(&self, bracket: usize) -> bool {
        bracket > 0 && !self.tokens[bracket].space && self.tokens[bracket - 1].kind == Kind::Word
    }

    /// Makes one variable of all tokens from index `first` on, up to byte `end`.
    fn mask(&mut self, first: usize, end: usize) {
        let start = self
            .tokens
            .get(first)
            .map_or(end, |token| token.start as usize);
        self.tokens.truncate(first);
        self.tokens
            .push(Token::variable(start, end.max(start), false));
    }

    /// Appends a variable, or lengthens the one that it goes on with.
    fn push_variable(&mut self, line: &[u8], start: usize, end: usize, space: bool) {
        match self.joined(space) {
            Some(index) => {
                self.tokens[index].end = end as u32;
                self.tokens.truncate(index + 1);
            }
            None => self.tokens.push(Token::variable(start, end, space)),
        }
        self.settle_row(line);
    }

    /// Index of the variable that a glued one goes on with, over delimiters other than quotes and
    /// brackets: `10.0.0.1:80`.
    fn joined(&self, space: bool) -> Option<usize> {
        if space {
            return None;
        }
        let mut index = self.tokens.len().checked_sub(1)?;
        loop {
            let token = self.tokens[index];
            match token.kind {
                Kind::Variable => return Some(index),
                Kind::Delimiter if !token.space && index > 0 && !is_fence(token.byte) => index -= 1,
                Kind::Dots if !token.space && index > 0 => index -= 1,
                _ => return None,
            }
        }
    }

    /// Makes one variable of the list that the last token ends, unless it is a short row of numbers.
    fn settle_row(&mut self, line: &[u8]) {
        let last = self.tokens.len() - 1;
        let Some(mut first) = self.before_in_row(last) else {
            return;
        };
        let is_plain = |token: &Token| numbers::is_plain(&line[token.range()]);
        let has_comma = first + 1 < last;
        let mut is_number_row =
            !has_comma && is_plain(&self.tokens[first]) && is_plain(&self.tokens[last]);
        let mut n_members = 2;
        while let Some(before) = self.before_in_row(first) {
            is_number_row &= is_plain(&self.tokens[before]) && before + 1 == first;
            first = before;
            n_members += 1;
        }
        if !is_number_row || n_members > NUMBER_ROW_MAX {
            self.tokens[first].end = self.tokens[last].end;
            self.tokens.truncate(first + 1);
        }
    }

    /// Index of the variable before the one at `index`, with blanks or one comma between.
    fn before_in_row(&self, index: usize) -> Option<usize> {
        let before = index.checked_sub(1)?;
        let token = self.tokens[before];
        match token.kind {
            Kind::Variable => Some(before),
            Kind::Delimiter if token.byte == b',' => before
                .checked_sub(1)
                .filter(|index| self.tokens[*index].kind == Kind::Variable),
            _ => None,
        }
    }

    /// At the token bound: the outermost list that is still open becomes one variable, and `true`;
    /// without one the rest does.
    fn make_room(&mut self, at: usize, end: usize) -> bool {
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
    fn cut(&mut self, end: usize) {
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

/// Delimiters that no variable reaches over.
fn is_fence(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'\'' | b'`' | b'(' | b'[' | b'{' | b')' | b']' | b'}' | b'<' | b'>'
    )
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

/// End marks of a word that fall away with it; runs of dots stay.
fn end_marks(line: &[u8], at: usize) -> usize {
    let rest = &line[at..];
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

/// A digit or a capital follows, after blanks and commas.
fn is_date_ahead(line: &[u8], at: usize) -> bool {
    let next = line[at..].iter().find(|byte| !matches!(byte, b' ' | b','));
    next.is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// End of a clock, hardware address or IPv6 address that begins at `start`, with its first group
/// ending at `at`.
fn colon_run(line: &[u8], start: usize, at: usize) -> Option<usize> {
    if at - start > COLON_GROUP_MAX || !line[start..at].iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut has_digit = line[start..at].iter().any(u8::is_ascii_digit);
    let mut n_groups = 1;
    let mut end = at;
    while line.get(end) == Some(&b':') {
        let group = line[end + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit());
        let length = group.clone().count();
        let goes_on = length > 0 || line.get(end + 1) == Some(&b':');
        if length > COLON_GROUP_MAX {
            return None;
        }
        if !goes_on {
            break;
        }
        has_digit |= group.clone().any(u8::is_ascii_digit);
        n_groups += 1;
        end += 1 + length;
    }
    if n_groups < 3 || !(has_digit || n_groups >= 4) {
        return None;
    }
    // A fraction, prefix length or zone belongs to it; any other word byte means it was no address.
    match line.get(end) {
        Some(b'.' | b'/' | b'%' | b'-') => {
            let tail = line[end..]
                .iter()
                .take_while(|byte| bytes::is_word(**byte) || **byte == b'.')
                .count();
            let tail = &line[end..end + tail];
            let n_marks = tail
                .iter()
                .rev()
                .take_while(|byte| matches!(byte, b'.' | b'!' | b'?'))
                .count();
            Some(end + tail.len() - n_marks)
        }
        Some(next) if bytes::is_word(*next) && !matches!(next, b'!' | b'?') => None,
        _ => Some(end),
    }
}
