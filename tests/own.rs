//! Petrel's own telemetry: sent by OTLP to a real Collector, without telling of its own sending, and thinned
//! out where it repeats itself.

use std::path::Path;

use serde_json::Value;

use crate::collector;
use crate::front::{Front, Ports};
use crate::process::Scratch;
use crate::wait;

const NATIVE: &str = "detectors: { native: true }\n";

/// The requests in a file of a Collector, as JSON.
fn requests(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .map(|line| serde_json::from_str(line).expect("a Collector writes JSON"))
        .collect()
}

/// Whether the first resource of a request is Petrel.
fn is_of_petrel(request: &Value, resources: &str) -> bool {
    let attributes = request[resources][0]["resource"]["attributes"].as_array();
    attributes.into_iter().flatten().any(|attribute| {
        attribute["key"] == "service.name" && attribute["value"]["stringValue"] == "petrel"
    })
}

fn log_lines(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for request in requests(path) {
        for scope in request["resourceLogs"][0]["scopeLogs"]
            .as_array()
            .into_iter()
            .flatten()
        {
            for record in scope["logRecords"].as_array().into_iter().flatten() {
                lines.push(
                    record["body"]["stringValue"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
    }
    lines
}

#[test]
fn it_arrives_and_does_not_feed_itself() {
    let name = "own::it_arrives_and_does_not_feed_itself";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let (scratch, ports) = (Scratch::new("own"), Ports::new());
    let sink = wait::free_address();
    let [logs, metrics] =
        ["logs", "metrics"].map(|signal| scratch.path(&format!("{signal}.jsonl")));
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{sink}' }} }} }} }}
exporters: {{ file/logs: {{ path: '{}', flush_interval: 50ms }}, file/metrics: {{ path: '{}', flush_interval: 50ms }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [file/logs] }}, metrics: {{ receivers: [otlp], exporters: [file/metrics] }} }} }}
",
        logs.display(),
        metrics.display()
    );
    let sink_process = collector.start(&scratch, "sink", &config, &[wait::port_of(&sink)]);
    let more = ", logs: { level: debug }, otlp: { exporter: otlp_grpc, interval: 1s }";
    let config = format!(
        "{}{}exporters: {{ otlp_grpc: {{ endpoint: '{sink}', tls: {{ insecure: true }} }} }}\n{NATIVE}",
        ports.receivers(),
        ports.telemetry(more)
    );
    let front = Front::start(scratch, ports, &config);

    let n_exports = |more: usize| {
        let before = requests(&metrics).len();
        wait::until("more metrics to arrive", wait::SOON, || {
            (requests(&metrics).len() >= before + more).then_some(())
        });
    };
    n_exports(2);
    let sent = requests(&metrics);
    assert!(
        sent.iter()
            .all(|request| is_of_petrel(request, "resourceMetrics")),
        "{}",
        sent[0]
    );
    let all: String = sent.iter().map(Value::to_string).collect();
    for metric in [
        "otelcol_process_uptime",
        "petrel_mode",
        "petrel_config_last_reload_success",
    ] {
        assert!(all.contains(metric), "{metric} is not in {all}");
    }
    wait::until("the log to arrive", wait::SOON, || {
        let is_there = log_lines(&logs)
            .iter()
            .any(|line| line.contains("petrel is ready"));
        is_there.then_some(())
    });
    assert!(
        requests(&logs)
            .iter()
            .all(|request| is_of_petrel(request, "resourceLogs"))
    );
    // Whatever sending says of itself would come with the next export, and again with the one after it.
    n_exports(1);
    let before = log_lines(&logs).len();
    n_exports(4);
    let lines = log_lines(&logs);
    assert_eq!(lines.len(), before, "{lines:?}");
    assert_eq!(
        front
            .metrics()
            .sum("otelcol_receiver_accepted_log_records", &[]),
        0.0
    );
    assert!(front.petrel.stop().success());
    wait::until("the last words to arrive", wait::SOON, || {
        let is_there = log_lines(&logs).iter().any(|line| line == "stopped");
        is_there.then_some(())
    });
    assert!(sink_process.stop().success());
}

#[test]
fn repeated_lines_are_thinned_out() {
    const REPEATS: usize = 1_000;
    let ports = Ports::new();
    let config = format!("{}{}{NATIVE}", ports.receivers(), ports.telemetry(""));
    let front = Front::start(Scratch::new("own-repeats"), ports, &config);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        for _ in 0..REPEATS {
            let headers = [("content-type", "application/json")];
            let body = "{\"mode\":\"observe\"}".into();
            let answer =
                crate::client::post_to(&front.ports.admin, "/api/v1/mode", &headers, body).await;
            assert_eq!(answer.expect("it answers").status, 200);
        }
    });
    let n_shown = front
        .petrel
        .stderr()
        .matches("the mode was switched")
        .count();
    let n_left_out = front.metrics().sum("petrel_log_lines_left_out", &[]);
    assert_eq!(
        n_shown as f64 + n_left_out,
        REPEATS as f64,
        "each is printed or counted"
    );
    assert!(
        (10..REPEATS / 4).contains(&n_shown),
        "{n_shown} were printed"
    );
    assert!(front.petrel.stop().success());
}
