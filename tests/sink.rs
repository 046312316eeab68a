//! An OTLP receiver that looks at nothing: it hands over the bytes of every request and answers what it
//! is told to.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::client::BytesCodec;

const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Wide enough that a sender never waits for the sink's permission to go on.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Answers every request with `answer` of its bytes.
#[derive(Clone)]
struct Sink<A> {
    answer: A,
}

/// What a sink answers: OK, or a refusal.
pub(crate) trait Answer:
    Fn(Bytes) -> Result<(), Status> + Clone + Send + Sync + 'static
{
}

impl<A: Fn(Bytes) -> Result<(), Status> + Clone + Send + Sync + 'static> Answer for A {}

/// Serves on `address` until the current runtime ends.
///
/// # Panics
/// When the address is not free.
pub(crate) fn serve(address: &str, answer: impl Answer) {
    let address: SocketAddr = address.parse().expect("an address with a port");
    let incoming = TcpIncoming::bind(address)
        .expect("a free port")
        .with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(Sink { answer });
    tokio::spawn(server.serve_with_incoming(incoming));
}

impl<A: Answer> UnaryService<Bytes> for Sink<A> {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        // An empty message is a response without partial success.
        ready((self.answer)(request.into_inner()).map(|()| Response::new(Bytes::new())))
    }
}

impl<A: Answer> Service<http::Request<Body>> for Sink<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sink = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(BytesCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(REQUEST_BYTES_MAX);
            Ok(grpc.unary(sink, request).await)
        })
    }
}

impl<A> NamedService for Sink<A> {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}
