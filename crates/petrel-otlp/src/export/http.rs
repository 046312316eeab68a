//! OTLP/HTTP with protobuf.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::endpoint::{headers, http_uri};
use super::{Compression, EndpointError, ExportError, ExporterSettings, RESPONSE_BYTES_MAX};
use crate::compress::pack;
use crate::reply::ExportReply;
use crate::status::{Code, Refusal};

const PROTOBUF: &str = "application/x-protobuf";
/// Bytes of a refusal that are read, as in the Collector.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// How long a connection may take to come about; the request's own timeout may end it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept; below what servers and their proxies wait, most often 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// What a Collector says, with status 400, of a body over its limit.
const COLLECTOR_TOO_LARGE: &str = "request body too large";

#[derive(Clone, Debug)]
pub(super) struct HttpExporter {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    compression: Compression,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpExporter {
    pub(super) fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let uri = http_uri(&settings.endpoint)?;
        let mut all = vec![("user-agent".to_owned(), settings.user_agent.clone())];
        all.extend(settings.headers.iter().cloned());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector),
            uri,
            compression: settings.compression,
            headers: headers(&all)?,
        })
    }

    pub(super) async fn send(&self, request: Bytes) -> Result<ExportReply, ExportError> {
        let response = self.client.request(self.request(request)).await;
        let response = response.map_err(|error| {
            // The error itself only says "client error (Connect)".
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            ExportError::unreachable(format!("{}: {cause}", self.uri))
        })?;
        let (parts, body) = response.into_parts();
        let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(is_json);
        if !parts.status.is_success() {
            let body = read(body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
            let refusal = Refusal::from_http(parts.status, &body, is_json);
            return Err(classify(parts.status, refusal, &parts.headers));
        }
        let body = read(body, RESPONSE_BYTES_MAX).await;
        let reply = body.and_then(|body| match is_json {
            true => ExportReply::from_json(&body),
            false => ExportReply::from_protobuf(&body),
        });
        reply.ok_or_else(|| {
            let message = "the next hop took the request, but its answer cannot be read";
            ExportError::Permanent(Refusal::new(Code::Internal, message))
        })
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let (packed, body) = match self.compression {
            Compression::None => (false, body),
            Compression::Gzip(level) => (true, pack(&body, level)),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.extend(self.headers.iter().cloned());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        if packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        request
    }
}

fn is_json(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/json")
}

/// A body of at most `bytes_max` bytes; `None` when it is longer or breaks off.
async fn read(body: Incoming, bytes_max: usize) -> Option<Bytes> {
    let body = Limited::new(body, bytes_max).collect().await.ok()?;
    Some(body.to_bytes())
}

/// OTLP's rule for HTTP: of all refusals these four may be sent again.
fn classify(status: StatusCode, mut refusal: Refusal, headers: &HeaderMap) -> ExportError {
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            refusal.retry_after = retry_after(headers).or(refusal.retry_after);
            ExportError::Retryable(refusal)
        }
        413 => ExportError::TooLarge(refusal),
        400 if refusal.message.contains(COLLECTOR_TOO_LARGE) => ExportError::TooLarge(refusal),
        _ => ExportError::Permanent(refusal),
    }
}

/// `Retry-After`: seconds, or a date, which is read against the answer's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = |name: HeaderName| {
        let text = headers.get(name)?.to_str().ok()?;
        httpdate::parse_http_date(text).ok()
    };
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(header::RETRY_AFTER)?;
    Some(
        until
            .duration_since(date(header::DATE)?)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |value: &'static str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let now = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            headers.insert(header::DATE, now);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs));
        };
        check("7", Some(7));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:40:00 GMT", Some(0));
        check("soon", None);
    }

    #[test]
    fn four_statuses_are_retryable() {
        let check = |status: u16, message: &str, expected: fn(Refusal) -> ExportError| {
            let status = StatusCode::from_u16(status).expect("a status");
            let refusal = Refusal::new(Code::Unknown, message);
            let error = classify(status, refusal.clone(), &HeaderMap::new());
            assert_eq!(error, expected(refusal), "{status}");
        };
        for status in [429, 502, 503, 504] {
            check(status, "", ExportError::Retryable);
        }
        for status in [301, 400, 401, 403, 404, 408, 500, 501, 505] {
            check(status, "", ExportError::Permanent);
        }
        check(413, "", ExportError::TooLarge);
        check(400, "http: request body too large", ExportError::TooLarge);
    }
}
