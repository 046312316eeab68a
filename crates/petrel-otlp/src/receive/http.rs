//! OTLP/HTTP: protobuf and JSON on one path, HTTP/1.1 and HTTP/2 on one port.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use super::body::{read_http_body, too_slow, unpack_counted};
use super::{
    Admission, CONNECTION_WINDOW, ExportReply, FRAME_MAX, InFlight, LogsHandler, ReceiveSettings,
    Received, Refusal, STREAM_WINDOW, Server, Transport,
};
use crate::json::json_to_protobuf;
use crate::status::Code;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// How long a client may take for its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a refused request is read, and for how long, so that its sender hears the answer.
const PASSED_BY_BYTES_MAX: usize = 128 << 20;
const PASSED_BY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the system would not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves OTLP/HTTP until `drain` is done and the requests that were in flight then are answered.
pub async fn serve_http<H: LogsHandler>(
    listener: TcpListener,
    handler: Arc<H>,
    admission: Admission,
    settings: ReceiveSettings,
    drain: impl Future<Output = ()> + Send,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(settings.concurrent_streams_max);
    let server = Arc::new(Server {
        handler,
        admission,
        settings,
    });
    let graceful = GracefulShutdown::new();
    let mut drain = std::pin::pin!(drain);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut drain => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it answers wait for a timer; a socket that cannot do it still works.
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an OTLP/HTTP connection failed");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
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

impl<H: LogsHandler> Server<H> {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let transport = transport(request.headers());
        let is_json = transport == Some(Transport::HttpJson);
        match self.handle(request, transport).await {
            Ok(reply) => success(&reply, is_json),
            // Who sent neither protobuf nor JSON gets what a person can read.
            Err(refused) => error(&refused, is_json || transport.is_none()),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        transport: Option<Transport>,
    ) -> Result<ExportReply, HttpRefusal> {
        let path = request.uri().path();
        if path != self.settings.logs_path {
            let message = format!("{path} is not served; {} is", self.settings.logs_path);
            let code = Code::Unimplemented;
            return Err(HttpRefusal::new(StatusCode::NOT_FOUND, code, message));
        }
        if request.method() != Method::POST {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let message = format!("{} is not allowed; POST is", request.method());
            return Err(HttpRefusal::new(status, Code::Unimplemented, message));
        }
        let Some(transport) = transport else {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let message = format!("the content type must be {PROTOBUF} or {JSON}");
            return Err(HttpRefusal::new(status, Code::InvalidArgument, message));
        };
        let mut in_flight = self.admission.admit();
        let (parts, mut body) = request.into_parts();
        let read = self
            .read_in_time(&parts.headers, &mut body, transport, &mut in_flight)
            .await;
        let request = match read {
            Ok(request) => request,
            Err(refused) => {
                self.handler.refused(&refused.refusal, transport);
                drop(in_flight);
                pass_by(body).await;
                return Err(refused);
            }
        };
        let received = Received {
            request,
            transport,
            timeout: None,
            metadata: self.metadata(&parts.headers),
        };
        Ok(self.handler.export(received).await?)
    }

    async fn read_in_time(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        transport: Transport,
        in_flight: &mut InFlight,
    ) -> Result<Bytes, HttpRefusal> {
        let timeout = self.settings.receive_timeout;
        let reading = self.read_request(headers, body, transport, in_flight);
        tokio::time::timeout(timeout, reading)
            .await
            .unwrap_or_else(|_| Err(too_slow(timeout).into()))
    }

    async fn read_request(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        transport: Transport,
        in_flight: &mut InFlight,
    ) -> Result<Bytes, HttpRefusal> {
        let bytes_max = self.settings.request_bytes_max;
        let encoding = headers
            .get(header::CONTENT_ENCODING)
            .map_or(&b"identity"[..], HeaderValue::as_bytes)
            .to_ascii_lowercase();
        let is_packed = match encoding.as_slice() {
            b"gzip" | b"x-gzip" => true,
            b"identity" | b"" => false,
            other => {
                let message = format!(
                    "content-encoding {:?} is not known; gzip and identity are",
                    String::from_utf8_lossy(other)
                );
                return Err(Refusal::new(Code::InvalidArgument, message).into());
            }
        };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut request = read_http_body(body, announced, bytes_max, in_flight).await?;
        if is_packed {
            request = unpack_counted(request, bytes_max, in_flight)?;
        }
        if transport == Transport::HttpJson {
            let protobuf = json_to_protobuf(&request)?;
            in_flight.grow(protobuf.len())?;
            in_flight.shrink(request.len());
            request = protobuf;
        }
        Ok(request)
    }
}

/// Reads what is left of a refused request and throws it away: over HTTP/1 many senders listen only when
/// they have written all, and a connection closed before that takes the answer with it.
async fn pass_by(mut body: Incoming) {
    let passing = async {
        let mut left = PASSED_BY_BYTES_MAX;
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

fn success(reply: &ExportReply, is_json: bool) -> Response<Full<Bytes>> {
    let body = if is_json {
        reply.to_json()
    } else {
        reply.to_protobuf()
    };
    response(StatusCode::OK, is_json, body)
}

fn error(refused: &HttpRefusal, is_json: bool) -> Response<Full<Bytes>> {
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
    if *status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn response(status: StatusCode, is_json: bool, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(if is_json { JSON } else { PROTOBUF });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}
