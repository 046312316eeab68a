//! Endpoints and headers as they are configured, checked before anything is sent.

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::receive::LOGS_PATH;

/// An endpoint or a header that cannot be used.
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
    /// It asks for a transport that is not spoken.
    #[error(
        "endpoint {endpoint:?} asks for {scheme}, which Petrel does not speak yet: put a Collector next to it that does"
    )]
    Unsupported {
        /// As configured.
        endpoint: String,
        /// What it asks for.
        scheme: String,
    },
    /// A header's name or value has a character that HTTP does not allow.
    #[error("header {name:?} cannot be sent: {reason}")]
    Header {
        /// As configured.
        name: String,
        /// What is wrong; without the value, which may be a secret.
        reason: String,
    },
}

/// The URL for logs of a base endpoint: `/v1/logs` is appended, as the Collector does.
#[must_use]
pub fn logs_url(endpoint: &str) -> String {
    format!("{}{LOGS_PATH}", endpoint.trim_end_matches('/'))
}

/// The URL of a signal below a base endpoint.
pub(super) fn signal_url(endpoint: &str, signal: crate::Signal) -> String {
    let path = signal.http_path();
    if endpoint.starts_with("unix:") {
        return format!("{endpoint}:{path}");
    }
    format!("{}{path}", endpoint.trim_end_matches('/'))
}

/// `host:port` with or without `http://`, as a URI without a path.
pub(super) fn grpc_uri(endpoint: &str) -> Result<Uri, EndpointError> {
    let rest = endpoint.strip_prefix("dns:///").unwrap_or(endpoint);
    let with_scheme = if rest.contains("://") || rest.starts_with("unix:") {
        rest.to_owned()
    } else {
        format!("http://{rest}")
    };
    let uri = checked(endpoint, &with_scheme, "host and port")?;
    if uri.authority().and_then(Authority::port_u16).is_none() {
        return Err(EndpointError::Invalid {
            endpoint: endpoint.to_owned(),
            expected: "host and port",
            reason: "it has no port".to_owned(),
        });
    }
    Ok(uri)
}

/// A URL with its path.
pub(super) fn http_uri(endpoint: &str) -> Result<Uri, EndpointError> {
    checked(endpoint, endpoint, "URL")
}

fn checked(endpoint: &str, uri: &str, expected: &'static str) -> Result<Uri, EndpointError> {
    let invalid = |reason: String| EndpointError::Invalid {
        endpoint: endpoint.to_owned(),
        expected,
        reason,
    };
    if uri.starts_with("unix:") {
        return Err(EndpointError::Unsupported {
            endpoint: endpoint.to_owned(),
            scheme: "a unix socket".to_owned(),
        });
    }
    let uri: Uri = uri.parse().map_err(|error| invalid(format!("{error}")))?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => Ok(uri),
        Some(scheme) => Err(EndpointError::Unsupported {
            endpoint: endpoint.to_owned(),
            scheme: scheme.to_string(),
        }),
        None => Err(invalid("it does not begin with http://".to_owned())),
    }
}

/// Headers ready to be sent; their values are not shown in logs.
pub(super) fn headers(
    headers: &[(String, String)],
) -> Result<Vec<(HeaderName, HeaderValue)>, EndpointError> {
    let invalid = |name: &str, reason: String| EndpointError::Header {
        name: name.to_owned(),
        reason,
    };
    let headers = headers.iter().map(|(name, value)| {
        let parsed: HeaderName = name
            .parse()
            .map_err(|_| invalid(name, "its name is no header name".to_owned()))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid(name, "its value has control characters".to_owned()))?;
        value.set_sensitive(true);
        Ok((parsed, value))
    });
    headers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let check = |endpoint: &str, expected: Result<&str, &str>| {
            let uri = grpc_uri(endpoint);
            match (&uri, expected) {
                (Ok(uri), Ok(expected)) => assert_eq!(uri.to_string(), expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                _ => panic!("{endpoint}: {uri:?}"),
            }
        };
        check("localhost:4317", Ok("http://localhost:4317/"));
        check("http://10.0.0.1:4317", Ok("http://10.0.0.1:4317/"));
        check("dns:///backend:4317", Ok("http://backend:4317/"));
        check("[::1]:4317", Ok("http://[::1]:4317/"));
        check("backend", Err("no port"));
        check("https://backend:4317", Err("https"));
        check("unix:///run/otel.sock", Err("unix socket"));
        check("a b:1", Err("no host and port"));
        assert_eq!(logs_url("http://x:4318/"), "http://x:4318/v1/logs");
    }
}
