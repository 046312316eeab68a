//! OTLP/HTTP: protobuf and JSON of three signals, HTTP/1.1 and HTTP/2 on one port.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use tonic::body::Body;

use super::body::{read_http_body, too_slow, unpack_counted};
use super::live::Loaded;
use super::serve::{Speaks, serve};
use super::{
    Admission, ExportReply, Handler, InFlight, Listener, LiveReceive, ReceiveSettings, Received,
    Refusal, Server, SignalPaths, Transport, metadata,
};
use crate::compress::Packing;
use crate::json::json_to_protobuf;
use crate::signal::Signal;
use crate::status::Code;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// How much of a refused request is read, and for how long, so that its sender hears the answer.
const PASSED_BY_BYTES_MAX: usize = 128 << 20;
const PASSED_BY_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of a sender that may not send at all.
const STRANGERS_BYTES_MAX: usize = 1 << 20;

/// Serves OTLP/HTTP until `drain` is done and the requests that were in flight then are answered. How
/// long that may take is for the caller to bound. Needs a Tokio runtime.
pub async fn serve_http<H: Handler>(
    listener: Listener,
    handler: Arc<H>,
    admission: Admission,
    live: Arc<LiveReceive>,
    drain: impl Future<Output = ()> + Send,
) {
    let server = Server {
        handler,
        admission,
        live,
    };
    serve(listener, Arc::new(server), Speaks::Http, drain).await;
}

/// A refusal, and the HTTP status where OTLP's own table does not give it.
struct HttpRefusal {
    refusal: Refusal,
    status: StatusCode,
}

impl From<Refusal> for HttpRefusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.http_status(),
            refusal,
        }
    }
}

impl HttpRefusal {
    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            refusal: Refusal::new(code, message),
            status,
        }
    }
}

impl<H: Handler> Server<H> {
    pub(super) async fn respond_http(&self, request: Request<Incoming>) -> Response<Body> {
        let loaded = Arc::clone(&self.live.load());
        let transport = transport(request.headers());
        let is_json = transport == Some(Transport::HttpJson);
        match self.handle(&loaded, request, transport).await {
            Ok((signal, reply)) => success(signal, &reply, is_json),
            // Who sent neither protobuf nor JSON gets what a person can read.
            Err(refused) => error(&loaded, &refused, is_json || transport.is_none()),
        }
    }

    async fn handle(
        &self,
        loaded: &Loaded,
        request: Request<Incoming>,
        transport: Option<Transport>,
    ) -> Result<(Signal, ExportReply), HttpRefusal> {
        let signal = signal(&loaded.settings.paths, &request)?;
        let Some(transport) = transport else {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let message = format!("the content type must be {PROTOBUF} or {JSON}");
            return Err(HttpRefusal::new(status, Code::InvalidArgument, message));
        };
        let (parts, mut body) = request.into_parts();
        let received = self
            .receive_post(loaded, signal, transport, &parts, &mut body)
            .await;
        let received = match received {
            Ok(received) => received,
            Err(refused) => {
                self.handler.refused(&refused.refusal, signal, transport);
                pass_by(&parts, body, &refused.refusal).await;
                return Err(refused);
            }
        };
        Ok((signal, self.handler.export(received).await?))
    }

    async fn receive_post(
        &self,
        loaded: &Loaded,
        signal: Signal,
        transport: Transport,
        parts: &Parts,
        body: &mut Incoming,
    ) -> Result<Received, HttpRefusal> {
        let mut in_flight = self.admit(loaded, &parts.headers)?;
        let settings = &loaded.settings;
        let reading = read_request(settings, &parts.headers, body, &mut in_flight);
        let timeout = settings.receive_timeout;
        let read = tokio::time::timeout(timeout, reading).await;
        let mut request = read.unwrap_or_else(|_| Err(too_slow(timeout).into()))?;
        if transport == Transport::HttpJson {
            let protobuf = json_to_protobuf(signal, &request)?;
            in_flight.grow(protobuf.len())?;
            in_flight.shrink(request.len());
            request = protobuf;
        }
        Ok(Received {
            signal,
            request,
            transport,
            timeout: None,
            metadata: metadata(settings, &parts.headers),
            in_flight,
        })
    }
}

