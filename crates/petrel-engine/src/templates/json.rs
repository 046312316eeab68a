//! A JSON object by its shape: its top-level keys and where its message stands, in one pass and
//! without a tree. What is not shaped like an object is left to the scanner.

use super::token;
use super::words::MESSAGE_KEYS;

/// Bytes of an object that are read for its shape.
const BYTES_MAX: usize = 64 * 1024;
/// Keys of an object; one with more has no key list.
const KEYS_MAX: usize = 64;
/// Bytes of a key that names something; a longer one is variable.
const KEY_BYTES_MAX: usize = 64;
/// Stands for the keys of an object that is beyond these bounds.
pub(super) const KEYS_OMITTED: &str = "{...}";

/// What the scanner needs of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Hash of the set of keys, whatever their order.
    pub(super) keys_hash: u64,
    /// Span of the message, its quotes left out; escapes are still in it.
    pub(super) message: Option<(usize, usize)>,
}

/// Shape of the object that begins at byte `start`; none when the text is no object.
pub(super) fn shape(text: &str, start: usize) -> Option<Shape> {
    let mut sum = KeySum::default();
    let mut message: Option<(usize, (usize, usize))> = None;
    let end = walk(text, start, |key, value| {
        sum.add(key);
        let rank = MESSAGE_KEYS.iter().position(|name| name.as_bytes() == key);
        if let (Some(rank), Value::Text(from, to)) = (rank, value)
            && message.is_none_or(|(best, _)| rank < best)
            && from < to
        {
            message = Some((rank, (from, to)));
        }
    })?;
    let is_whole = end == End::Whole && sum.n_keys <= KEYS_MAX;
    let keys_hash = if is_whole {
        sum.hash()
    } else {
        token::hash_text(KEYS_OMITTED.as_bytes())
    };
    Some(Shape {
        keys_hash,
        message: message.map(|(_, span)| span),
    })
}

/// The sorted keys of an object that has a [`Shape`], as they stand in a template: `{level,msg}`.
pub(super) fn keys_text(text: &str, start: usize) -> String {
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut n_keys = 0;
    let mut has_variable = false;
    let end = walk(text, start, |key, _| {
        n_keys += 1;
        match is_name(key) {
            true if n_keys <= KEYS_MAX => keys.push(key),
            true => {}
            false => has_variable = true,
        }
    });
    if end != Some(End::Whole) || n_keys > KEYS_MAX {
        return KEYS_OMITTED.to_owned();
    }
    keys.sort_unstable();
    keys.dedup();
    if has_variable {
        keys.push(token::VARIABLE.as_bytes());
    }
    // Keys that name something are ASCII.
    format!("{{{}}}", String::from_utf8_lossy(&keys.join(&b',')))
}

/// Hash of the key set that `keys_text` wrote.
pub(super) fn keys_text_hash(text: &str) -> u64 {
    if text == KEYS_OMITTED {
        return token::hash_text(text.as_bytes());
    }
    let inside = text.trim_start_matches('{').trim_end_matches('}');
    let mut sum = KeySum::default();
    inside
        .split(',')
        .filter(|key| !key.is_empty())
        .for_each(|key| sum.add(key.as_bytes()));
    sum.hash()
}

#[derive(Default)]
struct KeySum {
    sum: u64,
    n_keys: usize,
    has_variable: bool,
}

impl KeySum {
    fn add(&mut self, key: &[u8]) {
        self.n_keys += 1;
        if is_name(key) {
            self.sum = self.sum.wrapping_add(token::hash_text(key));
        } else {
            self.has_variable = true;
        }
    }

    fn hash(&self) -> u64 {
        let variable = if self.has_variable {
            token::VARIABLE_HASH
        } else {
            0
        };
        token::hash_text(&self.sum.wrapping_add(variable).to_le_bytes())
    }
}

/// A key that names something: short, without digits and odd bytes. Others are ids.
fn is_name(key: &[u8]) -> bool {
    let is_name_byte = |byte: &u8| {
        byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'$' | b'/' | b' ')
    };
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(is_name_byte)
}

enum Value {
    /// Span of a string between its quotes.
    Text(usize, usize),
    Other,
}

#[derive(PartialEq, Eq)]
enum End {
    Whole,
    /// The byte bound came first.
    Cut,
}

/// Calls `visit` with each top-level key and value; none when the text is no object.
fn walk<'a>(text: &'a str, start: usize, mut visit: impl FnMut(&'a [u8], Value)) -> Option<End> {
    let bytes = text.as_bytes();
    let is_cut = bytes.len() - start > BYTES_MAX;
    let bytes = &bytes[..bytes.len().min(start + BYTES_MAX)];
    let cut = is_cut.then_some(End::Cut);
    if bytes.get(start) != Some(&b'{') {
        return None;
    }
    let mut at = blanks(bytes, start + 1);
    if bytes.get(at) == Some(&b'}') {
        return (blanks(bytes, at + 1) == bytes.len() && !is_cut).then_some(End::Whole);
    }
    loop {
        if at >= bytes.len() {
            return cut;
        }
        if bytes[at] != b'"' {
            return None;
        }
        let Some(key_end) = string_end(bytes, at + 1) else {
            return cut;
        };
        let key = &bytes[at + 1..key_end];
        at = blanks(bytes, key_end + 1);
        match bytes.get(at) {
            None => return cut,
            Some(b':') => at = blanks(bytes, at + 1),
            Some(_) => return None,
        }
        let Some((value, value_end)) = value(bytes, at) else {
            return cut;
        };
        visit(key, value);
        at = blanks(bytes, value_end);
        match bytes.get(at) {
            None => return cut,
            Some(b',') => at = blanks(bytes, at + 1),
            Some(b'}') => {
                let end = blanks(bytes, at + 1);
                return if end == bytes.len() {
                    cut.or(Some(End::Whole))
                } else {
                    None
                };
            }
            Some(_) => return None,
        }
    }
}

fn blanks(bytes: &[u8], at: usize) -> usize {
    let n_blanks = bytes[at.min(bytes.len())..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace());
    at + n_blanks.count()
}

/// Index of the quote that ends a string whose text begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The value at `at` and where it ends; none when it does not end.
fn value(bytes: &[u8], at: usize) -> Option<(Value, usize)> {
    if bytes.get(at)? == &b'"' {
        let end = string_end(bytes, at + 1)?;
        return Some((Value::Text(at + 1, end), end + 1));
    }
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b'}' | b',' if depth == 0 => return Some((Value::Other, at)),
            _ => {}
        }
        at += 1;
    }
}

/// Appends JSON text to `out` with its escapes undone; a broken escape stands for itself.
pub(super) fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let Some(letter) = escape.chars().next() else {
            out.push('\\');
            return;
        };
        rest = &escape[letter.len_utf8()..];
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' | 'f' => out.push(' '),
            'u' => {
                let code = rest
                    .get(..4)
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok());
                rest = rest
                    .get(if code.is_some() { 4 } else { 0 }..)
                    .unwrap_or_default();
                out.push(
                    code.and_then(char::from_u32)
                        .unwrap_or(char::REPLACEMENT_CHARACTER),
                );
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
}
