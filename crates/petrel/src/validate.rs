//! `petrel validate` and `petrel config`: everything that can be checked and said of a configuration,
//! without running it.

mod addresses;
mod detectors;
mod files;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{ConfigCommand, EXIT_CHECK_FAILED, EXIT_INVALID_CONFIG, Output, ValidateArgs};
use crate::config::{
    Config, DEFAULT_FILE, Diagnostic, Reading, Severity, effective, memory_total, render, to_json,
};

/// Checks a file and everything that it names; prints all errors, warnings and notes.
///
/// # Errors
/// When the file cannot be read.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let file = args.config.display().to_string();
    let source = read(&args.config)?;
    let reading = check(&source, &variable);
    match args.output {
        Output::Json => print(&to_json(&reading.diagnostics, &file, &source))?,
        Output::Text => {
            let text = render(&reading.diagnostics, &file, &reading.shown, use_color());
            eprint!("{text}");
            if !reading.has_errors() {
                println!("{file}: valid");
                if reading.config.exporters.is_empty() {
                    println!(
                        "note: no exporter is named, so records end here and anomalies are printed"
                    );
                }
            }
        }
    }
    let has_warnings = reading.of(Severity::Warning).next().is_some();
    Ok(if reading.has_errors() {
        ExitCode::from(EXIT_INVALID_CONFIG)
    } else if has_warnings && args.deny_warnings {
        ExitCode::from(EXIT_CHECK_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints configurations.
///
/// # Errors
/// When a file cannot be read.
pub fn config(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Default => print(DEFAULT_FILE)?,
        ConfigCommand::Print(args) => {
            let source = read(&args.config)?;
            match effective(&source, &variable, &memory_total) {
                Ok(text) => print(&text)?,
                Err(reading) => {
                    let file = args.config.display().to_string();
                    eprint!("{}", drawn(&reading, &file));
                    return Ok(ExitCode::from(EXIT_INVALID_CONFIG));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a configuration and checks it against this machine too: modules, directories, addresses,
/// certificates. What depends on a value that is wrong already is left out.
pub fn check(source: &str, env: &dyn Fn(&str) -> Option<String>) -> Reading {
    let mut reading = Config::read(source, env);
    if !reading.is_yaml {
        return reading;
    }
    let mut found = Vec::new();
    let config = &reading.config;
    addresses::check(config, &mut found);
    files::check(config, &mut found);
    detectors::check(config, &mut found);
    let is_known = |new: &Diagnostic| {
        let touches = |old: &Diagnostic| match (&old.span, &new.span) {
            (Some(old), Some(new)) => old.start < new.end.max(new.start + 1) && new.start < old.end,
            _ => false,
        };
        reading.of(Severity::Error).any(touches)
    };
    let mut found: Vec<_> = found.into_iter().filter(|new| !is_known(new)).collect();
    reading.diagnostics.append(&mut found);
    let place = |it: &Diagnostic| it.span.as_ref().map_or(usize::MAX, |span| span.start);
    reading.diagnostics.sort_by_key(place);
    reading
}

/// The configuration of a run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration, with its warnings.
    pub(crate) config: Config,
    warnings: Vec<(Severity, String)>,
}

impl Loaded {
    /// Tells Petrel's log of what `validate` would warn of.
    pub(crate) fn log_warnings(&self) {
        for (severity, text) in &self.warnings {
            match severity {
                Severity::Note => tracing::info!("{text}"),
                _ => tracing::warn!("{text}"),
            }
        }
    }
}

/// A configuration that is not valid.
#[derive(Debug)]
pub(crate) struct Invalid {
    drawn: String,
    lines: Vec<String>,
}

impl Invalid {
    /// Prints its errors as `validate` does; the exit code that this has.
    pub(crate) fn complain(&self) -> ExitCode {
        eprint!("{}", self.drawn);
        ExitCode::from(EXIT_INVALID_CONFIG)
    }

    /// Tells Petrel's log, a line for each error.
    pub(crate) fn log(&self) {
        self.lines.iter().for_each(|line| tracing::error!("{line}"));
    }
}

/// Its first error, and how many there are besides.
impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.lines.first().map_or("it is not valid", String::as_str))?;
        match self.lines.len() {
            0 | 1 => Ok(()),
            n_errors => write!(f, " (and {} more)", n_errors - 1),
        }
    }
}

/// Reads and parses the configuration of a run, or of no file at all.
///
/// # Errors
/// When the file cannot be read; `Ok(Err)` when it is not valid.
pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Result<Loaded, Invalid>> {
    let source = path.map_or(Ok(String::new()), read)?;
    let file = path.map_or("the environment".to_owned(), |path| {
        path.display().to_string()
    });
    Ok(parse(&source, &file))
}

/// Parses a configuration that stands in `file`, or in what is called so.
///
/// # Errors
/// When it is not valid.
pub(crate) fn parse(source: &str, file: &str) -> Result<Loaded, Invalid> {
    let mut reading = Config::read(source, &variable);
    let line = |it: &Diagnostic| {
        let help = it
            .help
            .as_deref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!(
            "{}: {}: {}{help}",
            it.place(file, source),
            it.code,
            it.message
        )
    };
    if reading.has_errors() {
        let errors = reading.of(Severity::Error);
        return Err(Invalid {
            lines: errors.map(line).collect(),
            drawn: drawn(&reading, file),
        });
    }
    let warnings = reading
        .diagnostics
        .iter()
        .map(|it| (it.severity, line(it)))
        .collect();
    reading.config.warnings = reading.diagnostics;
    Ok(Loaded {
        config: reading.config,
        warnings,
    })
}

fn drawn(reading: &Reading, file: &str) -> String {
    let errors: Vec<_> = reading.of(Severity::Error).cloned().collect();
    render(&errors, file, &reading.shown, use_color())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn use_color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// To stdout; who reads may have enough before the end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn place(config: &Config, path: &str) -> Option<std::ops::Range<usize>> {
    config.places.get(path).cloned()
}

/// An error at a path of the file.
fn error_at(config: &Config, path: &str, code: &'static str, message: String) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        span: place(config, path),
        message,
        help: None,
    }
}
