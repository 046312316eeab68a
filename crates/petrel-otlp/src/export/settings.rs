//! Where requests go and how: what a configuration says, with the Collector's defaults.

use std::time::Duration;

use super::endpoint::signal_url;
use crate::security::{BearerAuth, ClientTls, Secret};
use crate::signal::Signal;
use crate::split::PART_BYTES_MAX_DEFAULT;

/// What the sender calls itself by default.
pub const USER_AGENT_DEFAULT: &str = concat!("petrel/", env!("CARGO_PKG_VERSION"));

/// How requests are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip of a level from 0 to 9.
    Gzip(u32),
    /// Zstandard of a level from -7 to 22.
    Zstd(i32),
}

impl Compression {
    /// gzip where no level is given: the fastest, level 1, which leaves logs at about a tenth.
    #[must_use]
    pub const fn default_gzip() -> Self {
        Self::Gzip(1)
    }

    /// Zstandard where no level is given: level 3, as everywhere.
    #[must_use]
    pub const fn default_zstd() -> Self {
        Self::Zstd(3)
    }

    /// The name that it has in headers; `None` where nothing is packed.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
        }
    }
}

/// What is spoken with the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// What OTLP/HTTP is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The bytes as they came in.
    #[default]
    Protobuf,
    /// Written from them, over HTTP alone; what OTLP/JSON does not know is lost.
    Json,
}

/// Where each signal goes. gRPC: `host:port`, with or without `http://` or `https://`, or
/// `unix:///path`. HTTP: the whole URL, or `unix:///path:/v1/logs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Of logs.
    pub logs: String,
    /// Of traces.
    pub traces: String,
    /// Of metrics.
    pub metrics: String,
}

impl Endpoints {
    /// Those of an exporter that has none yet.
    #[must_use]
    pub fn none() -> Self {
        Self {
            logs: String::new(),
            traces: String::new(),
            metrics: String::new(),
        }
    }

    /// Those below one endpoint: over gRPC that one, over HTTP `/v1/logs` and its like appended.
    #[must_use]
    pub fn under(protocol: Protocol, endpoint: &str) -> Self {
        let of = |signal| match protocol {
            Protocol::Grpc => endpoint.to_owned(),
            Protocol::Http => signal_url(endpoint, signal),
        };
        Self {
            logs: of(Signal::Logs),
            traces: of(Signal::Traces),
            metrics: of(Signal::Metrics),
        }
    }

    /// The endpoint of a signal.
    #[must_use]
    pub fn of(&self, signal: Signal) -> &str {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// The Collector's `keepalive` of clients: HTTP/2 connections are asked whether they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// How often, while nothing else is heard. Default 10 s.
    pub time: Duration,
    /// How long the next hop has for its answer; the connection is given up after. Default 10 s.
    pub timeout: Duration,
    /// Whether also while no request is in flight. Default no.
    pub permit_without_stream: bool,
}

impl Default for ClientKeepalive {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            permit_without_stream: false,
        }
    }
}

/// Where requests go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterSettings {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where each signal goes.
    pub endpoints: Endpoints,
    /// How long to wait for the answer to one request. Default 5 s over gRPC, 30 s over HTTP.
    pub timeout: Duration,
    /// Default none, as between neighbours; the Collector's is gzip.
    pub compression: Compression,
    /// Default protobuf; over gRPC there is no other.
    pub encoding: Encoding,
    /// Headers that every request has.
    pub headers: Vec<(String, Secret)>,
    /// The token that every request has; the first of its tokens is sent.
    pub auth: Option<BearerAuth>,
    /// What the sender calls itself. Default [`USER_AGENT_DEFAULT`].
    pub user_agent: String,
    /// TLS. None = plaintext, but for an endpoint that begins with `https://`: that gets TLS with
    /// default settings. An endpoint that begins with `http://` is plaintext always.
    pub tls: Option<ClientTls>,
    /// Whether connections are asked if they are there. Default not.
    pub keepalive: Option<ClientKeepalive>,
    /// Bytes of one request, before packing; larger ones of logs are cut. Default
    /// [`PART_BYTES_MAX_DEFAULT`], 0 never cuts.
    pub part_bytes_max: usize,
}

impl ExporterSettings {
    /// The default settings for all signals [under](Endpoints::under) one endpoint.
    #[must_use]
    pub fn new(protocol: Protocol, endpoint: &str) -> Self {
        Self {
            protocol,
            endpoints: Endpoints::under(protocol, endpoint),
            timeout: match protocol {
                Protocol::Grpc => Duration::from_secs(5),
                Protocol::Http => Duration::from_secs(30),
            },
            compression: Compression::None,
            encoding: Encoding::Protobuf,
            headers: Vec::new(),
            auth: None,
            user_agent: USER_AGENT_DEFAULT.to_owned(),
            tls: None,
            keepalive: None,
            part_bytes_max: PART_BYTES_MAX_DEFAULT,
        }
    }
}
