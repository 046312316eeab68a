//! OTLP/gRPC on tonic's channel; the request's bytes go to the socket as they are.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use super::connect::{Connector, NotConnected};
use super::endpoint::{Target, headers};
use super::{
    Compression, EndpointError, ExportError, ExporterSettings, Headers, Protocol,
    RESPONSE_BYTES_MAX,
};
use crate::compress::{Packing, pack, unpack};
use crate::reply::ExportReply;
use crate::signal::Signal;
use crate::status::{Code, Refusal, code_of_http};

/// As the server's: answers are small, but other streams of a connection may be large.
const STREAM_WINDOW: u32 = 1 << 20;
/// `grpc-timeout` has at most eight digits: that many milliseconds are over a day.
const TIMEOUT_MILLIS_MAX: u128 = 99_999_999;
/// How often a request goes to another connection at once, since its own closed before it was sent.
const UNSENT_MAX: u32 = 3;

pub(super) struct GrpcExporter {
    /// In the order of [`Signal::ALL`].
    hops: [Hop; 3],
    compression: Compression,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Clone)]
struct Hop {
    target: Target,
    channel: Channel,
}

impl GrpcExporter {
    pub(super) fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let mut hops: Vec<Hop> = Vec::new();
        for signal in Signal::ALL {
            let endpoint = settings.endpoints.of(signal);
            let target = Target::new(Protocol::Grpc, endpoint, signal, settings.tls.is_some())?;
            let same = hops.iter().find(|hop| hop.target.is_same_hop(&target));
            hops.push(match same {
                Some(hop) => hop.clone(),
                None => Hop::new(target, settings)?,
            });
        }
        let hops = hops
            .try_into()
            .unwrap_or_else(|_| unreachable!("there are three signals"));
        Ok(Self {
            hops,
            compression: settings.compression,
            headers: headers(&settings.headers)?,
        })
    }

    pub(super) async fn send(
        &self,
        signal: Signal,
        request: Bytes,
        headers: Headers,
        timeout: Duration,
    ) -> Result<ExportReply, ExportError> {
        let hop = &self.hops[signal as usize];
        let message = pack(self.compression, request);
        let mut n_unsent = 0;
        let response = loop {
            let request = self.request(signal, message.clone(), &headers, timeout);
            match hop.channel.clone().oneshot(request).await {
                Ok(response) => break response,
                Err(error) if n_unsent < UNSENT_MAX && was_not_taken(&error) => n_unsent += 1,
                Err(error) => return Err(hop.failure(&error, timeout)),
            }
        };
        let (parts, body) = response.into_parts();
        // An answer without a message has its status in the headers.
        if let Some(refusal) = Refusal::from_trailers(&parts.headers)
            && refusal.code != Code::Ok
        {
            return Err(ExportError::from_grpc(refusal));
        }
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(
            |error| match error.is::<http_body_util::LengthLimitError>() {
                true => ExportError::unreadable(),
                false => hop.failure(&*error, timeout),
            },
        )?;
        let status = body.trailers().and_then(Refusal::from_trailers);
        match status.or_else(|| Refusal::from_trailers(&parts.headers)) {
            Some(status) if status.code == Code::Ok => {}
            Some(status) => return Err(ExportError::from_grpc(status)),
            None => return Err(without_status(parts.status)),
        }
        read_reply(&parts.headers, &body.to_bytes()).ok_or_else(ExportError::unreadable)
    }

    fn request(
        &self,
        signal: Signal,
        message: Bytes,
        own_headers: &Headers,
        timeout: Duration,
    ) -> Request<tonic::body::Body> {
        let encoding = self.compression.name();
        let mut head = BytesMut::with_capacity(5);
        head.put_u8(u8::from(encoding.is_some()));
        head.put_u32(message.len() as u32);
        let body = Message {
            pieces: [Some(head.freeze()), Some(message)],
        };
        let mut request = Request::new(tonic::body::Body::new(body));
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = Uri::from_static(signal.grpc_path());
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().chain(own_headers) {
            headers.insert(name, value.clone());
        }
        let content_type = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let accepted = HeaderValue::from_static("identity,gzip,zstd");
        headers.insert("grpc-accept-encoding", accepted);
        if let Some(encoding) = encoding {
            headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
        }
        let millis = timeout.as_millis().clamp(1, TIMEOUT_MILLIS_MAX);
        if let Ok(timeout) = HeaderValue::from_str(&format!("{millis}m")) {
            headers.insert("grpc-timeout", timeout);
        }
        request
    }
}

impl Hop {
    fn new(target: Target, settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let invalid = |error: tonic::transport::Error| EndpointError::Invalid {
            endpoint: target.endpoint.clone(),
            expected: "host and port",
            reason: error.to_string(),
        };
        let mut endpoint = Endpoint::new(target.uri.clone())
            .and_then(|endpoint| endpoint.user_agent(settings.user_agent.as_str()))
            .map_err(invalid)?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW)
            .http2_adaptive_window(false);
        if let Some(keepalive) = settings.keepalive {
            endpoint = endpoint
                .http2_keep_alive_interval(keepalive.time)
                .keep_alive_timeout(keepalive.timeout)
                .keep_alive_while_idle(keepalive.permit_without_stream);
        }
        let connector = Connector::new(&target, settings.tls.as_ref(), Protocol::Grpc)?;
        Ok(Self {
            channel: endpoint.connect_with_connector_lazy(connector),
            target,
        })
    }

    /// Why no answer came.
    fn failure(&self, error: &(dyn std::error::Error + 'static), timeout: Duration) -> ExportError {
        let mut message = format!("{}: {error}", self.target.endpoint);
        let mut source = error.source();
        while let Some(error) = source {
            // The channel keeps to `grpc-timeout` by itself.
            if error.is::<tonic::TimeoutExpired>() {
                return ExportError::no_answer(timeout);
            }
            if error.is::<NotConnected>() {
                return ExportError::unreachable(format!("{}: {error}", self.target.endpoint));
            }
            message = format!("{message}: {error}");
            source = error.source();
        }
        ExportError::cut_off(message)
    }
}

/// Whether a request surely was not taken: its connection was closing, as servers do with old ones.
fn was_not_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.into_iter().any(|error| {
        let is_unsent = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        let is_left_out = error.downcast_ref::<h2::Error>().is_some_and(|error| {
            let is_closing = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (is_closing || is_refused)
        });
        is_unsent || is_left_out
    })
}

/// The message of a unary answer.
fn read_reply(headers: &HeaderMap, body: &[u8]) -> Option<ExportReply> {
    let Some((&[is_packed, length @ ..], message)) = body.split_first_chunk::<5>() else {
        // A next hop that answers OK and nothing has nothing to say.
        return body.is_empty().then(ExportReply::default);
    };
    let message = message.get(..u32::from_be_bytes(length) as usize)?;
    if is_packed == 0 {
        return ExportReply::from_protobuf(message);
    }
    let encoding = headers.get("grpc-encoding")?;
    let packing = Packing::of_grpc(encoding.as_bytes()).ok()??;
    let never = |_| Ok::<_, Infallible>(());
    let unpacked = unpack(packing, message, RESPONSE_BYTES_MAX, never);
    ExportReply::from_protobuf(&unpacked.ok()?)
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
