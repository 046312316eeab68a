//! Traces and metrics on their way through Petrel: as they were, by every way in and out, with the promises
//! that logs have; and refused with words where nobody said where to.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use tonic::Code;

use crate::client::{self, Grpc, HttpAnswer, RpcStatus};
use crate::collector::{self, Collector};
use crate::front::{Front, Ports};
use crate::process::{Process, Scratch};
use crate::wait;

use prost::Message;

const NATIVE: &str = "detectors: { native: true }\n";
const JSON: (&str, &str) = ("content-type", "application/json");
const SIGNALS: [&str; 3] = ["logs", "traces", "metrics"];
const TRACES_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// `service`: each signal to this exporter.
fn pipelines(exporter: &str) -> String {
    let each = SIGNALS
        .map(|signal| format!("{signal}: {{ receivers: [otlp], exporters: [{exporter}] }}"))
        .join(", ");
    format!("service: {{ pipelines: {{ {each} }} }}\n")
}

/// An export request of a signal, as OTLP/JSON.
fn sample(signal: &str, number: usize) -> Value {
    let resource = json!({"attributes": [
        {"key": "service.name", "value": {"stringValue": "shop"}},
        {"key": "process.command_args", "value": {"arrayValue": {"values": [{"stringValue": "-v"}, {"intValue": "7"}]}}},
    ], "droppedAttributesCount": 2});
    let scope = json!({"name": "orders", "version": "1.2", "attributes": [{"key": "a", "value": {"boolValue": true}}]});
    let time = (1_700_000_000_000_000_000_u64 + number as u64).to_string();
    let attributes = json!([
        {"key": "order", "value": {"intValue": number.to_string()}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "x", "value": {"doubleValue": 0.5}}]}}},
        {"key": "raw", "value": {"bytesValue": "3q2+7w=="}},
    ]);
    let link = json!({"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708"});
    match signal {
        "logs" => {
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [
                {"timeUnixNano": time, "severityNumber": 9, "body": {"stringValue": format!("order {number} accepted")}, "attributes": attributes}
            ]}]}]})
        }
        "traces" => {
            json!({"resourceSpans": [{"resource": resource, "schemaUrl": "https://opentelemetry.io/schemas/1.30.0", "scopeSpans": [{"scope": scope, "spans": [
                {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "parentSpanId": "eee19b7ec3c1b173", "flags": 257,
                 "name": format!("order {number}"), "kind": 2, "startTimeUnixNano": time, "endTimeUnixNano": time, "traceState": "a=b",
                 "attributes": attributes, "events": [{"timeUnixNano": time, "name": "paid", "attributes": []}],
                 "links": [link], "status": {"code": 2, "message": "no such item"}, "droppedEventsCount": 1}
            ]}]}]})
        }
        _ => {
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [
                {"name": "orders", "unit": "{order}", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                    {"timeUnixNano": time, "asInt": number.to_string(), "attributes": attributes}]}},
                {"name": "load", "gauge": {"dataPoints": [{"timeUnixNano": time, "asDouble": 0.25}]}},
                {"name": "latency", "histogram": {"aggregationTemporality": 1, "dataPoints": [
                    {"timeUnixNano": time, "count": "3", "sum": 4.5, "bucketCounts": ["1", "2"], "explicitBounds": [1.5], "min": 0.5, "max": 3.5}]}},
                {"name": "sizes", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
                    {"timeUnixNano": time, "count": "2", "scale": 3, "zeroCount": "1", "positive": {"offset": 1, "bucketCounts": ["1"]}}]}},
            ]}]}]})
        }
    }
}

/// A Collector that writes what it gets at `address`, each signal to a file of its own.
fn sink(
    collector: Collector,
    scratch: &Scratch,
    name: &str,
    address: &str,
    transport: &str,
) -> Process {
    let file = |signal: &str| {
        let path = scratch.path(&format!("{name}.{signal}.jsonl"));
        format!(
            "file/{signal}: {{ path: '{}', flush_interval: 50ms }}",
            path.display()
        )
    };
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ {transport} }} }} }}
exporters: {{ {} }}
service: {{ pipelines: {{ {} }} }}
",
        SIGNALS.map(file).join(", "),
        SIGNALS
            .map(|signal| format!("{signal}: {{ receivers: [otlp], exporters: [file/{signal}] }}"))
            .join(", "),
    );
    let ports: &[u16] = match address.starts_with('/') {
        true => &[],
        false => &[wait::port_of(address)],
    };
    let process = collector.start(scratch, name, &config, ports);
    if address.starts_with('/') {
        wait::until("the Collector's socket", wait::SOON, || {
            Path::new(address).exists().then_some(())
        });
    }
    process
}

