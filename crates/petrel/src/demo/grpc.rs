//! OTLP/gRPC with the messages as bytes, for both ends of the demo. It stands apart from Petrel's own
//! wire code on purpose: the demo checks that code, so it does not trust it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// Larger than any request of the demo, so that a request is never paused half-way.
const WINDOW_BYTES: u32 = 8 << 20;
/// Message that the sink takes at most; Petrel splits well below.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long the generator waits before it offers a refused request again, and how often.
const RETRY_DELAY: Duration = Duration::from_millis(200);
const RETRIES_MAX: u32 = 50;

/// Sends requests, one after the other.
pub(super) struct Client {
    grpc: tonic::client::Grpc<Channel>,
}

impl Client {
    /// Connects to an OTLP/gRPC receiver.
    pub(super) async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{to}"))?
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect()
            .await
            .with_context(|| format!("cannot reach the receiver at {to}"))?;
        Ok(Self {
            grpc: tonic::client::Grpc::new(channel),
        })
    }

    /// Sends a request until it is accepted, as an SDK does; gives up after [`RETRIES_MAX`] refusals.
    pub(super) async fn send(&mut self, body: &Bytes) -> anyhow::Result<()> {
        let mut n_refused = 0;
        loop {
            self.grpc.ready().await?;
            let path = http::uri::PathAndQuery::from_static(EXPORT_PATH);
            let sent = self
                .grpc
                .unary(Request::new(body.clone()), path, BytesCodec)
                .await;
            match sent {
                Ok(_) => return Ok(()),
                Err(status)
                    if status.code() == tonic::Code::Unavailable && n_refused < RETRIES_MAX =>
                {
                    n_refused += 1;
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Err(status) => return Err(status).context("the receiver refused a request"),
            }
        }
    }
}

/// Takes what arrives at the sink; an error refuses the request for good.
pub(super) type Receive = Arc<dyn Fn(Bytes) -> Result<(), String> + Send + Sync>;

/// Serves on a listener until the process ends.
pub(super) async fn serve(
    incoming: TcpIncoming,
    receive: Receive,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(LogsService { receive })
        .serve_with_incoming(incoming)
        .await
}

#[derive(Clone)]
struct LogsService {
    receive: Receive,
}

impl NamedService for LogsService {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl tonic::codegen::Service<http::Request<tonic::body::Body>> for LogsService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let export = Export {
            receive: Arc::clone(&self.receive),
        };
        Box::pin(async move {
            if request.uri().path() != EXPORT_PATH {
                return Ok(Status::unimplemented("only Export is served").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(BytesCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.unary(export, request).await)
        })
    }
}

struct Export {
    receive: Receive,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let received = (self.receive)(request.into_inner());
        // An empty ExportLogsServiceResponse is an empty message: all was accepted.
        let answer = received
            .map(|()| Response::new(Bytes::new()))
            .map_err(Status::invalid_argument);
        Box::pin(std::future::ready(answer))
    }
}

/// Hands messages over as they are.
#[derive(Clone, Copy)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
