//! Addresses: where to listen, and where to send.

use super::field::Field;
use super::read::Report;
use super::wire::{ClientTls, Protocol};

/// Marks a socket of the file system.
pub(crate) const UNIX: &str = "unix://";

/// `host:port` to listen on, or `unix:///path`.
pub(crate) fn listen_address(
    field: &Field<'_>,
    is_unix: bool,
    report: &mut Report,
) -> Option<String> {
    let scalar = field.scalar(report)?;
    let text = &scalar.text;
    if is_unix || text.starts_with("unix:") {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with('/') {
            return Some(format!("{UNIX}{path}"));
        }
        let message = format!(
            "{} is no path of a socket: `{}`",
            field.path,
            scalar.shown()
        );
        report.push(
            field
                .error("PTL-C009", message)
                .help("the whole path, as unix:///run/petrel/otlp.sock"),
        );
        return None;
    }
    match listen_fault(text) {
        // As in Go: no host is every address of this machine.
        None if text.starts_with(':') => Some(format!("0.0.0.0{text}")),
        None => Some(text.clone()),
        Some(help) => {
            let message = format!(
                "{} is no address to listen on: `{}`",
                field.path,
                scalar.shown()
            );
            report.push(field.error("PTL-C009", message).help(help));
            None
        }
    }
}

/// What is wrong with `host:port`, as what to do.
fn listen_fault(text: &str) -> Option<String> {
    if text.contains("://") {
        return Some("host:port without http://, as localhost:4317".to_owned());
    }
    port_fault(text).or_else(|| {
        text.contains(['/', ' ', '@'])
            .then(|| "host:port, as localhost:4317".to_owned())
    })
}

/// What is wrong with the port or the brackets of an authority.
fn port_fault(authority: &str) -> Option<String> {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Some(match authority.parse::<u16>() {
            Ok(port) => format!("host:port, as localhost:{port}"),
            Err(_) => "a port is missing: host:port, as localhost:4317".to_owned(),
        });
    };
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Some("an IPv6 address needs brackets around it: \"[::1]:4317\"".to_owned());
    }
    match port.parse::<u16>() {
        Ok(_) => None,
        Err(_) => Some("a port is a number from 1 to 65535, as in localhost:4317".to_owned()),
    }
}

/// What `tls` says, as far as an endpoint must agree with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TlsSays {
    /// `tls.insecure`, where it is written.
    pub(crate) insecure: Option<bool>,
    /// Whether it holds anything that only TLS can use.
    pub(crate) has_settings: bool,
}

/// An endpoint as the exporter wants it, with its scheme, and whether it is spoken to with TLS.
pub(crate) fn target(
    field: &Field<'_>,
    protocol: Protocol,
    says: TlsSays,
    report: &mut Report,
) -> Option<(String, bool)> {
    let scalar = field.scalar(report)?;
    let text = scalar.text.trim_end_matches('/');
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    if authority
        .split('/')
        .next()
        .is_some_and(|authority| authority.contains('@'))
    {
        report.secrets.push(field.node.span.clone());
        let message = format!("{} holds credentials", field.path);
        report.push(field.error("PTL-C023", message).help(
            "put them into headers or a bearertokenauth extension, from ${env:NAME} or a file",
        ));
        return None;
    }
    let mut fail = |code, help: String| {
        let message = format!("{} cannot be sent to: `{}`", field.path, scalar.shown());
        report.push(field.error(code, message).help(help));
        None
    };
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return fail(
                "PTL-C023",
                "the whole path, as unix:///run/collector.sock".to_owned(),
            );
        }
        return Some((format!("{UNIX}{path}"), false));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let is_plain = match (scheme, protocol) {
        (Some("http"), _) => true,
        (Some("https"), _) => false,
        (Some("dns"), Protocol::Grpc) => {
            return fail(
                "PTL-C023",
                "host:port alone: names are looked up anyway".to_owned(),
            );
        }
        (Some(_), _) => return fail("PTL-C023", "http:// or https://".to_owned()),
        (None, Protocol::Grpc) => says.insecure == Some(true),
        (None, Protocol::Http) => {
            let help = format!("say which: http://{rest} or https://{rest}");
            let help = if scalar.written.is_some() {
                "begin it with http:// or https://".to_owned()
            } else {
                help
            };
            return fail("PTL-C023", help);
        }
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let needs_port = protocol == Protocol::Grpc || authority.contains(':');
    if let Some(help) = needs_port.then(|| port_fault(authority)).flatten() {
        return fail("PTL-C023", help);
    }
    let is_grpc_with_path = protocol == Protocol::Grpc && !path.is_empty();
    if authority.is_empty() || authority.starts_with(':') || is_grpc_with_path {
        let help = match protocol {
            Protocol::Grpc => "host:port and no path, as localhost:14317",
            Protocol::Http => "a URL, as http://localhost:14318",
        };
        return fail("PTL-C023", help.to_owned());
    }
    contradiction(scheme, says, &mut fail)?;
    let scheme = if is_plain { "http" } else { "https" };
    Some((format!("{scheme}://{rest}"), !is_plain))
}

/// Endpoint and `tls` must say the same of whether there is TLS.
fn contradiction(
    scheme: Option<&str>,
    says: TlsSays,
    fail: &mut impl FnMut(&'static str, String) -> Option<(String, bool)>,
) -> Option<()> {
    let help = match (scheme, says.insecure) {
        (Some("http"), Some(false)) => {
            "http:// is plaintext and tls.insecure: false is TLS: write https://, or insecure: true"
        }
        (Some("https"), Some(true)) => {
            "https:// is TLS and tls.insecure: true is none: write http://, or take insecure out"
        }
        (Some("http"), _) if says.has_settings => {
            "http:// is plaintext, so the settings under tls have no use: write https://, or take them out"
        }
        _ => return Some(()),
    };
    fail("PTL-C012", help.to_owned()).map(|_| ())
}

/// Whether a host is this machine by its name alone; a socket of the file system is too.
pub(crate) fn is_loopback(endpoint: &str) -> bool {
    if endpoint.starts_with("unix:") {
        return true;
    }
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// TLS where it is spoken, with what is written about it.
pub(crate) fn tls_of(is_tls: bool, written: Option<ClientTls>) -> Option<ClientTls> {
    is_tls.then(|| written.unwrap_or_default())
}
