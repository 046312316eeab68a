//! Petrel between a test and a sink that keeps what it is sent.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use tonic::Status;

use crate::client::{self, Grpc, HttpAnswer};
use crate::metrics::Metrics;
use crate::process::{Process, Scratch};
use crate::records::Record;
use crate::sink::{self, Kept};
use crate::{petrel, wait};

/// Often enough that a test can wait for what is saved.
const SAVED_EVERY: &str = "200ms";

/// See the head of this file.
pub(crate) struct Stage {
    pub(crate) setup: petrel::Setup,
    pub(crate) petrel: Process,
    pub(crate) scratch: Scratch,
    kept: Kept,
}

impl Stage {
    /// Petrel with `more` in its configuration, before a sink that accepts everything.
    #[track_caller]
    pub(crate) fn new(more: &str) -> Self {
        Self::answering(more, || Ok(()))
    }

    /// The same before a sink that keeps everything and answers as `answer` says.
    #[track_caller]
    pub(crate) fn answering(
        more: &str,
        answer: impl Fn() -> Result<(), Status> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::set_up(Scratch::new("stage"), more, |address| {
            sink::keep(address, answer)
        })
    }

    /// The same in a scratch directory that has been prepared, before a sink that `serve` starts.
    #[track_caller]
    pub(crate) fn set_up(scratch: Scratch, more: &str, serve: impl FnOnce(&str) -> Kept) -> Self {
        let address = wait::free_address();
        let kept = serve(&address);
        let setup = petrel::Setup::saving(&scratch, "petrel", &address, SAVED_EVERY, more);
        let petrel = setup.start(&scratch);
        Self {
            setup,
            petrel,
            scratch,
            kept,
        }
    }

    /// What has arrived at the sink, request by request.
    pub(crate) fn arrived(&self) -> Vec<Bytes> {
        self.kept.requests()
    }

    /// The records that have arrived at the sink, anomaly events included.
    pub(crate) fn arrived_records(&self) -> Vec<Record> {
        let requests = self.arrived().into_iter();
        requests.flat_map(records_of).collect()
    }

    /// Anomaly events that have arrived at the sink.
    pub(crate) fn events(&self) -> Vec<Record> {
        let mut records = self.arrived_records();
        records.retain(Record::is_event);
        records
    }

    /// Sends the bytes of a request over gRPC.
    pub(crate) async fn grpc(&self, body: impl Into<Bytes>) -> Result<(), Status> {
        let mut client = Grpc::new(&self.setup.grpc);
        client.send(body.into()).await.map(drop)
    }

    /// Sends the bytes of a request over HTTP.
    pub(crate) async fn http(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpAnswer {
        client::post(&self.setup.http, headers, body.into())
            .await
            .expect("Petrel answers")
    }

    /// Sends a request over gRPC that must be accepted.
    pub(crate) async fn accepts(&self, request: &ExportLogsServiceRequest) {
        let answer = self.grpc(request.encode_to_vec()).await;
        answer.expect("Petrel and the sink accept");
    }

    /// Sends one request after the other until a snapshot holds some of them, then waits until there is
    /// nothing left to write: all that was accepted is saved then. Returns what was sent.
    pub(crate) async fn saves(
        &self,
        request: impl Fn(u64) -> ExportLogsServiceRequest,
    ) -> Vec<ExportLogsServiceRequest> {
        const REQUESTS_MAX: u64 = 10_000;
        let written = || self.metrics().sum("petrel_state_snapshot_bytes", &[]);
        let mut sent = Vec::new();
        for index in 0..REQUESTS_MAX {
            let request = request(index);
            self.accepts(&request).await;
            sent.push(request);
            if written() > 0.0 {
                break;
            }
        }
        wait::until("a snapshot with nothing left to write", wait::SOON, || {
            (written() == 0.0).then_some(())
        });
        sent
    }

    /// Ends Petrel in good order, which sends all that it has to say; the anomaly events of its life.
    #[track_caller]
    pub(crate) fn ends(self) -> Vec<Record> {
        let events = self.kept.clone();
        assert!(self.petrel.stop().success());
        let records = events.requests().into_iter().flat_map(records_of);
        records.filter(Record::is_event).collect()
    }

    /// What Petrel says of itself now.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(&self.setup.metrics)
    }

    /// Waits for a line of Petrel's own log that has all of `words`, and returns it.
    #[track_caller]
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        let what = format!("a line of Petrel's log with {words:?}");
        wait::until(&what, wait::SOON, || {
            let log = self.petrel.stderr();
            let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
            log.lines().find(has_all).map(str::to_owned)
        })
    }
}

/// The records of an encoded request.
pub(crate) fn records_of(body: Bytes) -> Vec<Record> {
    Record::of(ExportLogsServiceRequest::decode(body).expect("Petrel sends valid protobuf"))
}
