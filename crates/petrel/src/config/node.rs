//! A YAML document as a tree in which every key and value knows its place, so that each error can
//! point at it; `${NAME}` is replaced in parsed scalars only, so a value never changes the structure.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::diagnostic::Diagnostic;

/// A value and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Range<usize>,
}

impl Node {
    /// The node at a path of keys, joined by dots.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.')
            .try_fold(self, |node, key| match &node.value {
                Value::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == key)
                    .map(|entry| &entry.node),
                _ => None,
            })
    }
}

/// What a node holds. A scalar is kept as it is written: what type it has is said by who reads it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

/// Parses a document and replaces environment variables.
///
/// # Errors
/// The first fault of the YAML itself, or all variables that are not set.
pub(crate) fn parse(
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Node, Vec<Diagnostic>> {
    let raw: Option<Spanned<Raw>> = serde_saphyr::from_str(source).map_err(|error| {
        let span = error
            .location()
            .map_or(0..0, |location| byte_span(&location, source));
        let text = error.without_snippet().to_string();
        vec![Diagnostic::new(
            "PTL-C001",
            span,
            format!("not valid YAML: {text}"),
        )]
    })?;
    let mut diagnostics = Vec::new();
    let node = match raw {
        Some(raw) => resolve(raw, source, env, &mut diagnostics),
        None => Node {
            value: Value::Map(Vec::new()),
            span: 0..0,
        },
    };
    if diagnostics.is_empty() {
        Ok(node)
    } else {
        Err(diagnostics)
    }
}

/// What serde sees; scalars that are no text are read again from the source.
enum Raw {
    Null,
    Text(String),
    Other,
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn resolve(
    raw: Spanned<Raw>,
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Node {
    let span = byte_span(&raw.referenced, source);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Other => Value::Scalar(
            source
                .get(span.clone())
                .unwrap_or_default()
                .trim()
                .to_owned(),
        ),
        Raw::Text(text) => match expand(&text, env) {
            Ok(text) => Value::Scalar(text),
            Err(name) => {
                diagnostics.push(
                    Diagnostic::new(
                        "PTL-C002",
                        span.clone(),
                        format!("the environment variable {name} is not set"),
                    )
                    .help(format!("set it, or give a default: ${{{name}:-value}}")),
                );
                Value::Scalar(text)
            }
        },
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| resolve(item, source, env, diagnostics))
                .collect(),
        ),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_span: byte_span(&key.referenced, source),
                    key: key.value,
                    node: resolve(value, source, env, diagnostics),
                })
                .collect(),
        ),
    };
    Node { value, span }
}

/// Replaces `${NAME}`, `${env:NAME}` and `${NAME:-default}`; `$$` is a dollar sign.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("$$") {
            out.push('$');
            rest = tail;
        } else if let Some((inner, tail)) = rest
            .strip_prefix("${")
            .and_then(|tail| tail.split_once('}'))
        {
            let inner = inner.strip_prefix("env:").unwrap_or(inner);
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inner, None),
            };
            out.push_str(&env(name).or(default).ok_or_else(|| name.to_owned())?);
            rest = tail;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The bytes of a location: its span if it has one, else the rest of the word at its line and column.
fn byte_span(location: &serde_saphyr::Location, source: &str) -> Range<usize> {
    let span = location.span();
    if let (Some(offset), Some(length)) = (span.byte_offset(), span.byte_len()) {
        let from = source.floor_char_boundary(offset as usize);
        let to = source.ceil_char_boundary(from + length as usize);
        return from..to;
    }
    let lines = source.split_inclusive('\n');
    let line_start: usize = lines
        .take((location.line() as usize).saturating_sub(1))
        .map(str::len)
        .sum();
    // Columns count characters.
    let before = source[line_start..]
        .chars()
        .take((location.column() as usize).saturating_sub(1));
    let from = line_start + before.map(char::len_utf8).sum::<usize>();
    from..from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar_at<'a>(node: &'a Node, path: &[&str]) -> &'a str {
        let mut node = node;
        for name in path {
            let Value::Map(entries) = &node.value else {
                panic!("no map at {name}")
            };
            node = &entries
                .iter()
                .find(|entry| entry.key == *name)
                .expect("key")
                .node;
        }
        let Value::Scalar(text) = &node.value else {
            panic!("no scalar: {node:?}")
        };
        text
    }

    #[test]
    fn scalars_stay_as_written_and_know_their_place() {
        let source = "a: {port: 8080, token: 0123, yes: true}\nb: ${IP}\nc: '${X:-d}$$'\n";
        let env = |name: &str| (name == "IP").then(|| "1111:2222::".to_owned());
        let node = parse(source, &env).unwrap();
        assert_eq!(scalar_at(&node, &["a", "port"]), "8080");
        assert_eq!(scalar_at(&node, &["a", "token"]), "0123");
        assert_eq!(scalar_at(&node, &["a", "yes"]), "true");
        assert_eq!(scalar_at(&node, &["b"]), "1111:2222::");
        assert_eq!(scalar_at(&node, &["c"]), "d$");
        let Value::Map(entries) = &node.value else {
            panic!()
        };
        assert_eq!(&source[entries[1].node.span.clone()], "${IP}");
        assert_eq!(&source[entries[1].key_span.clone()], "b");
    }

    #[test]
    fn faults_have_places() {
        let errors = parse("a: ${NOPE}\nb: ${NEITHER}\n", &|_| None).unwrap_err();
        assert_eq!(errors.len(), 2);
        let errors = parse("a: 1\na: 2\n", &|_| None).unwrap_err();
        assert!(
            errors[0].message.contains("duplicate"),
            "{}",
            errors[0].message
        );
        assert!(errors[0].span.start >= 5, "{:?}", errors[0].span);
    }

    #[test]
    fn a_fault_after_letters_of_several_bytes_has_its_place() {
        let source = "größe: {\"日本語 🐦\", |}\n";
        let errors = parse(source, &|_| None).unwrap_err();
        assert_eq!(errors[0].position(source), (1, 18), "{errors:?}");
        assert!(source[errors[0].span.start..].starts_with('|'));
    }
}
