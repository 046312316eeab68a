//! The load: requests of 1,000 records as a real Collector encodes them, replayed with an event time that
//! goes on.
//!
//! A pool of requests is made once, sent through a Collector, and kept as it came out: fields in descending
//! order and all. Each time one is sent again its times are written anew, in place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::client::Grpc;
use crate::collector::Collector;
use crate::process::Scratch;
use crate::records::{string_attribute, string_value};
use crate::report::Run;
use crate::subject::{Subject, collector_config};
use crate::{sink, wait};

pub(crate) const RECORDS_A_REQUEST: u64 = 1_000;
const SERVICES: [&str; 5] = ["checkout", "payment", "catalog", "cart", "gateway"];
/// Requests made once; with so many the values in bodies look different for long enough.
const POOL: u64 = 64;
/// Event time from one request to the next: 500 records a second.
const STEP_NS: u64 = 2_000_000_000;
const FIRST_NS: u64 = 1_760_000_000_000_000_000;
/// Requests in flight, as many as a Collector's exporter has by default.
const IN_FLIGHT: usize = 10;
/// Requests before the measurement begins.
const WARM_UP: u64 = 50;
/// Requests one after the other, to see how long an answer takes.
const SINGLE: u64 = 100;

/// Requests to be replayed.
pub(crate) struct Load {
    pool: Vec<Template>,
}

/// The bytes of a request, and where its times are.
struct Template {
    bytes: Vec<u8>,
    times: Vec<TimeField>,
}

/// Eight bytes at `offset` that hold a time so much after the request's first.
struct TimeField {
    offset: usize,
    since_first_ns: u64,
}

impl Load {
    /// Makes the requests and sends each through a Collector once.
    pub(crate) async fn as_sent_by(otelcol: Collector) -> Result<Self> {
        let scratch = Scratch::new("load");
        let [address, captured_at] = std::array::from_fn(|_| wait::free_address());
        let captured = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&captured);
        sink::serve(&captured_at, move |bytes| {
            keep.lock()
                .expect("nobody panics while holding this")
                .push(bytes);
            Ok(())
        });
        let config = collector_config(&address, &captured_at, "");
        let recorder = otelcol.start(&scratch, "recorder", &config, &[wait::port_of(&address)]);
        let mut client = Grpc::new(&address);
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..POOL {
            client.export(&request(&mut random)).await?;
        }
        recorder.stop();

        let captured =
            std::mem::take(&mut *captured.lock().expect("nobody panics while holding this"));
        ensure!(
            captured.len() as u64 == POOL,
            "the Collector has split or merged requests"
        );
        let pool = captured.into_iter().map(|bytes| Template::of(bytes.into()));
        Ok(Self {
            pool: pool.collect::<Result<_>>()?,
        })
    }

    pub(crate) fn description(&self) -> String {
        let bytes: usize = self.pool.iter().map(|template| template.bytes.len()).sum();
        let each = bytes as f64 / (POOL * RECORDS_A_REQUEST) as f64;
        format!(
            "load: requests of {RECORDS_A_REQUEST} records of {each:.0} bytes from {} services, in the Collector's \
             own encoding, {IN_FLIGHT} in flight",
            SERVICES.len()
        )
    }

    /// The request with this number, whose records are `number` steps after the first request's.
    fn request(&self, number: u64) -> Bytes {
        let index = usize::try_from(number % POOL).expect("the pool is small");
        let template = &self.pool[index];
        let mut bytes = template.bytes.clone();
        let first_ns = FIRST_NS + number * STEP_NS;
        for field in &template.times {
            let time = (first_ns + field.since_first_ns).to_le_bytes();
            bytes[field.offset..field.offset + time.len()].copy_from_slice(&time);
        }
        bytes.into()
    }

    /// Sends so many records to `subject` and takes its figures.
    #[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
    pub(crate) async fn run(&self, subject: &Subject, records: u64) -> Result<Run> {
        let requests = records.div_ceil(RECORDS_A_REQUEST);
        let number = AtomicU64::new(0);
        self.send_all(subject, &number, WARM_UP).await?;

        let (cpu, started) = (subject.cpu_seconds()?, Instant::now());
        self.send_all(subject, &number, WARM_UP + requests).await?;
        let (cpu, elapsed) = (subject.cpu_seconds()? - cpu, started.elapsed());

        let n_records = (requests * RECORDS_A_REQUEST) as f64;
        Ok(Run {
            cpu: cpu / n_records * 1e6,
            rate: n_records / elapsed.as_secs_f64(),
            latency_p50: self.latency_p50(subject, WARM_UP + requests).await?,
            peak_mib: subject.peak_mib()?,
            requests: WARM_UP + requests + SINGLE,
        })
    }

    /// Sends the requests from `next` up to `end`, some at a time over one connection.
    async fn send_all(&self, subject: &Subject, next: &AtomicU64, end: u64) -> Result<()> {
        let client = Grpc::new(&subject.address);
        let mut sending: JoinSet<Result<(), tonic::Status>> = JoinSet::new();
        loop {
            let number = next.load(Ordering::Relaxed);
            if number == end || sending.len() == IN_FLIGHT {
                match sending.join_next().await {
                    Some(sent) => sent??,
                    None => return Ok(()),
                }
                continue;
            }
            next.store(number + 1, Ordering::Relaxed);
            let (mut client, request) = (client.clone(), self.request(number));
            sending.spawn(async move { client.send(request).await.map(drop) });
        }
    }

    /// The median time to an answer with nothing else in flight.
    #[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
    async fn latency_p50(&self, subject: &Subject, first: u64) -> Result<Duration> {
        let mut client = Grpc::new(&subject.address);
        let mut latencies = Vec::new();
        for number in first..first + SINGLE {
            let request = self.request(number);
            let started = Instant::now();
            client.send(request).await?;
            latencies.push(started.elapsed());
        }
        latencies.sort_unstable();
        Ok(latencies[latencies.len() / 2])
    }
}

