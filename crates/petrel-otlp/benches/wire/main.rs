//! Walk and splice against what they replace: prost decoding, inserting and encoding the same bytes,
//! in the order in which SDKs write fields (ascending) and in that of a Collector (descending).
//!
//! `cargo bench -p petrel-otlp --bench wire`: one core, one line a measure, the best of many runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use petrel_batch::{Attribute, ColumnRequest, ColumnSet, DataType, EventTime, RowEdits};
use petrel_otlp::{Buffers, ResourceCache, WalkPlan, WalkSettings, Workers, splice, walk};
use prost::Message;

const N_RECORDS: u32 = 1000;
const RUNS: u32 = 2000;

fn main() {
    let request = sdk_request();
    let ascending = Bytes::from(request.encode_to_vec());
    let descending = Bytes::from(descending::request(&request));
    let same = ExportLogsServiceRequest::decode(descending.clone()).expect("valid");
    assert_eq!(same, request, "both orders mean the same");
    println!(
        "{N_RECORDS} records of {} bytes",
        ascending.len() / N_RECORDS as usize
    );
    for (order, bytes) in [("ascending", ascending), ("descending", descending)] {
        let prost = measure(|| decode_insert_encode(&bytes));
        println!("{order:<11} prost decode+insert+encode {prost:.4} us/record");
        bench(order, &bytes, prost);
    }
}

fn bench(order: &str, bytes: &Bytes, prost: f64) {
    let report = |what: &str, took: f64| {
        println!(
            "{order:<11} {what:<26} {took:.4} us/record, 1/{:.1} of prost",
            prost / took
        );
    };
    let cache = ResourceCache::default();
    let (few, all) = (plan(&["body"]), plan(&COLUMNS));
    let walk = |plan: &WalkPlan| {
        let arrival = EventTime::from_seconds(1_700_000_000);
        walk(bytes, plan, &cache, "", arrival, Workers::ONE).expect("valid")
    };
    report("walk, time and body", measure(|| walk(&few)));
    report("walk, eight columns", measure(|| walk(&all)));
    let walked = walk(&all);
    let batch = walked.batches[0].as_ref().expect("rows");
    let edits = template_edits();
    let buffers = Buffers::default();
    report(
        "splice",
        measure(|| splice(bytes, &walked.layout, &[(batch.places(), &edits)], &buffers)),
    );
    report(
        "walk and splice",
        measure(|| {
            let walked = walk(&all);
            let batch = walked.batches[0].as_ref().expect("rows");
            splice(bytes, &walked.layout, &[(batch.places(), &edits)], &buffers)
        }),
    );
    report("copy of the bytes", measure(|| bytes.to_vec()));
}

/// Microseconds a record, the best of [`RUNS`] runs.
fn measure<T>(mut run: impl FnMut() -> T) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let now = std::time::Instant::now;
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = now();
        black_box(run());
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e6 / f64::from(N_RECORDS)
}

const COLUMNS: [&str; 7] = [
    "body",
    "severity_number",
    "weight",
    "trace",
    "attribute.http.route",
    "attribute.log.record.template",
    "attribute.duration_ms",
];

fn plan(columns: &[&str]) -> WalkPlan {
    let requests = columns.iter().map(|&name| {
        let data_type = match name {
            "severity_number" => DataType::Uint32,
            "trace" => DataType::Uint64,
            "weight" | "attribute.duration_ms" => DataType::Float64,
            _ => DataType::Utf8,
        };
        ColumnRequest::new(name, data_type)
    });
    WalkPlan::new(WalkSettings::new(Arc::new(ColumnSet::new(requests))))
}

/// What a request's records most often get: one of a few templates.
fn template_edits() -> RowEdits {
    let template = |id: u32| {
        vec![
            Attribute::new(
                "log.record.template",
                format!("request <*> of user <*> took <*> ms, answer {id}"),
            ),
            Attribute::new("petrel.template.id", format!("{id:016x}")),
        ]
    };
    RowEdits {
        sets: (0..20).map(template).collect(),
        base: (0..N_RECORDS).map(|row| row % 20).collect(),
        extra: vec![],
    }
}

