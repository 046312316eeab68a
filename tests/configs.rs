//! The files of `collector-config/`, as a reader would use them: each is validated and run with the real
//! Collector and Petrel between; only ports, directories and TLS differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::client::Grpc;
use crate::collector::{self, Collector};
use crate::process::{Process, Scratch};
use crate::records::{self, Output, Record};
use crate::{petrel, wait};

const ONE_COLLECTOR: &str = "one-collector.yaml";
const ONE_COLLECTOR_PETREL: &str = "one-collector.petrel.yaml";
const BYPASS: &str = "bypass.yaml";
const GATEWAY_EDGE: &str = "gateway-edge.yaml";
const GATEWAY_BACKEND: &str = "gateway-backend.yaml";
const GATEWAY_PETREL: &str = "gateway.petrel.yaml";
/// Needs a connector that the Collector of the tests lacks; the file says so.
const NOT_RUN: &str = "failover.yaml";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../collector-config")
        .join(name)
}

/// The variables that move a file's endpoints, and a backend that keeps what arrives.
struct Place {
    collector: Collector,
    scratch: Scratch,
    variables: Vec<(&'static str, String)>,
    output: Output,
    _backend: Process,
}

impl Place {
    fn new(collector: Collector) -> Self {
        let scratch = Scratch::new("configs");
        let (backend_address, path) = (wait::free_address(), scratch.path("backend.binpb"));
        let config = collector::sink_config(&backend_address, &path);
        let backend = collector.start(
            &scratch,
            "backend",
            &config,
            &[wait::port_of(&backend_address)],
        );
        let mut variables = vec![
            ("BACKEND_ENDPOINT", backend_address),
            ("BACKEND_INSECURE", "true".to_owned()),
        ];
        for name in [
            "OTLP_GRPC_ENDPOINT",
            "OTLP_HTTP_ENDPOINT",
            "PETREL_ENDPOINT",
            "PETREL_HTTP_ENDPOINT",
            "PETREL_METRICS_ENDPOINT",
            "PETREL_HEALTH_ENDPOINT",
            "FROM_PETREL_ENDPOINT",
            "NOTHING_ENDPOINT",
        ] {
            variables.push((name, wait::free_address()));
        }
        variables.push((
            "STATE_DIRECTORY",
            scratch.directory("state").display().to_string(),
        ));
        Self {
            collector,
            scratch,
            variables,
            output: Output::new(path),
            _backend: backend,
        }
    }

    fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("no variable {name}")).1
    }

    /// The variables of one process, which has a queue directory of its own.
    fn variables_of<'a>(&'a self, queue: &'a str) -> Vec<(&'a str, &'a str)> {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        variables.chain([("QUEUE_DIRECTORY", queue)]).collect()
    }

    /// Validates and runs a Collector; ready when it listens where `ready` says.
    #[track_caller]
    fn collector(&self, name: &str, files: &[&str], ready: &[&str]) -> Process {
        let queue = self
            .scratch
            .path(&format!("{name}-queue"))
            .display()
            .to_string();
        let variables = self.variables_of(&queue);
        let files: Vec<PathBuf> = files.iter().map(|name| file(name)).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        assert_eq!(
            self.collector.validate(&files, &variables),
            Ok(()),
            "{files:?}"
        );
        let ports: Vec<u16> = ready
            .iter()
            .map(|name| wait::port_of(self.variable(name)))
            .collect();
        self.collector
            .start_files(&self.scratch, name, &files, &variables, &ports)
    }

    /// Validates and runs Petrel.
    #[track_caller]
    fn petrel(&self, name: &str) -> Process {
        let variables = self.variables_of("");
        assert_eq!(petrel::validate(&file(name), &variables), Ok(()), "{name}");
        let port = wait::port_of(self.variable("PETREL_ENDPOINT"));
        petrel::start_file(&self.scratch, "petrel", &file(name), &variables, &[port])
    }

    /// Sends one record to the first Collector.
    #[track_caller]
    fn send(&self, body: &str) {
        let record = LogRecord {
            time_unix_nano: 1_700_000_000_000_000_000,
            body: Some(records::string_value(body)),
            ..LogRecord::default()
        };
        let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
        let address = self.variable("OTLP_GRPC_ENDPOINT");
        let request = records::request("shop", vec![record]);
        let answer = runtime.block_on(async { Grpc::new(address).export(&request).await });
        answer.expect("the Collector accepts a record");
    }

    /// The records at the backend, once `count` have arrived.
    #[track_caller]
    fn arrived(&mut self, count: usize) -> Vec<Record> {
        self.output.wait_for(count, wait::SOON)
    }

    /// Checks that exactly these bodies have come to the backend, each once, all or none of them enriched.
    #[track_caller]
    fn assert_arrived(&mut self, bodies: &[&str], enriched: bool) {
        let arrived = self.arrived(bodies.len());
        let mut found: Vec<&str> = arrived.iter().map(Record::body).collect();
        found.sort_unstable();
        assert_eq!(found, bodies);
        for record in &arrived {
            assert_eq!(record.is_enriched(), enriched, "{record:#?}");
            assert_eq!(record.service(), "shop");
        }
    }
}

