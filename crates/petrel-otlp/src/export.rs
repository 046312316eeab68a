//! Clients: requests sent on over gRPC or HTTP, cut to size, every answer classified as OTLP says.

mod connect;
mod delivery;
mod endpoint;
mod grpc;
mod http;
mod retry;
mod settings;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use self::delivery::{Delivery, DeliverySettings, Mode, Outcome, Step};
pub use self::endpoint::{EndpointError, signal_url};
pub use self::retry::{Backoff, RetrySettings};
pub use self::settings::{
    ClientKeepalive, Compression, Encoding, Endpoints, ExporterSettings, Protocol,
    USER_AGENT_DEFAULT,
};

use ::http::{HeaderName, HeaderValue};

use self::grpc::GrpcExporter;
use self::http::HttpExporter;
use crate::items::count_items;
use crate::reply::ExportReply;
use crate::signal::Signal;
use crate::status::{Code, Refusal};
use crate::token::Tokens;

/// Bytes of a response that are read; what OTLP recommends.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Why a request was not taken by the next hop. What it said is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It was not taken and may be sent again, after `retry_after` where that is given. Also: no
    /// connection.
    #[error("{0}")]
    Retryable(Refusal),
    /// It may be sent again; whether it was taken is not known, since no answer came.
    #[error("{0}")]
    Unanswered(Refusal),
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
            Self::Retryable(refusal)
            | Self::Unanswered(refusal)
            | Self::TooLarge(refusal)
            | Self::Permanent(refusal) => refusal,
        }
    }

    /// Whether it may be sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable(_) | Self::Unanswered(_))
    }

    /// Whether it may have been taken all the same: also a next hop that says it was too late, or that
    /// it was told to stop, may have passed it on.
    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Retryable(refusal) => {
                matches!(refusal.code, Code::Cancelled | Code::DeadlineExceeded)
            }
            Self::TooLarge(_) | Self::Permanent(_) => false,
        }
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

    /// No connection came about.
    fn unreachable(message: impl Into<String>) -> Self {
        Self::Retryable(Refusal::new(Code::Unavailable, message))
    }

    /// The connection broke.
    fn cut_off(message: impl Into<String>) -> Self {
        Self::Unanswered(Refusal::new(Code::Unavailable, message))
    }

    fn no_answer(timeout: Duration) -> Self {
        let message = format!(
            "the next hop did not answer within {:.1} s",
            timeout.as_secs_f64()
        );
        Self::Unanswered(Refusal::new(Code::DeadlineExceeded, message))
    }

    fn unreadable() -> Self {
        let message = "the next hop took the request, but its answer cannot be read";
        Self::Permanent(Refusal::new(Code::Internal, message))
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
            | ExportError::Unanswered(refusal)
            | ExportError::TooLarge(refusal)
            | ExportError::Permanent(refusal) => refusal,
        }
    }
}

/// A client of one next hop; clones share its connections. Calls may run at the same time.
#[derive(Clone)]
pub struct Exporter {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    tokens: Option<Tokens>,
    timeout: Duration,
    part_bytes_max: usize,
    /// What the last answer said, where it was not taken for now.
    trouble: Mutex<Option<String>>,
}

enum Client {
    Grpc(Box<GrpcExporter>),
    Http(Box<HttpExporter>),
}

/// A request to be sent: its bytes, and how many items they hold where that is known.
#[derive(Clone, Debug)]
pub struct Request {
    /// The encoded request.
    pub bytes: Bytes,
    /// Log records, spans or data points; `None` has them counted.
    pub n_items: Option<u64>,
}

impl From<Bytes> for Request {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            n_items: None,
        }
    }
}

/// A request's own headers.
type Headers = Vec<(HeaderName, HeaderValue)>;

