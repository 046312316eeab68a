//! An OTLP receiver that looks at nothing: it hands over the bytes of every request and answers what it
//! is told to.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::watch;
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

/// Answers every request with `answer` of its bytes, once the gate is open.
#[derive(Clone)]
struct Sink<A> {
    answer: A,
    gate: Option<watch::Receiver<bool>>,
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
    serve_sink(address, Sink { answer, gate: None });
}

/// What a sink was sent, request by request.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<Bytes>>>);

impl Kept {
    /// All of it so far, in the order in which it came.
    pub(crate) fn requests(&self) -> Vec<Bytes> {
        self.0
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    fn push(&self, body: Bytes) {
        self.0
            .lock()
            .expect("no test panics while it holds this")
            .push(body);
    }
}

/// Serves on `address`, keeps what comes, and answers as `answer` says.
///
/// # Panics
/// When the address is not free.
pub(crate) fn keep(
    address: &str,
    answer: impl Fn() -> Result<(), Status> + Clone + Send + Sync + 'static,
) -> Kept {
    let kept = Kept::default();
    let keep = kept.clone();
    serve(address, move |body| {
        keep.push(body);
        answer()
    });
    kept
}

/// Serves on `address`, keeps what comes at once, and accepts it when `gate` says true.
///
/// # Panics
/// When the address is not free.
pub(crate) fn keep_behind(address: &str, gate: watch::Receiver<bool>) -> Kept {
    let kept = Kept::default();
    let keep = kept.clone();
    let answer = move |body| {
        keep.push(body);
        Ok(())
    };
    serve_sink(
        address,
        Sink {
            answer,
            gate: Some(gate),
        },
    );
    kept
}

fn serve_sink(address: &str, sink: Sink<impl Answer>) {
    let address: SocketAddr = address.parse().expect("an address with a port");
    let incoming = TcpIncoming::bind(address)
        .expect("a free port")
        .with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(sink);
    tokio::spawn(server.serve_with_incoming(incoming));
}

impl<A: Answer> UnaryService<Bytes> for Sink<A> {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = (self.answer)(request.into_inner());
        let gate = self.gate.clone();
        Box::pin(async move {
            if let Some(mut gate) = gate {
                // Who has the other end and is gone wants no answer any more.
                let _ = gate.wait_for(|is_open| *is_open).await;
            }
            // An empty message is a response without partial success.
            answer.map(|()| Response::new(Bytes::new()))
        })
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
