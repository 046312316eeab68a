//! TLS both ways and bearer tokens, with certificates made here, and files that change under load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use petrel_otlp::export::{EndpointError, ExportError, Exporter, ExporterSettings, Protocol};
use petrel_otlp::receive::{
    Admission, ExportReply, LiveReceive, ReceiveSettings, Received, Transport,
};
use petrel_otlp::security::{
    BearerAuth, ClientTls, Identity, Secret, ServerTls, Source, TlsVersion,
};
use petrel_otlp::{Code, Signal};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

use crate::loopback::{Loopback, loopback};

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// The PEM of a certificate for this machine, and of its key.
    fn issue(&self) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn ca(&self) -> Source {
        Source::Text(Secret::new(&*self.pem))
    }

    fn identity(&self) -> Identity {
        let (cert, key) = self.issue();
        Identity {
            cert: Source::Text(Secret::new(cert)),
            key: Source::Text(Secret::new(key)),
        }
    }
}

/// Files of a certificate and its key, written anew with every issue.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(authority: &Authority) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Self { directory };
        files.issue(authority);
        files
    }

    fn issue(&self, authority: &Authority) {
        let (cert, key) = authority.issue();
        replace(&self.path("cert.pem"), &cert);
        replace(&self.path("key.pem"), &key);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn identity(&self) -> Identity {
        Identity {
            cert: Source::File(self.path("cert.pem")),
            key: Source::File(self.path("key.pem")),
        }
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

fn server_tls(identity: Identity, client_ca: Option<Source>) -> ServerTls {
    ServerTls {
        identity,
        client_ca,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        reload_interval: Duration::ZERO,
    }
}

async fn serving(settings: ReceiveSettings) -> Loopback {
    let accept = |_: &Received| Ok(ExportReply::default());
    loopback(settings, Admission::default(), accept).await
}

async fn serving_tls(tls: ServerTls) -> Loopback {
    serving(ReceiveSettings {
        tls: Some(tls),
        ..ReceiveSettings::default()
    })
    .await
}

fn settings(loopback: &Loopback, protocol: Protocol, tls: Option<ClientTls>) -> ExporterSettings {
    let endpoint = match protocol {
        Protocol::Grpc => &loopback.grpc,
        Protocol::Http => &loopback.http,
    };
    ExporterSettings {
        tls,
        ..ExporterSettings::new(protocol, endpoint)
    }
}

async fn send(settings: &ExporterSettings) -> Result<ExportReply, ExportError> {
    let exporter = Exporter::new(settings).expect("good settings");
    exporter.export(Signal::Logs, Bytes::new(), &[], None).await
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];
const TAKEN: Result<ExportReply, ExportError> = Ok(ExportReply {
    rejected: 0,
    message: String::new(),
});

#[tokio::test]
async fn requests_go_over_tls() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let loopback = serving_tls(ServerTls {
            min_version: version,
            max_version: version,
            ..server_tls(authority.identity(), None)
        })
        .await;
        for protocol in PROTOCOLS {
            let with = |ca: Option<Source>, insecure_skip_verify: bool| ClientTls {
                ca,
                insecure_skip_verify,
                ..ClientTls::default()
            };
            let tls = with(Some(authority.ca()), false);
            let sent = send(&settings(&loopback, protocol, Some(tls))).await;
            assert_eq!(sent, TAKEN, "{protocol:?}");
            let tls = with(Some(stranger.ca()), false);
            let error = send(&settings(&loopback, protocol, Some(tls))).await;
            let error = error.expect_err("another CA");
            assert!(matches!(error, ExportError::Retryable(_)), "{error:?}");
            let message = error.to_string();
            assert!(
                message.contains("UnknownIssuer") && message.contains("tls.ca_file"),
                "{message}"
            );
            let tls = with(None, true);
            let sent = send(&settings(&loopback, protocol, Some(tls))).await;
            assert_eq!(sent, TAKEN, "{protocol:?}");
            let tls = ClientTls {
                server_name_override: Some("elsewhere".to_owned()),
                ..with(Some(authority.ca()), false)
            };
            let error = send(&settings(&loopback, protocol, Some(tls))).await;
            assert!(
                error
                    .expect_err("another name")
                    .to_string()
                    .contains("elsewhere")
            );
        }
        let plain = ExporterSettings::new(Protocol::Grpc, &loopback.grpc);
        assert!(send(&plain).await.expect_err("no TLS").is_retryable());
    }
}

