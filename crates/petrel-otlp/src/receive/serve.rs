//! The loop that takes connections, for both protocols: how many there may be, and how it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connection::connection;
use super::{Handler, Listener, LiveReceive, Server};
use crate::net::Stream;

/// How long to wait after the system would not give a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is spoken on a port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// OTLP/gRPC: HTTP/2 alone.
    Grpc,
    /// OTLP/HTTP: HTTP/1.1 and HTTP/2.
    Http,
}

/// Serves until `drain` is done and the requests that were in flight then are answered.
pub(super) async fn serve<H: Handler>(
    listener: Listener,
    server: Arc<Server<H>>,
    speaks: Speaks,
    drain: impl Future<Output = ()>,
) {
    let ending = watch::Sender::new(false);
    let connections = watch::Sender::new(0_usize);
    let mut accepting = Accepting {
        listener,
        is_failing: false,
    };
    let mut drain = std::pin::pin!(drain);
    loop {
        let stream = tokio::select! {
            stream = accepting.next(&server.live, &connections) => stream,
            () = &mut drain => break,
        };
        let counted = Counted::new(&connections);
        let (server, ending) = (Arc::clone(&server), ending.subscribe());
        tokio::spawn(async move {
            connection(stream, server, speaks, ending).await;
            drop(counted);
        });
    }
    drop(accepting);
    ending.send_replace(true);
    // It fails only when the sender is gone, which is here.
    let _ = connections
        .subscribe()
        .wait_for(|&n_connections| n_connections == 0)
        .await;
}

struct Accepting {
    listener: Listener,
    is_failing: bool,
}

impl Accepting {
    /// The next connection, as soon as there may be one more. Whatever the system answers, the loop
    /// goes on.
    async fn next(&mut self, live: &LiveReceive, connections: &watch::Sender<usize>) -> Stream {
        room(live, connections).await;
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    self.is_failing = false;
                    return stream;
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn pause(&mut self, error: &io::Error) {
        if !self.is_failing {
            let address = self.listener.local_addr();
            tracing::warn!(%error, %address, "no connection can be taken; trying on");
        }
        self.is_failing = true;
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn room(live: &LiveReceive, connections: &watch::Sender<usize>) {
    let (mut ended, mut changed) = (connections.subscribe(), live.changes());
    loop {
        let connections_max = live.load().settings.connections_max.max(1);
        if *ended.borrow_and_update() < connections_max {
            return;
        }
        tokio::select! {
            _ = ended.changed() => {}
            _ = changed.changed() => {}
        }
    }
}

/// One connection of the count.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(connections: &watch::Sender<usize>) -> Self {
        connections.send_modify(|n_connections| *n_connections += 1);
        Self(connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n_connections| *n_connections -= 1);
    }
}
