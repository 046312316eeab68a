//! Reads typed values out of a tree of nodes, collecting every error instead of stopping at one.

use std::ops::Range;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::node::{Entry, Node, Value};

/// A map being read: every key that nobody asked for is an error in the end.
pub(crate) struct Section<'a> {
    path: String,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    span: Range<usize>,
}

/// A key's value with the path that leads to it.
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) node: &'a Node,
}

impl<'a> Section<'a> {
    /// The map at `node`; an absent or empty one has no keys.
    pub(crate) fn new(path: &str, node: &'a Node, errors: &mut Vec<Diagnostic>) -> Self {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let name = if path.is_empty() { "the file" } else { path };
                errors.push(Diagnostic::new(
                    "PTL-C004",
                    node.span.clone(),
                    format!("{name} must be a map of keys, not {}", describe(other)),
                ));
                &[]
            }
        };
        Self {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
            span: node.span.clone(),
        }
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, which is known from now on.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field {
            path: self.join(key),
            node: &entry.node,
        })
    }

    /// The same for a key that has had other names.
    pub(crate) fn get_any(&mut self, keys: &[&'static str]) -> Option<Field<'a>> {
        let mut found = None;
        for key in keys {
            found = found.or(self.get(key));
        }
        found
    }

    /// The map under a key.
    pub(crate) fn section(
        &mut self,
        key: &'static str,
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Section<'a>> {
        self.get(key)
            .map(|field| Section::new(&field.path, field.node, errors))
    }

    /// All entries whose key has not been asked for; they count as known from now on.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &'a Entry> + use<'a, '_> {
        self.entries
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()))
    }

    /// Every key that nobody asked for becomes an error.
    pub(crate) fn finish(self, errors: &mut Vec<Diagnostic>) {
        for entry in self.rest() {
            let mut diagnostic = Diagnostic::new(
                "PTL-C003",
                entry.key_span.clone(),
                format!("unknown key {}", self.join(&entry.key)),
            );
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::jaro_winkler(known, &entry.key), known))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            diagnostic = match nearest {
                Some((likeness, known)) if likeness > 0.8 => {
                    diagnostic.help(format!("did you mean `{known}`?"))
                }
                _ => diagnostic.help(format!("known here: {}", self.known.join(", "))),
            };
            errors.push(diagnostic);
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Field<'_> {
    /// An error about this value.
    pub(crate) fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, self.node.span.clone(), message)
    }

    /// Text as it is written.
    pub(crate) fn text(&self, errors: &mut Vec<Diagnostic>) -> Option<String> {
        match &self.node.value {
            Value::Scalar(text) => Some(text.clone()),
            other => {
                let message = format!("{} must be text, not {}", self.path, describe(other));
                errors.push(self.error("PTL-C004", message));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &self,
        choices: &[(&str, T)],
        errors: &mut Vec<Diagnostic>,
    ) -> Option<T> {
        let text = self.text(errors)?;
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            errors.push(
                self.error("PTL-C005", format!("{} cannot be `{text}`", self.path))
                    .help(format!("one of {}", words.join(", "))),
            );
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, errors: &mut Vec<Diagnostic>) -> Option<bool> {
        self.choice(&[("true", true), ("false", false)], errors)
    }

    /// A whole number within bounds, both included.
    pub(crate) fn integer(&self, bounds: (u64, u64), errors: &mut Vec<Diagnostic>) -> Option<u64> {
        let text = self.text(errors)?;
        let (least, most) = bounds;
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            Ok(number) => {
                errors.push(
                    self.error("PTL-C006", format!("{} is {number}", self.path))
                        .help(format!("from {least} to {most}")),
                );
                None
            }
            Err(_) => {
                errors.push(
                    self.error(
                        "PTL-C004",
                        format!("{} must be a whole number, not `{text}`", self.path),
                    )
                    .help(format!("from {least} to {most}")),
                );
                None
            }
        }
    }

    /// A length of time within bounds, both included, written as the Collector does: `200ms`, `1m30s`.
    pub(crate) fn duration(
        &self,
        bounds: (Duration, Duration),
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Duration> {
        let text = self.text(errors)?;
        let (least, most) = bounds;
        let Ok(duration) = humantime::parse_duration(&text) else {
            errors.push(
                self.error(
                    "PTL-C007",
                    format!("{} is no length of time: `{text}`", self.path),
                )
                .help("a number and a unit: 200ms, 30s, 5m, 1h, 1m30s"),
            );
            return None;
        };
        if duration < least || duration > most {
            errors.push(
                self.error("PTL-C006", format!("{} is {text}", self.path))
                    .help(format!(
                        "from {} to {}",
                        humantime::format_duration(least),
                        humantime::format_duration(most)
                    )),
            );
            return None;
        }
        Some(duration)
    }

    /// A list of texts.
    pub(crate) fn texts(&self, errors: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
        let Value::List(items) = &self.node.value else {
            let message = format!("{} must be a list, as [a, b]", self.path);
            errors.push(self.error("PTL-C004", message));
            return None;
        };
        items
            .iter()
            .map(|node| {
                Field {
                    path: self.path.clone(),
                    node,
                }
                .text(errors)
            })
            .collect()
    }

    /// A map of texts.
    pub(crate) fn text_map(&self, errors: &mut Vec<Diagnostic>) -> Vec<(String, String)> {
        let section = Section::new(&self.path, self.node, errors);
        let mut map = Vec::new();
        for entry in section.rest() {
            let field = Field {
                path: format!("{}.{}", self.path, entry.key),
                node: &entry.node,
            };
            if let Some(value) = field.text(errors) {
                map.push((entry.key.clone(), value));
            }
        }
        map
    }
}

/// A node as JSON: what a detector gets as its settings.
pub(crate) fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(text) => scalar_to_json(text),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => serde_json::Value::Object(
            entries
                .iter()
                .map(|entry| (entry.key.clone(), to_json(&entry.node)))
                .collect(),
        ),
    }
}

fn scalar_to_json(text: &str) -> serde_json::Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => text
            .parse::<i64>()
            .map(Into::into)
            .or_else(|_| text.parse::<f64>().map(Into::into))
            .unwrap_or_else(|_| text.into()),
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