#[tokio::test]
async fn clients_without_a_certificate_are_not_let_in() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = server_tls(authority.identity(), Some(authority.ca()));
    let loopback = serving_tls(tls).await;
    for protocol in PROTOCOLS {
        let with = |identity: Option<Identity>| {
            let tls = ClientTls {
                ca: Some(authority.ca()),
                identity,
                ..ClientTls::default()
            };
            settings(&loopback, protocol, Some(tls))
        };
        assert_eq!(send(&with(Some(authority.identity()))).await, TAKEN);
        for identity in [None, Some(stranger.identity())] {
            let error = send(&with(identity)).await.expect_err("not let in");
            assert!(error.is_retryable(), "{error}");
        }
    }
    assert_eq!(loopback.recorder.bytes().len(), 2);
}

#[tokio::test]
async fn a_client_shows_its_new_certificate() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = server_tls(authority.identity(), Some(authority.ca()));
    let loopback = serving_tls(tls).await;
    for protocol in PROTOCOLS {
        let files = Files::new(&stranger);
        let tls = ClientTls {
            ca: Some(authority.ca()),
            identity: Some(files.identity()),
            reload_interval: Duration::ZERO,
            ..ClientTls::default()
        };
        let exporter = Exporter::new(&settings(&loopback, protocol, Some(tls)));
        let exporter = exporter.expect("good settings");
        let send = || exporter.export(Signal::Logs, Bytes::new(), &[], None);
        assert!(send().await.is_err());
        files.issue(&authority);
        assert_eq!(send().await, TAKEN);
    }
}

/// A client that never says hello keeps nobody waiting.
#[tokio::test]
async fn a_silent_handshake_blocks_no_other() {
    let authority = Authority::new("ours");
    let loopback = serving_tls(server_tls(authority.identity(), None)).await;
    for (protocol, endpoint) in [
        (Protocol::Grpc, &*loopback.grpc),
        (Protocol::Http, loopback.http.trim_start_matches("https://")),
    ] {
        let silent = tokio::net::TcpStream::connect(endpoint).await;
        let silent = silent.expect("it listens");
        let tls = ClientTls {
            ca: Some(authority.ca()),
            ..ClientTls::default()
        };
        assert_eq!(send(&settings(&loopback, protocol, Some(tls))).await, TAKEN);
        drop(silent);
    }
}

