//! What the load consists of: services, their records and bodies.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::records::{string_attribute, string_value};

const SERVICES: [&str; 5] = ["checkout", "payment", "catalog", "cart", "gateway"];
pub(super) const FIRST_NS: u64 = 1_760_000_000_000_000_000;
/// Event time from one record to the next: 500 records a second.
const RECORD_NS: u64 = 2_000_000;

/// How requests are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Records of a request.
    pub(crate) records: u64,
    /// Services in a request, with equal shares of its records.
    pub(crate) services_a_request: u64,
    /// Services over all requests, which take turns.
    pub(crate) services: u64,
}

impl Shape {
    /// As most senders': a batch of 1,000 records.
    pub(crate) const LARGE: Self = Self::of(1_000);
    /// As of senders that batch little.
    pub(crate) const SMALL: Self = Self::of(100);
    /// Of many services, so that workers have equal shares of them.
    pub(crate) const SPREAD: Self = Self {
        records: 1_000,
        services_a_request: 20,
        services: 200,
    };

    const fn of(records: u64) -> Self {
        Self {
            records,
            services_a_request: SERVICES.len() as u64,
            services: SERVICES.len() as u64,
        }
    }

    /// Event time from one request to the next.
    pub(crate) const fn step_ns(self) -> u64 {
        self.records * RECORD_NS
    }
}

/// The request with this number: records of its services, whose times are spread over one step.
pub(super) fn request(
    shape: Shape,
    number: u64,
    random: &mut SmallRng,
) -> ExportLogsServiceRequest {
    let each = shape.records / shape.services_a_request;
    let first = number * shape.services_a_request;
    let resource_logs = (first..first + shape.services_a_request).map(|index| {
        let index = usize::try_from(index % shape.services).expect("services are few");
        let (kind, copy) = (SERVICES[index % SERVICES.len()], index / SERVICES.len());
        let service = match copy {
            0 => kind.to_owned(),
            _ => format!("{kind}-{copy}"),
        };
        let attributes = vec![
            string_attribute("service.name", service.as_str()),
            string_attribute("service.namespace", "shop"),
            string_attribute("deployment.environment.name", "production"),
            string_attribute("k8s.pod.name", format!("{service}-7d9f8b6c5d-x2v4q")),
            string_attribute("host.name", "node-17.eu-west.example.com"),
        ];
        let log_records =
            (0..each).map(|index| log_record(kind, index * shape.step_ns() / each, random));
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