fn grpc_sink(address: &str) -> String {
    format!("grpc: {{ endpoint: '{address}' }}")
}

/// What a sink has written of a signal, sorted, without what Petrel adds.
fn written(scratch: &Scratch, name: &str, signal: &str) -> Vec<String> {
    let path = scratch.path(&format!("{name}.{signal}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let mut requests: Vec<String> = lines
        .map(|line| {
            let mut request = serde_json::from_str(line).expect("a Collector writes JSON");
            remove_ours(&mut request);
            request.to_string()
        })
        .collect();
    requests.sort();
    requests
}

fn remove_ours(value: &mut Value) {
    let is_ours = |value: &Value| {
        let key = value["key"].as_str().unwrap_or_default();
        key.starts_with("petrel.") || key == "log.record.template"
    };
    match value {
        Value::Array(values) => {
            values.retain(|value| !is_ours(value));
            values.iter_mut().for_each(remove_ours);
        }
        Value::Object(fields) => fields.values_mut().for_each(remove_ours),
        _ => {}
    }
}

/// A Collector that takes OTLP/HTTP and hands each request to all of these exporters.
fn source(collector: Collector, scratch: &Scratch, exporters: &[String]) -> (Process, String) {
    let address = wait::free_address();
    let names: Vec<_> = exporters
        .iter()
        .filter_map(|it| it.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let names = names.join(", ");
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{address}' }} }} }} }}
exporters: {{ {} }}
service: {{ pipelines: {{ {} }} }}
",
        exporters.join(", "),
        SIGNALS
            .map(|signal| format!("{signal}: {{ receivers: [otlp], exporters: [{names}] }}"))
            .join(", "),
    );
    let process = collector.start(scratch, "source", &config, &[wait::port_of(&address)]);
    (process, address)
}

const AT_ONCE: &str = "sending_queue: { enabled: false }, retry_on_failure: { enabled: false }";
const PLAIN: &str = "tls: { insecure: true }";

/// Sends samples through a Collector straight to a sink and over Petrel to another by every way in, and
/// compares what the two have written. `exporter` is Petrel's, and `transport` what the second sink serves.
#[track_caller]
fn check(test: &str, exporter: &str, sink_at: &str, transport: &str, unix: Option<&str>) {
    const N_SAMPLES: usize = 5;
    let Some(collector) = collector::available(test) else {
        return;
    };
    let scratch = Scratch::new("signals");
    let direct = wait::free_address();
    let sinks = [
        sink(collector, &scratch, "direct", &direct, &grpc_sink(&direct)),
        sink(collector, &scratch, "via", sink_at, transport),
    ];
    let ports = Ports::new();
    let id = exporter.split_once(':').expect("an exporter has a name").0;
    let receivers = match unix {
        None => ports.receivers(),
        Some(path) => format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{path}', transport: unix }}, http: {{ endpoint: '{}' }} }} }} }}\n",
            ports.http
        ),
    };
    let config = format!(
        "{receivers}exporters: {{ {exporter} }}\n{}{}{NATIVE}",
        pipelines(id),
        ports.telemetry("")
    );
    let grpc_at = unix.map_or(ports.grpc.clone(), |path| format!("unix://{path}"));
    let file = scratch.write("petrel.yaml", config);
    let mut command = crate::petrel::command(&[]);
    command.arg("run").arg("-c").arg(file);
    let petrel = Process::start(&scratch, "petrel", command, &[wait::port_of(&ports.http)]);

    let http = &ports.http;
    let exporters = [
        format!("otlp_grpc/direct: {{ endpoint: '{direct}', {PLAIN}, {AT_ONCE} }}"),
        format!(
            "otlp_grpc/plain: {{ endpoint: '{grpc_at}', compression: none, {PLAIN}, {AT_ONCE} }}"
        ),
        format!(
            "otlp_grpc/gzip: {{ endpoint: '{grpc_at}', compression: gzip, {PLAIN}, {AT_ONCE} }}"
        ),
        format!(
            "otlp_grpc/zstd: {{ endpoint: '{grpc_at}', compression: zstd, {PLAIN}, {AT_ONCE} }}"
        ),
        format!("otlp_http/proto: {{ endpoint: 'http://{http}', compression: zstd, {AT_ONCE} }}"),
        format!(
            "otlp_http/json: {{ endpoint: 'http://{http}', encoding: json, compression: gzip, {AT_ONCE} }}"
        ),
    ];
    let (source, source_at) = source(collector, &scratch, &exporters);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        for number in 0..N_SAMPLES {
            for signal in SIGNALS {
                let answer = post(&source_at, signal, number).await;
                let said = String::from_utf8_lossy(&answer.body);
                assert_eq!(answer.status, 200, "{signal}: {said}");
            }
        }
    });
    for signal in SIGNALS {
        let ways = exporters.len() - 1;
        let via = wait::until("all requests to be written", wait::SOON, || {
            let via = written(&scratch, "via", signal);
            (via.len() >= N_SAMPLES * ways).then_some(via)
        });
        let direct = wait::until("all requests to be written", wait::SOON, || {
            let direct = written(&scratch, "direct", signal);
            (direct.len() >= N_SAMPLES).then_some(direct)
        });
        let expected: Vec<_> = direct
            .iter()
            .flat_map(|it| std::iter::repeat_n(it, ways))
            .collect();
        let actual: Vec<_> = via.iter().collect();
        assert_eq!(expected, actual, "{signal}");
    }
    assert!(source.stop().success());
    assert!(petrel.stop().success());
    for sink in sinks {
        assert!(sink.stop().success());
    }
}

