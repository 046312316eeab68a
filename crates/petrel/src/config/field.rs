//! Typed values: what a key must hold, and what is said when it does not.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::duration;
use super::node::{Node, Scalar, Value};
use super::read::{Report, nearest};

/// A key's value with the path that leads to it.
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) node: &'a Node,
}

impl Field<'_> {
    /// An error about this value.
    pub(crate) fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, self.node.span.clone(), message)
    }

    /// A warning about this value.
    pub(crate) fn warning(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(code, Some(self.node.span.clone()), message)
    }

    /// A single value.
    pub(crate) fn scalar(&self, report: &mut Report) -> Option<&Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            other => {
                let message = format!("{} must be text, not {}", self.path, describe(other));
                let help = match other {
                    Value::Null => "give it a value, or take the key out",
                    _ => "one value after the colon; in quotes if it has brackets or `: ` in it",
                };
                report.push(self.error("PTL-C004", message).help(help));
                None
            }
        }
    }

    /// Text as it is written, with variables replaced.
    pub(crate) fn text(&self, report: &mut Report) -> Option<String> {
        self.scalar(report).map(|scalar| scalar.text.clone())
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        let scalar = self.scalar(report)?;
        let found = choices.iter().find(|(word, _)| *word == scalar.text);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let one_of = format!("one of {}", words.join(", "));
            let help = match nearest(&scalar.text, words.iter().copied()) {
                Some(word) => format!("did you mean `{word}`? {one_of}"),
                None => one_of,
            };
            let message = format!("{} cannot be `{}`", self.path, scalar.shown());
            report.push(self.error("PTL-C005", message).help(help));
        }
        found.map(|(_, value)| *value)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, report: &mut Report) -> Option<bool> {
        let scalar = self.scalar(report)?;
        let other = match scalar.text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" | "enabled" => "true",
            "no" | "off" | "n" | "0" | "disabled" => "false",
            _ => return self.choice(&[("true", true), ("false", false)], report),
        };
        let message = format!("{} cannot be `{}`", self.path, scalar.shown());
        report.push(
            self.error("PTL-C005", message)
                .help(format!("write {other}")),
        );
        None
    }

    /// A whole number within bounds, both included.
    pub(crate) fn integer(&self, bounds: (u64, u64), report: &mut Report) -> Option<u64> {
        let scalar = self.scalar(report)?;
        let (least, most) = bounds;
        let help = format!("a whole number from {least} to {most}");
        match scalar.text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            Ok(_) => {
                let message = format!("{} is {}, out of range", self.path, scalar.shown());
                report.push(self.error("PTL-C006", message).help(help));
                None
            }
            Err(_) => {
                let message = format!("{} is no whole number: `{}`", self.path, scalar.shown());
                report.push(self.error("PTL-C004", message).help(help));
                None
            }
        }
    }

    /// A number within bounds, both included.
    pub(crate) fn number(&self, bounds: (f64, f64), report: &mut Report) -> Option<f64> {
        let scalar = self.scalar(report)?;
        let (least, most) = bounds;
        match scalar.text.parse::<f64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                let message = format!(
                    "{} is no number in its range: `{}`",
                    self.path,
                    scalar.shown()
                );
                report.push(
                    self.error("PTL-C006", message)
                        .help(format!("a number from {least} to {most}")),
                );
                None
            }
        }
    }

    /// A length of time within bounds, both included, written as the Collector does: `200ms`, `1m30s`.
    pub(crate) fn duration(
        &self,
        bounds: (Duration, Duration),
        report: &mut Report,
    ) -> Option<Duration> {
        let scalar = self.scalar(report)?;
        let (least, most) = bounds;
        let Some(duration) = duration::parse(&scalar.text) else {
            let message = format!("{} is no length of time: `{}`", self.path, scalar.shown());
            let help = match scalar.text.parse::<u64>() {
                Ok(_) => "a unit is missing: ms, s, m or h, as in 200ms, 30s, 5m, 1h30m",
                Err(_) => "a number and a unit: 200ms, 1.5s, 5m, 1h30m",
            };
            report.push(self.error("PTL-C007", message).help(help));
            return None;
        };
        if duration < least || duration > most {
            let message = format!("{} is {}, out of range", self.path, scalar.shown());
            report.push(self.error("PTL-C006", message).help(format!(
                "from {} to {}",
                duration::text(least),
                duration::text(most)
            )));
            return None;
        }
        Some(duration)
    }

    /// The items of a list.
    pub(crate) fn items(&self, report: &mut Report) -> Option<Vec<Field<'_>>> {
        let Value::List(items) = &self.node.value else {
            let message = format!(
                "{} must be a list, not {}",
                self.path,
                describe(&self.node.value)
            );
            report.push(
                self.error("PTL-C004", message)
                    .help("in brackets, as [a, b], or one a line after `- `"),
            );
            return None;
        };
        let items = items.iter().enumerate().map(|(index, node)| Field {
            path: format!("{}[{index}]", self.path),
            node,
        });
        Some(items.collect())
    }

    /// A list of texts.
    pub(crate) fn texts(&self, report: &mut Report) -> Option<Vec<String>> {
        let items = self.items(report)?;
        items.iter().map(|item| item.text(report)).collect()
    }
}

/// A node as JSON: what a detector gets as its settings.
pub(crate) fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(scalar) => scalar_to_json(&scalar.text),
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

pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}
