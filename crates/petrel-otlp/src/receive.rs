//! Servers: OTLP over gRPC and over HTTP, both handing over a request's bytes as they came.
//!
//! What they decide themselves: whether a sender may send, whether there is room, whether a request is
//! too large, whether it can be unpacked. What a request means is the handler's business.

mod activity;
mod admission;
mod body;
mod connection;
mod grpc;
mod http;
mod listen;
mod live;
mod serve;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;

pub use self::admission::{Admission, IN_FLIGHT_BYTES_MAX_DEFAULT, InFlight, RETRY_AFTER_DEFAULT};
pub use self::grpc::serve_grpc;
pub use self::http::serve_http;
pub use self::listen::{Address, Listener, ServeError, bind};
pub use self::live::LiveReceive;
pub use self::settings::{
    CONCURRENT_STREAMS_MAX_DEFAULT, CONNECTIONS_MAX_DEFAULT, HEADER_TIMEOUT_DEFAULT,
    IDLE_TIMEOUT_DEFAULT, RECEIVE_TIMEOUT_DEFAULT, REQUEST_BYTES_MAX_DEFAULT, ReceiveSettings,
    ServerKeepalive, SignalPaths,
};

use self::live::Loaded;
pub use crate::reply::ExportReply;
use crate::signal::Signal;
pub use crate::status::Refusal;

/// HTTP/2 flow control: what a connection may send that nobody has read yet. It is memory that no gate
/// counts, so it is small: enough for 10 Gbit/s over a round trip of a millisecond. Adaptive windows
/// start at 64 KiB and cost a ping for each step.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Largest frame taken; a sender that makes use of it saves a header every 16 KiB.
const FRAME_MAX: u32 = 1 << 20;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// The name that it has as a label of metrics: `grpc` or `http`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf | Self::HttpJson => "http",
        }
    }
}

/// A request that was received whole.
#[derive(Debug)]
pub struct Received {
    /// What it carries.
    pub signal: Signal,
    /// The encoded request, `ExportLogsServiceRequest` or its like, unpacked; not looked into yet. It
    /// may be empty.
    pub request: Bytes,
    /// How it came in.
    pub transport: Transport,
    /// How long its sender waits for an answer, if it says so.
    pub timeout: Option<Duration>,
    /// Values of the configured metadata keys that it came with, in the order of those keys.
    pub metadata: Vec<(String, String)>,
    /// Its bytes' place in the [`Admission`], given back when this is dropped: with the request, or, by
    /// whoever answers before it is done, when it is.
    pub in_flight: InFlight,
}

/// What is done with requests.
///
/// A server drops the future when the sender goes away: what has begun elsewhere by then goes on
/// without anybody to answer to.
pub trait Handler: Send + Sync + 'static {
    /// Takes a request or refuses it; its signal may be one that it does not take.
    fn export(
        &self,
        received: Received,
    ) -> impl Future<Output = Result<ExportReply, Refusal>> + Send;

    /// Hears of a request that a server refused before it was whole; for counting.
    fn refused(&self, refusal: &Refusal, signal: Signal, transport: Transport) {
        let _ = (refusal, signal, transport);
    }
}

/// What all requests of a server share.
struct Server<H> {
    handler: Arc<H>,
    admission: Admission,
    live: Arc<LiveReceive>,
}

impl<H: Handler> Server<H> {
    /// Lets a request in by its headers alone, before anything else of it is read.
    fn admit(&self, loaded: &Loaded, headers: &HeaderMap) -> Result<InFlight, Refusal> {
        if let Some(tokens) = &loaded.tokens {
            tokens.check(headers)?;
        }
        self.admission.admit()
    }
}

fn metadata(settings: &ReceiveSettings, headers: &HeaderMap) -> Vec<(String, String)> {
    let keys = settings.metadata_keys.iter();
    keys.filter_map(|key| {
        let value = headers.get(key.as_str())?.to_str().ok()?;
        Some((key.clone(), value.to_owned()))
    })
    .collect()
}
