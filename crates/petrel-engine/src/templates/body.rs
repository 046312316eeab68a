//! What of a body is read: its first line, the class of an exception at its end, or the shape of an
//! object and its message. Continuations and empty bodies are told apart here.

use super::bytes;
use super::json;
use super::scan::Scanner;
use super::token::{self, Kind, TOKENS_MAX, Token};

/// Bytes at the end of a body of several lines in which the exception's class is looked for.
const TAIL_BYTES_MAX: usize = 4096;

/// Reads bodies; its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Reader {
    scanner: Scanner,
    /// The message of an object, its escapes undone.
    unescaped: String,
    /// The tokens are spans of `unescaped`.
    is_unescaped: bool,
}

/// A body as tokens.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// What the tokens are spans of; not what a token of kind [`Kind::Keys`] is.
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) key: u64,
    /// The whole body and where its object begins, when it is one.
    object: Option<(&'a str, usize)>,
}

/// What a body turned out to be.
pub(super) enum Body<'a> {
    /// Wrapped text or a stack frame.
    Continued,
    /// Nothing that could make a template.
    Empty,
    Line(Reading<'a>),
}

impl Reading<'_> {
    /// The text of a token as it stands in a template.
    pub(super) fn token_text(&self, token: &Token) -> std::borrow::Cow<'_, str> {
        match (token.kind, self.object) {
            (Kind::Variable, _) => token::VARIABLE.into(),
            (Kind::Dots, _) => token::DOTS.into(),
            (Kind::Keys, Some((body, start))) => json::keys_text(body, start).into(),
            _ => self.text.get(token.range()).unwrap_or_default().into(),
        }
    }
}

impl Reader {
    /// Reads a body into tokens.
    pub(super) fn read<'a>(&'a mut self, body: &'a str) -> Body<'a> {
        self.scanner.clear();
        if is_continuation(body) {
            return Body::Continued;
        }
        let Some(start) = body.bytes().position(|byte| byte > b' ') else {
            return Body::Empty;
        };
        let shape = if body.as_bytes()[start] == b'{' {
            json::shape(body, start)
        } else {
            None
        };
        self.is_unescaped = match shape {
            None => {
                self.line(body, start);
                false
            }
            Some(shape) => self.object(body, shape),
        };
        match self.last(body) {
            Some(reading) => Body::Line(Reading {
                key: token::key(reading.tokens),
                object: shape.map(|_| (body, start)),
                ..reading
            }),
            None => Body::Empty,
        }
    }

    /// The body that was read last, passed again, without its key; none when it had no tokens.
    pub(super) fn last<'a>(&'a self, body: &'a str) -> Option<Reading<'a>> {
        let tokens = &self.scanner.tokens[..];
        let text = if self.is_unescaped {
            &self.unescaped
        } else {
            body
        };
        (!tokens.is_empty()).then_some(Reading {
            text,
            tokens,
            key: 0,
            object: None,
        })
    }

    /// Tokens of an object; `true` when they are spans of its unescaped message rather than of `body`.
    fn object(&mut self, body: &str, shape: json::Shape) -> bool {
        self.scanner
            .tokens
            .push(Token::new(Kind::Keys, shape.keys_hash, 0, 0, false));
        let Some((start, end)) = shape.message else {
            return false;
        };
        let message = &body[..end];
        if !message[start..].contains('\\') {
            self.line(message, start);
            return false;
        }
        self.unescaped.clear();
        json::unescape(&message[start..], &mut self.unescaped);
        // Taken out while the scanner, beside it, is written to.
        let unescaped = std::mem::take(&mut self.unescaped);
        self.line(&unescaped, 0);
        self.unescaped = unescaped;
        true
    }

    /// Tokens of the first line of `text` from `start` on, and of the exception at the end of the rest.
    fn line(&mut self, text: &str, start: usize) {
        let n_blanks = text.as_bytes()[start..]
            .iter()
            .take_while(|byte| **byte <= b' ')
            .count();
        let start = start + n_blanks;
        let end = self.scanner.scan(text, start);
        if end < text.len()
            && let Some((from, to)) = exception_class(text, end)
        {
            let hash = token::hash_text(&text.as_bytes()[from..to]);
            self.scanner.tokens.truncate(TOKENS_MAX - 1);
            self.scanner
                .tokens
                .push(Token::new(Kind::Word, hash, from, to, true));
        }
    }
}

/// A body that goes on with an earlier record's text: it begins with a tab, two blanks, or `at name(`.
fn is_continuation(body: &str) -> bool {
    let bytes = body.as_bytes();
    match bytes {
        [b'\t', rest @ ..] | [b' ', b' ', rest @ ..] => rest.iter().any(|byte| *byte > b' '),
        [b' ', rest @ ..] => is_frame(rest),
        _ => is_frame(bytes),
    }
}

fn is_frame(bytes: &[u8]) -> bool {
    let Some(name) = bytes.strip_prefix(b"at ") else {
        return false;
    };
    let is_name = |byte: &&u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'$' | b'<' | b'>' | b'/' | b'-' | b'@')
    };
    let length = name.iter().take_while(is_name).count();
    length > 0 && name.get(length) == Some(&b'(')
}

/// Span of the class in the last unindented line after `first_line_end` that begins with
/// `Name(Error|Exception)`, or with `Caused by: ` and such a name.
fn exception_class(text: &str, first_line_end: usize) -> Option<(usize, usize)> {
    let tail = text
        .floor_char_boundary(text.len().saturating_sub(TAIL_BYTES_MAX))
        .max(first_line_end);
    let mut end = text.len();
    while let Some(newline) = text[tail..end].rfind('\n') {
        let line_start = tail + newline + 1;
        let line = &text[line_start..end];
        let name = line.strip_prefix("Caused by: ").unwrap_or(line);
        let is_name = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'_' | b'$');
        let length = name.bytes().take_while(is_name).count();
        let ends = name
            .as_bytes()
            .get(length)
            .is_none_or(|next| *next == b':' || !bytes::is_word(*next));
        if ends && (name[..length].ends_with("Error") || name[..length].ends_with("Exception")) {
            let from = end - name.len();
            return Some((from, from + length));
        }
        end = tail + newline;
    }
    None
}
