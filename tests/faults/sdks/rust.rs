//! The Rust SDK before Petrel: programs with a logger provider, a batch processor and an exporter each.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLogRecord, SdkLoggerProvider,
};
use tokio::task::JoinSet;

use crate::load::{self, Load, Progress, RECORDS_A_REQUEST, Shape, Told};
use crate::scene::Protocol;
use crate::wait;

/// A batch is exported when it is full, never because of its age, so that each is one request of the load.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts one program for each sender.
pub(crate) fn load(protocol: Protocol, address: &str, shape: Shape) -> Load {
    let next = Arc::new(AtomicU64::new(shape.first_request));
    let progress = Progress::default();
    let mut programs = JoinSet::new();
    for index in 0..shape.n_senders {
        let (answered, answers) = sync_channel(RECORDS_A_REQUEST as usize);
        let told = Arc::default();
        let exporter = Telling {
            exporter: exporter(protocol, address, shape.timeout),
            told: Arc::clone(&told),
            progress: progress.clone(),
            answered,
        };
        let program = Program {
            service: format!("load-{index}"),
            next: Arc::clone(&next),
            progress: progress.clone(),
            shape,
            answers,
        };
        programs.spawn_blocking(move || {
            program.run(exporter);
            mem::take(&mut *told.lock().expect("nothing panics while it is held"))
        });
    }
    Load::of(programs, progress)
}

fn exporter(
    protocol: Protocol,
    address: &str,
    timeout: Duration,
) -> opentelemetry_otlp::LogExporter {
    let builder = opentelemetry_otlp::LogExporter::builder();
    let exporter = match protocol {
        Protocol::Grpc => builder
            .with_tonic()
            .with_endpoint(format!("http://{address}"))
            .with_timeout(timeout)
            .build(),
        Protocol::Http => builder
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(format!("http://{address}/v1/logs"))
            .with_timeout(timeout)
            .build(),
    };
    exporter.expect("a valid endpoint")
}

/// What logs, one request's records at a time.
struct Program {
    service: String,
    next: Arc<AtomicU64>,
    progress: Progress,
    shape: Shape,
    /// How many records have been answered for good, or given up.
    answers: Receiver<u64>,
}

impl Program {
    fn run(self, exporter: Telling) {
        let config = BatchConfigBuilder::default()
            .with_max_export_batch_size(RECORDS_A_REQUEST as usize)
            .with_scheduled_delay(NEVER);
        let processor = BatchLogProcessor::builder(exporter)
            .with_batch_config(config.build())
            .build();
        let resource = Resource::builder().with_service_name(self.service);
        let provider = SdkLoggerProvider::builder()
            .with_resource(resource.build())
            .with_log_processor(processor)
            .build();
        let logger = provider.logger("load");
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.shape.n_requests || self.progress.is_finishing() {
                break;
            }
            for number in load::numbers(index) {
                let mut record = logger.create_log_record();
                record.set_timestamp(UNIX_EPOCH + Duration::from_nanos(load::time_ns(number)));
                record.set_body(AnyValue::from(load::body(number, self.shape.padding)));
                logger.emit(record);
            }
            let mut n_answered = 0;
            while n_answered < RECORDS_A_REQUEST {
                n_answered += self.answers.recv().expect("the exporter lives");
            }
            self.progress.add_done(1);
            // The processor has counted the batch as sent when this returns: the next begins with none.
            provider.force_flush().expect("nothing is left to send");
            std::thread::park_timeout(self.shape.pause);
        }
        provider.shutdown().expect("nothing is left to send");
    }
}

/// The SDK's exporter, and what it was told.
#[derive(Debug)]
struct Telling {
    exporter: opentelemetry_otlp::LogExporter,
    told: Arc<Mutex<Told>>,
    progress: Progress,
    answered: SyncSender<u64>,
}

impl LogExporter for Telling {
    /// What the SDK's exporter says is exported is acknowledged. It tries again three times by itself; what it
    /// then says has failed its processor would drop, so it is exported anew from here, as often as it takes.
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records: Vec<_> = batch.iter().collect();
        loop {
            let result = self.exporter.export(LogBatch::new(&records)).await;
            {
                let mut told = self.told.lock().expect("nothing panics while it is held");
                match &result {
                    Ok(()) => {
                        let numbers = records.iter().map(|(record, _)| number_of(record));
                        told.acknowledged.extend(numbers);
                    }
                    Err(error) => {
                        told.messages.insert(error.to_string());
                        told.n_retried += 1;
                    }
                }
            }
            if result.is_ok() || self.progress.is_finishing() {
                let answered = self.answered.send(records.len() as u64);
                answered.expect("the program waits for it");
                return result;
            }
            wait::a_moment();
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn number_of(record: &SdkLogRecord) -> u64 {
    let Some(AnyValue::String(body)) = record.body() else {
        panic!("{record:?} is not of the load");
    };
    load::number_in(body.as_str()).expect("records of the load have one")
}