#[test]
fn one_collector() {
    let Some(collector) = collector::available("configs::one_collector") else {
        return;
    };
    let mut place = Place::new(collector);
    let otelcol = place.collector(
        "one",
        &[ONE_COLLECTOR],
        &["OTLP_GRPC_ENDPOINT", "FROM_PETREL_ENDPOINT"],
    );
    let petrel = place.petrel(ONE_COLLECTOR_PETREL);
    place.send("order 1 accepted");
    place.assert_arrived(&["order 1 accepted"], true);

    // Both end by draining, and nothing comes a second time.
    assert!(petrel.stop().success());
    assert!(otelcol.stop().success());
    place.assert_arrived(&["order 1 accepted"], true);
}

/// Petrel is away: the Collector goes on accepting, and sends what it kept when Petrel is back.
#[test]
fn queue_covers_a_restart_of_petrel() {
    let Some(collector) = collector::available("configs::queue_covers_a_restart_of_petrel") else {
        return;
    };
    let mut place = Place::new(collector);
    let _otelcol = place.collector(
        "one",
        &[ONE_COLLECTOR],
        &["OTLP_GRPC_ENDPOINT", "FROM_PETREL_ENDPOINT"],
    );
    let petrel = place.petrel(ONE_COLLECTOR_PETREL);
    place.send("order 1 accepted");
    place.assert_arrived(&["order 1 accepted"], true);

    assert!(petrel.stop().success());
    place.send("order 2 accepted");
    let _petrel = place.petrel(ONE_COLLECTOR_PETREL);
    place.assert_arrived(&["order 1 accepted", "order 2 accepted"], true);
}

/// With the second file Petrel is out of the way; what waited for it still leaves through it.
#[test]
fn bypass() {
    let Some(collector) = collector::available("configs::bypass") else {
        return;
    };
    let mut place = Place::new(collector);
    let files = [ONE_COLLECTOR, BYPASS];
    let otelcol = place.collector("one", &files, &["OTLP_GRPC_ENDPOINT"]);
    place.send("order 1 accepted");
    place.assert_arrived(&["order 1 accepted"], false);
    assert!(otelcol.stop().success());
}

#[test]
fn bypass_drains_the_queue() {
    let Some(collector) = collector::available("configs::bypass_drains_the_queue") else {
        return;
    };
    let mut place = Place::new(collector);
    let otelcol = place.collector("one", &[ONE_COLLECTOR], &["OTLP_GRPC_ENDPOINT"]);
    place.send("order 1 waits for Petrel");
    // A Collector that has just begun to listen may not hear the signal yet, and ends without good order:
    // what it has queued is on disk all the same.
    let _ = otelcol.stop();

    let ready = ["OTLP_GRPC_ENDPOINT", "FROM_PETREL_ENDPOINT"];
    let _otelcol = place.collector("one", &[ONE_COLLECTOR, BYPASS], &ready);
    let _petrel = place.petrel(ONE_COLLECTOR_PETREL);
    place.assert_arrived(&["order 1 waits for Petrel"], true);
}

#[test]
fn gateway() {
    let Some(collector) = collector::available("configs::gateway") else {
        return;
    };
    let mut place = Place::new(collector);
    let backend = place.collector(
        "gateway-backend",
        &[GATEWAY_BACKEND],
        &["FROM_PETREL_ENDPOINT"],
    );
    let petrel = place.petrel(GATEWAY_PETREL);
    let edge = place.collector("gateway-edge", &[GATEWAY_EDGE], &["OTLP_GRPC_ENDPOINT"]);
    place.send("order 1 accepted");
    place.assert_arrived(&["order 1 accepted"], true);
    for process in [edge, petrel, backend] {
        assert!(process.stop().success());
    }
    place.assert_arrived(&["order 1 accepted"], true);
}

/// As the README says to take Petrel out for good: the edge's exporter at the second Collector.
#[test]
fn gateway_without_petrel() {
    let Some(collector) = collector::available("configs::gateway_without_petrel") else {
        return;
    };
    let mut place = Place::new(collector);
    let backend = place.variable("FROM_PETREL_ENDPOINT").to_owned();
    place
        .variables
        .retain(|(name, _)| *name != "PETREL_ENDPOINT");
    place.variables.push(("PETREL_ENDPOINT", backend));
    let _backend = place.collector(
        "gateway-backend",
        &[GATEWAY_BACKEND],
        &["FROM_PETREL_ENDPOINT"],
    );
    let _edge = place.collector("gateway-edge", &[GATEWAY_EDGE], &["OTLP_GRPC_ENDPOINT"]);
    place.send("order 1 accepted");
    place.assert_arrived(&["order 1 accepted"], false);
}

/// A file that nobody runs here would rot.
#[test]
fn every_file_is_run_or_says_that_it_is_not() {
    let listed = std::fs::read_dir(file("")).expect("the directory is part of the repository");
    let names = listed.map(|entry| {
        entry
            .expect("a readable directory")
            .file_name()
            .into_string()
    });
    let found: BTreeSet<String> = names.map(|name| name.expect("names are plain")).collect();
    let known = [
        ONE_COLLECTOR,
        ONE_COLLECTOR_PETREL,
        BYPASS,
        GATEWAY_EDGE,
        GATEWAY_BACKEND,
        GATEWAY_PETREL,
        NOT_RUN,
        "README.md",
    ];
    assert_eq!(found, known.map(str::to_owned).into());
    let not_run = std::fs::read_to_string(file(NOT_RUN)).expect("listed above");
    assert!(not_run.starts_with("# NOT RUN BY THE TESTS"));
}