impl Template {
    fn of(bytes: Vec<u8>) -> Result<Self> {
        let mut times = Vec::new();
        find_times(&bytes, 0, 0, &mut times)?;
        let n_times = times.len() as u64;
        ensure!(
            n_times == 2 * RECORDS_A_REQUEST,
            "{n_times} times in a request"
        );
        Ok(Self { bytes, times })
    }
}

/// Finds the times of all log records in protobuf at the given depth (0: request, 1: resource logs, 2: scope
/// logs, 3: log record).
fn find_times(message: &[u8], offset: usize, depth: u32, times: &mut Vec<TimeField>) -> Result<()> {
    const VARINT: u64 = 0;
    const FIXED64: u64 = 1;
    const LENGTH: u64 = 2;
    const FIXED32: u64 = 5;
    let mut at = 0;
    while at < message.len() {
        let tag = varint(message, &mut at)?;
        let (field, start) = (tag >> 3, at);
        match tag & 7 {
            VARINT => drop(varint(message, &mut at)?),
            FIXED64 => at += 8,
            FIXED32 => at += 4,
            LENGTH => {
                let length = usize::try_from(varint(message, &mut at)?)?;
                let start = at;
                at += length;
                // `resource_logs` is field 1 of a request; below it, the next level is field 2.
                if (depth == 0 && field == 1) || ((1..=2).contains(&depth) && field == 2) {
                    let inner = message.get(start..at).context("a length beyond the end")?;
                    find_times(inner, offset + start, depth + 1, times)?;
                }
            }
            other => anyhow::bail!("wire type {other}"),
        }
        // `time_unix_nano` and `observed_time_unix_nano`.
        if depth == 3 && tag & 7 == FIXED64 && matches!(field, 1 | 11) {
            let time = message.get(start..at).context("a time beyond the end")?;
            let time = u64::from_le_bytes(time.try_into()?);
            times.push(TimeField {
                offset: offset + start,
                since_first_ns: time - FIRST_NS,
            });
        }
    }
    Ok(())
}

fn varint(message: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(*at).context("a varint beyond the end")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a varint of more than ten bytes")
}

/// Records of all services, whose times are spread over one step.
fn request(random: &mut SmallRng) -> ExportLogsServiceRequest {
    let each = RECORDS_A_REQUEST / SERVICES.len() as u64;
    let resource_logs = SERVICES.iter().map(|service| {
        let attributes = vec![
            string_attribute("service.name", *service),
            string_attribute("service.namespace", "shop"),
            string_attribute("deployment.environment.name", "production"),
            string_attribute("k8s.pod.name", format!("{service}-7d9f8b6c5d-x2v4q")),
            string_attribute("host.name", "node-17.eu-west.example.com"),
        ];
        let log_records =
            (0..each).map(|index| log_record(service, index * STEP_NS / each, random));
        let scope = InstrumentationScope {
            name: format!("com.example.shop.{service}"),
            ..Default::default()
        };
        ResourceLogs {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: log_records.collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }
    });
    ExportLogsServiceRequest {
        resource_logs: resource_logs.collect(),
    }
}

