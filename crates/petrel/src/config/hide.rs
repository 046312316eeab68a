//! Blanks what may be a secret in the text of a configuration, so that excerpts can be shown.

use std::ops::Range;

/// The source with these ranges blanked, and with everything that looks like a secret by its key.
///
/// Every byte but line ends becomes `*`, so places stay where they are. Works on text that is no valid
/// YAML too: that is when excerpts are needed most.
pub(crate) fn blank(source: &str, secrets: &[Range<usize>]) -> String {
    let mut bytes = source.as_bytes().to_vec();
    let by_name = by_name(source);
    for range in secrets.iter().chain(&by_name) {
        // A range from outside this text would be a fault of ours, and no reason to show a secret.
        let to = range.end.min(bytes.len());
        let Some(hidden) = bytes.get_mut(range.start.min(to)..to) else {
            continue;
        };
        for byte in hidden.iter_mut().filter(|byte| !b"\r\n".contains(*byte)) {
            *byte = b'*';
        }
    }
    // Ranges begin and end between characters; should one not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(source.len()))
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
                    // `auth: bearertokenauth` and the like name a thing; its settings are below.
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
        // The name of an extension, as in `bearertokenauth:`, is no secret, and what it holds is found.
        let key = before.get(from..)?;
        let is_name = key.starts_with("bearer");
        (!is_name && (key == "headers" || is_secret(key))).then_some((key, at + 1))
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
        let source = "a: {token: SECRET, x: SECRET}\nheaders:\n\tx-key: SECRET\n  y: |\n    SECRET\nkey_pem: |\n  SECRET\n  SECRET\nb: shown\ntokens:\n- SECRET\nheaders: {a: SECRET\nstreams: {metadata_keys: [x]}\n";
        let shown = blank(source, &[]);
        assert!(!shown.contains("SECRET"), "{shown}");
        assert_eq!(shown.len(), source.len());
        for kept in ["a: {token:", "x-key: ", "b: shown", "metadata_keys: [x]"] {
            assert!(shown.contains(kept), "{kept} in:\n{shown}");
        }
    }

    #[test]
    fn ranges_are_blanked_by_the_byte() {
        let source = "name: gäste\n";
        assert_eq!(blank(source, &[6..12]), "name: ******\n");
    }
}
