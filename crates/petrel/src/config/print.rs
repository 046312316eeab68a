//! The configuration that holds, as YAML: what the file says over the defaults, secrets redacted.

use super::default_file;
use super::exporters::protocol_of;
use super::model::Config;
use super::node::{self, Node, Value};
use super::read::Report;
use super::wire::Protocol;
use super::{Reading, read_whole};

/// Keys of an exporter that are shown with their defaults; others have none worth showing.
const EXPORTER_DEFAULTS: [&str; 11] = [
    "timeout",
    "compression",
    "retry_on_failure.enabled",
    "retry_on_failure.initial_interval",
    "retry_on_failure.max_interval",
    "retry_on_failure.max_elapsed_time",
    "retry_on_failure.multiplier",
    "retry_on_failure.randomization_factor",
    "sending_queue.enabled",
    "sending_queue.wait_for_result",
    "max_request_bytes",
];

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// YAML in the making.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// The effective configuration of a file as YAML. Secrets are redacted, and `${NAME}` stays as it is
/// written; what comes of it is not told.
///
/// # Errors
/// The errors of the file.
pub fn effective(
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    memory_total: &dyn Fn() -> Option<u64>,
) -> Result<String, Box<Reading>> {
    let reading = read_whole(source, env, memory_total);
    if reading.has_errors() {
        return Err(Box::new(reading));
    }
    let mut ignored = Report::default();
    let parse = |text: &str, ignored: &mut Report| node::parse(text, env, ignored);
    let (Ok(written), Ok(defaults)) = (
        parse(source, &mut ignored),
        parse(default_file::TEXT, &mut ignored),
    ) else {
        return Err(Box::new(reading));
    };
    let mut tree = Tree::of(&defaults, &reading);
    let mut written = Tree::of(&written, &reading);
    keep_named_protocols(&mut tree, &written);
    complete_exporters(&mut written);
    tree.overlay(written);
    complete(&mut tree, &reading.config);
    let mut out = from_environment(&tree, &reading.config);
    tree.write(0, &mut out);
    Ok(out)
}

/// Exporters that no file names, as comments.
fn from_environment(tree: &Tree, config: &Config) -> String {
    if matches!(tree.at(&["exporters"]), Some(Tree::Map(exporters)) if !exporters.is_empty()) {
        return String::new();
    }
    let mut out = String::new();
    for (signal, id) in config.pipelines.by_signal() {
        let Some(exporter) = id.as_ref().and_then(|id| config.exporters.get(id)) else {
            continue;
        };
        let (name, endpoint) = (signal.name(), exporter.settings.endpoints.of(signal));
        out += &format!("# by OTEL_EXPORTER_OTLP_*: {name} to {endpoint}\n");
    }
    out
}

/// Once a protocol is named, one that is not named is off.
fn keep_named_protocols(tree: &mut Tree, written: &Tree) {
    let path = ["receivers", "otlp", "protocols"];
    if let (Some(Tree::Map(defaults)), Some(Tree::Map(named))) =
        (tree.at_mut(&path), written.at(&path))
    {
        defaults.retain(|(key, _)| named.iter().any(|(other, _)| other == key));
    }
}

fn complete_exporters(written: &mut Tree) {
    let Some(Tree::Map(exporters)) = written.at_mut(&["exporters"]) else {
        return;
    };
    for (id, exporter) in exporters {
        let mut whole = exporter_defaults(protocol_of(id) == Some(Protocol::Http));
        whole.overlay(std::mem::replace(exporter, Tree::Null));
        *exporter = whole;
    }
}

fn exporter_defaults(is_http: bool) -> Tree {
    let mut tree = Tree::Map(Vec::new());
    let keys = default_file::keys();
    for name in EXPORTER_DEFAULTS {
        let value = |kind: &str| {
            let path = format!("exporters.{kind}.{name}");
            keys.iter()
                .find(|key| key.path == path)
                .map(|key| key.value.clone())
        };
        let own = is_http.then(|| value("otlp_http")).flatten();
        if let Some(value) = own.or_else(|| value("otlp_grpc")) {
            tree.set(name.split('.'), Tree::Scalar(value));
        }
    }
    tree
}

