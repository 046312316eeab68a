//! Bounds and manners of a server: what a configuration says, with the Collector's defaults.

use std::time::Duration;

use crate::security::{BearerAuth, ServerTls};
use crate::signal::Signal;

/// Bytes of a request after decompression, by default: what OTLP recommends.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 64 << 20;
/// How long a request may take to come in, by default.
pub const RECEIVE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// How long the headers of a request may take to come in, by default.
pub const HEADER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long an HTTP connection is kept without requests, by default: the Collector's.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Requests at a time on one connection, by default.
pub const CONCURRENT_STREAMS_MAX_DEFAULT: u32 = 1000;
/// Connections of one server, by default.
pub const CONNECTIONS_MAX_DEFAULT: usize = 10_000;

/// Bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveSettings {
    /// Bytes of a request, after decompression. Default [`REQUEST_BYTES_MAX_DEFAULT`]; refused beyond.
    pub request_bytes_max: usize,
    /// How long a request may take to come in. Default [`RECEIVE_TIMEOUT_DEFAULT`]; refused after.
    pub receive_timeout: Duration,
    /// How long a connection may take to begin, and an HTTP/1 request for its headers. Default
    /// [`HEADER_TIMEOUT_DEFAULT`]; cut after.
    pub header_timeout: Duration,
    /// How long an HTTP connection is kept without a request; none = for ever. Default
    /// [`IDLE_TIMEOUT_DEFAULT`]; closed in good order after.
    pub idle_timeout: Option<Duration>,
    /// Requests at a time on one connection. Default [`CONCURRENT_STREAMS_MAX_DEFAULT`]; a sender waits
    /// beyond.
    pub concurrent_streams_max: u32,
    /// Connections at a time. Default [`CONNECTIONS_MAX_DEFAULT`]; further ones wait in the system's
    /// backlog until one ends.
    pub connections_max: usize,
    /// Where OTLP/HTTP takes each signal.
    pub paths: SignalPaths,
    /// Names of headers, in lower case, whose values a handler gets.
    pub metadata_keys: Vec<String>,
    /// When connections are looked after and ended.
    pub keepalive: ServerKeepalive,
    /// TLS; none = plaintext.
    pub tls: Option<ServerTls>,
    /// Tokens that a request must have one of; none = anybody may send.
    pub auth: Option<BearerAuth>,
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX_DEFAULT,
            receive_timeout: RECEIVE_TIMEOUT_DEFAULT,
            header_timeout: HEADER_TIMEOUT_DEFAULT,
            idle_timeout: Some(IDLE_TIMEOUT_DEFAULT),
            concurrent_streams_max: CONCURRENT_STREAMS_MAX_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            paths: SignalPaths::default(),
            metadata_keys: Vec::new(),
            keepalive: ServerKeepalive::default(),
            tls: None,
            auth: None,
        }
    }
}

/// Paths of OTLP/HTTP: the Collector's `logs_url_path` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalPaths {
    /// Default `/v1/logs`.
    pub logs: String,
    /// Default `/v1/traces`.
    pub traces: String,
    /// Default `/v1/metrics`.
    pub metrics: String,
}

impl Default for SignalPaths {
    fn default() -> Self {
        Self {
            logs: Signal::Logs.http_path().to_owned(),
            traces: Signal::Traces.http_path().to_owned(),
            metrics: Signal::Metrics.http_path().to_owned(),
        }
    }
}

impl SignalPaths {
    /// The path of a signal.
    #[must_use]
    pub fn of(&self, signal: Signal) -> &str {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    /// The signal of a path; logs first where paths are the same.
    #[must_use]
    pub fn signal(&self, path: &str) -> Option<Signal> {
        let mut signals = Signal::ALL.into_iter();
        signals.find(|&signal| self.of(signal) == path)
    }
}

/// The Collector's `keepalive.server_parameters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerKeepalive {
    /// How long a gRPC connection is kept without a request. Default for ever.
    pub connection_idle_max: Option<Duration>,
    /// When a connection is closed in good order, so that clients spread anew; off by at most a tenth,
    /// at random. Default never.
    pub connection_age_max: Option<Duration>,
    /// How long requests in flight then have, before they are cut. Default for ever.
    pub connection_age_grace: Option<Duration>,
    /// How often an HTTP/2 connection that says nothing is asked whether it is there. Default 2 h.
    pub time: Duration,
    /// How long it has for its answer; cut after. Default 20 s.
    pub timeout: Duration,
}

impl Default for ServerKeepalive {
    fn default() -> Self {
        Self {
            connection_idle_max: None,
            connection_age_max: None,
            connection_age_grace: None,
            time: Duration::from_secs(2 * 60 * 60),
            timeout: Duration::from_secs(20),
        }
    }
}
