//! `extensions`: what exporters and receivers refer to by id.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use super::diagnostic::Diagnostic;
use super::field::Field;
use super::read::{Report, Section, hide_scalars, nearest};
use super::security::{name_fault, read_secret, warn_of_plain_text};
use super::wire::{BearerAuth, Source};

/// Extensions by id. One with an error is known, so that who refers to it is not wrong as well.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    storage: BTreeMap<String, Option<PathBuf>>,
    bearer: BTreeMap<String, Option<BearerAuth>>,
    /// Where the ids stand.
    ids: BTreeMap<String, Range<usize>>,
    used: BTreeSet<String>,
}

impl Extensions {
    /// The directories of every `file_storage`.
    pub(crate) fn storages(&self) -> Vec<PathBuf> {
        self.storage.values().flatten().cloned().collect()
    }

    /// The directory of a `file_storage`.
    pub(crate) fn storage(&mut self, field: &Field<'_>, report: &mut Report) -> Option<PathBuf> {
        let id = field.text(report)?;
        self.used.insert(canonical(&id));
        let found = self.storage.get(&canonical(&id)).cloned();
        found.unwrap_or_else(|| {
            let example = "extensions: {file_storage: {directory: /var/lib/petrel/queue}}";
            missing(field, &self.storage, example, report);
            None
        })
    }

    /// The token of a `bearertokenauth`.
    pub(crate) fn bearer(&mut self, field: &Field<'_>, report: &mut Report) -> Option<BearerAuth> {
        let id = field.text(report)?;
        self.used.insert(canonical(&id));
        let found = self.bearer.get(&canonical(&id)).cloned();
        found.unwrap_or_else(|| {
            let example = "extensions: {bearertokenauth: {filename: /etc/petrel/token}}";
            missing(field, &self.bearer, example, report);
            None
        })
    }

    /// Whether an id is one of these.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.ids.contains_key(&canonical(id))
    }

    /// A warning for each that nothing refers to.
    pub(crate) fn warn_of_unused(&self, report: &mut Report) {
        for (id, span) in &self.ids {
            if !self.used.contains(id) {
                let help = if self.storage.contains_key(id) {
                    "sending_queue.storage of an exporter refers to it, or take it out"
                } else {
                    "auth.authenticator of an exporter or receiver refers to it, or take it out"
                };
                let message = format!("nothing refers to extensions.{id}");
                report
                    .push(Diagnostic::warning("PTL-W005", Some(span.clone()), message).help(help));
            }
        }
    }
}

fn missing<T>(field: &Field<'_>, known: &BTreeMap<String, T>, example: &str, report: &mut Report) {
    let shown = field.scalar(report).map_or("", |scalar| scalar.shown());
    let ids: Vec<&str> = known.keys().map(String::as_str).collect();
    let help = match (nearest(shown, ids.iter().copied()), ids.as_slice()) {
        (Some(id), _) => format!("did you mean `{id}`?"),
        (None, []) => format!("there is none yet: {example}"),
        (None, ids) => format!("known: {}", ids.join(", ")),
    };
    let message = format!("{}: no such extension: `{shown}`", field.path);
    report.push(field.error("PTL-C021", message).help(help));
}

/// The Collector has renamed some: old and new names are the same.
fn canonical(id: &str) -> String {
    match id.strip_prefix("bearer_token_auth") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("bearertokenauth{rest}"),
        _ => id.to_owned(),
    }
}

/// `type` or `type/name`: the type.
pub(crate) fn type_of(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

pub(crate) fn read_extensions(section: &Section<'_>, report: &mut Report) -> Extensions {
    let mut extensions = Extensions::default();
    for (entry, field) in section.rest_fields(report) {
        let id = canonical(&entry.key);
        let settings = |report: &mut Report| Section::new(&field.path, field.node, report);
        match type_of(&id) {
            "file_storage" => {
                let directory = read_storage(settings(report), report);
                extensions.storage.insert(id.clone(), directory);
            }
            "bearertokenauth" => {
                let auth = read_bearer(settings(report), report);
                extensions.bearer.insert(id.clone(), auth);
            }
            kind => {
                hide_scalars(field.node, report);
                let message = format!("there is no extension {}", entry.key);
                report.push(
                    Diagnostic::new("PTL-C020", entry.key_span.clone(), message)
                        .help(instead_of(kind)),
                );
                continue;
            }
        }
        extensions.ids.insert(id, entry.key_span.clone());
    }
    extensions
}

fn instead_of(kind: &str) -> String {
    const KNOWN: [&str; 3] = ["file_storage", "bearertokenauth", "bearer_token_auth"];
    match kind {
        "health_check" | "healthcheck" | "health_check_v2" | "healthcheckv2" => {
            "health is built in: telemetry: {health: {endpoint: \"localhost:13133\"}}".to_owned()
        }
        "zpages" | "pprof" => "there is none here: see telemetry for what Petrel tells".to_owned(),
        "memory_limiter" => "memory_limiter is a key of the whole file here".to_owned(),
        "headers_setter" => "set headers at the exporter".to_owned(),
        _ => match nearest(kind, KNOWN) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "known: file_storage, bearertokenauth".to_owned(),
        },
    }
}

