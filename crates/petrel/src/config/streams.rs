//! `streams` and `privacy`: what is compared with what, what is looked into, and what may leave.

use super::diagnostic::Diagnostic;
use super::field::Field;
use super::model::{Mask, Privacy, StreamPattern, Streams};
use super::queue::read_metadata_keys;
use super::read::{Report, Section, nearest};
use super::set;

pub(crate) fn read_streams(mut section: Section<'_>, streams: &mut Streams, report: &mut Report) {
    if let Some(field) = section.get("key", report) {
        let key = field.texts(report);
        if key.as_ref().is_some_and(Vec::is_empty) {
            let message = format!("{} is empty: everything would be one stream", field.path);
            report.push(
                field
                    .error("PTL-C006", message)
                    .help("resource attributes, as [service.namespace, service.name]"),
            );
        }
        set(key, &mut streams.key);
    }
    set(section.texts("fallback", report), &mut streams.fallback);
    set(
        read_metadata_keys(&mut section, report),
        &mut streams.metadata_keys,
    );
    for (key, target) in [
        ("include", &mut streams.include),
        ("exclude", &mut streams.exclude),
    ] {
        let field = section.get(key, report);
        let patterns = field.and_then(|field| read_patterns(&field, &streams.key, report));
        set(patterns, target);
    }
    section.finish(report);
}

fn read_patterns(
    field: &Field<'_>,
    key: &[String],
    report: &mut Report,
) -> Option<Vec<StreamPattern>> {
    let mut patterns = Vec::new();
    for item in field.items(report)? {
        let section = Section::new(&item.path, item.node, report);
        let mut pattern = StreamPattern::new();
        let values = section.rest_fields(report);
        if values.is_empty() && !report.has_errors() {
            let message = format!("{} is empty and would match everything", item.path);
            let help = "attributes of streams.key, as {service.name: \"batch-*\"}";
            report.push(item.error("PTL-C024", message).help(help));
        }
        for (entry, value) in values {
            if !key.contains(&entry.key) {
                let known = key.iter().map(String::as_str);
                let help = match nearest(&entry.key, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("it is not part of streams.key: {}", key.join(", ")),
                };
                let message = format!("{} cannot be matched", value.path);
                let span = entry.key_span.clone();
                report.push(Diagnostic::new("PTL-C024", span, message).help(help));
            }
            if let Some(text) = glob(&value, report) {
                pattern.insert(entry.key.clone(), text);
            }
        }
        patterns.push(pattern);
    }
    Some(patterns)
}

/// A text in which `*` stands for any text.
fn glob(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let scalar = field.scalar(report)?;
    let text = &scalar.text;
    let is_regex = text.contains(".*") || text.starts_with('^') || text.ends_with('$');
    if is_regex || text.contains(['?', '[', ']', '{', '}', '|', '\\']) {
        let message = format!("{} is no pattern: `{}`", field.path, scalar.shown());
        let help = "`*` stands for any text and nothing else is special, as \"batch-*\"; several \
                    patterns are several entries of the list";
        report.push(field.error("PTL-C024", message).help(help));
        return None;
    }
    Some(text.clone())
}

pub(crate) fn read_privacy(mut section: Section<'_>, privacy: &mut Privacy, report: &mut Report) {
    if let Some(field) = section.get("mask", report) {
        for item in field.items(report).into_iter().flatten() {
            let mask = read_mask(Section::new(&item.path, item.node, report), report);
            privacy.mask.extend(mask);
        }
    }
    set(
        section.texts("deny_attributes", report),
        &mut privacy.deny_attributes,
    );
    section.finish(report);
}

fn read_mask(mut section: Section<'_>, report: &mut Report) -> Option<Mask> {
    let field = section.get("pattern", report);
    let replacement = section.text("replacement", report);
    if field.is_none() {
        let message = format!("{} is missing", section.join("pattern"));
        report.push(
            Diagnostic::new("PTL-C011", section.span(), message)
                .help(r"a regular expression in single quotes, as pattern: '\d{16}'"),
        );
    }
    section.finish(report);
    let field = field?;
    let pattern = field.text(report)?;
    let message = match regex::Regex::new(&pattern) {
        Ok(regex) if regex.is_match("") => {
            format!("{} matches nothing at all, so everywhere", field.path)
        }
        Ok(_) => {
            return Some(Mask {
                pattern,
                replacement: replacement.unwrap_or_else(|| "***".to_owned()),
            });
        }
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            format!("{} is no regular expression: {reason}", field.path)
        }
    };
    report.push(field.error("PTL-C024", message).help(
        "syntax of the regex crate, without look-around and back-references; in single quotes \
         backslashes stay as they are",
    ));
    None
}
