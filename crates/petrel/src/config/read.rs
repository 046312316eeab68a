//! Reads maps of a tree of nodes key by key, collecting everything there is to say instead of stopping at
//! one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::default_file;
use super::diagnostic::{Diagnostic, Severity};
use super::field::{Field, describe};
use super::hide::is_secret;
use super::node::{Entry, Node, Value};

/// What is found while a tree is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Errors, warnings and notes, in the order in which they were found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Where values stand that must not be shown.
    pub(crate) secrets: Vec<Range<usize>>,
    /// Where each value stands that is written in the file, by path.
    pub(crate) places: BTreeMap<String, Range<usize>>,
    /// Every path that was asked for, written or not.
    #[cfg(test)]
    pub(crate) asked: std::collections::BTreeSet<String>,
}

impl Report {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Says that a key is taken as the Collector takes it and changes nothing here.
    pub(crate) fn no_effect(&mut self, field: &Field<'_>, why: &str) {
        let message = format!("{} has no effect here: {why}", field.path);
        let span = Some(field.node.span.clone());
        self.push(Diagnostic::warning("PTL-W001", span, message).help("take it out"));
    }

    /// Whether an error has been found.
    pub(crate) fn has_errors(&self) -> bool {
        let mut all = self.diagnostics.iter();
        all.any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A map being read: every key that nobody asked for is an error in the end.
pub(crate) struct Section<'a> {
    path: String,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    span: Range<usize>,
    is_map: bool,
}

impl<'a> Section<'a> {
    /// The map at `node`; an absent or empty one has no keys.
    pub(crate) fn new(path: &str, node: &'a Node, report: &mut Report) -> Self {
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let (name, help) = match path.rsplit('.').next().unwrap_or_default() {
                    "" => (
                        "the file",
                        "lines that begin with a key, as receivers:".to_owned(),
                    ),
                    last => (
                        path,
                        format!("{last}: {{key: value}}, or keys on lines below it"),
                    ),
                };
                let message = format!("{name} must be a map of keys, not {}", describe(other));
                report.push(Diagnostic::new("PTL-C004", node.span.clone(), message).help(help));
                &[]
            }
        };
        Self {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
            span: node.span.clone(),
            is_map: matches!(node.value, Value::Map(_) | Value::Null),
        }
    }

    /// Says that none of these keys is there; nothing where it is said already that there are none.
    pub(crate) fn require_any(
        &self,
        keys: &[&str],
        message: &str,
        help: &str,
        report: &mut Report,
    ) {
        if self.is_map && !keys.iter().any(|key| self.has(key)) {
            report.push(Diagnostic::new("PTL-C011", self.span(), message).help(help));
        }
    }

    /// Where it stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Its keys, joined by dots.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value of a key, which is known from now on.
    pub(crate) fn get(&mut self, key: &'static str, report: &mut Report) -> Option<Field<'a>> {
        self.known.push(key);
        #[cfg(test)]
        report.asked.insert(self.join(key));
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.field(entry, report))
    }

    fn field(&self, entry: &'a Entry, report: &mut Report) -> Field<'a> {
        let path = self.join(&entry.key);
        report.places.insert(path.clone(), entry.node.span.clone());
        Field {
            path,
            node: &entry.node,
        }
    }

    /// The map under a key.
    pub(crate) fn section(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Section<'a>> {
        self.get(key, report)
            .map(|field| Section::new(&field.path, field.node, report))
    }

    /// Text under a key.
    pub(crate) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<String> {
        self.get(key, report)?.text(report)
    }

    /// One of a few words under a key.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        self.get(key, report)?.choice(choices, report)
    }

    /// `true` or `false` under a key.
    pub(crate) fn boolean(&mut self, key: &'static str, report: &mut Report) -> Option<bool> {
        self.get(key, report)?.boolean(report)
    }

    /// A whole number under a key, within bounds, both included.
    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        bounds: (u64, u64),
        report: &mut Report,
    ) -> Option<u64> {
        self.get(key, report)?.integer(bounds, report)
    }

    /// The same for what is counted in memory.
    pub(crate) fn size(
        &mut self,
        key: &'static str,
        bounds: (u64, u64),
        report: &mut Report,
    ) -> Option<usize> {
        let number = self.integer(key, bounds, report)?;
        usize::try_from(number).ok()
    }

    /// A length of time under a key, within bounds, both included.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        bounds: (Duration, Duration),
        report: &mut Report,
    ) -> Option<Duration> {
        self.get(key, report)?.duration(bounds, report)
    }

    /// A list of texts under a key.
    pub(crate) fn texts(&mut self, key: &'static str, report: &mut Report) -> Option<Vec<String>> {
        self.get(key, report)?.texts(report)
    }

    /// A key that the Collector has and that changes nothing here.
    pub(crate) fn without_effect(&mut self, key: &'static str, why: &str, report: &mut Report) {
        if let Some(field) = self.get(key, report) {
            report.no_effect(&field, why);
        }
    }

    /// A key that the Collector has, and that must not be ignored in silence.
    pub(crate) fn unsupported(&mut self, key: &'static str, instead: &str, report: &mut Report) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            let message = format!("{} is not supported", self.join(key));
            report.push(Diagnostic::new("PTL-C020", entry.key_span.clone(), message).help(instead));
        }
        self.known.push(key);
    }

    /// All entries whose key has not been asked for.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &'a Entry> + use<'a, '_> {
        self.entries
            .iter()
            .filter(|entry| !self.known.contains(&entry.key.as_str()))
    }

    /// The same as fields, whose places are kept.
    pub(crate) fn rest_fields(&self, report: &mut Report) -> Vec<(&'a Entry, Field<'a>)> {
        self.rest()
            .map(|entry| (entry, self.field(entry, report)))
            .collect()
    }

    /// Every key that nobody asked for becomes an error.
    pub(crate) fn finish(self, report: &mut Report) {
        for entry in self.rest() {
            let may_be_secret = ["exporters", "extensions", "receivers"]
                .iter()
                .any(|part| self.path.starts_with(part));
            if may_be_secret || is_secret(&entry.key) {
                hide_scalars(&entry.node, report);
            }
            let message = format!("unknown key {}", self.join(&entry.key));
            report.push(
                Diagnostic::new("PTL-C003", entry.key_span.clone(), message)
                    .help(self.advice(&entry.key)),
            );
        }
    }

    /// What may have been meant by a key that is not known here.
    pub(crate) fn advice(&self, key: &str) -> String {
        if let Some(known) = nearest(key, self.known.iter().copied()) {
            return format!("did you mean `{known}`?");
        }
        match default_file::paths_of(key).as_slice() {
            [] => format!("known here: {}", self.known.join(", ")),
            paths => format!(
                "it belongs to {}: check its indentation; known here: {}",
                paths.join(" or "),
                self.known.join(", ")
            ),
        }
    }

    pub(crate) fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// The word that is most like `word`, if any is like it at all.
pub(crate) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LIKENESS_MIN: f64 = 0.8;
    words
        .into_iter()
        .map(|known| (likeness(word, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > LIKENESS_MIN)
        .map(|(_, known)| known)
}

/// 1 for the same letters, also where `_`, `-`, `.` and capitals differ.
fn likeness(a: &str, b: &str) -> f64 {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| !"_-.".contains(*c));
        letters.flat_map(char::to_lowercase).collect()
    };
    let (a, b) = (plain(a), plain(b));
    // Transposed letters count as one slip, a common beginning alone is not enough.
    strsim::jaro_winkler(&a, &b).min(strsim::normalized_damerau_levenshtein(&a, &b) + 0.25)
}

/// Marks all single values below a node as not to be shown.
pub(crate) fn hide_scalars(node: &Node, report: &mut Report) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(_) => report.secrets.push(node.span.clone()),
        Value::List(items) => items.iter().for_each(|item| hide_scalars(item, report)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|entry| hide_scalars(&entry.node, report)),
    }
}
