//! What a receiver shows, and whom it lets in.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use super::{H2, HTTP_1, certificates, chain, mismatch, paths, provider, versions};
use crate::reload::Reloading;
use crate::security::{SecurityError, ServerTls};

/// One configuration for each protocol, since they offer different ALPN.
pub(crate) struct ServerConfigs {
    pub(crate) grpc: Arc<ServerConfig>,
    pub(crate) http: Arc<ServerConfig>,
}

/// The configurations of `tls`, which must be good now; later a bad file leaves those of before.
pub(crate) fn server_configs(tls: &ServerTls) -> Result<Reloading<ServerConfigs>, SecurityError> {
    let identity = [&tls.identity.cert, &tls.identity.key];
    let paths = paths(identity.into_iter().chain(&tls.client_ca));
    let (interval, tls) = (tls.reload_interval, tls.clone());
    Reloading::new(
        "TLS certificate of the receiver",
        paths,
        interval,
        move || load(&tls),
    )
}

fn load(tls: &ServerTls) -> Result<ServerConfigs, SecurityError> {
    let versions = versions(tls.min_version, tls.max_version)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(|error| mismatch(&tls.identity, &error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(source) => {
            let what = "client CA";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(source, what)? {
                roots
                    .add(certificate)
                    .map_err(|error| source.invalid(what, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            let verifier = verifier
                .build()
                .map_err(|error| source.invalid(what, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = chain(&tls.identity)?;
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|error| mismatch(&tls.identity, &error))?;
    let with = |alpn: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    };
    Ok(ServerConfigs {
        grpc: with(&[H2]),
        http: with(&[H2, HTTP_1]),
    })
}
