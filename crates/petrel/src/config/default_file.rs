//! The file that `petrel config default` prints: the one list of all keys, with defaults, examples and
//! what each is for. The reference is made of it, and so are hints about keys in a wrong place.

/// The file.
pub const TEXT: &str = include_str!("default.yaml");

/// A key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyLine {
    /// Keys that lead to it, joined by dots.
    pub(crate) path: String,
    /// Its default, or an example; empty for a map.
    pub(crate) value: String,
    /// What it is for.
    pub(crate) about: String,
    /// Whether the value is a default and no example.
    pub(crate) is_default: bool,
}

/// All keys, in the order of the file.
pub(crate) fn keys() -> Vec<KeyLine> {
    let mut keys = Vec::new();
    // Indentation and path of the maps that the line is in.
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in TEXT.lines() {
        let is_default = !is_example(line);
        let line = with_example(line);
        let text = line.trim_start();
        let Some((key, rest)) = text.split_once(':').filter(|_| !text.starts_with('#')) else {
            continue;
        };
        let indent = line.len() - text.len();
        above.retain(|(other, _)| *other < indent);
        let path = match above.last() {
            Some((_, parent)) => format!("{parent}.{key}"),
            None => key.to_owned(),
        };
        let (value, about) = rest.split_once(" # ").unwrap_or((rest, ""));
        keys.push(KeyLine {
            path: path.clone(),
            value: value.trim().to_owned(),
            about: about.trim().to_owned(),
            is_default,
        });
        above.push((indent, path));
    }
    keys
}

/// Where a key of this name belongs; nothing where that says nothing.
pub(crate) fn paths_of(key: &str) -> Vec<String> {
    const PATHS_MAX: usize = 3;
    let mut paths: Vec<String> = keys().into_iter().map(|line| line.path).collect();
    paths.retain(|path| path.rsplit('.').next() == Some(key));
    if paths.len() > PATHS_MAX {
        paths.clear();
    }
    paths
}

/// The file with every example in effect.
#[cfg(test)]
pub(crate) fn with_examples() -> String {
    TEXT.lines().map(|line| with_example(line) + "\n").collect()
}

/// Whether a line is an example: a `#` that one space follows is a comment.
fn is_example(line: &str) -> bool {
    line.trim_start()
        .strip_prefix('#')
        .is_some_and(|rest| !rest.is_empty() && (!rest.starts_with(' ') || rest.starts_with("  ")))
}

fn with_example(line: &str) -> String {
    if is_example(line) {
        line.replacen('#', "", 1)
    } else {
        line.to_owned()
    }
}
