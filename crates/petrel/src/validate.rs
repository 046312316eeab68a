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
                    complain(&reading, &args.config.display().to_string());
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

/// Reads and parses the configuration of a run, or of no file at all; errors are printed as `validate`
/// prints them.
///
/// # Errors
/// When the file cannot be read; `Ok(Err(exit code))` when it is not valid.
pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Result<Loaded, ExitCode>> {
    let source = path.map_or(Ok(String::new()), read)?;
    let file = path.map_or("the environment".to_owned(), |path| {
        path.display().to_string()
    });
    let mut reading = Config::read(&source, &variable);
    if reading.has_errors() {
        complain(&reading, &file);
        return Ok(Err(ExitCode::from(EXIT_INVALID_CONFIG)));
    }
    let line = |it: &Diagnostic| {
        let help = it
            .help
            .as_deref()
            .map_or(String::new(), |help| format!("; {help}"));
        format!(
            "{}: {}: {}{help}",
            it.place(&file, &source),
            it.code,
            it.message
        )
    };
    let warnings = reading
        .diagnostics
        .iter()
        .map(|it| (it.severity, line(it)))
        .collect();
    reading.config.warnings = reading.diagnostics;
    Ok(Ok(Loaded {
        config: reading.config,
        warnings,
    }))
}

fn complain(reading: &Reading, file: &str) {
    let errors: Vec<_> = reading.of(Severity::Error).cloned().collect();
    eprint!("{}", render(&errors, file, &reading.shown, use_color()));
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
