//! OTLP/gRPC on tonic's channel; the request's bytes go to the socket as they are.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use super::endpoint::{grpc_uri, headers};
use super::{Compression, EndpointError, ExportError, ExporterSettings, RESPONSE_BYTES_MAX};
use crate::compress::{pack, unpack};
use crate::reply::ExportReply;
use crate::status::{Code, Refusal, code_of_http};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// As the server's: answers are small, but other streams of a connection may be large.
const STREAM_WINDOW: u32 = 1 << 20;
/// How long a connection may take to come about; the request's own timeout may end it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// `grpc-timeout` has at most eight digits: that many milliseconds are over a day.
const TIMEOUT_MILLIS_MAX: u128 = 99_999_999;

#[derive(Clone, Debug)]
pub(super) struct GrpcExporter {
    channel: Channel,
    endpoint: String,
    compression: Compression,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl GrpcExporter {
    pub(super) fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let invalid = |error: tonic::transport::Error| EndpointError::Invalid {
            endpoint: settings.endpoint.clone(),
            expected: "host and port",
            reason: error.to_string(),
        };
        let endpoint = Endpoint::new(grpc_uri(&settings.endpoint)?)
            .and_then(|endpoint| endpoint.user_agent(settings.user_agent.as_str()))
            .map_err(invalid)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW)
            .http2_adaptive_window(false);
        Ok(Self {
            channel: endpoint.connect_lazy(),
            endpoint: settings.endpoint.clone(),
            compression: settings.compression,
            headers: headers(&settings.headers)?,
        })
    }

    pub(super) async fn send(
        &self,
        request: Bytes,
        timeout: Duration,
    ) -> Result<ExportReply, ExportError> {
        let request = self.request(request, timeout);
        let response = self.channel.clone().oneshot(request).await;
        let response = response.map_err(|error| self.unreachable(&error, timeout))?;
        let (parts, body) = response.into_parts();
        // An answer without a message has its status in the headers.
        if let Some(refusal) = Refusal::from_trailers(&parts.headers)
            && refusal.code != Code::Ok
        {
            return Err(ExportError::from_grpc(refusal));
        }
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(&*error, timeout))?;
        let status = body.trailers().and_then(Refusal::from_trailers);
        match status.or_else(|| Refusal::from_trailers(&parts.headers)) {
            Some(status) if status.code == Code::Ok => {}
            Some(status) => return Err(ExportError::from_grpc(status)),
            None => return Err(without_status(parts.status)),
        }
        read_reply(&parts.headers, &body.to_bytes()).ok_or_else(|| {
            let message = "the next hop took the request, but its answer cannot be read";
            ExportError::Permanent(Refusal::new(Code::Internal, message))
        })
    }

    fn request(&self, request: Bytes, timeout: Duration) -> Request<tonic::body::Body> {
        let (packed, message) = match self.compression {
            Compression::None => (false, request),
            Compression::Gzip(level) => (true, pack(&request, level)),
        };
        let mut head = BytesMut::with_capacity(5);
        head.put_u8(u8::from(packed));
        head.put_u32(message.len() as u32);
        let body = Message {
            pieces: [Some(head.freeze()), Some(message)],
        };
        let mut request = Request::new(tonic::body::Body::new(body));
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = http::Uri::from_static(EXPORT_PATH);
        let headers = request.headers_mut();
        headers.extend(self.headers.iter().cloned());
        let content_type = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let accepted = HeaderValue::from_static("identity,gzip");
        headers.insert("grpc-accept-encoding", accepted);
        if packed {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        let millis = timeout.as_millis().clamp(1, TIMEOUT_MILLIS_MAX);
        if let Ok(timeout) = HeaderValue::from_str(&format!("{millis}m")) {
            headers.insert("grpc-timeout", timeout);
        }
        request
    }

    fn unreachable(
        &self,
        error: &(dyn std::error::Error + 'static),
        timeout: Duration,
    ) -> ExportError {
        let mut message = format!("{}: {error}", self.endpoint);
        let mut source = error.source();
        while let Some(error) = source {
            // The channel keeps to `grpc-timeout` by itself.
            if error.is::<tonic::TimeoutExpired>() {
                return ExportError::no_answer(timeout);
            }
            message = format!("{message}: {error}");
            source = error.source();
        }
        ExportError::unreachable(message)
    }
}

/// The message of a unary answer.
fn read_reply(headers: &HeaderMap, body: &[u8]) -> Option<ExportReply> {
    let Some((&[is_packed, length @ ..], message)) = body.split_first_chunk::<5>() else {
        // A next hop that answers OK and nothing has nothing to say.
        return body.is_empty().then(ExportReply::default);
    };
    let message = message.get(..u32::from_be_bytes(length) as usize)?;
    match (
        is_packed,
        headers.get("grpc-encoding").map(HeaderValue::as_bytes),
    ) {
        (0, _) => ExportReply::from_protobuf(message),
        (1, Some(b"gzip")) => {
            let unpacked = unpack(message, RESPONSE_BYTES_MAX, |_| Ok::<_, Infallible>(()));
            ExportReply::from_protobuf(&unpacked.ok()?)
        }
        _ => None,
    }
}

/// An answer that is none of gRPC's: a proxy's, most often.
fn without_status(status: StatusCode) -> ExportError {
    let message = format!("an answer without a gRPC status, HTTP status {status}");
    let refusal = match status.as_u16() {
        429 => Refusal::new(Code::Unavailable, message),
        _ => Refusal::new(code_of_http(status), message),
    };
    ExportError::from_grpc(refusal)
}

/// A unary message: five bytes, then the request as it is.
struct Message {
    pieces: [Option<Bytes>; 2],
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.iter_mut().find_map(Option::take);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.iter().all(Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        let pieces = self.pieces.iter().flatten();
        SizeHint::with_exact(pieces.map(|piece| piece.len() as u64).sum())
    }
}