#[tokio::test]
async fn certificates_are_replaced_under_load() {
    let (old, new) = (Authority::new("ours"), Authority::new("theirs"));
    let files = Files::new(&old);
    let loopback = serving_tls(server_tls(files.identity(), None)).await;
    let trusting = |authority: &Authority, protocol| {
        let tls = ClientTls {
            ca: Some(authority.ca()),
            ..ClientTls::default()
        };
        settings(&loopback, protocol, Some(tls))
    };
    for protocol in PROTOCOLS {
        files.issue(&old);
        static N_SENT: AtomicUsize = AtomicUsize::new(0);
        let standing = Exporter::new(&trusting(&old, protocol)).expect("good settings");
        let request = || standing.export(Signal::Logs, Bytes::new(), &[], None);
        assert_eq!(request().await, TAKEN);
        let load = tokio::spawn({
            let standing = standing.clone();
            async move {
                loop {
                    let sent = standing.export(Signal::Logs, Bytes::new(), &[], None).await;
                    assert_eq!(sent, TAKEN);
                    N_SENT.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // A certificate whose key has not come yet leaves the old one.
        let (cert, key) = new.issue();
        replace(&files.path("cert.pem"), &cert);
        assert_eq!(send(&trusting(&old, protocol)).await, TAKEN);
        assert!(send(&trusting(&new, protocol)).await.is_err());
        replace(&files.path("key.pem"), &key);
        assert_eq!(send(&trusting(&new, protocol)).await, TAKEN);
        assert!(send(&trusting(&old, protocol)).await.is_err());
        // The connection that stands was not cut: its client would not trust a new one.
        let before = N_SENT.load(Ordering::Relaxed);
        while N_SENT.load(Ordering::Relaxed) < before + 10 {
            assert!(!load.is_finished(), "{:?}", load.await);
            tokio::task::yield_now().await;
        }
        load.abort();
    }
}

#[tokio::test]
async fn settings_are_replaced_while_requests_go_on() {
    let loopback = serving(ReceiveSettings::default()).await;
    let standing = settings(&loopback, Protocol::Grpc, None);
    let standing = Exporter::new(&standing).expect("good settings");
    let request = || standing.export(Signal::Logs, Bytes::from_static(&[0x0a, 0]), &[], None);
    assert_eq!(request().await, TAKEN);
    let bad = ReceiveSettings {
        auth: Some(bearer(Source::File("/nowhere/token".into()))),
        ..ReceiveSettings::default()
    };
    let error = loopback.live.replace(bad).expect_err("no such file");
    assert!(error.to_string().contains("/nowhere/token"), "{error}");
    assert_eq!(request().await, TAKEN);
    let small = ReceiveSettings {
        request_bytes_max: 1,
        ..ReceiveSettings::default()
    };
    loopback.live.replace(small).expect("good settings");
    let error = request().await.expect_err("too large now");
    assert!(matches!(error, ExportError::TooLarge(_)), "{error}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new("ours");
    let files = Files::new(&authority);
    let error = |identity: Identity, client_ca: Option<Source>| {
        let settings = ReceiveSettings {
            tls: Some(server_tls(identity, client_ca)),
            ..ReceiveSettings::default()
        };
        match LiveReceive::new(settings) {
            Ok(_) => panic!("it is wrong"),
            Err(error) => error.to_string(),
        }
    };
    let check = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("BEGIN"), "{message}");
    };
    let missing = Identity {
        cert: Source::File(files.path("none.pem")),
        ..files.identity()
    };
    check(
        error(missing, None),
        &["certificate", "none.pem", "No such file"],
    );
    let swapped = Identity {
        cert: files.identity().key,
        key: files.identity().cert,
    };
    check(error(swapped, None), &["key.pem", "no PEM certificate"]);
    let keyless = Identity {
        key: files.identity().cert,
        ..files.identity()
    };
    check(error(keyless, None), &["cert.pem", "private key"]);
    let mixed = Identity {
        key: authority.identity().key,
        ..files.identity()
    };
    check(
        error(mixed, None),
        &["cert.pem", "the key is not the certificate's"],
    );
    std::fs::write(files.path("ca.pem"), "nothing").expect("written");
    let empty = Some(Source::File(files.path("ca.pem")));
    check(error(files.identity(), empty), &["client CA", "ca.pem"]);

    let settings = ExporterSettings {
        tls: Some(ClientTls {
            ca: Some(Source::File(files.path("ca.pem"))),
            ..ClientTls::default()
        }),
        ..ExporterSettings::new(Protocol::Grpc, "localhost:1")
    };
    let error = Exporter::new(&settings).expect_err("no CA in it");
    assert!(matches!(error, EndpointError::Security(_)));
    check(error.to_string(), &["CA certificate", "ca.pem"]);
}

fn bearer(token: Source) -> BearerAuth {
    BearerAuth {
        header: "authorization".to_owned(),
        scheme: "Bearer".to_owned(),
        tokens: vec![token],
    }
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let text = |text: &str| Source::Text(Secret::new(text));
    let loopback = serving(ReceiveSettings {
        auth: Some(bearer(text("good"))),
        ..ReceiveSettings::default()
    })
    .await;
    for protocol in PROTOCOLS {
        let with = |auth: Option<BearerAuth>| ExporterSettings {
            auth,
            ..settings(&loopback, protocol, None)
        };
        assert_eq!(send(&with(Some(bearer(text("good"))))).await, TAKEN);
        for auth in [None, Some(bearer(text("bad")))] {
            let error = send(&with(auth)).await.expect_err("not let in");
            assert_eq!(error.refusal().code, Code::Unauthenticated);
            assert!(!error.is_retryable());
        }
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{}/v1/traces", loopback.http))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"no JSON")));
    let response = client.request(request.expect("a request")).await;
    let response = response.expect("an answer");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let refused = loopback.recorder.refused.lock().expect("lock").clone();
    assert_eq!(refused.len(), 5);
    let (_, signal, transport) = &refused[4];
    assert_eq!((*signal, *transport), (Signal::Traces, Transport::HttpJson));
    assert_eq!(loopback.admission.n_requests(), 0);
}

#[tokio::test]
async fn tokens_are_read_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens");
    let own = directory.path().join("own");
    replace(&path, "first\nshared\n");
    let loopback = serving(ReceiveSettings {
        auth: Some(bearer(Source::File(path.clone()))),
        ..ReceiveSettings::default()
    })
    .await;
    for protocol in PROTOCOLS {
        replace(&path, "first\nshared\n");
        let _ = std::fs::remove_file(&own);
        let exporter = Exporter::new(&ExporterSettings {
            auth: Some(bearer(Source::File(own.clone()))),
            ..settings(&loopback, protocol, None)
        })
        .expect("the token may come later");
        let send = || exporter.export(Signal::Logs, Bytes::new(), &[], None);
        let error = send().await.expect_err("no token yet");
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("bearer token") && error.to_string().contains("own"));
        replace(&own, "shared\n");
        // Files are looked at once a second.
        let until = async |is_wanted: fn(&Result<ExportReply, ExportError>) -> bool| {
            while !is_wanted(&send().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        until(Result::is_ok).await;
        replace(&path, "second\n");
        until(Result::is_err).await;
        replace(&own, "second");
        until(Result::is_ok).await;
    }
}
