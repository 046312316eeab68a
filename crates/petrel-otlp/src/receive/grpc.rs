//! OTLP/gRPC: three services of one unary method each, read by hand on hyper's HTTP/2.
//!
//! By hand because a codec sees a message only when all of it is there, and answers one that is too
//! large with OUT_OF_RANGE: here a request is counted and refused while it comes in.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tonic::body::Body;

use super::body::{GRPC_HEAD, read_grpc_message, too_slow, unpack_counted};
use super::serve::{Speaks, serve};
use super::{
    Admission, ExportReply, Handler, InFlight, Listener, LiveReceive, Received, Refusal, Server,
    Transport, metadata,
};
use crate::compress::Packing;
use crate::signal::Signal;
use crate::status::Code;

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// Serves OTLP/gRPC until `drain` is done and the requests that were in flight then are answered. How
/// long that may take is for the caller to bound. Needs a Tokio runtime.
pub async fn serve_grpc<H: Handler>(
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
    serve(listener, Arc::new(server), Speaks::Grpc, drain).await;
}

impl<H: Handler> Server<H> {
    pub(super) async fn respond_grpc(&self, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if !content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc")) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let mut response = match self.call(request).await {
            Ok(reply) => success(&reply),
            Err(refusal) => refusal.to_status().into_http(),
        };
        response.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
        response
    }

    async fn call(&self, request: Request<Incoming>) -> Result<ExportReply, Refusal> {
        let path = request.uri().path();
        let signal = Signal::ALL.into_iter().find(|it| it.grpc_path() == path);
        let (Some(signal), &Method::POST) = (signal, request.method()) else {
            let message = format!("{path} is not implemented");
            return Err(Refusal::new(Code::Unimplemented, message));
        };
        let received = self.receive_call(signal, request).await;
        let received =
            received.inspect_err(|it| self.handler.refused(it, signal, Transport::Grpc))?;
        self.handler.export(received).await
    }

    async fn receive_call(
        &self,
        signal: Signal,
        request: Request<Incoming>,
    ) -> Result<Received, Refusal> {
        let loaded = Arc::clone(&self.live.load());
        let (parts, body) = request.into_parts();
        let mut in_flight = self.admit(&loaded, &parts.headers)?;
        let packing = packing(&parts.headers)?;
        let settings = &loaded.settings;
        let reading = read_message(packing, body, settings.request_bytes_max, &mut in_flight);
        let read = tokio::time::timeout(settings.receive_timeout, reading).await;
        let request = read.unwrap_or_else(|_| Err(too_slow(settings.receive_timeout)))?;
        Ok(Received {
            signal,
            request,
            transport: Transport::Grpc,
            timeout: parts.headers.get("grpc-timeout").and_then(grpc_timeout),
            metadata: metadata(settings, &parts.headers),
            in_flight,
        })
    }
}

fn packing(headers: &HeaderMap) -> Result<Option<Packing>, Refusal> {
    let Some(encoding) = headers.get("grpc-encoding") else {
        return Ok(None);
    };
    Packing::of_grpc(encoding.as_bytes()).map_err(|()| {
        Refusal::new(
            Code::Unimplemented,
            format!("grpc-encoding {encoding:?} is not known; gzip, zstd and identity are"),
        )
    })
}

async fn read_message(
    packing: Option<Packing>,
    body: Incoming,
    bytes_max: usize,
    in_flight: &mut InFlight,
) -> Result<Bytes, Refusal> {
    let (message, is_packed) = read_grpc_message(body, bytes_max, in_flight).await?;
    match packing {
        _ if !is_packed => Ok(message),
        Some(packing) => unpack_counted(packing, message, bytes_max, in_flight),
        None => Err(Refusal::new(
            Code::InvalidArgument,
            "a packed message, but grpc-encoding does not say how",
        )),
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
