//! Records with an id each, sent until they are acknowledged or refused for good, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::client::{Grpc, RpcStatus};
use crate::records::{self, Record};
use crate::sdks::telemetrygen;

/// Records of one request.
pub(crate) const RECORDS_A_REQUEST: u64 = 20;
/// Services that they are of, unless a row says otherwise.
const N_SERVICES: u64 = 4;
/// Between two tries of one request.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How the load is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Number of the first request.
    pub(crate) first_request: u64,
    /// Number of the request after the last.
    pub(crate) n_requests: u64,
    /// Requests in flight, over one connection.
    pub(crate) n_senders: u64,
    /// Bytes that each record has beside its id.
    pub(crate) padding: usize,
    /// How long a sender waits for an answer.
    pub(crate) timeout: Duration,
    /// Between an answer and the next request of a sender.
    pub(crate) pause: Duration,
    /// Services that the records are of, a request those of one.
    pub(crate) n_services: u64,
    /// Whether each sender has streams of its own, so that each stream has one order.
    pub(crate) is_ordered: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            first_request: 0,
            n_requests: 1_000,
            n_senders: 8,
            padding: 0,
            timeout: Duration::from_secs(5),
            pause: Duration::ZERO,
            n_services: N_SERVICES,
            is_ordered: false,
        }
    }
}

/// What senders were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Numbers of records that were acknowledged.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// Numbers of records that were refused for good.
    pub(crate) refused: BTreeSet<u64>,
    /// Records that a partial success said were rejected.
    pub(crate) rejected: u64,
    /// Tries that were answered with a retryable status or not at all.
    pub(crate) n_retried: u64,
    /// The words of refusals.
    pub(crate) messages: BTreeSet<String>,
}

/// What senders and the test know of each other meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    finishing: Arc<AtomicBool>,
    n_done: Arc<AtomicU64>,
}

impl Progress {
    /// Whether nothing new is to be sent, and nothing tried again.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// So many more requests have been answered for good.
    pub(crate) fn add_done(&self, n_requests: u64) {
        self.n_done.fetch_add(n_requests, Ordering::Relaxed);
    }
}

/// Senders at work. They finish when it is dropped.
pub(crate) struct Load {
    senders: JoinSet<Told>,
    progress: Progress,
}

impl Load {
    /// Starts to send to the gRPC address.
    pub(crate) fn start(address: &str, shape: Shape) -> Self {
        let next = Arc::new(AtomicU64::new(shape.first_request));
        let progress = Progress::default();
        let client = Grpc::new(address);
        let mut senders = JoinSet::new();
        for index in 0..shape.n_senders {
            let next = match shape.is_ordered {
                true => Arc::new(AtomicU64::new(shape.first_request + index)),
                false => Arc::clone(&next),
            };
            let sender = Sender {
                client: client.clone(),
                next,
                progress: progress.clone(),
                shape,
            };
            senders.spawn(sender.run());
        }
        Self::of(senders, progress)
    }

    /// Senders that have been started, and how far they are.
    pub(crate) fn of(senders: JoinSet<Told>, progress: Progress) -> Self {
        Self { senders, progress }
    }

    /// Requests that have been answered for good so far.
    pub(crate) fn n_done(&self) -> u64 {
        self.progress.n_done.load(Ordering::Relaxed)
    }

    /// Waits until every request is acknowledged or refused for good.
    pub(crate) async fn done(mut self) -> Told {
        let mut all = Told::default();
        for told in std::mem::take(&mut self.senders).join_all().await {
            all.acknowledged.extend(told.acknowledged);
            all.refused.extend(told.refused);
            all.rejected += told.rejected;
            all.n_retried += told.n_retried;
            all.messages.extend(told.messages);
        }
        all
    }

    /// The same, without trying again what is refused from now on.
    pub(crate) async fn finish(self) -> Told {
        self.progress.finishing.store(true, Ordering::Relaxed);
        self.done().await
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.progress.finishing.store(true, Ordering::Relaxed);
    }
}

struct Sender {
    client: Grpc,
    next: Arc<AtomicU64>,
    progress: Progress,
    shape: Shape,
}

