//! Any text as a configuration: errors stand inside it and can be shown.

use petrel::config::{Config, render};

/// Reads the input as a configuration; variables are set unless their name begins with `UNSET`.
///
/// # Panics
/// When it is refused without an error, or with one that stands outside the text.
pub fn config(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else {
        return;
    };
    let env = |name: &str| (!name.starts_with("UNSET")).then(|| name.to_ascii_lowercase());
    let Err(diagnostics) = Config::parse(source, &env) else {
        return;
    };
    assert!(!diagnostics.is_empty(), "an error says something");
    for diagnostic in &diagnostics {
        let excerpt = source.get(diagnostic.span.clone());
        assert!(excerpt.is_some(), "{diagnostic:?} stands outside the text");
        let (line, column) = diagnostic.position(source);
        assert!(line >= 1 && column >= 1);
    }
    let shown = render(&diagnostics, "petrel.yaml", source, false);
    assert!(shown.contains("petrel.yaml"), "{shown}");
}
