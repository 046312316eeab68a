//! `tls`, `auth` and `headers`, which both ends have much alike. What is a secret is marked as one.

use std::path::PathBuf;
use std::time::Duration;

use super::address::TlsSays;
use super::diagnostic::Diagnostic;
use super::extensions::Extensions;
use super::field::Field;
use super::limits::DAY;
use super::read::{Report, Section, hide_scalars};
use super::set;
use super::wire::{BearerAuth, ClientTls, Identity, Secret, ServerTls, Source, TlsVersion};

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
const RELOAD: (Duration, Duration) = (Duration::from_millis(100), DAY);

/// `tls` of a receiver.
pub(crate) fn read_server_tls(mut section: Section<'_>, report: &mut Report) -> Option<ServerTls> {
    let identity = read_identity(&mut section, report);
    if section.has("client_ca_pem") {
        section.unsupported("client_ca_pem", "client_ca_file", report);
    }
    let client_ca = read_file(&mut section, "client_ca_file", report);
    let why = "files are always read anew when they change";
    section.without_effect("client_ca_file_reload", why, report);
    let common = read_common(&mut section, report);
    let span = section.span();
    let path = section.path().to_owned();
    section.finish(report);
    let Some(identity) = identity else {
        let complained = report
            .diagnostics
            .iter()
            .any(|diagnostic| diagnostic.message.starts_with(&path));
        if !complained {
            report.push(
                Diagnostic::new("PTL-C011", span, format!("{path} names no certificate"))
                    .help("cert_file and key_file: what is shown to clients"),
            );
        }
        return None;
    };
    Some(ServerTls {
        identity,
        client_ca,
        min_version: common.min_version,
        max_version: common.max_version,
        reload_interval: common.reload_interval,
    })
}

/// `tls` of an exporter, and what its endpoint must agree with.
pub(crate) fn read_client_tls(
    mut section: Section<'_>,
    report: &mut Report,
) -> (ClientTls, TlsSays) {
    let mut says = TlsSays {
        insecure: section.boolean("insecure", report),
        has_settings: false,
    };
    let mut tls = ClientTls::default();
    says.has_settings = section.rest().next().is_some();
    set(
        section.boolean("insecure_skip_verify", report),
        &mut tls.insecure_skip_verify,
    );
    if tls.insecure_skip_verify {
        let message = format!(
            "{} lets anybody in between read and change what is sent",
            section.join("insecure_skip_verify")
        );
        report.push(
            Diagnostic::warning("PTL-W009", Some(section.span()), message)
                .help("name the server's certificate authority as ca_file instead"),
        );
    }
    tls.ca = read_pair(&mut section, "ca_file", "ca_pem", report);
    set(
        section.boolean("include_system_ca_certs_pool", report),
        &mut tls.include_system_ca_certs_pool,
    );
    tls.identity = read_identity(&mut section, report);
    tls.server_name_override = section.text("server_name_override", report);
    let common = read_common(&mut section, report);
    tls.min_version = common.min_version;
    tls.max_version = common.max_version;
    tls.reload_interval = common.reload_interval;
    section.finish(report);
    (tls, says)
}

struct Common {
    min_version: TlsVersion,
    max_version: TlsVersion,
    reload_interval: Duration,
}

fn read_common(section: &mut Section<'_>, report: &mut Report) -> Common {
    let mut common = Common {
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        reload_interval: ClientTls::default().reload_interval,
    };
    for (key, target) in [
        ("min_version", &mut common.min_version),
        ("max_version", &mut common.max_version),
    ] {
        set(section.choice(key, &VERSIONS, report), target);
    }
    if common.min_version > common.max_version {
        let message = format!("{} is newer than max_version", section.join("min_version"));
        report.push(
            Diagnostic::new("PTL-C022", section.span(), message)
                .help("min_version 1.2 and max_version 1.3 are the defaults"),
        );
    }
    set(
        section.duration("reload_interval", RELOAD, report),
        &mut common.reload_interval,
    );
    let suites = "take it out: only suites and curves without known weakness are spoken";
    section.unsupported("cipher_suites", suites, report);
    section.unsupported("curve_preferences", suites, report);
    section.unsupported("tpm", "a key as key_file or key_pem", report);
    common
}

