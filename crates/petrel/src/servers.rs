//! The OTLP servers: bound, kept over a reload where their address stays, and drained.

use std::sync::Arc;

use anyhow::Context;
use petrel_otlp::receive::{
    Address, Admission, Listener, LiveReceive, ReceiveSettings, bind, serve_grpc, serve_http,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Receiver, Receivers};
use crate::inline::Inline;

/// The servers that run.
#[derive(Debug)]
pub struct Servers {
    /// OTLP/gRPC.
    pub grpc: Option<Server>,
    /// OTLP/HTTP.
    pub http: Option<Server>,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: Address,
    endpoint: String,
    live: Arc<LiveReceive>,
    is_draining: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What the servers are to be, with everything done that can fail.
#[derive(Debug)]
pub struct Planned {
    grpc: Plan,
    http: Plan,
}

#[derive(Debug)]
enum Plan {
    Off,
    /// The server that runs goes on with other settings.
    Keep(Box<ReceiveSettings>),
    Start(Starting),
}

#[derive(Debug)]
struct Starting {
    endpoint: String,
    listener: Listener,
    live: Arc<LiveReceive>,
    has_tls: bool,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Grpc,
    Http,
}

impl Servers {
    /// No server.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            grpc: None,
            http: None,
        }
    }

    /// Binds what is not bound yet and loads certificates; nothing that runs is touched.
    ///
    /// # Errors
    /// An address that cannot be bound, or a certificate, key or token that cannot be used.
    pub async fn plan(&self, receivers: &Receivers) -> anyhow::Result<Planned> {
        Ok(Planned {
            grpc: plan(receivers.grpc.as_ref(), self.grpc.as_ref())
                .await
                .context("receivers.otlp.protocols.grpc")?,
            http: plan(receivers.http.as_ref(), self.http.as_ref())
                .await
                .context("receivers.otlp.protocols.http")?,
        })
    }

    /// Brings about what is planned. A server whose address is no longer wanted finishes its requests in
    /// the background.
    pub fn apply(&mut self, planned: Planned, inline: &Arc<Inline>, admission: &Admission) {
        apply(
            &mut self.grpc,
            planned.grpc,
            Protocol::Grpc,
            inline,
            admission,
        );
        apply(
            &mut self.http,
            planned.http,
            Protocol::Http,
            inline,
            admission,
        );
    }

    /// Takes no more requests and answers those in flight.
    pub async fn drain(&mut self) {
        let servers = [self.grpc.take(), self.http.take()];
        for server in servers.iter().flatten() {
            server.stop();
        }
        for server in servers.into_iter().flatten() {
            if let Err(error) = server.task.await {
                tracing::error!(%error, "a server did not end in good order");
            }
        }
    }
}

impl Server {
    fn stop(&self) {
        // Nobody listens any more when it has ended by itself.
        let _ = self.is_draining.send(true);
    }
}

async fn plan(receiver: Option<&Receiver>, running: Option<&Server>) -> anyhow::Result<Plan> {
    let Some(receiver) = receiver else {
        return Ok(Plan::Off);
    };
    let live = LiveReceive::new(receiver.settings.clone())?;
    if running.is_some_and(|running| running.endpoint == receiver.endpoint) {
        return Ok(Plan::Keep(Box::new(receiver.settings.clone())));
    }
    Ok(Plan::Start(Starting {
        listener: bind(&receiver.endpoint).await?,
        endpoint: receiver.endpoint.clone(),
        live,
        has_tls: receiver.settings.tls.is_some(),
    }))
}

fn apply(
    running: &mut Option<Server>,
    plan: Plan,
    protocol: Protocol,
    inline: &Arc<Inline>,
    admission: &Admission,
) {
    let next = match plan {
        Plan::Off => None,
        Plan::Keep(settings) => {
            if let Some(server) = running
                && let Err(error) = server.live.replace(*settings)
            {
                // They could be loaded a moment ago.
                tracing::error!(%error, "a server goes on with the settings that it had");
            }
            return;
        }
        Plan::Start(starting) => Some(start(protocol, starting, inline, admission)),
    };
    if let Some(before) = std::mem::replace(running, next) {
        before.stop();
        tracing::info!(address = %before.address, "no longer served");
    }
}

fn start(
    protocol: Protocol,
    starting: Starting,
    inline: &Arc<Inline>,
    admission: &Admission,
) -> Server {
    let Starting {
        endpoint,
        listener,
        live,
        has_tls,
    } = starting;
    let address = listener.local_addr().clone();
    if !address.is_loopback() && !has_tls {
        tracing::warn!(%address, "telemetry comes in as plaintext, from whoever can reach this address");
    }
    let (is_draining, mut drain) = watch::channel(false);
    let drained = async move {
        // An error means that the sender is gone, which ends us too.
        let _ = drain.wait_for(|is_draining| *is_draining).await;
    };
    let (handler, admission) = (Arc::clone(inline), admission.clone());
    let serving = Arc::clone(&live);
    let task = match protocol {
        Protocol::Grpc => {
            tracing::info!(%address, "OTLP/gRPC is served");
            tokio::spawn(serve_grpc(listener, handler, admission, serving, drained))
        }
        Protocol::Http => {
            tracing::info!(%address, "OTLP/HTTP is served");
            tokio::spawn(serve_http(listener, handler, admission, serving, drained))
        }
    };
    Server {
        address,
        endpoint,
        live,
        is_draining,
        task,
    }
}
