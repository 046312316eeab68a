//! Settings of TLS and of bearer tokens, and the type that keeps a secret out of logs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A text that is never printed: `Debug` says that it is there, and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for its one use.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a certificate, a key or a token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, read anew when it changes.
    File(PathBuf),
    /// The configuration itself.
    Text(Secret),
}

/// Versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain, leaf first.
    pub cert: Source,
    /// The key.
    pub key: Source,
}

/// TLS of a receiver: the Collector's `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// What it shows to clients.
    pub identity: Identity,
    /// Certificates that a client's must come from; none = clients need none.
    pub client_ca: Option<Source>,
    /// Oldest version spoken; TLS 1.2 by default.
    pub min_version: TlsVersion,
    /// Newest version spoken.
    pub max_version: TlsVersion,
    /// How often files are looked at for a change; connections that stand are not cut. Default 10 s.
    pub reload_interval: Duration,
}

/// TLS of an exporter: the Collector's `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates that the server's must come from; none = the system's.
    pub ca: Option<Source>,
    /// Whether the system's are trusted beside `ca`.
    pub include_system_ca_certs_pool: bool,
    /// What it shows to the server that asks.
    pub identity: Option<Identity>,
    /// Name that the server's certificate must have, in place of the endpoint's.
    pub server_name_override: Option<String>,
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// Oldest version spoken; TLS 1.2 by default.
    pub min_version: TlsVersion,
    /// Newest version spoken.
    pub max_version: TlsVersion,
    /// How often files are looked at for a change. Default 10 s.
    pub reload_interval: Duration,
}

/// How often files with certificates and tokens are looked at by default.
pub const RELOAD_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            ca: None,
            include_system_ca_certs_pool: false,
            identity: None,
            server_name_override: None,
            insecure_skip_verify: false,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            reload_interval: RELOAD_INTERVAL_DEFAULT,
        }
    }
}

/// A token in a header: the Collector's `bearertokenauth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerAuth {
    /// The header, in lower case; `authorization` by default.
    pub header: String,
    /// What stands before the token; `Bearer` by default, empty for the token alone.
    pub scheme: String,
    /// Tokens: a receiver takes each of them, an exporter sends the first. A file may hold several, one
    /// a line, and is read anew when it changes.
    pub tokens: Vec<Source>,
}

/// A certificate, a key or a token that cannot be used. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The system does not give the file.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is there and of no use.
    #[error("the {what} {place} cannot be used: {reason}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// The file, or where else it comes from.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl Source {
    /// Where it comes from, for a person.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "in the configuration".to_owned(),
        }
    }

    /// The file to look at for changes.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Text(_) => None,
        }
    }

    /// What is in it; `what` is said where it cannot be read.
    pub(crate) fn read(&self, what: &'static str) -> Result<Vec<u8>, SecurityError> {
        match self {
            Self::Text(text) => Ok(text.expose().as_bytes().to_vec()),
            Self::File(path) => std::fs::read(path).map_err(|source| SecurityError::Read {
                what,
                path: path.clone(),
                source,
            }),
        }
    }

    /// An error that says where this comes from.
    pub(crate) fn invalid(&self, what: &'static str, reason: impl fmt::Display) -> SecurityError {
        SecurityError::Invalid {
            what,
            place: self.place(),
            reason: reason.to_string(),
        }
    }
}