/// What a request's path says that it carries.
fn signal(paths: &SignalPaths, request: &Request<Incoming>) -> Result<Signal, HttpRefusal> {
    let path = request.uri().path();
    let Some(signal) = paths.signal(path) else {
        let SignalPaths {
            logs,
            traces,
            metrics,
        } = paths;
        let message = format!("{path} is not served; {logs}, {traces} and {metrics} are");
        let code = Code::Unimplemented;
        return Err(HttpRefusal::new(StatusCode::NOT_FOUND, code, message));
    };
    if request.method() != Method::POST {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let message = format!("{} is not allowed; POST is", request.method());
        return Err(HttpRefusal::new(status, Code::Unimplemented, message));
    }
    Ok(signal)
}

async fn read_request(
    settings: &ReceiveSettings,
    headers: &HeaderMap,
    body: &mut Incoming,
    in_flight: &mut InFlight,
) -> Result<Bytes, HttpRefusal> {
    let bytes_max = settings.request_bytes_max;
    let encoding = headers.get(header::CONTENT_ENCODING);
    let encoding = encoding.map_or(&b""[..], HeaderValue::as_bytes);
    let packing = Packing::of_http(encoding).map_err(|()| {
        let message = format!(
            "content-encoding {:?} is not known; gzip, zstd, deflate and identity are",
            String::from_utf8_lossy(encoding)
        );
        Refusal::new(Code::InvalidArgument, message)
    })?;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let request = read_http_body(body, announced, bytes_max, in_flight).await?;
    match packing {
        None => Ok(request),
        Some(packing) => Ok(unpack_counted(packing, request, bytes_max, in_flight).await?),
    }
}

/// Reads what is left of a refused request and throws it away: over HTTP/1 many senders listen only when
/// they have written all, and a connection closed before that takes the answer with it.
async fn pass_by(parts: &Parts, mut body: Incoming, refusal: &Refusal) {
    // Over HTTP/2 answers do not wait for requests, and who was too slow had its time.
    if parts.version == Version::HTTP_2 || refusal.code == Code::DeadlineExceeded {
        return;
    }
    let passing = async {
        let mut left = match refusal.code {
            Code::Unauthenticated => STRANGERS_BYTES_MAX,
            _ => PASSED_BY_BYTES_MAX,
        };
        while let Some(Ok(frame)) = body.frame().await {
            let n_bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(n_bytes) else {
                return;
            };
            left = rest;
        }
    };
    // Whoever is slower than that hears nothing.
    let _ = tokio::time::timeout(PASSED_BY_TIMEOUT, passing).await;
}

fn transport(headers: &HeaderMap) -> Option<Transport> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next()?.trim();
    if media_type.eq_ignore_ascii_case(PROTOBUF) {
        Some(Transport::HttpProtobuf)
    } else if media_type.eq_ignore_ascii_case(JSON) {
        Some(Transport::HttpJson)
    } else {
        None
    }
}

fn success(signal: Signal, reply: &ExportReply, is_json: bool) -> Response<Body> {
    let body = if is_json {
        reply.to_json(signal)
    } else {
        reply.to_protobuf()
    };
    response(StatusCode::OK, is_json, body)
}

fn error(loaded: &Loaded, refused: &HttpRefusal, is_json: bool) -> Response<Body> {
    let HttpRefusal { refusal, status } = refused;
    let body = if is_json {
        refusal.to_json()
    } else {
        refusal.to_protobuf()
    };
    let mut response = response(*status, is_json, body.into());
    if let Some(delay) = refusal.retry_after {
        // Whole seconds, rounded up: coming back too early is refused again.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let (StatusCode::UNAUTHORIZED, Some(tokens)) = (*status, &loaded.tokens) {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, tokens.challenge());
    }
    if *status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn response(status: StatusCode, is_json: bool, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(if is_json { JSON } else { PROTOBUF });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}
