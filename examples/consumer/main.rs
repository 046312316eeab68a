//! A consumer of Petrel's output in one page: an OTLP/gRPC receiver that prints anomalies and, from the
//! enriched records that came before them, the last few behind each.
//!
//! Everything it relies on is part of Petrel's contract: anomalies are log records whose `event_name`
//! starts with `anomaly.`, and they share `petrel.template.id` with the records they are about.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tonic::{Request, Response, Status};

const SAMPLES_A_TEMPLATE: usize = 3;
const TEMPLATES_MAX: usize = 10_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:4319".to_owned());
    println!("waiting for Petrel on {address}");
    let service = LogsServiceServer::new(Consumer::default()).max_decoding_message_size(16 << 20);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve(address.parse()?)
        .await?;
    Ok(())
}

/// The last bodies of each service's templates.
#[derive(Default)]
struct Consumer {
    samples: Mutex<HashMap<(String, String), VecDeque<String>>>,
}

#[tonic::async_trait]
impl LogsService for Consumer {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for resource_logs in request.into_inner().resource_logs {
            let resource = resource_logs.resource.unwrap_or_default();
            let service = text(&resource.attributes, "service.name");
            for record in resource_logs
                .scope_logs
                .iter()
                .flat_map(|scope_logs| &scope_logs.log_records)
            {
                match record.event_name.starts_with("anomaly.") {
                    true => self.print(&service, record),
                    false => self.keep(&service, record),
                }
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Consumer {
    /// One line an event, then the records behind it. `anomaly.id` is the same on all events of one
    /// anomaly, and an event can come twice: a real consumer would file them under it.
    fn print(&self, service: &str, event: &LogRecord) {
        let kind = text(&event.attributes, "anomaly.type");
        let score = text(&event.attributes, "anomaly.score");
        println!(
            "{} {service} {kind} score {score}: {}",
            event.event_name,
            body(event)
        );
        let key = (
            service.to_owned(),
            text(&event.attributes, "petrel.template.id"),
        );
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples.get(&key).into_iter().flatten() {
            println!("    sample: {sample}");
        }
    }

    fn keep(&self, service: &str, record: &LogRecord) {
        let key = (
            service.to_owned(),
            text(&record.attributes, "petrel.template.id"),
        );
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= TEMPLATES_MAX && !samples.contains_key(&key) {
            return;
        }
        let samples = samples.entry(key).or_default();
        if samples.len() == SAMPLES_A_TEMPLATE {
            samples.pop_front();
        }
        samples.push_back(body(record));
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    attribute
        .and_then(|attribute| attribute.value.as_ref()?.value.as_ref())
        .map(show)
        .unwrap_or_default()
}

fn body(record: &LogRecord) -> String {
    record
        .body
        .as_ref()
        .and_then(|body| body.value.as_ref())
        .map(show)
        .unwrap_or_default()
}

/// Log text is whatever somebody wrote: escaped, so that it cannot steer the terminal.
fn show(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.chars().flat_map(printable).collect(),
        Value::DoubleValue(number) => number.to_string(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn printable(character: char) -> Vec<char> {
    match character.is_control() {
        true => character.escape_default().collect(),
        false => vec![character],
    }
}
