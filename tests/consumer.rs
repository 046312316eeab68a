//! The example for vendors, started as its README says, behind a Petrel that forwards an anomaly.

use std::path::{Path, PathBuf};
use std::process::Command;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::client::Grpc;
use crate::process::{Process, Scratch};
use crate::records::{request, string_attribute, string_value};
use crate::{petrel, wait};

/// The address in the README's command, which the test moves.
const ADDRESS: &str = "127.0.0.1:4319";
const README: &str = include_str!("../examples/consumer/README.md");

#[test]
fn prints_anomalies_and_the_records_behind_them() {
    let scratch = Scratch::new("consumer");
    let address = wait::free_address();
    let consumer = Process::start(
        &scratch,
        "consumer",
        readme_command(&address),
        &[wait::port_of(&address)],
    );
    let setup = petrel::Setup::new(&scratch, "petrel", &address, "");
    let petrel = setup.start(&scratch);

    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        let mut client = Grpc::new(&setup.grpc);
        for request in [enriched(), event()] {
            client
                .export(&request)
                .await
                .expect("Petrel and the consumer accept");
        }
    });
    let expected = "\
anomaly.detected shop frequency score 0.91: Log rate of \"order <*> rejected\" in shop is 412/min
    sample: order 17 rejected
";
    wait::until("the anomaly to be printed", wait::SOON, || {
        consumer.stdout().contains(expected).then_some(())
    });
    assert!(petrel.stop().success());
}

/// The README's command: the example that `cargo test` has built already, or `cargo run` where it has not.
fn readme_command(address: &str) -> Command {
    let line = README
        .lines()
        .find(|line| line.starts_with("cargo run"))
        .expect("the README has a command");
    assert!(
        line.contains(ADDRESS),
        "the README's command names {ADDRESS}: {line}"
    );
    let line = line.replace(ADDRESS, address);
    let (cargo, arguments) = line.split_once(" -- ").expect("arguments follow --");
    assert_eq!(cargo, "cargo run --example consumer");
    let mut command = match built_example() {
        Some(example) => Command::new(example),
        None => {
            let mut command = Command::new(env!("CARGO"));
            command
                .args(["run", "--example", "consumer", "--"])
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            command
        }
    };
    command.args(arguments.split(' '));
    command
}

fn built_example() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_BIN_EXE_petrel")).parent()?;
    let example = directory.join("examples").join("consumer");
    example.exists().then_some(example)
}

/// A record as a Petrel before this one would have enriched it.
fn enriched() -> ExportLogsServiceRequest {
    let attributes = vec![
        string_attribute("log.record.template", "order <*> rejected"),
        string_attribute("petrel.template.id", "00000000000000ab"),
    ];
    request(
        "shop",
        vec![LogRecord {
            body: Some(string_value("order 17 rejected")),
            attributes,
            ..record()
        }],
    )
}

/// An event as a Petrel before this one would have sent it: it is passed on, not analysed.
fn event() -> ExportLogsServiceRequest {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    let score = AnyValue {
        value: Some(any_value::Value::DoubleValue(0.91)),
    };
    let attributes = vec![
        string_attribute("anomaly.id", "a1"),
        string_attribute("anomaly.type", "frequency"),
        string_attribute("petrel.template.id", "00000000000000ab"),
        KeyValue {
            key: "anomaly.score".to_owned(),
            value: Some(score),
            ..KeyValue::default()
        },
    ];
    let body = string_value("Log rate of \"order <*> rejected\" in shop is 412/min");
    let event = LogRecord {
        event_name: "anomaly.detected".to_owned(),
        body: Some(body),
        attributes,
        ..record()
    };
    let mut request = request("shop", vec![event]);
    let scope = InstrumentationScope {
        name: "petrel/detectors/frequency".to_owned(),
        ..Default::default()
    };
    request.resource_logs[0].scope_logs[0].scope = Some(scope);
    request
}

fn record() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        ..LogRecord::default()
    }
}