impl Sender {
    async fn run(mut self) -> Told {
        let mut told = Told::default();
        let step = match self.shape.is_ordered {
            true => self.shape.n_senders,
            false => 1,
        };
        loop {
            let index = self.next.fetch_add(step, Ordering::Relaxed);
            if index >= self.shape.n_requests || self.progress.is_finishing() {
                return told;
            }
            self.deliver(index, &mut told).await;
            self.progress.add_done(1);
            if !self.shape.pause.is_zero() {
                tokio::time::sleep(self.shape.pause).await;
            }
        }
    }

    /// Sends a request until it is acknowledged or refused for good.
    async fn deliver(&mut self, index: u64, told: &mut Told) {
        let service = format!("load-{}", index % self.shape.n_services);
        let body = request_of(&service, index, self.shape.padding).encode_to_vec();
        loop {
            let sending = self.client.send(body.clone().into());
            let answer = tokio::time::timeout(self.shape.timeout, sending).await;
            let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("")));
            match answer {
                Ok(response) => {
                    let partial = response.partial_success.unwrap_or_default();
                    told.rejected += u64::try_from(partial.rejected_log_records).unwrap_or(0);
                    told.acknowledged.extend(numbers(index));
                    return;
                }
                Err(status) if !is_retryable(&status) => {
                    told.messages.insert(status.message().to_owned());
                    told.refused.extend(numbers(index));
                    return;
                }
                Err(_) if self.progress.is_finishing() => return,
                Err(status) => {
                    told.messages.insert(status.message().to_owned());
                    told.n_retried += 1;
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }
}

/// OTLP's rule, and a connection that broke.
fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => RpcStatus::of(status).has("google.rpc.RetryInfo"),
        // What tonic makes of a connection that is gone has a source, what a server said has none.
        _ => std::error::Error::source(status).is_some(),
    }
}

pub(crate) fn numbers(index: u64) -> std::ops::Range<u64> {
    index * RECORDS_A_REQUEST..(index + 1) * RECORDS_A_REQUEST
}

/// Records whose body begins with an id of their own.
pub(crate) fn request(index: u64, padding: usize) -> ExportLogsServiceRequest {
    request_of(&format!("load-{}", index % N_SERVICES), index, padding)
}

/// The same of a service.
pub(crate) fn request_of(service: &str, index: u64, padding: usize) -> ExportLogsServiceRequest {
    let log_records = numbers(index).map(|number| LogRecord {
        time_unix_nano: time_ns(number),
        body: Some(records::string_value(body(number, padding))),
        ..LogRecord::default()
    });
    records::request(service, log_records.collect())
}

/// When the record of this number happened.
pub(crate) fn time_ns(number: u64) -> u64 {
    const FIRST_NS: u64 = 1_700_000_000_000_000_000;
    const STEP_NS: u64 = 10_000_000;
    FIRST_NS + number * STEP_NS
}

/// The body of the record of this number.
pub(crate) fn body(number: u64, padding: usize) -> String {
    format!("record {number} of the load {}", "x".repeat(padding))
}

/// The number in a body of the load.
pub(crate) fn number_in(body: &str) -> Option<u64> {
    let rest = body.strip_prefix("record ")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// The number of a record of the load; of one of telemetrygen's, all of whose bodies are the same, its time.
pub(crate) fn number_of(record: &LogRecord) -> Option<u64> {
    match &record.body.as_ref()?.value {
        Some(any_value::Value::StringValue(body)) if body == telemetrygen::BODY => {
            Some(record.time_unix_nano)
        }
        Some(any_value::Value::StringValue(body)) => number_in(body),
        _ => None,
    }
}

/// How often each record has arrived, by number; anomaly events left out.
pub(crate) fn arrivals(records: &[Record]) -> BTreeMap<u64, u64> {
    let mut arrivals = BTreeMap::new();
    let records = records.iter().filter(|record| !record.is_event());
    for number in records.filter_map(|record| number_of(&record.record)) {
        *arrivals.entry(number).or_default() += 1;
    }
    arrivals
}