/// Certificate and key, which go together.
fn read_identity(section: &mut Section<'_>, report: &mut Report) -> Option<Identity> {
    let cert = read_pair(section, "cert_file", "cert_pem", report);
    let key = read_pair(section, "key_file", "key_pem", report);
    match (cert, key) {
        (Some(cert), Some(key)) => Some(Identity { cert, key }),
        (None, None) => None,
        (cert, _) => {
            let (has, lacks) = match cert {
                Some(_) => ("a certificate", "key_file"),
                None => ("a key", "cert_file"),
            };
            let other = if lacks == "key_file" {
                "key_pem"
            } else {
                "cert_pem"
            };
            // Its value may be wrong, which is said already.
            if !section.has(lacks) && !section.has(other) {
                let message = format!("{} has {has} and no {lacks}", section.path());
                report.push(
                    Diagnostic::new("PTL-C022", section.span(), message)
                        .help(format!("add {lacks} or {other}: they go together")),
                );
            }
            None
        }
    }
}

/// A file or the text itself, not both.
fn read_pair(
    section: &mut Section<'_>,
    file_key: &'static str,
    pem_key: &'static str,
    report: &mut Report,
) -> Option<Source> {
    let file = read_file(section, file_key, report);
    let field = section.get(pem_key, report);
    let pem = field.as_ref().and_then(|field| read_secret(field, report));
    if let (Some(_), Some(field)) = (&file, &field) {
        let message = format!("{} and {file_key} are both set", field.path);
        report.push(field.error("PTL-C022", message).help("keep one of them"));
    }
    if let Some(field) = field.filter(|_| pem.as_ref().is_some_and(|pem| !is_pem(pem))) {
        let message = format!("{} is no PEM", field.path);
        report.push(
            field
                .error("PTL-C026", message)
                .help("-----BEGIN ...----- with its line breaks, after `|`"),
        );
    }
    file.or(pem.map(Source::Text))
}

fn is_pem(text: &Secret) -> bool {
    text.expose().contains("-----BEGIN ") && text.expose().contains("-----END ")
}

fn read_file(section: &mut Section<'_>, key: &'static str, report: &mut Report) -> Option<Source> {
    let path = section.text(key, report)?;
    Some(Source::File(PathBuf::from(path)))
}

/// A text that is never shown.
pub(crate) fn read_secret(field: &Field<'_>, report: &mut Report) -> Option<Secret> {
    hide_scalars(field.node, report);
    let scalar = field.scalar(report)?;
    Some(Secret::new(scalar.text.clone()))
}

/// A secret that stands in the file as it is deserves a warning.
pub(crate) fn warn_of_plain_text(field: &Field<'_>, instead: &str, report: &mut Report) {
    if let super::node::Value::Scalar(scalar) = &field.node.value
        && scalar.written.is_none()
        && !scalar.text.is_empty()
    {
        let message = format!("{} is a secret in plain text", field.path);
        report.push(field.warning("PTL-W002", message).help(instead));
    }
}

/// `headers` of an exporter; names in lower case.
pub(crate) fn read_headers(field: &Field<'_>, report: &mut Report) -> Vec<(String, Secret)> {
    hide_scalars(field.node, report);
    let section = Section::new(&field.path, field.node, report);
    let mut headers = Vec::new();
    for (entry, field) in section.rest_fields(report) {
        let name = entry.key.to_ascii_lowercase();
        if let Some(fault) = name_fault(&name) {
            let message = format!("{} cannot be a header: {fault}", field.path);
            report.push(
                Diagnostic::new("PTL-C025", entry.key_span.clone(), message)
                    .help("letters, digits and dashes, as x-scope-orgid"),
            );
            continue;
        }
        let Some(value) = read_secret(&field, report) else {
            continue;
        };
        if http::HeaderValue::from_str(value.expose()).is_err() {
            let message = format!("the value of {} cannot be sent in a header", field.path);
            report.push(
                field
                    .error("PTL-C025", message)
                    .help("it has a line break or a control character in it"),
            );
            continue;
        }
        if super::hide::is_secret(&name) {
            warn_of_plain_text(
                &field,
                "${env:NAME}, or a bearertokenauth extension",
                report,
            );
        }
        headers.push((name, value));
    }
    headers
}

/// Why a name cannot be that of a header that a user sets.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    const OWN: [&str; 5] = [
        "content-type",
        "content-length",
        "content-encoding",
        "te",
        "host",
    ];
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some("it has a character that HTTP does not allow");
    }
    (OWN.contains(&name) || name.starts_with("grpc-")).then_some("the protocol sets it itself")
}

/// `auth.authenticator`: the id of an extension.
pub(crate) fn read_authenticator(
    mut section: Section<'_>,
    extensions: &mut Extensions,
    report: &mut Report,
) -> Option<BearerAuth> {
    let field = section.get("authenticator", report);
    if field.is_none() {
        let message = format!("{} is missing", section.join("authenticator"));
        report.push(
            Diagnostic::new("PTL-C011", section.span(), message)
                .help("the id of an extension, as bearertokenauth"),
        );
    }
    section.finish(report);
    extensions.bearer(&field?, report)
}
