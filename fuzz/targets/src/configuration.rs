//! Any text as a configuration: errors stand inside it, can be shown, and tell no secret.

use crate::config::{Config, render};

/// What every variable of the environment holds.
const SECRET: &str = "s3cr3t-v4lue";

/// Reads the input as a configuration; variables are set unless their name begins with `UNSET`.
///
/// # Panics
/// When it is refused without an error, with one that stands outside the text, or with one that shows
/// what a variable holds.
pub fn configuration(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else {
        return;
    };
    let env = |name: &str| (!name.starts_with("UNSET")).then(|| SECRET.to_owned());
    let reading = Config::read(source, &env);
    for diagnostic in &reading.diagnostics {
        let Some(span) = &diagnostic.span else {
            continue;
        };
        let excerpt = source.get(span.clone());
        assert!(excerpt.is_some(), "{diagnostic:?} stands outside the text");
        let place = diagnostic.position(source);
        assert!(place.is_some_and(|(line, column)| line >= 1 && column >= 1));
    }
    let shown = render(&reading.diagnostics, "petrel.yaml", &reading.shown, false);
    let is_told = !reading.diagnostics.is_empty();
    assert!(!is_told || !shown.is_empty(), "an error says something");
    assert!(
        !shown.contains(SECRET) || source.contains(SECRET),
        "{shown}"
    );
}
