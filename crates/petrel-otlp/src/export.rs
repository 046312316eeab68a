//! Clients: requests sent on over gRPC or HTTP, cut to size, every answer classified as OTLP says.

mod endpoint;
mod grpc;
mod http;
mod retry;
#[doc(hidden)]
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use self::endpoint::{EndpointError, logs_url};
pub use self::retry::{Backoff, RetrySettings, export_with_retry};

use self::grpc::GrpcExporter;
use self::http::HttpExporter;
use crate::reply::ExportReply;
use crate::split::{PART_BYTES_MAX_DEFAULT, count_records, halve, split};
use crate::status::{Code, Refusal};

/// Bytes of a response that are read; what OTLP recommends.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// How requests are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip of a level from 0 to 9.
    Gzip(u32),
}

/// What is spoken with the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct ExporterSettings {
    /// What is spoken there.
    pub protocol: Protocol,
    /// gRPC: `host:port`, with or without `http://`. HTTP: the whole URL, see [`logs_url`].
    pub endpoint: String,
    /// How long to wait for the answer to one request. Default 5 s over gRPC, 30 s over HTTP.
    pub timeout: Duration,
    /// Default none, as between neighbours; the Collector's is gzip.
    pub compression: Compression,
    /// Headers that every request has.
    pub headers: Vec<(String, String)>,
    /// What the sender calls itself.
    pub user_agent: String,
    /// Bytes of one request, before packing; larger ones are cut. Default
    /// [`PART_BYTES_MAX_DEFAULT`], 0 never cuts.
    pub part_bytes_max: usize,
}

impl ExporterSettings {
    /// The default settings for an endpoint.
    #[must_use]
    pub fn new(protocol: Protocol, endpoint: impl Into<String>) -> Self {
        Self {
            protocol,
            endpoint: endpoint.into(),
            timeout: match protocol {
                Protocol::Grpc => Duration::from_secs(5),
                Protocol::Http => Duration::from_secs(30),
            },
            compression: Compression::None,
            headers: Vec::new(),
            user_agent: concat!("petrel/", env!("CARGO_PKG_VERSION")).to_owned(),
            part_bytes_max: PART_BYTES_MAX_DEFAULT,
        }
    }
}

/// Why a request was not taken by the next hop. What it said is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It may be sent again, after `retry_after` where that is given. Also: no connection, no answer.
    #[error("{0}")]
    Retryable(Refusal),
    /// It is larger than the next hop takes.
    #[error("{0}")]
    TooLarge(Refusal),
    /// It is not to be sent again.
    #[error("{0}")]
    Permanent(Refusal),
}

impl ExportError {
    /// What the next hop said.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Retryable(refusal) | Self::TooLarge(refusal) | Self::Permanent(refusal) => {
                refusal
            }
        }
    }

    /// Whether it may be sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable(_))
    }

    /// Over gRPC the status alone decides.
    fn from_grpc(refusal: Refusal) -> Self {
        if refusal.is_retryable() {
            Self::Retryable(refusal)
        } else if refusal.code == Code::ResourceExhausted {
            Self::TooLarge(refusal)
        } else {
            Self::Permanent(refusal)
        }
    }

    fn unreachable(message: impl Into<String>) -> Self {
        Self::Retryable(Refusal::new(Code::Unavailable, message))
    }

    fn no_answer(timeout: Duration) -> Self {
        let message = format!(
            "the next hop did not answer within {:.1} s",
            timeout.as_secs_f64()
        );
        Self::Retryable(Refusal::new(Code::DeadlineExceeded, message))
    }
}

impl From<ExportError> for Refusal {
    /// What our own sender is told: the next hop's words, with a code that has the sender do what the
    /// next hop wants. (HTTP's 429 without a delay is retryable, gRPC's counterpart is not.)
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Retryable(refusal) if !refusal.is_retryable() => Self {
                code: Code::Unavailable,
                ..refusal
            },
            ExportError::Retryable(refusal)
            | ExportError::TooLarge(refusal)
            | ExportError::Permanent(refusal) => refusal,
        }
    }
}