/// What is not written and follows from the rest, or from this machine.
fn complete(tree: &mut Tree, config: &Config) {
    tree.set(["workers"], Tree::Scalar(config.workers.to_string()));
    let pipelines = &config.pipelines;
    for (kind, id) in [
        ("logs", &pipelines.logs),
        ("traces", &pipelines.traces),
        ("metrics", &pipelines.metrics),
        ("anomalies", &pipelines.anomalies),
    ] {
        // Those that the environment makes are not in the file, and would be unknown to it.
        let is_written = |id: &&String| tree.at(&["exporters", id]).is_some();
        if let Some(id) = id.as_ref().filter(is_written) {
            let ids = Tree::List(vec![Tree::Scalar(id.clone())]);
            tree.set(["service", "pipelines", kind, "exporters"], ids);
        }
    }
}

impl Tree {
    fn of(node: &Node, reading: &Reading) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Scalar(_) if reading.secrets.contains(&node.span) => {
                Self::Scalar(REDACTED.to_owned())
            }
            Value::Scalar(scalar) => Self::Scalar(scalar.shown().to_owned()),
            Value::List(items) => {
                Self::List(items.iter().map(|item| Self::of(item, reading)).collect())
            }
            Value::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), Self::of(&entry.node, reading)))
                    .collect(),
            ),
        }
    }

    fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |tree, key| match tree {
            Self::Map(entries) => entries
                .iter()
                .find(|(other, _)| other == key)
                .map(|it| &it.1),
            _ => None,
        })
    }

    fn at_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |tree, key| match tree {
            Self::Map(entries) => {
                let entry = entries.iter_mut().find(|(other, _)| other == key);
                entry.map(|it| &mut it.1)
            }
            _ => None,
        })
    }

    /// Puts a value below keys, making maps on the way.
    fn set<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>, value: Self) {
        let mut tree = self;
        for key in keys {
            tree = tree.child(key);
        }
        *tree = value;
    }

    fn child(&mut self, key: &str) -> &mut Self {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        let Self::Map(entries) = self else {
            unreachable!("it has just been made a map");
        };
        let index = entries.iter().position(|(other, _)| other == key);
        let index = index.unwrap_or_else(|| {
            entries.push((key.to_owned(), Self::Null));
            entries.len() - 1
        });
        &mut entries[index].1
    }

    /// Lays another tree over this one: maps are joined, anything else is replaced.
    fn overlay(&mut self, over: Self) {
        match over {
            Self::Null => {}
            Self::Map(entries) => {
                for (key, value) in entries {
                    self.child(&key).overlay(value);
                }
            }
            other => *self = other,
        }
    }

    fn write(&self, depth: usize, out: &mut String) {
        let Self::Map(entries) = self else {
            return;
        };
        for (key, value) in entries {
            out.push_str(&"  ".repeat(depth));
            out.push_str(&quoted(key));
            out.push(':');
            match value {
                Self::Map(entries) if !entries.is_empty() => {
                    out.push('\n');
                    value.write(depth + 1, out);
                }
                Self::Null => out.push_str(" {}\n"),
                other => {
                    out.push(' ');
                    other.write_flow(out);
                    out.push('\n');
                }
            }
        }
    }

    fn write_flow(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Scalar(text) => out.push_str(&quoted(text)),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write_flow(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    out.push_str(&quoted(key));
                    out.push_str(": ");
                    value.write_flow(out);
                }
                out.push('}');
            }
        }
    }
}

/// A text as YAML, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-:".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if begins_well && text.chars().all(is_plain) && !text.ends_with(':') {
        text.to_owned()
    } else {
        // A string of JSON is one of YAML.
        serde_json::Value::from(text).to_string()
    }
}
