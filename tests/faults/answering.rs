//! A next hop, gRPC and HTTP, that answers some requests by itself and hands the others on to a real Collector.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use crate::client::{Any, EXPORT_PATH, Grpc, RpcStatus};
use crate::load;
use crate::records::Record;

const REQUEST_BYTES_MAX: usize = 64 << 20;

/// What is answered to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// What the Collector says.
    Pass,
    /// The same, after that long.
    Slow(Duration),
    /// A gRPC status, for good.
    Refuse(tonic::Code),
    /// A gRPC status to come back after, with RetryInfo where a delay is given.
    Later(tonic::Code, Option<Duration>),
    /// An HTTP status, for good.
    HttpRefuse(u16),
    /// An HTTP status to come back after, with `Retry-After` where seconds are given.
    HttpLater(u16, Option<u64>),
    /// So many records are rejected, the others are handed on.
    Reject(usize),
}

/// What is known of a request when its answer is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// The lowest number of its records.
    pub(crate) first: u64,
    /// How often it came before.
    pub(crate) n_before: u32,
}

/// What it was sent, and said.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Numbers of records that it refused for good.
    pub(crate) refused: BTreeSet<u64>,
    /// Numbers of records that it rejected in partial successes.
    pub(crate) rejected: BTreeSet<u64>,
    /// Requests that it told to come back.
    pub(crate) n_postponed: u64,
    /// Requests that came back earlier than they were told to.
    pub(crate) n_too_early: u64,
    /// Value of the tenant's header and services of each request.
    pub(crate) tenants: Vec<(Option<String>, BTreeSet<String>)>,
    tries: BTreeMap<u64, u32>,
    not_before: BTreeMap<u64, Instant>,
}

/// The header that says whose a request is.
pub(crate) const TENANT: &str = "x-tenant";

/// See the head of this file. It ends with the runtime that it was started on.
#[derive(Clone)]
pub(crate) struct Answering {
    choose: Arc<dyn Fn(Asked) -> Answer + Send + Sync>,
    facts: Arc<Mutex<Facts>>,
    collector: Grpc,
}

impl Answering {
    /// Serves on `address`, before the Collector at `collector`.
    pub(crate) fn start(
        address: &str,
        collector: &str,
        choose: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let answering = Self {
            choose: Arc::new(choose),
            facts: Arc::default(),
            collector: Grpc::new(collector),
        };
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        let router = Router::new()
            .route(EXPORT_PATH, post(grpc))
            .route("/v1/logs", post(http))
            .with_state(answering.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        answering
    }

    /// What happened so far.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("nothing panics while it is held")
    }

    /// Answers one request.
    async fn answer(&self, headers: &HeaderMap, body: Bytes) -> Result<Bytes, Answer> {
        let mut request = ExportLogsServiceRequest::decode(body).expect("Petrel sends protobuf");
        let records = Record::of(request.clone());
        let numbers: BTreeSet<u64> = load::arrivals(&records).into_keys().collect();
        let answer = self.note(headers, &records, &numbers);
        match answer {
            Answer::Pass => self.pass(&request).await,
            Answer::Slow(delay) => {
                tokio::time::sleep(delay).await;
                self.pass(&request).await
            }
            Answer::Reject(n_rejected) => {
                let rejected: BTreeSet<u64> = numbers.into_iter().take(n_rejected).collect();
                remove(&mut request, &rejected);
                self.pass(&request).await?;
                let partial_success = Some(ExportLogsPartialSuccess {
                    rejected_log_records: rejected.len() as i64,
                    error_message: "some are not wanted".to_owned(),
                });
                self.facts().rejected.extend(rejected);
                Ok(ExportLogsServiceResponse { partial_success }
                    .encode_to_vec()
                    .into())
            }
            answer => Err(answer),
        }
    }

