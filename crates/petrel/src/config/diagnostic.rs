//! What is wrong in a configuration, or odd: what, where, and what to do.

use std::ops::Range;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use serde_json::json;

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and is likely not what was meant.
    Warning,
    /// It can be used; something that is good to know.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something to say of a configuration. Its texts never hold a secret, nor what a variable of the
/// environment is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, as `PTL-C003`; those of warnings and notes begin with `PTL-W`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Bytes of the source that it is about; none = it is about the environment or the whole file.
    pub span: Option<Range<usize>>,
    /// What is wrong: which value, which limit.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::without_place(code, message)
        }
    }

    pub(crate) fn without_place(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span: None,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn warning(
        code: &'static str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            span,
            ..Self::without_place(code, message)
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column of its first character, both from 1; none where it has no place.
    #[must_use]
    pub fn position(&self, source: &str) -> Option<(usize, usize)> {
        let start = self.span.as_ref()?.start.min(source.len());
        let before = source.get(..start)?;
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        Some((line, last.chars().count() + 1))
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn place(&self, file: &str, source: &str) -> String {
        match self.position(source) {
            Some((line, column)) => format!("{file}:{line}:{column}"),
            None => file.to_owned(),
        }
    }
}

/// All diagnostics as text for a terminal, each with an excerpt of the source, then a count.
///
/// The excerpt shows neighbouring lines too: `source` must have its secrets blanked.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], file: &str, source: &str, color: bool) -> String {
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    // Lines are left as they are: a place that is cut in two can neither be clicked nor searched for.
    let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let report = shown(diagnostic, file, source);
        if handler.render_report(&mut out, report.as_ref()).is_err() {
            out.push_str(&diagnostic.message);
        }
        out.push('\n');
    }
    out.push_str(&count(diagnostics, file));
    out
}

fn shown(diagnostic: &Diagnostic, file: &str, source: &str) -> Report {
    let place = diagnostic.place(file, source);
    let mut shown = MietteDiagnostic::new(format!("{place}: {}", diagnostic.message))
        .with_code(diagnostic.code)
        .with_severity(match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        });
    if let Some(help) = &diagnostic.help {
        shown = shown.with_help(help);
    }
    let Some(span) = &diagnostic.span else {
        return Report::new(shown);
    };
    // A value of many lines is pointed at by its first.
    let from = span.start.min(source.len());
    let text = source.get(from..span.end.min(source.len()));
    let first_line = text
        .and_then(|text| text.lines().next())
        .map_or(0, str::len);
    shown = shown.with_label(LabeledSpan::at(from..from + first_line, "here"));
    Report::new(shown).with_source_code(NamedSource::new(file, source.to_owned()))
}

/// `2 errors, 1 warning in FILE`.
fn count(diagnostics: &[Diagnostic], file: &str) -> String {
    let kinds = [Severity::Error, Severity::Warning, Severity::Note];
    let counts: Vec<String> = kinds
        .into_iter()
        .filter_map(|severity| {
            let of_kind = diagnostics.iter().filter(|it| it.severity == severity);
            let n = of_kind.count();
            let plural = if n == 1 { "" } else { "s" };
            (n > 0).then(|| format!("{n} {}{plural}", severity.name()))
        })
        .collect();
    if counts.is_empty() {
        return String::new();
    }
    format!("{} in {file}\n", counts.join(", "))
}

/// All diagnostics as a JSON array of objects with `code`, `severity`, `message`, `help`, `file`,
/// `line` and `column`; the last two and `help` are null where there is none.
#[must_use]
pub fn to_json(diagnostics: &[Diagnostic], file: &str, source: &str) -> String {
    let array: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| {
            let position = diagnostic.position(source);
            json!({
                "code": diagnostic.code,
                "severity": diagnostic.severity.name(),
                "message": diagnostic.message,
                "help": diagnostic.help,
                "file": file,
                "line": position.map(|(line, _)| line),
                "column": position.map(|(_, column)| column),
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(array))
}
