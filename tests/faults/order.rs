//! What a queue keeps while several consumers send, slowly and again: the order of each stream, and whose
//! a record is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::answering::{Answer, Answering, Asked, TENANT};
use crate::client::{BytesCodec, EXPORT_PATH};
use crate::collector::Collector;
use crate::load::{self, RECORDS_A_REQUEST, Shape, Told};
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};
use crate::wait;

/// Some answers are slow, some say "later", by a mixture that is the same each time.
fn moody(asked: Asked) -> Answer {
    let mixed = (asked.first + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    match mixed % 4 {
        0 if asked.n_before == 0 => Answer::Later(Code::Unavailable, None),
        1 => Answer::Slow(Duration::from_millis(mixed / 4 % 100)),
        _ => Answer::Pass,
    }
}

fn start(collector: Collector, plan: Plan) -> (Scene, Answering) {
    let mut answering = None;
    let mut scene = Scene::before_petrel(collector, plan, |sink| {
        let address = wait::free_address();
        answering = Some(Answering::start(&address, &sink, moody));
        address
    });
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    (scene, answering.expect("it was started"))
}

async fn of_a_stream(collector: Collector, fault: &str, plan: Plan, n_requests: u64) -> Row {
    let (mut scene, answering) = start(collector, plan);
    let shape = Shape {
        n_requests,
        n_senders: 4,
        is_ordered: true,
        ..Shape::default()
    };
    let told = scene.load(shape).done().await;
    let row = scene.balance(fault, &told);
    assert!(answering.facts().n_postponed > 0, "some were sent again");
    let mut seen = HashSet::new();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for record in scene.arrived().iter().filter(|record| !record.is_event()) {
        let number = load::number_of(&record.record).expect("records of the load have one");
        if seen.insert(number) {
            let before = last.insert(record.service().to_owned(), number);
            assert!(
                before < Some(number),
                "{} has {number} after {before:?}",
                record.service()
            );
        }
    }
    assert_eq!(last.len(), 4, "each stream arrived");
    row
}

/// Two tenants that use the same services take turns.
async fn of_tenants(collector: Collector, fault: &str, plan: Plan, n_requests: u64) -> Row {
    let (mut scene, answering) = start(collector, plan);
    let endpoint = Endpoint::from_shared(format!("http://{}", scene.setup.grpc));
    let channel = endpoint.expect("host:port").connect_lazy();
    let mut client = tonic::client::Grpc::new(channel);
    let mut told = Told::default();
    for index in 0..n_requests {
        let tenant = ["red", "blue"][(index % 2) as usize];
        let body = load::request_of(&format!("{tenant}-{}", index / 2 % 3), index, 0);
        let mut request = tonic::Request::new(body.encode_to_vec().into());
        let value = tenant.parse().expect("a word");
        request.metadata_mut().insert(TENANT, value);
        client.ready().await.expect("Petrel listens");
        let path = PathAndQuery::from_static(EXPORT_PATH);
        let sent = client.unary(request, path, BytesCodec).await;
        sent.expect("a queue takes it");
        told.acknowledged.extend(load::numbers(index));
    }
    let row = scene.balance(fault, &told);
    let facts = answering.facts();
    let mut n_requests_of: BTreeMap<&str, u64> = BTreeMap::new();
    for (tenant, services) in facts
        .tenants
        .iter()
        .filter(|(_, services)| !services.is_empty())
    {
        let tenant = tenant.as_deref().expect("each request says whose it is");
        let others: BTreeSet<_> = services
            .iter()
            .filter(|service| !service.starts_with(tenant))
            .collect();
        assert!(others.is_empty(), "{others:?} in a request of {tenant}");
        *n_requests_of.entry(tenant).or_default() += 1;
    }
    assert_eq!(n_requests_of.len(), 2);
    let n_sent: u64 = n_requests_of.values().sum();
    assert!(
        n_sent < n_requests + facts.n_postponed,
        "{n_sent} requests: none were put together"
    );
    row
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    let n_requests = table.choose(200, 1_000);
    assert!(n_requests * RECORDS_A_REQUEST > 1_000);
    for mode in Mode::QUEUES {
        for (is_batched, queue) in [
            (false, "num_consumers: 8"),
            (
                true,
                "num_consumers: 8, batch: { min_size: 60, max_size: 200, flush_timeout: 20ms }",
            ),
        ] {
            if table.extent == Extent::Quick && (mode != Mode::File || !is_batched) {
                continue;
            }
            let fault = match is_batched {
                true => "order of streams, slow and refused, 8 consumers, batches",
                false => "order of streams, slow and refused, 8 consumers",
            };
            let plan = Plan {
                queue,
                ..Plan::new(mode, Upstream::Client)
            };
            let title = plan.title(fault);
            let row = of_a_stream(collector, fault, plan, n_requests);
            table.run(&title, row).await;
        }
    }
    for mode in Mode::QUEUES {
        if table.extent == Extent::Quick && mode != Mode::Memory {
            continue;
        }
        let fault = "two tenants, slow and refused, 8 consumers, batches";
        let plan = Plan {
            queue: "num_consumers: 8, batch: { min_size: 60, flush_timeout: 20ms, \
                    partition: { metadata_keys: [x-tenant] } }",
            more: "streams: { metadata_keys: [x-tenant] }\n",
            ..Plan::new(mode, Upstream::Client)
        };
        let title = plan.title(fault);
        let row = of_tenants(collector, fault, plan, n_requests);
        table.run(&title, row).await;
    }
}
