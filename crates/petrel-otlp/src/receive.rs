//! Servers: OTLP over gRPC and over HTTP, both handing over a request's bytes as they came.
//!
//! What they decide themselves: whether there is room, whether a request is too large, whether it can
//! be unpacked. What a request means is the handler's business.

mod admission;
mod body;
mod grpc;
mod http;
#[doc(hidden)]
pub mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use tokio::net::{TcpListener, lookup_host};

pub use self::admission::{Admission, IN_FLIGHT_BYTES_MAX_DEFAULT, InFlight, RETRY_AFTER_DEFAULT};
pub use self::grpc::serve_grpc;
pub use self::http::serve_http;

pub use crate::reply::ExportReply;
pub use crate::status::Refusal;

/// Bytes of a request after decompression, by default: what OTLP recommends.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 64 << 20;
/// How long a request may take to come in, by default.
pub const RECEIVE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Where OTLP/HTTP takes logs.
pub const LOGS_PATH: &str = "/v1/logs";

/// HTTP/2 flow control: a request of 4 MiB comes in without waiting for the receiver, a few of them
/// on one connection. Adaptive windows start at 64 KiB and cost a ping for each step.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
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
#[derive(Clone, Debug)]
pub struct Received {
    /// The encoded `ExportLogsServiceRequest`, unpacked; not looked into yet. It may be empty.
    pub request: Bytes,
    /// How it came in.
    pub transport: Transport,
    /// How long its sender waits for an answer, if it says so.
    pub timeout: Option<Duration>,
    /// Values of the configured metadata keys that it came with, in the order of those keys.
    pub metadata: Vec<(String, String)>,
}

/// What is done with requests.
///
/// A server drops the future when the sender goes away: what has begun elsewhere by then goes on
/// without anybody to answer to.
pub trait LogsHandler: Send + Sync + 'static {
    /// Takes a request or refuses it. Its bytes count as in flight until this returns.
    fn export(
        &self,
        received: Received,
    ) -> impl Future<Output = Result<ExportReply, Refusal>> + Send;

    /// Hears of a request that a server refused before it was whole; for counting.
    fn refused(&self, refusal: &Refusal, transport: Transport) {
        let _ = (refusal, transport);
    }
}

/// Bounds of a server.
#[derive(Clone, Debug)]
pub struct ReceiveSettings {
    /// Bytes of a request, after decompression. Default [`REQUEST_BYTES_MAX_DEFAULT`]; refused beyond.
    pub request_bytes_max: usize,
    /// How long a request may take to come in. Default [`RECEIVE_TIMEOUT_DEFAULT`]; refused after.
    pub receive_timeout: Duration,
    /// Requests at a time on one connection. Default 1,000; a sender waits beyond.
    pub concurrent_streams_max: u32,
    /// Path of OTLP/HTTP. Default [`LOGS_PATH`].
    pub logs_path: String,
    /// Names of headers, in lower case, whose values a handler gets.
    pub metadata_keys: Vec<String>,
    /// When a gRPC connection is closed in good order, so that clients spread anew. Default never.
    pub connection_age_max: Option<Duration>,
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX_DEFAULT,
            receive_timeout: RECEIVE_TIMEOUT_DEFAULT,
            concurrent_streams_max: 1000,
            logs_path: LOGS_PATH.to_owned(),
            metadata_keys: Vec::new(),
            connection_age_max: None,
        }
    }
}

/// A server that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address names no host.
    #[error("cannot listen on {endpoint}: {source}")]
    Bind {
        /// As configured.
        endpoint: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended by itself.
    #[error("the OTLP/gRPC server ended: {0}")]
    Ended(#[from] tonic::transport::Error),
}

/// Listens on `host:port`; port 0 takes a free one. Of a name with several addresses an IPv4 address
/// is preferred, which is what clients of `localhost` try first.
///
/// # Errors
/// [`ServeError::Bind`], with the endpoint in its message.
pub async fn bind(endpoint: &str) -> Result<TcpListener, ServeError> {
    let listener = async {
        let mut addresses: Vec<SocketAddr> = lookup_host(endpoint).await?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        TcpListener::bind(addresses.as_slice()).await
    };
    listener.await.map_err(|source| ServeError::Bind {
        endpoint: endpoint.to_owned(),
        source,
    })
}

/// What all requests of a server share.
struct Server<H> {
    handler: Arc<H>,
    admission: Admission,
    settings: ReceiveSettings,
}

impl<H: LogsHandler> Server<H> {
    fn metadata(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let keys = self.settings.metadata_keys.iter();
        keys.filter_map(|key| {
            let value = headers.get(key.as_str())?.to_str().ok()?;
            Some((key.clone(), value.to_owned()))
        })
        .collect()
    }
}
