//! Which streams are analysed: patterns over attributes of the resource, decided once a resource.

use std::collections::BTreeMap;

use super::plan::WalkSettings;

/// Attributes of a resource and what their values must look like, `*` standing for any text; all must
/// match. An attribute that is absent is empty text; `service.name` is what stands in for it where it
/// is absent. Values are compared as far as they are kept
/// ([`RESOURCE_TEXT_MAX`](super::RESOURCE_TEXT_MAX) bytes).
pub type StreamPattern = BTreeMap<String, String>;

/// Whether the stream of a resource is not to be analysed; `value` gives its attributes.
pub(super) fn is_excluded(settings: &WalkSettings, value: impl Fn(&str) -> String) -> bool {
    let matches = |pattern: &StreamPattern| {
        let mut attributes = pattern.iter();
        attributes.all(|(key, glob)| glob_matches(glob, &value(key)))
    };
    let is_included = settings.include.is_empty() || settings.include.iter().any(matches);
    !is_included || settings.exclude.iter().any(matches)
}

/// The attributes that patterns look at.
pub(super) fn pattern_keys(settings: &WalkSettings) -> impl Iterator<Item = &String> {
    let patterns = settings.include.iter().chain(&settings.exclude);
    patterns.flat_map(BTreeMap::keys)
}

/// Whether a text is what a glob says: `*` is any text, all else is itself. Linear but for texts that
/// repeat what stands between two `*`.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some((prefix, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(prefix) else {
        return false;
    };
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        // The first place is as good as any: what follows has most room after it.
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (glob, text, expected) in [
            ("batch", "batch", true),
            ("batch", "batch-1", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("batch-*", "batch-", true),
            ("batch-*", "batch", false),
            ("*-batch", "night-batch", true),
            ("*-batch", "night-batches", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**x**", "1x2", true),
            ("a*bc*c", "abc", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob:?} {text:?}");
        }
    }
}
