//! Petrel between two Collectors against the Collectors alone, on generated requests: what comes out is
//! equal but for our attributes, over gRPC, HTTP with protobuf and HTTP with JSON.

use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::Grpc;
use crate::collector;
use crate::front::Ports;
use crate::process::{Process, Scratch};
use crate::records::{self, Output, Record};
use crate::{petrel, wait};

/// An unoptimised build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
const NOW_NS: u64 = 1_700_000_000_000_000_000;
const N_SMALL: usize = 60;
/// Above what a Collector takes by default, and what a request is cut at.
const LARGE_BYTES: usize = 5 << 20;
const REQUEST_MIB_MAX: usize = 64;
const DEPTH_MAX: u32 = 4;

/// Makes requests that use all that OTLP allows.
struct Generator(StdRng);

impl Generator {
    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_ratio(percent, 100)
    }

    fn text(&mut self) -> String {
        const WORDS: [&str; 10] = [
            "",
            "order",
            "accepted",
            "größer",
            "日本語",
            "\u{0}",
            "\n\t",
            "<*>",
            "4711",
            "\u{10ffff}",
        ];
        let n_words = self.0.random_range(0..6);
        let words = (0..n_words).map(|_| WORDS[self.0.random_range(0..WORDS.len())]);
        words.collect::<Vec<_>>().join(" ")
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.0.random()).collect()
    }

    fn value(&mut self, depth: u32) -> Option<AnyValue> {
        let kinds = if depth < DEPTH_MAX { 8 } else { 6 };
        let value = match self.0.random_range(0..kinds) {
            0 => Value::StringValue(self.text()),
            1 => Value::BoolValue(self.0.random()),
            2 => Value::IntValue([0, -1, i64::MIN, i64::MAX, 42][self.0.random_range(0..5)]),
            3 => Value::DoubleValue(
                [0.0, -0.5, 1e300, f64::MIN_POSITIVE, 0.1][self.0.random_range(0..5)],
            ),
            4 => {
                let length = self.0.random_range(0..20);
                Value::BytesValue(self.bytes(length))
            }
            5 => return Some(AnyValue { value: None }),
            6 => {
                let values = (0..self.0.random_range(0..4)).filter_map(|_| self.value(depth + 1));
                Value::ArrayValue(ArrayValue {
                    values: values.collect(),
                })
            }
            _ => Value::KvlistValue(KeyValueList {
                values: self.attributes(depth + 1),
            }),
        };
        Some(AnyValue { value: Some(value) })
    }

    fn attributes(&mut self, depth: u32) -> Vec<KeyValue> {
        let count = self.0.random_range(0..5);
        let mut attributes: Vec<KeyValue> = Vec::new();
        for index in 0..count {
            let key = match self.chance(5) {
                true => String::new(),
                false => format!(
                    "{}{index}",
                    ["key ", "http.route.", "größe."][self.0.random_range(0..3)]
                ),
            };
            attributes.push(KeyValue {
                key,
                value: self.value(depth),
                ..KeyValue::default()
            });
        }
        attributes
    }

    fn log_record(&mut self) -> LogRecord {
        const SEVERITIES: i32 = 25;
        let (has_body, has_trace) = (self.chance(90), self.chance(50));
        let time = match self.0.random_range(0..4) {
            0 => 0,
            _ => NOW_NS + self.0.random_range(0..1_000_000_000),
        };
        LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: if self.chance(50) { NOW_NS } else { 0 },
            severity_number: self.0.random_range(0..SEVERITIES),
            severity_text: self.text(),
            body: has_body.then(|| self.value(0)).flatten(),
            attributes: self.attributes(0),
            dropped_attributes_count: self.0.random_range(0..3),
            flags: self.0.random_range(0..512),
            trace_id: if has_trace {
                self.bytes(16)
            } else {
                Vec::new()
            },
            span_id: if has_trace { self.bytes(8) } else { Vec::new() },
            event_name: if self.chance(30) {
                self.text()
            } else {
                String::new()
            },
        }
    }

    fn scope_logs(&mut self, n_records: usize) -> ScopeLogs {
        let scope = InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(2),
            dropped_attributes_count: self.0.random_range(0..3),
        };
        ScopeLogs {
            scope: self.chance(80).then_some(scope),
            log_records: (0..n_records).map(|_| self.log_record()).collect(),
            schema_url: self.text(),
        }
    }

    fn request(&mut self, n_resources: usize, n_records: usize) -> ExportLogsServiceRequest {
        let resource_logs = (0..n_resources).map(|_| {
            let mut attributes = self.attributes(1);
            if self.chance(80) {
                attributes.push(records::string_attribute("service.name", self.text()));
            }
            let resource = Resource {
                attributes,
                dropped_attributes_count: self.0.random_range(0..3),
                ..Resource::default()
            };
            let n_scopes = self.0.random_range(1..3);
            ResourceLogs {
                resource: self.chance(90).then_some(resource),
                scope_logs: (0..n_scopes).map(|_| self.scope_logs(n_records)).collect(),
                schema_url: self.text(),
            }
        });
        ExportLogsServiceRequest {
            resource_logs: resource_logs.collect(),
        }
    }
}

