//! OTLP/HTTP with protobuf or JSON, over HTTP/1.1, or HTTP/2 where TLS agrees on it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::endpoint::{Target, header, headers};
use super::{
    Compression, Encoding, EndpointError, ExportError, ExporterSettings, Headers, Protocol,
    RESPONSE_BYTES_MAX,
};
use crate::compress::{Packing, pack, unpack};
use crate::json::protobuf_to_json;
use crate::reply::ExportReply;
use crate::signal::Signal;
use crate::status::{Code, Refusal};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes of a refusal that are read, as in the Collector.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// How long an unused connection is kept; below what servers and their proxies wait, most often 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// What a Collector says, with status 400, of a body over its limit.
const COLLECTOR_TOO_LARGE: &str = "request body too large";

pub(super) struct HttpExporter {
    /// In the order of [`Signal::ALL`]; none = without an endpoint.
    hops: [Option<Hop>; 3],
    compression: Compression,
    encoding: Encoding,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone)]
struct Hop {
    target: Target,
    client: Client<Connector, Full<Bytes>>,
}

impl HttpExporter {
    pub(super) fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let mut hops: Vec<Option<Hop>> = Vec::new();
        for signal in Signal::ALL {
            let endpoint = settings.endpoints.of(signal);
            if endpoint.is_empty() {
                hops.push(None);
                continue;
            }
            let target = Target::new(Protocol::Http, endpoint, signal, settings.tls.is_some())?;
            let mut known = hops.iter().flatten();
            let same = known.find(|hop| hop.target.is_same_hop(&target));
            let client = match same {
                Some(hop) => hop.client.clone(),
                None => client(&target, settings)?,
            };
            hops.push(Some(Hop { target, client }));
        }
        let hops = hops
            .try_into()
            .unwrap_or_else(|_| unreachable!("there are three signals"));
        let mut all = vec![header("user-agent", &settings.user_agent)?];
        all.extend(headers(&settings.headers)?);
        Ok(Self {
            hops,
            compression: settings.compression,
            encoding: settings.encoding,
            headers: all,
        })
    }

    pub(super) async fn send(
        &self,
        signal: Signal,
        request: Bytes,
        headers: Headers,
    ) -> Result<ExportReply, ExportError> {
        let Some(hop) = &self.hops[signal as usize] else {
            let message = format!("the exporter has no endpoint for {}", signal.name());
            return Err(ExportError::Permanent(Refusal::new(
                Code::Unimplemented,
                message,
            )));
        };
        let request = self.request(hop, signal, request, headers)?;
        let response = hop.client.request(request).await;
        let response = response.map_err(|error| hop.failure(&error))?;
        let (parts, body) = response.into_parts();
        let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(is_json);
        if !parts.status.is_success() {
            let body = read(body, &parts.headers, REFUSAL_BYTES_MAX).await;
            let refusal = Refusal::from_http(parts.status, &body.unwrap_or_default(), is_json);
            return Err(classify(parts.status, refusal, &parts.headers));
        }
        let body = read(body, &parts.headers, RESPONSE_BYTES_MAX).await;
        let reply = body.and_then(|body| match is_json {
            true => ExportReply::from_json(signal, &body),
            false => ExportReply::from_protobuf(&body),
        });
        reply.ok_or_else(ExportError::unreadable)
    }

    fn request(
        &self,
        hop: &Hop,
        signal: Signal,
        body: Bytes,
        own_headers: Headers,
    ) -> Result<Request<Full<Bytes>>, ExportError> {
        let (content_type, body) = match self.encoding {
            Encoding::Protobuf => (PROTOBUF, body),
            Encoding::Json => {
                let json = protobuf_to_json(signal, &body);
                let json = json.map_err(|malformed| ExportError::Permanent(malformed.into()))?;
                (JSON, json)
            }
        };
        let mut request = Request::new(Full::new(pack(self.compression, body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hop.target.uri.clone();
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().cloned().chain(own_headers) {
            headers.insert(name, value);
        }
        headers.insert(header::CONTENT_TYPE, content_type);
        let accepted = HeaderValue::from_static("gzip, zstd");
        headers.insert(header::ACCEPT_ENCODING, accepted);
        if let Some(encoding) = self.compression.name() {
            let encoding = HeaderValue::from_static(encoding);
            headers.insert(header::CONTENT_ENCODING, encoding);
        }
        Ok(request)
    }
}

fn client(
    target: &Target,
    settings: &ExporterSettings,
) -> Result<Client<Connector, Full<Bytes>>, EndpointError> {
    let connector = Connector::new(target, settings.tls.as_ref(), Protocol::Http)?;
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT);
    if let Some(keepalive) = settings.keepalive {
        builder
            .http2_keep_alive_interval(keepalive.time)
            .http2_keep_alive_timeout(keepalive.timeout)
            .http2_keep_alive_while_idle(keepalive.permit_without_stream);
    }
    Ok(builder.build(connector))
}

impl Hop {
    /// Why no answer came.
    fn failure(&self, error: &hyper_util::client::legacy::Error) -> ExportError {
        // The error itself only says "client error (Connect)".
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let cause = cause.unwrap_or_else(|| error.to_string());
        let message = format!("{}: {cause}", self.target.endpoint);
        if error.is_connect() {
            ExportError::unreachable(message)
        } else {
            ExportError::cut_off(message)
        }
    }
}

fn is_json(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/json")
}

/// A body, unpacked, of at most `bytes_max` bytes; `None` when it is longer or breaks off.
async fn read(body: Incoming, headers: &HeaderMap, bytes_max: usize) -> Option<Bytes> {
    let body = Limited::new(body, bytes_max)
        .collect()
        .await
        .ok()?
        .to_bytes();
    let encoding = headers.get(header::CONTENT_ENCODING);
    let encoding = encoding.map_or(&b""[..], HeaderValue::as_bytes);
    match Packing::of_http(encoding).ok()? {
        None => Some(body),
        Some(packing) => unpack(packing, &body, bytes_max, |_| Ok::<_, Infallible>(())).ok(),
    }
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
    use crate::status::Code;

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
