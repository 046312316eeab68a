//! What must not leave: patterns that are masked in all text of events and templates, and attributes
//! whose values are withheld. Ids stay those of the true text; only what is shown changes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use petrel_batch::AttributeValue;
use regex::{NoExpand, Regex};

use crate::anomaly::{Anomaly, NamedTemplate, Proof};
use crate::streams::StreamFacts;

/// Stands for a value that is withheld.
pub const WITHHELD: &str = "***";

/// What is kept from leaving in templates, evidence, sentences, annotations and the resources of events.
/// The records that pass keep what they came with.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    /// Patterns and what stands in place of what they match, taken literally; applied in order.
    pub masks: Vec<(Regex, String)>,
    /// Attributes of records and resources whose values are withheld.
    pub denied: BTreeSet<String>,
}

impl PartialEq for Privacy {
    fn eq(&self, other: &Self) -> bool {
        let masks = |privacy: &Self| -> Vec<(String, String)> {
            let masks = privacy.masks.iter();
            masks
                .map(|(pattern, replacement)| (pattern.to_string(), replacement.clone()))
                .collect()
        };
        self.denied == other.denied && masks(self) == masks(other)
    }
}

impl Privacy {
    /// Whether everything may be shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty() && self.denied.is_empty()
    }

    /// A text with all that the patterns match replaced.
    #[must_use]
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for (pattern, replacement) in &self.masks {
            if let Cow::Owned(masked) = pattern.replace_all(&shown, NoExpand(replacement)) {
                shown = Cow::Owned(masked);
            }
        }
        shown
    }

    /// A text of a detector's own making: from the first denied attribute that it names as `key=` on it
    /// is cut, since nobody can say where the value ends; the rest is masked.
    pub(crate) fn free_text(&self, text: &str) -> String {
        let named = self.denied.iter().filter_map(|key| {
            let mut places = text.match_indices(key.as_str()).map(|(at, _)| at);
            let end = places.find(|at| text[at + key.len()..].starts_with('='))?;
            Some(end + key.len() + 1)
        });
        match named.min() {
            Some(end) => format!("{}{WITHHELD}", self.mask(&text[..end])),
            None => self.mask(text).into_owned(),
        }
    }

    /// An attribute that is added to a record.
    pub(crate) fn value(&self, value: AttributeValue) -> AttributeValue {
        match value {
            AttributeValue::Text(text) => AttributeValue::Text(self.free_text(&text).into()),
            AttributeValue::Texts(texts) => {
                let texts = texts.iter().map(|text| self.free_text(text).into());
                AttributeValue::Texts(texts.collect())
            }
            other => other,
        }
    }

    /// The series' keys that may be told as attributes.
    pub(crate) fn may_show(&self, key: &str) -> bool {
        !self.denied.contains(key)
    }

    /// An anomaly as events may tell of it.
    pub(crate) fn shown(&self, anomaly: &Anomaly) -> Anomaly {
        let mut shown = anomaly.clone();
        if let Some(NamedTemplate { text, .. }) = &mut shown.template {
            *text = self.mask(text).into();
        }
        for (key, value) in &mut shown.series {
            *value = if self.may_show(key) {
                self.mask(value).into_owned()
            } else {
                WITHHELD.to_owned()
            };
        }
        shown.evidence.retain(|(name, _)| self.may_show(name));
        for (_, proof) in &mut shown.evidence {
            if let Proof::Text(text) = proof {
                *text = self.free_text(text);
            }
        }
        for name in &mut shown.folded_names {
            *name = self.free_text(name);
        }
        shown
    }

    /// The resource of a stream as events may repeat it.
    pub(crate) fn resource(&self, stream: &StreamFacts) -> Vec<(String, String)> {
        let attributes = stream.resource.iter().filter(|(key, _)| self.may_show(key));
        attributes
            .map(|(key, value)| (key.clone(), self.mask(value).into_owned()))
            .collect()
    }

    /// What people call a stream, without the values of denied attributes of its resource.
    pub(crate) fn display(&self, stream: &StreamFacts) -> String {
        let mut display = Cow::Borrowed(stream.display.as_str());
        for (key, value) in &stream.resource {
            if !value.is_empty() && !self.may_show(key) && display.contains(value) {
                display = Cow::Owned(display.replace(value, WITHHELD));
            }
        }
        self.mask(&display).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(masks: &[(&str, &str)], denied: &[&str], text: &str, expected: &str) {
        let masks = masks.iter().map(|&(pattern, replacement)| {
            let pattern = Regex::new(pattern).expect("a pattern of a test");
            (pattern, replacement.to_owned())
        });
        let privacy = Privacy {
            masks: masks.collect(),
            denied: denied.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(privacy.free_text(text), expected);
    }

    #[test]
    fn patterns_are_masked_and_denied_values_cut() {
        check(&[], &[], "as it is", "as it is");
        check(&[(r"\d{4}", "#")], &[], "pin 1234 or 12345", "pin # or #5");
        check(&[("a", "b"), ("b", "$1")], &[], "a", "$1");
        let denied = ["user.email", "user"];
        check(
            &[],
            &denied,
            "route=/x user.email=a b@c",
            "route=/x user.email=***",
        );
        check(&[], &denied, "user.email is set", "user.email is set");
        check(&[], &denied, "the user=x", "the user=***");
        check(&[("/x", "/y")], &denied, "r=/x user=/x", "r=/y user=***");
    }
}
