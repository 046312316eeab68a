//! TLS of both ends from settings: PEM in, rustls configurations out, made anew when files change.
//!
//! The ring provider is named everywhere; what a process has as its default does not matter.

mod client;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

pub(crate) use self::client::{ClientConfigs, client_configs, handshake_failure};
pub(crate) use self::server::{ServerConfigs, server_configs};
use crate::security::{Identity, SecurityError, Source, TlsVersion};

/// ALPN of HTTP/2 and of HTTP/1.1.
pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP_1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions(
    min: TlsVersion,
    max: TlsVersion,
) -> Result<Vec<&'static SupportedProtocolVersion>, SecurityError> {
    let all = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    let spoken = all
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version));
    let versions: Vec<_> = spoken.map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err(SecurityError::Invalid {
            what: "range of TLS versions",
            place: "in the configuration".to_owned(),
            reason: "min_version is newer than max_version".to_owned(),
        });
    }
    Ok(versions)
}

fn certificates(
    source: &Source,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let pem = source.read(what)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| source.invalid(what, error))?;
    if certificates.is_empty() {
        return Err(source.invalid(what, "there is no PEM certificate in it"));
    }
    Ok(certificates)
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn chain(identity: &Identity) -> Result<Chain, SecurityError> {
    let chain = certificates(&identity.cert, "certificate")?;
    let what = "private key";
    let pem = identity.key.read(what)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let reason = "there is no unencrypted PEM private key in it";
        identity.key.invalid(what, reason)
    })?;
    Ok((chain, key))
}

/// What a certificate and a key that rustls does not take are told.
fn mismatch(identity: &Identity, error: &rustls::Error) -> SecurityError {
    SecurityError::Invalid {
        what: "certificate",
        place: format!(
            "{} with the key {}",
            identity.cert.place(),
            identity.key.place()
        ),
        reason: match error {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
            error => error.to_string(),
        },
    }
}

fn paths<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Vec<PathBuf> {
    sources.into_iter().filter_map(Source::path).collect()
}
