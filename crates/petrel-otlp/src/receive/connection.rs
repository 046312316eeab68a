//! One connection from its handshake to its end: no step of it waits without a bound.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Watched};
use super::serve::Speaks;
use super::{CONNECTION_WINDOW, FRAME_MAX, Handler, ReceiveSettings, STREAM_WINDOW, Server};
use crate::net::Stream;
use crate::tls::H2;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A connection is looked after at least so often.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Far enough to be never.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Serves one connection until it ends, or `ending` says so and what is in flight is answered.
pub(super) async fn connection<H: Handler>(
    stream: Stream,
    server: Arc<Server<H>>,
    speaks: Speaks,
    mut ending: watch::Receiver<bool>,
) {
    let settings = server.live.load().settings.clone();
    let opened = tokio::select! {
        opened = open(stream, &server, speaks, settings.header_timeout) => opened,
        () = ended(&mut ending) => return,
    };
    let opened = match opened {
        Ok(opened) => opened,
        // What somebody sent that is no TLS, no certificate of ours, no HTTP/2: worth a look, unlike a
        // probe that connects and goes.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%error, "a connection was refused");
            return;
        }
        Err(error) => {
            tracing::debug!(%error, "a connection did not come about");
            return;
        }
    };
    let activity = Activity::new();
    let stream = Watched::new(opened.prefix, opened.stream, &activity);
    let service = service_fn({
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let (server, activity) = (Arc::clone(&server), Arc::clone(&activity));
            async move {
                let begun = activity.begin();
                let mut response = match speaks {
                    Speaks::Grpc => server.respond_grpc(request).await,
                    Speaks::Http => server.respond_http(request).await,
                };
                if activity.is_retired() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                drop(begun);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let limits = Limits::new(&settings, speaks, opened.is_h2);
    let io = TokioIo::new(stream);
    if opened.is_h2 {
        let connection = http2_builder(&settings).serve_connection(io, service);
        supervise(connection, &activity, limits, ending).await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(io, service);
        supervise(connection, &activity, limits, ending).await;
    }
}

struct Opened {
    is_h2: bool,
    prefix: Bytes,
    stream: Stream,
}

/// Does the TLS handshake and finds out which HTTP is spoken.
async fn open<H: Handler>(
    stream: Stream,
    server: &Server<H>,
    speaks: Speaks,
    header_timeout: Duration,
) -> io::Result<Opened> {
    let configs = server
        .live
        .load()
        .tls
        .as_ref()
        .map(|tls| tls.get())
        .transpose();
    let stream: Stream = match configs.map_err(io::Error::other)? {
        None => stream,
        Some(configs) => {
            let config = match speaks {
                Speaks::Grpc => &configs.grpc,
                Speaks::Http => &configs.http,
            };
            let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
            let stream = timeout(HANDSHAKE_TIMEOUT, accepting).await??;
            if stream.get_ref().1.alpn_protocol() == Some(H2) {
                return Ok(Opened {
                    is_h2: true,
                    prefix: Bytes::new(),
                    stream: Box::new(stream),
                });
            }
            Box::new(stream)
        }
    };
    timeout(header_timeout, look_ahead(stream, speaks)).await?
}

/// Reads as much as tells HTTP/2 from HTTP/1.
async fn look_ahead(mut stream: Stream, speaks: Speaks) -> io::Result<Opened> {
    let mut prefix = BytesMut::with_capacity(PREFACE.len());
    while prefix.len() < PREFACE.len() && PREFACE.starts_with(&prefix) {
        let mut rest = [0; PREFACE.len()];
        let n_bytes = stream
            .read(&mut rest[..PREFACE.len() - prefix.len()])
            .await?;
        if n_bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        prefix.extend_from_slice(&rest[..n_bytes]);
    }
    let is_h2 = *prefix == *PREFACE;
    if speaks == Speaks::Grpc && !is_h2 {
        let message = "a client spoke no HTTP/2 on the port of OTLP/gRPC";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Opened {
        is_h2,
        prefix: prefix.freeze(),
        stream,
    })
}

fn http2_builder(settings: &ReceiveSettings) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(settings.concurrent_streams_max)
        .keep_alive_interval(settings.keepalive.time)
        .keep_alive_timeout(settings.keepalive.timeout);
    builder
}

/// When a connection is closed, and when it is cut.
struct Limits {
    /// Closed in good order after that long without a request.
    idle: Option<Duration>,
    /// Cut when headers take longer; of HTTP/1 alone.
    head: Option<Duration>,
    /// Closed in good order then.
    age: Duration,
    /// Cut that long after its age.
    grace: Duration,
}

impl Limits {
    fn new(settings: &ReceiveSettings, speaks: Speaks, is_h2: bool) -> Self {
        let keepalive = settings.keepalive;
        Self {
            idle: match speaks {
                Speaks::Grpc => keepalive.connection_idle_max,
                Speaks::Http => settings.idle_timeout,
            },
            head: (!is_h2).then_some(settings.header_timeout),
            age: keepalive.connection_age_max.map_or(NEVER, with_jitter),
            grace: keepalive.connection_age_grace.unwrap_or(NEVER),
        }
    }

    fn is_h2(&self) -> bool {
        self.head.is_none()
    }

    fn look_interval(&self) -> Duration {
        let shortest = self.idle.into_iter().chain(self.head).min();
        let shortest = shortest.unwrap_or(LOOK_INTERVAL_MAX) / 4;
        shortest.clamp(Duration::from_millis(5), LOOK_INTERVAL_MAX)
    }
}

/// Off by at most a tenth either way, so that connections that began together do not end together.
fn with_jitter(age: Duration) -> Duration {
    let tenth = RandomState::new().hash_one(()) as f64 / u64::MAX as f64 / 5.0;
    age.mul_f64(0.9 + tenth).min(NEVER)
}

async fn supervise<C>(
    connection: C,
    activity: &Activity,
    limits: Limits,
    mut ending: watch::Receiver<bool>,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = std::pin::pin!(connection);
    let mut next = std::pin::pin!(sleep_until(Instant::now() + limits.age));
    let mut look = interval(limits.look_interval());
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_old, mut is_closing) = (false, false);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = ended(&mut ending), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut next => {
                if is_old {
                    return;
                }
                is_old = true;
                if limits.is_h2() {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                } else {
                    activity.retire();
                }
                next.as_mut().reset(Instant::now() + limits.grace);
            }
            _ = look.tick() => {
                if limits.head.is_some_and(|bound| activity.is_head_late(bound)) {
                    return;
                }
                if !is_closing && limits.idle.is_some_and(|bound| activity.is_idle_for(bound)) {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Done when the server ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // A server that is gone has ended, too.
    let _ = ending.wait_for(|&is_ending| is_ending).await;
}