async fn post(address: &str, signal: &str, number: usize) -> HttpAnswer {
    let body: Bytes = sample(signal, number).to_string().into();
    let answer = client::post_to(address, &format!("/v1/{signal}"), &[JSON], body).await;
    answer.expect("it answers")
}

#[test]
fn out_over_grpc() {
    let sink = wait::free_address();
    let exporter = format!("otlp_grpc: {{ endpoint: '{sink}', {PLAIN} }}");
    check(
        "signals::out_over_grpc",
        &exporter,
        &sink,
        &grpc_sink(&sink),
        None,
    );
}

#[test]
fn out_over_grpc_zstd() {
    let sink = wait::free_address();
    let exporter = format!("otlp_grpc: {{ endpoint: '{sink}', compression: zstd, {PLAIN} }}");
    check(
        "signals::out_over_grpc_zstd",
        &exporter,
        &sink,
        &grpc_sink(&sink),
        None,
    );
}

#[test]
fn out_over_http_gzip() {
    let sink = wait::free_address();
    let exporter = format!("otlp_http: {{ endpoint: 'http://{sink}', compression: gzip }}");
    let transport = format!("http: {{ endpoint: '{sink}' }}");
    check(
        "signals::out_over_http_gzip",
        &exporter,
        &sink,
        &transport,
        None,
    );
}

#[test]
fn out_over_http_json_zstd() {
    let sink = wait::free_address();
    let exporter =
        format!("otlp_http: {{ endpoint: 'http://{sink}', encoding: json, compression: zstd }}");
    let transport = format!("http: {{ endpoint: '{sink}' }}");
    check(
        "signals::out_over_http_json_zstd",
        &exporter,
        &sink,
        &transport,
        None,
    );
}

