//! An error in a configuration: what, where, and what to do.

use std::ops::Range;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};

/// Something wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, as `PTL-C003`.
    pub code: &'static str,
    /// Bytes of the source that it is about.
    pub span: Range<usize>,
    /// What is wrong: which value, which limit.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            span,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Line and column of its first character, both from 1.
    #[must_use]
    pub fn position(&self, source: &str) -> (usize, usize) {
        let before = &source[..self.span.start.min(source.len())];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |text| text.chars().count())
            + 1;
        (line, column)
    }
}

/// All diagnostics as text for a terminal, each with an excerpt of the source, then a count.
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
        let (line, column) = diagnostic.position(source);
        let label = LabeledSpan::at(diagnostic.span.clone(), "here");
        let mut shown =
            MietteDiagnostic::new(format!("{file}:{line}:{column}: {}", diagnostic.message))
                .with_code(diagnostic.code)
                .with_label(label);
        if let Some(help) = &diagnostic.help {
            shown = shown.with_help(help);
        }
        let report = Report::new(shown).with_source_code(NamedSource::new(file, source.to_owned()));
        if handler.render_report(&mut out, report.as_ref()).is_err() {
            out.push_str(&diagnostic.message);
        }
        out.push('\n');
    }
    let n = diagnostics.len();
    out.push_str(&format!(
        "{n} error{} in {file}\n",
        if n == 1 { "" } else { "s" }
    ));
    out
}
