//! Runs: variables that are one because of what stands, or does not stand, between them.

use super::super::bytes;
use super::super::numbers;
use super::super::token::{Kind, Token};
use super::Scanner;

/// Plain numbers in a row that keep their places.
const NUMBER_ROW_MAX: usize = 4;
/// Hex characters in one group of a clock, hardware address or IPv6 address.
const COLON_GROUP_MAX: usize = 4;

impl Scanner {
    /// Appends a variable, or lengthens the one that it goes on with.
    pub(super) fn push_variable(&mut self, line: &[u8], start: usize, end: usize, space: bool) {
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
    pub(super) fn joined(&self, space: bool) -> Option<usize> {
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
    pub(super) fn settle_row(&mut self, line: &[u8]) {
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
    pub(super) fn before_in_row(&self, index: usize) -> Option<usize> {
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
}

/// Delimiters that no variable reaches over.
fn is_fence(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'\'' | b'`' | b'(' | b'[' | b'{' | b')' | b']' | b'}' | b'<' | b'>'
    )
}

/// End of a clock, hardware address or IPv6 address that begins at `start`, with its first group
/// ending at `at`.
pub(super) fn colon_run(line: &[u8], start: usize, at: usize) -> Option<usize> {
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