#[test]
fn in_and_out_over_sockets_of_unix() {
    // Short: the path of a socket has a hundred bytes.
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (inward, outward) = (path("in.sock"), path("out.sock"));
    let exporter = format!("otlp_grpc: {{ endpoint: 'unix://{outward}', {PLAIN} }}");
    let transport = format!("grpc: {{ endpoint: '{outward}', transport: unix }}");
    check(
        "signals::in_and_out_over_sockets_of_unix",
        &exporter,
        &outward,
        &transport,
        Some(&inward),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_exporter_they_are_refused_with_what_to_set() {
    let ports = Ports::new();
    let config = format!(
        "{}{}exporters: {{ otlp_grpc: {{ endpoint: 'localhost:1', {PLAIN} }} }}\n{NATIVE}",
        ports.receivers(),
        ports.telemetry("")
    );
    let front = Front::start(Scratch::new("no-way"), ports, &config);
    for (signal, path) in [("traces", TRACES_PATH), ("metrics", METRICS_PATH)] {
        let words = format!("service.pipelines.{signal}.exporters");
        let mut grpc = Grpc::new(&front.ports.grpc);
        // A resource without attributes.
        let refusal = grpc
            .call(path, &[], Bytes::from_static(&[0x0a, 0x00]))
            .await;
        let refusal = refusal.expect_err("nobody said where to");
        assert_eq!(refusal.code(), Code::Unimplemented, "{refusal}");
        assert!(refusal.message().contains(&words), "{refusal}");

        let answer = post(&front.ports.http, signal, 1).await;
        assert_eq!(answer.status, 404);
        let said: Value = serde_json::from_slice(&answer.body).expect("JSON to JSON");
        assert!(
            said["message"]
                .as_str()
                .is_some_and(|it| it.contains(&words)),
            "{said}"
        );
        let headers = [("content-type", "application/x-protobuf")];
        let body = Bytes::from_static(&[0x0a, 0x00]);
        let answer =
            client::post_to(&front.ports.http, &format!("/v1/{signal}"), &headers, body).await;
        let answer = answer.expect("Petrel answers");
        assert_eq!(answer.status, 404);
        let status = RpcStatus::decode(answer.body).expect("a google.rpc.Status");
        assert!(status.message.contains(&words), "{status:?}");
    }
    let refused = [("outcome", "refused")];
    assert_eq!(
        front.metrics().sum("otelcol_receiver_requests", &refused),
        6.0
    );
    assert!(front.petrel.stop().success());
}

/// What was acknowledged while nobody was there to take it arrives, by a queue in memory and by one on disk,
/// over the latter's `kill -9`.
#[test]
fn with_a_queue_they_arrive_later() {
    const N_SAMPLES: usize = 8;
    let test = "signals::with_a_queue_they_arrive_later";
    let Some(collector) = collector::available(test) else {
        return;
    };
    for storage in [false, true] {
        let (scratch, ports) = (Scratch::new("signals-queue"), Ports::new());
        let sink_at = wait::free_address();
        let queue = match storage {
            false => "sending_queue: { wait_for_result: false }",
            true => "sending_queue: { wait_for_result: false, storage: file_storage }",
        };
        let extension = match storage {
            false => String::new(),
            true => format!(
                "extensions: {{ file_storage: {{ directory: '{}' }} }}\n",
                scratch.directory("queue").display()
            ),
        };
        let config = format!(
            "{}{}exporters: {{ otlp_grpc: {{ endpoint: '{sink_at}', {PLAIN}, {queue}, retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms }} }} }}\n{extension}{}{NATIVE}",
            ports.receivers(),
            ports.telemetry(""),
            pipelines("otlp_grpc"),
        );
        let front = Front::start(scratch, ports, &config);
        let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
        runtime.block_on(async {
            for number in 0..N_SAMPLES {
                for signal in SIGNALS {
                    let answer = post(&front.ports.http, signal, number).await;
                    assert_eq!(answer.status, 200, "{signal} is acknowledged");
                }
            }
        });
        let Front {
            ports,
            scratch,
            mut petrel,
        } = front;
        if storage {
            petrel.kill();
            petrel = Front::start(Scratch::new("signals-again"), ports, &config).petrel;
        }
        let sink = sink(collector, &scratch, "sink", &sink_at, &grpc_sink(&sink_at));
        for signal in SIGNALS {
            let count = |line: &str| line.matches("droppedAttributesCount\":2").count();
            wait::until("what was acknowledged to arrive", wait::SOON, || {
                let written = written(&scratch, "sink", signal);
                let n_arrived: usize = written.iter().map(|line| count(line)).sum();
                (n_arrived >= N_SAMPLES).then_some(())
            });
        }
        assert!(petrel.stop().success());
        assert!(sink.stop().success());
    }
}
