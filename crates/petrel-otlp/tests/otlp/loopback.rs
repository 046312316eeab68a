//! A handler that remembers what it got and answers as it is told, behind real servers on loopback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use petrel_otlp::Signal;
use petrel_otlp::receive::{
    Admission, ExportReply, Handler, LiveReceive, ReceiveSettings, Received, Refusal, Transport,
    bind, serve_grpc, serve_http,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Answer = dyn Fn(&Received) -> Result<ExportReply, Refusal> + Send + Sync;

pub(crate) struct Recorder {
    pub(crate) requests: Mutex<Vec<Recorded>>,
    pub(crate) refused: Mutex<Vec<(Refusal, Signal, Transport)>>,
    answer: Box<Answer>,
}

/// What is kept of a request that was received.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) signal: Signal,
    pub(crate) request: Bytes,
    pub(crate) transport: Transport,
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: Vec<(String, String)>,
}

impl Recorder {
    pub(crate) fn answering(
        answer: impl Fn(&Received) -> Result<ExportReply, Refusal> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            requests: Mutex::default(),
            refused: Mutex::default(),
            answer: Box::new(answer),
        })
    }

    pub(crate) fn bytes(&self) -> Vec<Bytes> {
        let requests = self.requests.lock().expect("not poisoned");
        requests.iter().map(|it| it.request.clone()).collect()
    }

    pub(crate) fn pop(&self) -> Recorded {
        let last = self.requests.lock().expect("not poisoned").pop();
        last.expect("it came in")
    }
}

impl Handler for Recorder {
    async fn export(&self, received: Received) -> Result<ExportReply, Refusal> {
        let answer = (self.answer)(&received);
        let Received {
            signal,
            request,
            transport,
            timeout,
            metadata,
            in_flight: _,
        } = received;
        self.requests.lock().expect("not poisoned").push(Recorded {
            signal,
            request,
            transport,
            timeout,
            metadata,
        });
        answer
    }

    fn refused(&self, refusal: &Refusal, signal: Signal, transport: Transport) {
        let mut refused = self.refused.lock().expect("not poisoned");
        refused.push((refusal.clone(), signal, transport));
    }
}

/// Servers of both kinds with one handler and one gate.
pub(crate) struct Loopback {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) admission: Admission,
    pub(crate) live: Arc<LiveReceive>,
    pub(crate) grpc: String,
    pub(crate) http: String,
    drains: Vec<oneshot::Sender<()>>,
    servers: Vec<JoinHandle<()>>,
}

pub(crate) async fn loopback(
    settings: ReceiveSettings,
    admission: Admission,
    answer: impl Fn(&Received) -> Result<ExportReply, Refusal> + Send + Sync + 'static,
) -> Loopback {
    let endpoints = ["127.0.0.1:0", "localhost:0"];
    loopback_on(endpoints, settings, admission, answer).await
}

/// On endpoints for gRPC and for HTTP.
pub(crate) async fn loopback_on(
    endpoints: [&str; 2],
    settings: ReceiveSettings,
    admission: Admission,
    answer: impl Fn(&Received) -> Result<ExportReply, Refusal> + Send + Sync + 'static,
) -> Loopback {
    let recorder = Recorder::answering(answer);
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let live = LiveReceive::new(settings).expect("good settings");
    let (grpc, http) = (
        bind(endpoints[0]).await.expect("a free port"),
        bind(endpoints[1]).await.expect("a free port"),
    );
    let addresses = (
        grpc.local_addr().to_string(),
        match http.local_addr().to_string() {
            socket if socket.starts_with("unix:") => socket,
            address => format!("{scheme}://{address}"),
        },
    );
    let (grpc_drain, grpc_drained) = oneshot::channel();
    let (http_drain, http_drained) = oneshot::channel();
    let servers = vec![
        tokio::spawn({
            let (recorder, admission) = (Arc::clone(&recorder), admission.clone());
            let drain = async { grpc_drained.await.unwrap_or_default() };
            serve_grpc(grpc, recorder, admission, Arc::clone(&live), drain)
        }),
        tokio::spawn({
            let (recorder, admission) = (Arc::clone(&recorder), admission.clone());
            let drain = async { http_drained.await.unwrap_or_default() };
            serve_http(http, recorder, admission, Arc::clone(&live), drain)
        }),
    ];
    Loopback {
        recorder,
        admission,
        live,
        grpc: addresses.0,
        http: addresses.1,
        drains: vec![grpc_drain, http_drain],
        servers,
    }
}

impl Loopback {
    /// Ends both servers; what is in flight is answered first.
    pub(crate) async fn drain(self) {
        for drain in self.drains {
            drain.send(()).expect("the server waits for it");
        }
        for server in self.servers {
            server.await.expect("the server does not panic");
        }
    }
}

/// Takes everything.
pub(crate) async fn accepting() -> Loopback {
    let accept = |_: &Received| Ok(ExportReply::default());
    loopback(ReceiveSettings::default(), Admission::default(), accept).await
}