    /// Chooses the answer, and notes what it means.
    fn note(&self, headers: &HeaderMap, records: &[Record], numbers: &BTreeSet<u64>) -> Answer {
        let mut facts = self.facts();
        let tenant = headers.get(TENANT).and_then(|value| value.to_str().ok());
        let services = records.iter().filter(|record| !record.is_event());
        let services = services.map(|record| record.service().to_owned()).collect();
        facts.tenants.push((tenant.map(str::to_owned), services));
        let Some(&first) = numbers.first() else {
            return Answer::Pass;
        };
        let now = Instant::now();
        if facts.not_before.remove(&first).is_some_and(|at| now < at) {
            facts.n_too_early += 1;
        }
        let tries = facts.tries.entry(first).or_default();
        let n_before = *tries;
        *tries += 1;
        let answer = (self.choose)(Asked { first, n_before });
        let asked = match answer {
            Answer::Refuse(_) | Answer::HttpRefuse(_) => {
                facts.refused.extend(numbers);
                return answer;
            }
            Answer::Later(_, delay) => delay,
            Answer::HttpLater(_, seconds) => seconds.map(Duration::from_secs),
            _ => return answer,
        };
        facts.n_postponed += 1;
        if let Some(asked) = asked {
            facts.not_before.insert(first, now + asked);
        }
        answer
    }

    async fn pass(&self, request: &ExportLogsServiceRequest) -> Result<Bytes, Answer> {
        let sent = self.collector.clone().export(request).await;
        let response = sent.expect("the Collector behind takes everything");
        Ok(response.encode_to_vec().into())
    }
}

fn remove(request: &mut ExportLogsServiceRequest, numbers: &BTreeSet<u64>) {
    for resource_logs in &mut request.resource_logs {
        for scope_logs in &mut resource_logs.scope_logs {
            scope_logs.log_records.retain(|record| {
                let number = load::number_of(record);
                number.is_none_or(|number| !numbers.contains(&number))
            });
        }
    }
}

async fn grpc(State(answering): State<Answering>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return Response::default();
    };
    // Five bytes of framing; nothing is compressed here.
    match answering.answer(&parts.headers, body.slice(5..)).await {
        Ok(message) => grpc_ok(&message),
        Err(Answer::Refuse(code)) => Status::new(code, "not this one").into_http(),
        Err(Answer::Later(code, delay)) => {
            let message = "not now";
            let details = delay.map(|delay| retry_info(code, message, delay));
            Status::with_details(code, message, details.unwrap_or_default()).into_http()
        }
        Err(answer) => panic!("{answer:?} is no answer of gRPC"),
    }
}

fn grpc_ok(message: &[u8]) -> Response {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a short answer"));
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, Infallible>);
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(body).expect("a valid answer")
}

/// `google.protobuf.Duration`, and the only field of `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

fn retry_info(code: tonic::Code, message: &str, delay: Duration) -> Bytes {
    let info = RetryInfo {
        retry_delay: Some(ProtoDuration {
            seconds: delay.as_secs() as i64,
            nanos: delay.subsec_nanos() as i32,
        }),
    };
    let status = RpcStatus {
        code: code as i32,
        message: message.to_owned(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec().into(),
        }],
    };
    status.encode_to_vec().into()
}

async fn http(State(answering): State<Answering>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_BYTES_MAX).await else {
        return Response::default();
    };
    let answer = answering.answer(&parts.headers, body).await;
    let response = Response::builder().header("content-type", "application/x-protobuf");
    let (response, body) = match answer {
        Ok(message) => (response, message),
        Err(Answer::HttpRefuse(status)) => (response.status(status), Bytes::new()),
        Err(Answer::HttpLater(status, seconds)) => {
            let mut response = response.status(status);
            if let Some(seconds) = seconds {
                response = response.header("retry-after", seconds);
            }
            (response, Bytes::new())
        }
        Err(answer) => panic!("{answer:?} is no answer of HTTP"),
    };
    response.body(Body::from(body)).expect("a valid answer")
}
