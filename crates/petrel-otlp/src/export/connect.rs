//! How connections to the next hop come about: TCP or a unix socket, plain or TLS; for gRPC and HTTP.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tower::{Service, ServiceExt};

use super::Protocol;
use super::endpoint::{EndpointError, Target};
use crate::net::Stream;
use crate::reload::Reloading;
use crate::security::ClientTls;
use crate::tls::{ClientConfigs, H2, client_configs, handshake_failure};

/// How long a connection may take to come about; the request's own timeout may end it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// No connection came about, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotConnected(String);

/// Connects to one next hop; clones share its certificates.
#[derive(Clone)]
pub(super) struct Connector {
    way: Way,
    tls: Option<Tls>,
    protocol: Protocol,
}

#[derive(Clone)]
enum Way {
    Tcp(HttpConnector),
    Unix(PathBuf),
}

#[derive(Clone)]
struct Tls {
    configs: Arc<Reloading<ClientConfigs>>,
    server_name: ServerName<'static>,
}

impl Connector {
    /// Reads the certificates of `tls`, where the target wants TLS.
    pub(super) fn new(
        target: &Target,
        tls: Option<&ClientTls>,
        protocol: Protocol,
    ) -> Result<Self, EndpointError> {
        let way = match &target.unix_path {
            Some(path) => Way::Unix(path.clone()),
            None => {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                connector.enforce_http(false);
                connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
                Way::Tcp(connector)
            }
        };
        let tls = target.is_tls.then(|| Tls::new(target, tls)).transpose()?;
        Ok(Self { way, tls, protocol })
    }

    async fn connect(self, uri: Uri) -> Result<NextHop, NotConnected> {
        let stream: Stream = match self.way {
            Way::Tcp(connector) => {
                let stream = connector.oneshot(uri).await.map_err(|error| {
                    // The error itself only says "tcp connect error".
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    NotConnected(cause.unwrap_or_else(|| error.to_string()))
                })?;
                Box::new(stream.into_inner())
            }
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|error| NotConnected(error.to_string()))?)
            }
        };
        let Some(tls) = self.tls else {
            return Ok(NextHop::new(stream, false));
        };
        let stream = tls.handshake(stream, self.protocol).await?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok(NextHop::new(Box::new(stream), is_h2))
    }
}

impl Tls {
    fn new(target: &Target, tls: Option<&ClientTls>) -> Result<Self, EndpointError> {
        let default = ClientTls::default();
        let tls = tls.unwrap_or(&default);
        let name = tls.server_name_override.as_deref().unwrap_or(&target.host);
        let server_name = ServerName::try_from(name.to_owned());
        Ok(Self {
            server_name: server_name.map_err(|_| EndpointError::Invalid {
                endpoint: target.endpoint.clone(),
                expected: "name to check a certificate against",
                reason: format!("{name:?} is neither a host name nor an address"),
            })?,
            configs: Arc::new(client_configs(tls)?),
        })
    }

    async fn handshake(
        self,
        stream: Stream,
        protocol: Protocol,
    ) -> Result<tokio_rustls::client::TlsStream<Stream>, NotConnected> {
        let configs = self.configs.get();
        let configs = configs.map_err(|error| NotConnected(error.to_string()))?;
        let config = match protocol {
            Protocol::Grpc => &configs.grpc,
            Protocol::Http => &configs.http,
        };
        TlsConnector::from(Arc::clone(config))
            .connect(self.server_name, stream)
            .await
            .map_err(|error| NotConnected(handshake_failure(&error)))
    }
}

impl Service<Uri> for Connector {
    type Response = NextHop;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<NextHop, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.clone().connect(uri));
        Box::pin(async move {
            connecting.await.unwrap_or_else(|_| {
                let message = format!("no connection within {CONNECT_TIMEOUT:?}");
                Err(NotConnected(message))
            })
        })
    }
}

/// A connection, ready for HTTP.
pub(super) struct NextHop {
    io: TokioIo<Stream>,
    is_h2: bool,
}

impl NextHop {
    fn new(stream: Stream, is_h2: bool) -> Self {
        Self {
            io: TokioIo::new(stream),
            is_h2,
        }
    }
}

impl Connection for NextHop {
    fn connected(&self) -> Connected {
        if self.is_h2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl hyper::rt::Read for NextHop {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for NextHop {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }
}