/// From one record to more than 4 MiB, each from a seed of its own.
fn requests() -> Vec<ExportLogsServiceRequest> {
    let mut requests: Vec<_> = (0..N_SMALL as u64)
        .map(|seed| {
            let mut generator = Generator(StdRng::seed_from_u64(seed));
            let (n_resources, n_records) = match seed {
                0 => (1, 1),
                _ => (
                    generator.0.random_range(1..4),
                    generator.0.random_range(1..12),
                ),
            };
            generator.request(n_resources, n_records)
        })
        .collect();
    let mut generator = Generator(StdRng::seed_from_u64(N_SMALL as u64));
    let mut large = generator.request(3, 700);
    let scope_logs = &mut large.resource_logs[0].scope_logs[0];
    while large_enough(scope_logs) {
        let mut record = generator.log_record();
        record.body = Some(records::string_value("x".repeat(300 << 10)));
        scope_logs.log_records.push(record);
    }
    assert!(large.encoded_len() > LARGE_BYTES);
    requests.push(large);
    requests
}

fn large_enough(scope_logs: &ScopeLogs) -> bool {
    scope_logs.encoded_len() < LARGE_BYTES
}

#[test]
fn generated_requests() {
    let name = "differential::generated_requests";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let scratch = Scratch::new("differential");
    let [via, direct] = std::array::from_fn(|_| wait::free_address());
    let [via_file, direct_file] =
        ["via", "direct"].map(|name| scratch.path(&format!("{name}.binpb")));
    let sinks = [("via", &via, &via_file), ("direct", &direct, &direct_file)].map(
        |(name, address, path)| {
            let config = sink_config(name, address, path);
            collector.start(&scratch, name, &config, &[wait::port_of(address)])
        },
    );
    let ports = Ports::new();
    let petrel = start_petrel(&scratch, &ports, &via);
    let edge_at = wait::free_address();
    let edge = collector.start(
        &scratch,
        "edge",
        &edge_config(&edge_at, &direct, &ports),
        &[wait::port_of(&edge_at)],
    );

    let requests = requests();
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        let mut client = Grpc::new(&edge_at);
        for (index, request) in requests.iter().enumerate() {
            let answer = client.export(request).await;
            answer.unwrap_or_else(|status| panic!("request {index}: {status}"));
        }
    });
    let n_records: usize = requests
        .iter()
        .map(|request| Record::of(request.clone()).len())
        .sum();
    let once = Output::new(direct_file).wait_for(n_records, DEADLINE);
    let actual = Output::new(via_file).wait_for(n_records * WAYS, DEADLINE);
    assert_eq!((once.len(), actual.len()), (n_records, n_records * WAYS));
    let expected: Vec<Record> = once
        .iter()
        .flat_map(|it| std::iter::repeat_n(it.clone(), WAYS))
        .collect();
    let actual: Vec<Record> = actual.into_iter().map(Record::without_ours).collect();
    records::assert_same(&expected, &actual);
    for process in [edge, petrel].into_iter().chain(sinks) {
        assert!(process.stop().success());
    }
}

/// Ways from the Collector to Petrel: gRPC, HTTP with protobuf, HTTP with JSON.
const WAYS: usize = 3;

/// Petrel's sink takes no more than a Collector does by default; what gets there in one piece does not fit.
fn sink_config(name: &str, address: &str, path: &Path) -> String {
    let config = collector::sink_config(address, path);
    let endpoint = format!("endpoint: '{address}'");
    match name {
        "via" => config,
        _ => config.replace(
            &endpoint,
            &format!("{endpoint}, max_recv_msg_size_mib: {REQUEST_MIB_MAX}"),
        ),
    }
}

fn start_petrel(scratch: &Scratch, ports: &Ports, sink: &str) -> Process {
    let config = format!(
        "{}{}exporters: {{ otlp_grpc: {{ endpoint: '{sink}', timeout: 60s, tls: {{ insecure: true }} }} }}\n",
        ports.receivers(),
        ports.telemetry("")
    );
    let file = scratch.write("petrel.yaml", config);
    let ready = [&ports.grpc, &ports.http].map(|address| wait::port_of(address));
    petrel::start_file(scratch, "petrel", &file, &[], &ready)
}

fn edge_config(address: &str, direct: &str, ports: &Ports) -> String {
    let Ports { grpc, http, .. } = ports;
    let at_once =
        "timeout: 60s, sending_queue: { enabled: false }, retry_on_failure: { enabled: false }";
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}', max_recv_msg_size_mib: {REQUEST_MIB_MAX} }} }} }} }}
exporters:
  otlp_grpc/direct: {{ endpoint: '{direct}', tls: {{ insecure: true }}, {at_once} }}
  otlp_grpc/petrel: {{ endpoint: '{grpc}', tls: {{ insecure: true }}, {at_once} }}
  otlp_http/proto: {{ endpoint: 'http://{http}', {at_once} }}
  otlp_http/json: {{ endpoint: 'http://{http}', encoding: json, {at_once} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp_grpc/direct, otlp_grpc/petrel, otlp_http/proto, otlp_http/json] }} }} }}
"
    )
}
