//! What happens on one connection: when it was last read, what is in flight, whether it is idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::net::{Prefixed, Stream};

/// Times are milliseconds since the connection began, plus one; 0 is none.
pub(super) struct Activity {
    start: Instant,
    in_flight: AtomicU64,
    /// When bytes came of a request that has not begun yet.
    heads_since: AtomicU64,
    idle_since: AtomicU64,
    is_old: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            in_flight: AtomicU64::new(0),
            heads_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            is_old: AtomicBool::new(false),
        })
    }

    /// A request has begun; it ends when what this returns is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.heads_since.store(0, Ordering::Relaxed);
        self.idle_since.store(0, Ordering::Relaxed);
        Begun(Arc::clone(self))
    }

    /// Over HTTP/1 the next answer asks the client to close: were it closed while idle, a request that is
    /// on its way would be lost.
    pub(super) fn retire(&self) {
        self.is_old.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end with the next answer.
    pub(super) fn is_retired(&self) -> bool {
        self.is_old.load(Ordering::Relaxed)
    }

    /// Whether there was no request for so long.
    pub(super) fn is_idle_for(&self, bound: Duration) -> bool {
        self.is_over(&self.idle_since, bound)
    }

    /// Whether a request takes so long for its headers. Of HTTP/1 alone: over HTTP/2 bytes come that
    /// are no part of a request.
    pub(super) fn is_head_late(&self, bound: Duration) -> bool {
        self.is_over(&self.heads_since, bound)
    }

    fn is_over(&self, since: &AtomicU64, bound: Duration) -> bool {
        let since = since.load(Ordering::Relaxed);
        since > 0
            && self.in_flight.load(Ordering::Relaxed) == 0
            && u128::from(self.now() - since.min(self.now())) >= bound.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn has_read(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.heads_since.load(Ordering::Relaxed) == 0
        {
            self.heads_since.store(self.now(), Ordering::Relaxed);
        }
    }
}

/// A request in flight on a connection.
pub(super) struct Begun(Arc<Activity>);

impl Drop for Begun {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        }
    }
}

/// A stream that tells what is read of it.
pub(super) struct Watched {
    pub(super) stream: Prefixed,
    pub(super) activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}

impl Watched {
    pub(super) fn new(prefix: bytes::Bytes, stream: Stream, activity: &Arc<Activity>) -> Self {
        if !prefix.is_empty() {
            activity.has_read();
        }
        Self {
            stream: Prefixed { prefix, stream },
            activity: Arc::clone(activity),
        }
    }
}