/// A client of one next hop; clones share its connections. Calls may run at the same time.
#[derive(Clone, Debug)]
pub struct Exporter {
    client: Client,
    timeout: Duration,
    part_bytes_max: usize,
}

#[derive(Clone, Debug)]
enum Client {
    Grpc(GrpcExporter),
    Http(Arc<HttpExporter>),
}

impl Exporter {
    /// A client that connects when it first sends, and again whenever it has to. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`EndpointError`] when the endpoint or a header cannot be used.
    pub fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let client = match settings.protocol {
            Protocol::Grpc => Client::Grpc(GrpcExporter::new(settings)?),
            Protocol::Http => Client::Http(Arc::new(HttpExporter::new(settings)?)),
        };
        let part_bytes_max = match settings.part_bytes_max {
            0 => usize::MAX,
            bytes_max => bytes_max,
        };
        Ok(Self {
            client,
            timeout: settings.timeout,
            part_bytes_max,
        })
    }

    /// Sends a request once, in parts if it is too large; waits for the answer to each part at most as
    /// long as configured, and in all as long as `timeout` where the sender gave one.
    ///
    /// Parts go one after the other; one that is refused as too large is halved once. What the next
    /// hop refuses for good of several parts is counted as rejected, while the others still go.
    ///
    /// # Errors
    /// [`ExportError`]. A retryable one may come after earlier parts were accepted: sent again they
    /// arrive twice, as OTLP allows.
    pub async fn export(
        &self,
        request: Bytes,
        timeout: Option<Duration>,
    ) -> Result<ExportReply, ExportError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let parts = split(&request, self.part_bytes_max)
            .map_err(|malformed| ExportError::Permanent(malformed.into()))?;
        self.export_parts(parts, deadline).await
    }

    async fn export_parts(
        &self,
        parts: Vec<Bytes>,
        deadline: Option<Instant>,
    ) -> Result<ExportReply, ExportError> {
        let is_whole = parts.len() == 1;
        let mut reply = ExportReply::default();
        for part in parts {
            match self.send(part.clone(), deadline).await {
                Ok(answer) => reply.merge(answer),
                Err(ExportError::TooLarge(refusal)) => {
                    reply.merge(
                        self.export_halves(&part, refusal, is_whole, deadline)
                            .await?,
                    );
                }
                Err(ExportError::Permanent(refusal)) if !is_whole => {
                    reply.merge(rejected(&part, refusal));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(reply)
    }

    async fn export_halves(
        &self,
        part: &Bytes,
        refusal: Refusal,
        is_whole: bool,
        deadline: Option<Instant>,
    ) -> Result<ExportReply, ExportError> {
        let Ok(Some(halves)) = halve(part) else {
            return if is_whole {
                Err(ExportError::TooLarge(refusal))
            } else {
                Ok(rejected(part, refusal))
            };
        };
        let (n_halves, mut n_refused) = (halves.len(), 0);
        let mut reply = ExportReply::default();
        for half in halves {
            match self.send(half.clone(), deadline).await {
                Ok(answer) => reply.merge(answer),
                Err(ExportError::TooLarge(refusal) | ExportError::Permanent(refusal)) => {
                    n_refused += 1;
                    reply.merge(rejected(&half, refusal));
                }
                Err(error) => return Err(error),
            }
        }
        if is_whole && n_refused == n_halves {
            return Err(ExportError::TooLarge(refusal));
        }
        Ok(reply)
    }

    async fn send(
        &self,
        request: Bytes,
        deadline: Option<Instant>,
    ) -> Result<ExportReply, ExportError> {
        let timeout = deadline.map_or(self.timeout, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.min(self.timeout)
        });
        let sending = async {
            match &self.client {
                Client::Grpc(client) => client.send(request, timeout).await,
                Client::Http(client) => client.send(request).await,
            }
        };
        tokio::time::timeout(timeout, sending)
            .await
            .unwrap_or_else(|_| Err(ExportError::no_answer(timeout)))
    }
}

/// What is reported of a part that was refused for good while others were taken.
fn rejected(part: &[u8], refusal: Refusal) -> ExportReply {
    ExportReply {
        rejected: count_records(part).unwrap_or(0),
        message: refusal.message,
    }
}