impl Exporter {
    /// A client that connects when it first sends, and again whenever it has to. Needs a Tokio runtime.
    /// A token's file need not be there yet: until it is, requests are refused as retryable.
    ///
    /// # Errors
    /// [`EndpointError`] when an endpoint, a header or a certificate cannot be used.
    pub fn new(settings: &ExporterSettings) -> Result<Self, EndpointError> {
        let client = match settings.protocol {
            Protocol::Grpc => Client::Grpc(Box::new(GrpcExporter::new(settings)?)),
            Protocol::Http => Client::Http(Box::new(HttpExporter::new(settings)?)),
        };
        let shared = Shared {
            client,
            tokens: settings.auth.as_ref().map(Tokens::later).transpose()?,
            timeout: settings.timeout,
            part_bytes_max: match settings.part_bytes_max {
                0 => usize::MAX,
                bytes_max => bytes_max,
            },
            trouble: Mutex::new(None),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Sends a request for a sender that waits, with `headers` beside the configured ones: see
    /// [`Mode::Waiting`]. The answer to each part is waited for at most as long as configured, and to
    /// all of them as long as `timeout`, where the sender gave one.
    ///
    /// # Errors
    /// [`ExportError`]. A retryable one may come after a part was taken: sent again it arrives twice,
    /// as OTLP allows.
    pub async fn export(
        &self,
        signal: Signal,
        request: impl Into<Request>,
        headers: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Result<ExportReply, ExportError> {
        let outcome = self.export_waiting(signal, request, headers, timeout).await;
        outcome.into_result()
    }

    /// The same, saying what became of each item.
    pub async fn export_waiting(
        &self,
        signal: Signal,
        request: impl Into<Request>,
        headers: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Outcome {
        let mode = Mode::Waiting {
            deadline: timeout,
            retry_until: self.shared.timeout,
        };
        let retry = Some(RetrySettings::WAITING);
        self.deliver(signal, request, headers, mode, retry).await
    }

    /// Sends a request that is nobody else's to send again, until it is taken, refused for good or
    /// given up: see [`Mode::Queued`].
    pub async fn export_queued(
        &self,
        signal: Signal,
        request: impl Into<Request>,
        headers: &[(String, String)],
        retry: Option<RetrySettings>,
    ) -> Outcome {
        self.deliver(signal, request, headers, Mode::Queued, retry)
            .await
    }

    /// Sends a request in parts that are small enough, one after the other.
    pub async fn deliver(
        &self,
        signal: Signal,
        request: impl Into<Request>,
        headers: &[(String, String)],
        mode: Mode,
        retry: Option<RetrySettings>,
    ) -> Outcome {
        let start = Instant::now();
        let Request {
            bytes: request,
            n_items,
        } = request.into();
        let settings = DeliverySettings {
            n_items,
            part_bytes_max: self.shared.part_bytes_max,
            mode,
            retry,
            seed: RandomState::new().hash_one(()),
        };
        let headers = match own_headers(headers) {
            Ok(headers) => headers,
            Err(refusal) => {
                let n_items = count_items(signal, &request).unwrap_or_default();
                return Outcome::failed(n_items, ExportError::Permanent(refusal));
            }
        };
        let mut delivery = match Delivery::new(signal, &request, settings) {
            Ok(delivery) => delivery,
            Err(malformed) => {
                return Outcome::failed(0, ExportError::Permanent(malformed.into()));
            }
        };
        drop(request);
        loop {
            match delivery.next(start.elapsed()) {
                Step::Send(part) => {
                    let left = match mode {
                        Mode::Waiting {
                            deadline: Some(deadline),
                            ..
                        } => deadline.saturating_sub(start.elapsed()),
                        _ => Duration::MAX,
                    };
                    let timeout = left.min(self.shared.timeout);
                    let answer = self.send(signal, part, &headers, timeout).await;
                    self.note(&answer);
                    delivery.answered(answer, start.elapsed());
                }
                Step::Wait(delay) => tokio::time::sleep(delay).await,
                Step::Done(outcome) => return outcome,
            }
        }
    }

    /// Why the next hop took nothing for now when it was last asked; `None` when it did, or was not asked.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, answer: &Result<ExportReply, ExportError>) {
        let trouble = match answer {
            Err(error) if error.is_retryable() => Some(error.to_string()),
            _ => None,
        };
        *self
            .shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    async fn send(
        &self,
        signal: Signal,
        request: Bytes,
        headers: &Headers,
        timeout: Duration,
    ) -> Result<ExportReply, ExportError> {
        let mut headers = headers.clone();
        if let Some(tokens) = &self.shared.tokens {
            let token = tokens
                .header()
                .map_err(|error| ExportError::unreachable(error.to_string()))?;
            headers.push(token);
        }
        let sending = async {
            match &self.shared.client {
                Client::Grpc(client) => client.send(signal, request, headers, timeout).await,
                Client::Http(client) => client.send(signal, request, headers).await,
            }
        };
        tokio::time::timeout(timeout, sending)
            .await
            .unwrap_or_else(|_| Err(ExportError::no_answer(timeout)))
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

fn own_headers(headers: &[(String, String)]) -> Result<Headers, Refusal> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| endpoint::header(name, value))
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::new(Code::InvalidArgument, error.to_string()))
}
