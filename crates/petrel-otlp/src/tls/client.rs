//! Whom an exporter trusts, and what it shows.

use std::fmt::Write;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::{H2, HTTP_1, certificates, chain, mismatch, paths, provider, versions};
use crate::reload::Reloading;
use crate::security::{ClientTls, SecurityError, Source};

/// One configuration for each protocol, since they offer different ALPN.
pub(crate) struct ClientConfigs {
    pub(crate) grpc: Arc<ClientConfig>,
    pub(crate) http: Arc<ClientConfig>,
}

/// The configurations of `tls`, which must be good now; later a bad file leaves those of before.
pub(crate) fn client_configs(tls: &ClientTls) -> Result<Reloading<ClientConfigs>, SecurityError> {
    let identity = tls.identity.iter().flat_map(|it| [&it.cert, &it.key]);
    let paths = paths(identity.chain(&tls.ca));
    let (interval, tls) = (tls.reload_interval, tls.clone());
    Reloading::new(
        "TLS certificate of the exporter",
        paths,
        interval,
        move || load(&tls),
    )
}

fn load(tls: &ClientTls) -> Result<ClientConfigs, SecurityError> {
    let versions = versions(tls.min_version, tls.max_version)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| SecurityError::Invalid {
            what: "range of TLS versions",
            place: "in the configuration".to_owned(),
            reason: error.to_string(),
        })?;
    let builder = if tls.insecure_skip_verify {
        let verifier = Arc::new(AnyCertificate(provider()));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = chain(identity)?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| mismatch(identity, &error))?
        }
    };
    let with = |alpn: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    };
    Ok(ClientConfigs {
        grpc: with(&[H2]),
        http: with(&[H2, HTTP_1]),
    })
}

fn roots(tls: &ClientTls) -> Result<RootCertStore, SecurityError> {
    let mut roots = RootCertStore::empty();
    if let Some(source) = &tls.ca {
        add(&mut roots, source)?;
    }
    if tls.ca.is_none() || tls.include_system_ca_certs_pool {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
    }
    if roots.is_empty() {
        return Err(SecurityError::Invalid {
            what: "certificate store",
            place: "of the system".to_owned(),
            reason: "it is empty; install certificates or set tls.ca_file".to_owned(),
        });
    }
    Ok(roots)
}

fn add(roots: &mut RootCertStore, source: &Source) -> Result<(), SecurityError> {
    let what = "CA certificate";
    for certificate in certificates(source, what)? {
        roots
            .add(certificate)
            .map_err(|error| source.invalid(what, error))?;
    }
    Ok(())
}

/// Why a handshake failed, and what to do where that is known.
pub(crate) fn handshake_failure(error: &std::io::Error) -> String {
    let mut message = format!("the TLS handshake failed: {error}");
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let hint = match inner {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => {
            "the next hop's certificate comes from none of the trusted CAs; set tls.ca_file to its CA"
        }
        Some(rustls::Error::InvalidMessage(_)) => "does the next hop speak TLS on this port?",
        _ => return message,
    };
    let _ = write!(message, " ({hint})");
    message
}

/// `insecure_skip_verify`: any certificate will do, as long as its owner signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