fn read_storage(mut section: Section<'_>, report: &mut Report) -> Option<PathBuf> {
    let directory = section.get("directory", report);
    if directory.is_none() {
        let message = format!("{} is missing", section.join("directory"));
        report.push(
            Diagnostic::new("PTL-C011", section.span(), message)
                .help("a directory that Petrel may write, as /var/lib/petrel/queue"),
        );
    }
    if let Some(field) = section.get("create_directory", report)
        && field.boolean(report) == Some(false)
    {
        report.no_effect(&field, "a directory that is missing is made");
    }
    section.without_effect("timeout", "nobody else holds its files", report);
    if let Some(mut compaction) = section.section("compaction", report) {
        let why = "space is used again as it is";
        let keys = [
            "on_start",
            "on_rebound",
            "directory",
            "rebound_needed_threshold_mib",
            "rebound_trigger_threshold_mib",
            "max_transaction_size",
            "check_interval",
            "cleanup_on_start",
        ];
        for key in keys {
            compaction.without_effect(key, why, report);
        }
        compaction.finish(report);
    }
    if let Some(field) = section.get("fsync", report)
        && field.boolean(report) == Some(false)
    {
        report.no_effect(&field, "what is acknowledged is always on disk");
    }
    section.finish(report);
    Some(PathBuf::from(directory?.text(report)?))
}

fn read_bearer(mut section: Section<'_>, report: &mut Report) -> Option<BearerAuth> {
    let header = section.get("header", report);
    let scheme = section.text("scheme", report);
    let token = section.get("token", report);
    let tokens = section.get("tokens", report);
    let filename = section.get("filename", report);
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(report);
    let given: Vec<&Field<'_>> = [&token, &tokens, &filename].into_iter().flatten().collect();
    for field in [&token, &tokens].into_iter().flatten() {
        hide_scalars(field.node, report);
    }
    match given.as_slice() {
        [_] => {}
        [] => {
            let message = format!("{path} has no token");
            report.push(
                Diagnostic::new("PTL-C011", span, message)
                    .help("filename: a file with the token; or token: ${env:NAME}"),
            );
            return None;
        }
        [first, second, ..] => {
            let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
            let (first, name) = (last(&first.path), last(&second.path));
            let message = format!("{path} has {first} and {name}");
            report.push(
                second
                    .error("PTL-C022", message)
                    .help("keep one of token, tokens and filename"),
            );
            return None;
        }
    }
    let mut sources = Vec::new();
    if let Some(field) = filename {
        sources.push(Source::File(PathBuf::from(field.text(report)?)));
    }
    let items = tokens.as_ref().and_then(|field| field.items(report));
    for field in token.iter().chain(items.iter().flatten()) {
        sources.push(Source::Text(read_secret(field, report)?));
        warn_of_plain_text(field, "${env:NAME}, or filename", report);
    }
    Some(BearerAuth {
        header: read_header(header.as_ref(), report),
        scheme: scheme.unwrap_or_else(|| "Bearer".to_owned()),
        tokens: sources,
    })
}

fn read_header(field: Option<&Field<'_>>, report: &mut Report) -> String {
    let name = field.and_then(|field| field.text(report));
    let name = name.map(|name| name.to_ascii_lowercase());
    if let (Some(field), Some(name)) = (field, &name)
        && let Some(fault) = name_fault(name)
    {
        let message = format!("{} cannot be a header: {fault}", field.path);
        report.push(
            field
                .error("PTL-C025", message)
                .help("letters, digits and dashes, as authorization"),
        );
    }
    name.unwrap_or_else(|| "authorization".to_owned())
}
