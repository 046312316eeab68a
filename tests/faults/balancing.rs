//! A `load_balancing` exporter before two Petrels, one of which is away: its client is told to come back, and
//! each retry brings the living one its share again. With a queue of its own the exporter would only send the
//! missing share again.

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use tokio::task::JoinSet;

use crate::client::Grpc;
use crate::collector::Collector;
use crate::load::{self, Told};
use crate::metrics::Metrics;
use crate::petrel::Setup;
use crate::process::Scratch;
use crate::relay::Relay;
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};
use crate::wait;

/// Services, enough that each of two has some.
const N_SERVICES: u64 = 8;
const SKIPPED: &str = "petrel_records_skipped";
const RETRY: [(&str, &str); 1] = [("reason", "retry")];
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

fn edge_config(address: &str, petrels: [&str; 2]) -> String {
    let [first, second] = petrels;
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters:
  load_balancing:
    routing_key: service
    protocol:
      otlp:
        timeout: 5s
        compression: none
        tls: {{ insecure: true }}
        sending_queue: {{ enabled: false }}
        retry_on_failure: {{ enabled: false }}
    resolver: {{ static: {{ hostnames: ['{first}', '{second}'] }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [load_balancing] }} }} }}
"
    )
}

/// A request with records of every service.
fn request(round: u64) -> ExportLogsServiceRequest {
    let of_services = (0..N_SERVICES).map(|service| {
        let index = round * N_SERVICES + service;
        load::request_of(&format!("service-{service}"), index, 0)
    });
    ExportLogsServiceRequest {
        resource_logs: of_services.flat_map(|one| one.resource_logs).collect(),
    }
}

async fn run(collector: Collector, fault: &str, plan: Plan, n_rounds: u64) -> Row {
    let mut scene = Scene::start(collector, plan.clone());
    // The second sends through a wire of its own to the same Collector.
    let wire = wait::free_address();
    let _relay = Relay::start(&wire, &scene.sink);
    let scratch = Scratch::new("faults-second");
    let storage = scratch.directory("queue");
    let more = format!(
        "extensions: {{ file_storage: {{ directory: '{}' }} }}\n",
        storage.display()
    );
    let second = Setup::exporting(&scratch, "second", &plan.exporter(&wire), "60s", &more);
    let edge = wait::free_address();
    let config = edge_config(&edge, [&scene.setup.grpc, &second.grpc]);
    let _edge = collector.start(&scratch, "edge", &config, &[wait::port_of(&edge)]);

    let mut sending = JoinSet::new();
    let mut told = Told::default();
    for round in 0..n_rounds {
        let mut client = Grpc::new(&edge);
        sending.spawn(async move {
            while client.export(&request(round)).await.is_err() {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        });
        let indexes = round * N_SERVICES..(round + 1) * N_SERVICES;
        told.acknowledged.extend(indexes.flat_map(load::numbers));
    }
    scene.wait_for_metric(SKIPPED, &RETRY, 1_000.0);
    let second_petrel = second.start(&scratch);
    sending.join_all().await;
    let row = scene.balance_running(fault, &told);

    // Each of the two has learnt each record of its services once.
    let metrics = [scene.metrics(), Metrics::of(&second.metrics)];
    let learnt: f64 = metrics
        .iter()
        .map(|metrics| {
            metrics.sum("otelcol_receiver_accepted_log_records", &[]) - metrics.sum(SKIPPED, &RETRY)
        })
        .sum();
    assert_eq!(learnt as usize, told.acknowledged.len(), "none twice");
    let n_anomalies: f64 = metrics
        .iter()
        .map(|it| it.sum("petrel_anomalies", &[]))
        .sum();
    let events: BTreeSet<&str> = scene
        .arrived()
        .iter()
        .filter(|it| it.is_event())
        .map(|it| it.body())
        .collect();
    assert_eq!((n_anomalies, events.len()), (0.0, 0), "{events:?}");
    assert!(second_petrel.stop().success());
    scene.stop(fault);
    row
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for mode in Mode::ALL {
        if table.extent == Extent::Quick && mode != Mode::Wait {
            continue;
        }
        let fault = "load_balancing, one of two Petrels down";
        let plan = Plan::new(mode, Upstream::Client);
        let title = plan.title(fault);
        let n_rounds = table.choose(5, 20);
        let row = run(collector, fault, plan, n_rounds);
        table.run(&title, row).await;
    }
}
