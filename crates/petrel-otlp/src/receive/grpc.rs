//! OTLP/gRPC: the service on tonic's server, its one method read by hand.
//!
//! By hand because a codec sees a message only when all of it is there, and answers one that is too
//! large with OUT_OF_RANGE: here a request is counted and refused while it comes in.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use super::body::{GRPC_HEAD, read_grpc_message, too_slow, unpack_counted};
use super::{
    Admission, CONNECTION_WINDOW, ExportReply, FRAME_MAX, LogsHandler, ReceiveSettings, Received,
    Refusal, STREAM_WINDOW, ServeError, Server, Transport,
};
use crate::status::Code;

/// The service's name, which is the first part of its path.
pub(crate) const SERVICE: &str = "opentelemetry.proto.collector.logs.v1.LogsService";
const EXPORT_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Serves OTLP/gRPC until `drain` is done and the requests that were in flight then are answered.
///
/// # Errors
/// [`ServeError::Ended`] when the server fails as a whole; a failed connection is none.
pub async fn serve_grpc<H: LogsHandler>(
    listener: TcpListener,
    handler: Arc<H>,
    admission: Admission,
    settings: ReceiveSettings,
    drain: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let mut server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_adaptive_window(Some(false))
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(settings.concurrent_streams_max);
    if let Some(age) = settings.connection_age_max {
        server = server.max_connection_age(age);
    }
    let service = LogsService {
        server: Arc::new(Server {
            handler,
            admission,
            settings,
        }),
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, drain)
        .await?;
    Ok(())
}

struct LogsService<H> {
    server: Arc<Server<H>>,
}

impl<H> Clone for LogsService<H> {
    fn clone(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
        }
    }
}

impl<H> NamedService for LogsService<H> {
    const NAME: &'static str = SERVICE;
}

impl<H: LogsHandler> Service<Request<Body>> for LogsService<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            Ok(match server.call(request).await {
                Ok(reply) => success(&reply),
                Err(refusal) => refusal.to_status().into_http(),
            })
        })
    }
}

impl<H: LogsHandler> Server<H> {
    async fn call(&self, request: Request<Body>) -> Result<ExportReply, Refusal> {
        if request.uri().path() != EXPORT_PATH || request.method() != Method::POST {
            let message = format!("{} is not implemented", request.uri().path());
            return Err(Refusal::new(Code::Unimplemented, message));
        }
        let mut in_flight = self.admission.admit();
        let (parts, body) = request.into_parts();
        let timeout = self.settings.receive_timeout;
        let reading = self.read_message(&parts.headers, body, &mut in_flight);
        let read = tokio::time::timeout(timeout, reading).await;
        let request = read.unwrap_or_else(|_| Err(too_slow(timeout)));
        let request = request.inspect_err(|it| self.handler.refused(it, Transport::Grpc))?;
        let received = Received {
            request,
            transport: Transport::Grpc,
            timeout: parts.headers.get("grpc-timeout").and_then(grpc_timeout),
            metadata: self.metadata(&parts.headers),
        };
        self.handler.export(received).await
    }

    async fn read_message(
        &self,
        headers: &HeaderMap,
        body: Body,
        in_flight: &mut super::InFlight,
    ) -> Result<Bytes, Refusal> {
        let bytes_max = self.settings.request_bytes_max;
        let (message, is_packed) = read_grpc_message(body, bytes_max, in_flight).await?;
        if !is_packed {
            return Ok(message);
        }
        match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            Some(b"gzip") => unpack_counted(message, bytes_max, in_flight),
            Some(b"identity") | None => Err(Refusal::new(
                Code::InvalidArgument,
                "a packed message, but grpc-encoding does not say how",
            )),
            Some(other) => Err(Refusal::new(
                Code::Unimplemented,
                format!(
                    "grpc-encoding {:?} is not known; gzip and identity are",
                    String::from_utf8_lossy(other)
                ),
            )),
        }
    }
}

fn success(reply: &ExportReply) -> Response<Body> {
    let reply = reply.to_protobuf();
    let mut message = BytesMut::with_capacity(GRPC_HEAD + reply.len());
    message.put_u8(0);
    message.put_u32(reply.len() as u32);
    message.extend_from_slice(&reply);
    let body = Full::new(message.freeze()).with_trailers(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    });
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip"),
    );
    response
}

/// `grpc-timeout`: at most eight digits and a unit.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        let check = |text: &'static str, expected: Option<Duration>| {
            assert_eq!(
                grpc_timeout(&HeaderValue::from_static(text)),
                expected,
                "{text}"
            );
        };
        check("5S", Some(Duration::from_secs(5)));
        check("4999m", Some(Duration::from_millis(4999)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("", None);
        check("S", None);
        check("123456789S", None);
        check("5s", None);
    }
}