fn log_record(service: &str, since_first_ns: u64, random: &mut SmallRng) -> LogRecord {
    const OBSERVED_AFTER_NS: u64 = 40_000_000;
    let (severity_number, severity_text, body) = body(service, random);
    let traced = random.random_bool(0.6);
    LogRecord {
        time_unix_nano: FIRST_NS + since_first_ns,
        observed_time_unix_nano: FIRST_NS + since_first_ns + OBSERVED_AFTER_NS,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(string_value(body)),
        attributes: vec![
            string_attribute(
                "thread.name",
                format!("worker-{}", random.random_range(0..16)),
            ),
            string_attribute("http.route", format!("/api/v2/{service}/{{id}}")),
            string_attribute("log.file.name", format!("{service}.log")),
            string_attribute(
                "code.function.name",
                format!("com.example.{service}.Service.handle"),
            ),
        ],
        trace_id: if traced {
            random.random::<[u8; 16]>().to_vec()
        } else {
            Vec::new()
        },
        span_id: if traced {
            random.random::<[u8; 8]>().to_vec()
        } else {
            Vec::new()
        },
        ..LogRecord::default()
    }
}

/// One of nine templates, some of them frequent; with the ids, paths and numbers of real services.
fn body(service: &str, random: &mut SmallRng) -> (i32, &'static str, String) {
    const DEBUG: (i32, &str) = (5, "DEBUG");
    const INFO: (i32, &str) = (9, "INFO");
    const WARN: (i32, &str) = (13, "WARN");
    const ERROR: (i32, &str) = (17, "ERROR");
    let id: u64 = random.random();
    let (user, ms) = (id % 90_000 + 10_000, random.random_range(2..900));
    let address = format!("10.{}.{}.{}", id % 200, id / 256 % 256, id / 65_536 % 256);
    let uuid = format!(
        "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
        id >> 32,
        id & 0xffff,
        id & 0xfff,
        id >> 52,
        id >> 16
    );
    let ((number, text), body) = match random.random_range(0..100) {
        0..30 => (
            INFO,
            format!(
                "{address} \"GET /api/v2/{service}/{user}/items?page={} HTTP/1.1\" 200 {} {ms}ms trace={uuid}",
                id % 40,
                id % 50_000
            ),
        ),
        30..50 => (
            INFO,
            format!(
                "Request {uuid} from user {user} finished with status 200 in {ms} ms after {} queries, cache hit ratio 0.{}",
                id % 9,
                id % 100
            ),
        ),
        50..65 => (
            DEBUG,
            format!(
                "level=debug msg=\"acquired connection\" pool=primary waited={}us active={} idle={} caller=db/pool.go:{} conn={uuid}",
                id % 800,
                id % 32,
                id % 8,
                217
            ),
        ),
        65..77 => (
            DEBUG,
            format!(
                "Loaded /var/lib/{service}/segments/{:016x}.idx ({} bytes) into the page cache, {} entries, checksum {:08x} verified",
                id,
                id % 900_000,
                id % 4_000,
                id >> 32
            ),
        ),
        77..86 => (
            INFO,
            format!(
                "Published event OrderUpdated id={uuid} to topic shop.{service}.v1 partition {} offset {} for customer {user}",
                id % 24,
                id % 9_000_000
            ),
        ),
        86..92 => (
            INFO,
            format!(
                "{{\"event\":\"session_refreshed\",\"user\":{user},\"session\":\"{uuid}\",\"ip\":\"{address}\",\"ttl_s\":{},\"region\":\"eu-west-{}\"}}",
                id % 3_600,
                id % 3
            ),
        ),
        92..96 => (
            WARN,
            format!(
                "Slow query took {} ms: SELECT * FROM {service}_items WHERE owner_id = {user} AND updated_at > ? LIMIT {}",
                ms + 1_000,
                id % 500
            ),
        ),
        96..98 => (
            WARN,
            format!(
                "Retrying call to http://inventory.shop.svc:8080/v1/stock/{user} after {ms} ms, attempt {} of 5, request {uuid}",
                id % 5
            ),
        ),
        _ => (
            ERROR,
            format!(
                "Failed to process message {uuid} from queue {service}-{}: connection reset by peer ({address}:5672), will be redelivered in {ms} ms",
                id % 8
            ),
        ),
    };
    (number, text, body)
}
