//! A YAML document as a tree in which every key and value knows its place, so that each error can
//! point at it; `${NAME}` is replaced in parsed scalars only, so a value never changes the structure.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::diagnostic::Diagnostic;
use super::hide::is_secret;
use super::read::{Report, hide_scalars};

/// A value and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Range<usize>,
}

/// What a node holds. A scalar is kept as it is written: what type it has is said by who reads it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// With variables replaced.
    pub(crate) text: String,
    /// As it stands in the file, where variables were replaced in it: what may be shown of it.
    pub(crate) written: Option<String>,
}

impl Scalar {
    /// What a message or a listing may show: never what a variable of the environment is set to.
    pub(crate) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

/// Parses a document and replaces environment variables. A fault of the YAML itself ends it; variables
/// that are not set and keys that are there twice are told, and the rest is still read.
///
/// # Errors
/// The first fault of the YAML itself.
pub(crate) fn parse(
    source: &str,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough
    };
    let raw: Option<Spanned<Raw>> = serde_saphyr::from_str_with_options(source, options)
        .map_err(|error| fault(&error, source))?;
    Ok(match raw {
        Some(raw) => resolve(raw, source, env, report),
        None => Node {
            value: Value::Map(Vec::new()),
            span: 0..0,
        },
    })
}

/// A fault of the YAML itself, with what most often is behind it.
fn fault(error: &serde_saphyr::Error, source: &str) -> Diagnostic {
    let span = error
        .location()
        .map_or(0..0, |location| byte_span(&location, source));
    // The parser's words can hold text of the file after the first line.
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    // Where it is said a second time, by line and column.
    let text = text.split(" at line ").next().unwrap_or(text);
    let line_start = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
    // A tab after a value that goes on is noticed at the value.
    let mut lines = source[line_start..].lines().take(2);
    let has_tab = lines.any(|line| line[..line.len() - line.trim_start().len()].contains('\t'));
    let help = if has_tab {
        "YAML is indented with spaces: put spaces where this line or the next begins with a tab"
    } else {
        "look at this line and the one before: keys of one map begin in the same column, a value with \
         `: ` or `#` in it needs quotes, every bracket and quote needs its end"
    };
    Diagnostic::new("PTL-C001", span, format!("not valid YAML: {text}")).help(help)
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
    report: &mut Report,
) -> Node {
    let span = byte_span(&raw.referenced, source);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Other => Value::Scalar(Scalar {
            text: source
                .get(span.clone())
                .unwrap_or_default()
                .trim()
                .to_owned(),
            written: None,
        }),
        Raw::Text(text) => Value::Scalar(resolve_text(text, &span, env, report)),
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| resolve(item, source, env, report))
                .collect(),
        ),
        Raw::Map(entries) => {
            let mut map: Vec<Entry> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key_span = byte_span(&key.referenced, source);
                let node = resolve(value, source, env, report);
                if key.value == "headers" || is_secret(&key.value) {
                    hide_scalars(&node, report);
                }
                if let Some(first) = map.iter().find(|entry| entry.key == key.value) {
                    let line = source[..first.key_span.start].matches('\n').count() + 1;
                    let message = format!("{} is there twice, first in line {line}", key.value);
                    report.push(
                        Diagnostic::new("PTL-C019", key_span, message)
                            .help("keep one, or put the keys of both into one"),
                    );
                    continue;
                }
                map.push(Entry {
                    key: key.value,
                    key_span,
                    node,
                });
            }
            Value::Map(map)
        }
    };
    Node { value, span }
}

fn resolve_text(
    text: String,
    span: &Range<usize>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Scalar {
    match expand(&text, env) {
        Ok(expanded) => Scalar {
            written: (expanded != text).then_some(text),
            text: expanded,
        },
        Err(name) => {
            report.push(
                Diagnostic::new(
                    "PTL-C002",
                    span.clone(),
                    format!("the environment variable {name} is not set"),
                )
                .help(format!("set it, or give a default: ${{env:{name}:-value}}")),
            );
            Scalar {
                text,
                written: None,
            }
        }
    }
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
        let Value::Scalar(scalar) = &node.value else {
            panic!("no scalar: {node:?}")
        };
        &scalar.text
    }

    #[test]
    fn scalars_stay_as_written_and_know_their_place() {
        let source = "a: {port: 8080, token: 0123, yes: true}\nb: ${IP}\nc: '${X:-d}$$'\n";
        let env = |name: &str| (name == "IP").then(|| "1111:2222::".to_owned());
        let node = parse(source, &env, &mut Report::default()).unwrap();
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
        let mut report = Report::default();
        let source = "a: ${NOPE}\nb: ${NEITHER}\na: 2\n";
        parse(source, &|_| None, &mut report).expect("it is YAML");
        let errors = report.diagnostics.iter();
        let places: Vec<_> = errors.map(|error| error.position(source)).collect();
        assert_eq!(places, [Some((1, 4)), Some((2, 4)), Some((3, 1))]);
        let error = parse("a: [1\nb: 2\n", &|_| None, &mut report).unwrap_err();
        assert!(error.position("a: [1\nb: 2\n").is_some(), "{error:?}");
    }

    #[test]
    fn a_fault_after_letters_of_several_bytes_has_its_place() {
        let source = "größe: {\"日本語 🐦\", |}\n";
        let error = parse(source, &|_| None, &mut Report::default()).unwrap_err();
        assert_eq!(error.position(source), Some((1, 18)), "{error:?}");
        assert!(source[error.span.unwrap().start..].starts_with('|'));
    }
}
