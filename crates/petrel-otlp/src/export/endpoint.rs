//! Endpoints and headers as they are configured, checked before anything is sent.

use std::path::PathBuf;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use super::Protocol;
use crate::net::unix_path;
use crate::security::{Secret, SecurityError};
use crate::signal::Signal;

/// An endpoint, a header or a certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is no address.
    #[error("endpoint {endpoint:?} is no {expected}: {reason}")]
    Invalid {
        /// As configured.
        endpoint: String,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A header's name or value has a character that HTTP does not allow.
    #[error("header {name:?} cannot be sent: {reason}")]
    Header {
        /// As configured.
        name: String,
        /// What is wrong; without the value, which may be a secret.
        reason: String,
    },
    /// A certificate, a key or a token cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// The URL for a signal of a base endpoint: `/v1/logs` or its like is appended, as the Collector does.
#[must_use]
pub fn signal_url(endpoint: &str, signal: Signal) -> String {
    let separator = if unix_path(endpoint).is_some() {
        ":"
    } else {
        ""
    };
    let base = endpoint.trim_end_matches('/');
    format!("{base}{separator}{}", signal.http_path())
}

/// An endpoint that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As configured.
    pub(super) endpoint: String,
    /// What requests are addressed to; over gRPC without a path.
    pub(super) uri: Uri,
    /// The socket that takes the place of the address.
    pub(super) unix_path: Option<PathBuf>,
    /// The name that a certificate is checked against.
    pub(super) host: String,
    pub(super) is_tls: bool,
}

impl Target {
    /// `has_tls` decides where the endpoint itself does not say.
    pub(super) fn new(
        protocol: Protocol,
        endpoint: &str,
        signal: Signal,
        has_tls: bool,
    ) -> Result<Self, EndpointError> {
        let expected = match protocol {
            Protocol::Grpc => "host and port",
            Protocol::Http => "URL",
        };
        let invalid = |reason: String| EndpointError::Invalid {
            endpoint: endpoint.to_owned(),
            expected,
            reason,
        };
        let (unix_path, address) = address(protocol, endpoint, signal, has_tls);
        let uri: Uri = address
            .parse()
            .map_err(|error| invalid(format!("{error}")))?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) => return Err(invalid(format!("{scheme} is not spoken"))),
            None => {
                return Err(invalid(
                    "it does not begin with http:// or https://".to_owned(),
                ));
            }
        };
        let has_port = uri.authority().and_then(Authority::port_u16).is_some();
        if protocol == Protocol::Grpc && unix_path.is_none() && !has_port {
            return Err(invalid("it has no port".to_owned()));
        }
        let host = uri.host().unwrap_or_default();
        Ok(Self {
            endpoint: endpoint.to_owned(),
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            uri,
            unix_path,
            is_tls,
        })
    }

    /// Whether the same connections lead there.
    pub(super) fn is_same_hop(&self, other: &Self) -> bool {
        self.unix_path == other.unix_path
            && self.uri.scheme() == other.uri.scheme()
            && self.uri.authority() == other.uri.authority()
    }
}

/// An endpoint as a URI with a scheme, and the unix socket that it names.
fn address(
    protocol: Protocol,
    endpoint: &str,
    signal: Signal,
    has_tls: bool,
) -> (Option<PathBuf>, String) {
    let scheme = if has_tls { "https" } else { "http" };
    if let Some(path) = unix_path(endpoint) {
        let (socket, path) = match (protocol, path.split_once(":/")) {
            (Protocol::Grpc, _) => (path, String::new()),
            (Protocol::Http, None) => (path, signal.http_path().to_owned()),
            (Protocol::Http, Some((socket, path))) => (socket, format!("/{path}")),
        };
        return (
            Some(PathBuf::from(socket)),
            format!("{scheme}://localhost{path}"),
        );
    }
    if protocol == Protocol::Http {
        return (None, endpoint.to_owned());
    }
    let rest = endpoint.strip_prefix("dns:///").unwrap_or(endpoint);
    if rest.contains("://") {
        return (None, rest.to_owned());
    }
    (None, format!("{scheme}://{rest}"))
}

/// Headers ready to be sent; their values are not shown in logs.
pub(super) fn headers(
    headers: &[(String, Secret)],
) -> Result<Vec<(HeaderName, HeaderValue)>, EndpointError> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| header(name, value.expose()))
        .collect()
}

/// A header ready to be sent.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), EndpointError> {
    let invalid = |reason: &str| EndpointError::Header {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let parsed = name
        .parse()
        .map_err(|_| invalid("its name is no header name"))?;
    let mut value =
        HeaderValue::from_str(value).map_err(|_| invalid("its value has control characters"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let check = |protocol, endpoint: &str, has_tls, expected: Result<&str, &str>| {
            let target = Target::new(protocol, endpoint, Signal::Traces, has_tls);
            match (&target, expected) {
                (Ok(target), Ok(expected)) => {
                    let socket = target
                        .unix_path
                        .iter()
                        .map(|it| format!("{} ", it.display()));
                    let shown = format!("{}{}", socket.collect::<String>(), target.uri);
                    assert_eq!(shown, expected);
                    assert_eq!(target.is_tls, expected.contains("https:"));
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                _ => panic!("{endpoint}: {target:?}"),
            }
        };
        let grpc = |endpoint, has_tls, expected| check(Protocol::Grpc, endpoint, has_tls, expected);
        grpc("localhost:4317", false, Ok("http://localhost:4317/"));
        grpc("localhost:4317", true, Ok("https://localhost:4317/"));
        grpc("http://10.0.0.1:4317", true, Ok("http://10.0.0.1:4317/"));
        grpc("https://backend:4317", false, Ok("https://backend:4317/"));
        grpc("dns:///backend:4317", false, Ok("http://backend:4317/"));
        grpc("[::1]:4317", false, Ok("http://[::1]:4317/"));
        grpc(
            "unix:///run/otel.sock",
            false,
            Ok("/run/otel.sock http://localhost/"),
        );
        grpc("backend", false, Err("no port"));
        grpc("ftp://backend:4317", false, Err("ftp is not spoken"));
        grpc("a b:1", false, Err("no host and port"));
        let http = |endpoint, expected| check(Protocol::Http, endpoint, true, expected);
        http("http://x:4318/v1/traces", Ok("http://x:4318/v1/traces"));
        http("https://x/otlp", Ok("https://x/otlp"));
        http("unix:///s.sock", Ok("/s.sock https://localhost/v1/traces"));
        http("unix:/s.sock:/t", Ok("/s.sock https://localhost/t"));
        http("x:4318", Err("is no URL"));
        assert_eq!(
            signal_url("http://x:1/", Signal::Logs),
            "http://x:1/v1/logs"
        );
        assert_eq!(signal_url("unix:///s", Signal::Logs), "unix:///s:/v1/logs");
    }
}
