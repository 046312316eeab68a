//! The settings of the wire that a configuration is made of, as `petrel-otlp` defines them.

pub use petrel_otlp::export::RetrySettings;
pub use petrel_otlp::export::{
    ClientKeepalive, Compression, Encoding, Endpoints, ExporterSettings, Protocol,
};
pub use petrel_otlp::receive::{ReceiveSettings, ServerKeepalive, SignalPaths};
pub use petrel_otlp::security::{
    BearerAuth, ClientTls, Identity, Secret, ServerTls, Source, TlsVersion,
};
