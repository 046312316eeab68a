//! Blanks what may be a secret in the text of a configuration, so that excerpts can be shown.

use std::ops::Range;

/// The source with these ranges blanked, and with comments that look like they hold secrets.
///
/// Every byte but line ends and indentation becomes `*`, so places stay where they are. Of text that is
/// no YAML nothing is known but lines: `secrets` is none, and every value is blanked whose key is named
/// like a secret.
pub(crate) fn blank(source: &str, secrets: Option<&[Range<usize>]>) -> String {
    let mut bytes = source.as_bytes().to_vec();
    let mut ranges = by_name(source);
    if let Some(secrets) = secrets {
        ranges = ranges
            .into_iter()
            .filter_map(|range| comment_in(source, range))
            .collect();
        ranges.extend_from_slice(secrets);
    }
    for range in ranges {
        let mut is_indentation = source[..range.start.min(source.len())].ends_with('\n');
        // A range from outside this text would be a fault of ours, and no reason to show a secret.
        let to = range.end.min(bytes.len());
        let hidden = bytes.get_mut(range.start.min(to)..to).unwrap_or_default();
        for byte in hidden {
            is_indentation = *byte == b'\n' || (is_indentation && *byte == b' ');
            if !is_indentation && *byte != b'\r' {
                *byte = b'*';
            }
        }
    }
    // Ranges begin and end between characters; should one not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(source.len()))
}

/// The part of a range that is a comment, of the line in which it begins.
fn comment_in(source: &str, range: Range<usize>) -> Option<Range<usize>> {
    let line_start = source[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let line = &source[line_start..range.end];
    let mut hashes = line.match_indices('#').map(|(at, _)| at);
    let at = hashes.find(|&at| line[..at].trim().is_empty() || line[..at].ends_with(' '))?;
    Some(range.start.max(line_start + at)..range.end)
}

/// Whether a key of this name holds a secret.
pub(crate) fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 9] = [
        "token",
        "password",
        "passwd",
        "secret",
        "authorization",
        "credential",
        "api-key",
        "api_key",
        "apikey",
    ];
    let key = key.to_ascii_lowercase();
    // The name of an extension is none, and what it holds has keys of its own.
    if key.starts_with("bearer") {
        return false;
    }
    key.ends_with("_pem") || PARTS.iter().any(|part| key.contains(part))
}

/// Values of keys that are named like secrets, and of all keys below `headers`, line by line.
fn by_name(source: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Indentation of the key whose deeper lines are its value, and whether these are keys of their own.
    let mut below: Option<(usize, bool)> = None;
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let is_item = text.starts_with("- ");
        let is_inside = |base: usize| indent > base || (is_item && indent == base);
        match below {
            _ if text.trim().is_empty() => {}
            Some((base, true)) if is_inside(base) => {
                found.push(after_colon(line, start)..end);
            }
            Some((base, false)) if is_inside(base) => found.push(start + indent..end),
            _ => {
                below = None;
                if let Some((key, value_at)) = secret_key(line) {
                    below = Some((indent, key == "headers"));
                    found.push(start + value_at..end);
                }
            }
        }
        start += line.len();
    }
    found.retain(|range| range.start < range.end);
    found
}

/// The first key in a line that holds a secret, and where its value begins.
fn secret_key(line: &str) -> Option<(&str, usize)> {
    line.match_indices(':').find_map(|(at, _)| {
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let before = line[..at].trim_end_matches(['"', '\'', ' ']);
        let from = before.rfind(|c| !is_key(c)).map_or(0, |last| last + 1);
        let key = before.get(from..)?;
        (key == "headers" || is_secret(key)).then_some((key, at + 1))
    })
}

fn after_colon(line: &str, start: usize) -> usize {
    let indent = line.len() - line.trim_start().len();
    start + line.find(": ").map_or(indent, |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_blanked_in_any_text() {
        let source = "a: {token: SECRET, x: SECRET}\nheaders:\n\tx-key: SECRET\n  y: |\n    SECRET\n\
                      key_pem: |\n  SECRET\n  SECRET\nb: shown\ntokens:\n- SECRET\nheaders: {a: SECRET\n\
                      streams: {metadata_keys: [x]}\n";
        let shown = blank(source, None);
        assert!(!shown.contains("SECRET"), "{shown}");
        assert_eq!(shown.len(), source.len());
        for kept in ["a: {token:", "x-key: ", "b: shown", "metadata_keys: [x]"] {
            assert!(shown.contains(kept), "{kept} in:\n{shown}");
        }
    }

    #[test]
    fn ranges_and_comments_are_blanked_by_the_byte() {
        let source = "name: g\u{e4}ste # token: SECRET\nb: |\n  SECRET\nc: 1\n";
        let shown = blank(source, Some(&[6..12, 34..43]));
        assert_eq!(
            shown,
            "name: ****** # token:*******\nb: |\n  ******\nc: 1\n"
        );
    }
}
