//! Certificates for this machine, and files that change while somebody reads them.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};

use crate::process::Scratch;

/// A certificate authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// Writes a certificate for this machine, its key, and the authority's own certificate.
    pub(crate) fn issue(&self, scratch: &Scratch, name: &str) -> Files {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |part: &str, pem: &str| replace(scratch, &format!("{name}.{part}"), pem);
        Files {
            ca: file("ca", &self.pem),
            key: file("key", &key.serialize_pem()),
            cert: file("cert", &certificate.pem()),
        }
    }
}

/// Where a certificate and what belongs to it are.
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// Keys of `tls` of a client.
    pub(crate) fn client(&self) -> String {
        let [ca, cert, key] = [&self.ca, &self.cert, &self.key].map(|path| path.display());
        format!("ca_file: '{ca}', cert_file: '{cert}', key_file: '{key}'")
    }

    /// Keys of `tls` of a server that wants to see a certificate.
    pub(crate) fn server(&self) -> String {
        let [ca, cert, key] = [&self.ca, &self.cert, &self.key].map(|path| path.display());
        format!("client_ca_file: '{ca}', cert_file: '{cert}', key_file: '{key}'")
    }
}

/// Writes a file that is seen whole or not at all.
pub(crate) fn replace(scratch: &Scratch, name: &str, text: &str) -> PathBuf {
    let path = scratch.path(name);
    let new = scratch.write(&format!("{name}.new"), text);
    std::fs::rename(new, &path).expect("the scratch directory is writable");
    path
}