fn decode_insert_encode(bytes: &Bytes) -> Vec<u8> {
    let mut request = ExportLogsServiceRequest::decode(bytes.clone()).expect("valid");
    for record in &mut request.resource_logs[0].scope_logs[0].log_records {
        record.attributes.push(text(
            "log.record.template",
            "request <*> of user <*> took <*> ms, answer 12",
        ));
        record
            .attributes
            .push(text("petrel.template.id", "0123456789abcdef"));
    }
    request.encode_to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    }
}

fn sdk_request() -> ExportLogsServiceRequest {
    let record = |n: u32| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + u64::from(n) * 1_000_000,
        observed_time_unix_nano: 1_700_000_000_100_000_000 + u64::from(n) * 1_000_000,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!(
                "request 7f3a{n:08x} of user {} took {} ms, answer 200, cache miss",
                n % 977,
                n % 300
            ))),
        }),
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/api/v1/orders/{id}"),
            attribute(
                "http.response.status_code",
                Value::IntValue(200 + i64::from(n % 5)),
            ),
            attribute("duration_ms", Value::DoubleValue(f64::from(n % 300))),
            text("thread.name", "worker-17"),
            text("code.function.name", "orders.handle"),
        ],
        trace_id: u128::from(n)
            .wrapping_mul(0x9e37_79b9)
            .to_be_bytes()
            .to_vec(),
        span_id: u64::from(n + 1).to_be_bytes().to_vec(),
        flags: 1,
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "orders"),
                    text("service.namespace", "shop"),
                    text("k8s.pod.name", "orders-7d9f8b6c4-x2x5z"),
                ],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "orders.http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records: (0..N_RECORDS).map(record).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// The order in which the Collector's encoder writes fields.
mod descending {
    use super::*;

    pub(crate) fn request(request: &ExportLogsServiceRequest) -> Vec<u8> {
        let resource_logs = request.resource_logs.iter().map(resource_logs);
        resource_logs.flat_map(|bytes| field(1, bytes)).collect()
    }

    fn resource_logs(resource_logs: &ResourceLogs) -> Vec<u8> {
        let mut out = Vec::new();
        for scope_logs in &resource_logs.scope_logs {
            out.extend(field(2, self::scope_logs(scope_logs)));
        }
        let mut resource = Vec::new();
        for attribute in resource_logs.resource.iter().flat_map(|it| &it.attributes) {
            resource.extend(field(1, key_value(attribute)));
        }
        out.extend(field(1, resource));
        out
    }

    fn scope_logs(scope_logs: &ScopeLogs) -> Vec<u8> {
        let mut out = Vec::new();
        for record in &scope_logs.log_records {
            out.extend(field(2, self::record(record)));
        }
        let scope = scope_logs.scope.as_ref().map(Message::encode_to_vec);
        out.extend(field(1, scope.unwrap_or_default()));
        out
    }

    fn record(record: &LogRecord) -> Vec<u8> {
        let mut out = vec![0x59];
        out.extend(record.observed_time_unix_nano.to_le_bytes());
        out.extend(field(10, record.span_id.clone()));
        out.extend(field(9, record.trace_id.clone()));
        out.push(0x45);
        out.extend(record.flags.to_le_bytes());
        for attribute in &record.attributes {
            out.extend(field(6, key_value(attribute)));
        }
        let body = record.body.as_ref().map(Message::encode_to_vec);
        out.extend(field(5, body.unwrap_or_default()));
        out.extend(field(3, record.severity_text.clone().into_bytes()));
        out.extend([0x10, record.severity_number as u8, 0x09]);
        out.extend(record.time_unix_nano.to_le_bytes());
        out
    }

    fn key_value(attribute: &KeyValue) -> Vec<u8> {
        let value = attribute.value.as_ref().map(Message::encode_to_vec);
        let mut out = field(2, value.unwrap_or_default());
        out.extend(field(1, attribute.key.clone().into_bytes()));
        out
    }

    fn field(number: u8, content: Vec<u8>) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(content);
        out
    }
}
