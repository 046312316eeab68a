//! A handler that remembers what it got and answers as it is told, behind real servers on loopback.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use petrel_otlp::receive::{
    Admission, ExportReply, LogsHandler, ReceiveSettings, Received, Refusal, Transport, bind,
    serve_grpc, serve_http,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

type Answer = dyn Fn(&Received) -> Result<ExportReply, Refusal> + Send + Sync;

pub(crate) struct Recorder {
    pub(crate) requests: Mutex<Vec<Received>>,
    pub(crate) refused: Mutex<Vec<(Refusal, Transport)>>,
    answer: Box<Answer>,
}

impl Recorder {
    pub(crate) fn bytes(&self) -> Vec<Bytes> {
        let requests = self.requests.lock().expect("not poisoned");
        requests.iter().map(|it| it.request.clone()).collect()
    }
}

impl LogsHandler for Recorder {
    async fn export(&self, received: Received) -> Result<ExportReply, Refusal> {
        let answer = (self.answer)(&received);
        self.requests.lock().expect("not poisoned").push(received);
        answer
    }

    fn refused(&self, refusal: &Refusal, transport: Transport) {
        let mut refused = self.refused.lock().expect("not poisoned");
        refused.push((refusal.clone(), transport));
    }
}

/// Servers of both kinds with one handler and one gate.
pub(crate) struct Loopback {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) admission: Admission,
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
    let recorder = Arc::new(Recorder {
        requests: Mutex::default(),
        refused: Mutex::default(),
        answer: Box::new(answer),
    });
    let (grpc, http) = (
        bind("127.0.0.1:0").await.expect("a free port"),
        bind("localhost:0").await.expect("a free port"),
    );
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().expect("bound");
    let addresses = (
        address(&grpc).to_string(),
        format!("http://{}", address(&http)),
    );
    let (grpc_drain, grpc_drained) = oneshot::channel();
    let (http_drain, http_drained) = oneshot::channel();
    let servers = vec![
        tokio::spawn({
            let (recorder, settings) = (Arc::clone(&recorder), settings.clone());
            let admission = admission.clone();
            async move {
                let drain = async { grpc_drained.await.unwrap_or_default() };
                let served = serve_grpc(grpc, recorder, admission, settings, drain).await;
                served.expect("the server ends when told");
            }
        }),
        tokio::spawn({
            let (recorder, admission) = (Arc::clone(&recorder), admission.clone());
            async move {
                let drain = async { http_drained.await.unwrap_or_default() };
                serve_http(http, recorder, admission, settings, drain).await;
            }
        }),
    ];
    Loopback {
        recorder,
        admission,
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
