//! Hundreds of requests on one connection to Petrel, and on one from it.

use std::time::Duration;

use crate::collector::Collector;
use crate::front::assert_undisturbed;
use crate::linux;
use crate::load::Shape;
use crate::relay::Wire;
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::Row;
use crate::wait;

const N_SENDERS: u64 = 300;
/// A queue looks at its oldest 256 for one that may go.
const N_IN_FLIGHT: f64 = 250.0;
const IN_FLIGHT: &str = "otelcol_exporter_in_flight_requests";

/// The exporter sends as many at a time as there are senders; without a queue it does so anyhow.
pub(super) fn plan(mode: Mode, upstream: Upstream) -> Plan {
    let queue = match mode {
        Mode::Wait => "",
        Mode::Memory | Mode::File => "num_consumers: 300",
    };
    Plan {
        queue,
        ..Plan::new(mode, upstream)
    }
}

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    scene.start_upstream_as(collector, |config| {
        config.replace("num_consumers: 4", "num_consumers: 300")
    });
    scene.relay.set(Wire::Silent);
    let load = scene.load(Shape {
        n_requests: 2 * N_SENDERS,
        n_senders: N_SENDERS,
        // A queue sends a request of each stream at a time.
        n_services: N_SENDERS,
        timeout: Duration::from_secs(60),
        ..Shape::default()
    });
    scene.wait_for_metric(IN_FLIGHT, &[], N_IN_FLIGHT);
    // A request of a queue is in flight before there is anything to send it over.
    tokio::task::block_in_place(|| {
        wait::until("a connection to the next hop", wait::SOON, || {
            (!linux::connected_from(&scene.wire).is_empty()).then_some(())
        });
    });
    for address in [&scene.setup.grpc, &scene.wire] {
        assert_eq!(linux::connected_from(address).len(), 1, "one connection");
    }
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    assert_undisturbed(&told);
    assert!(told.refused.is_empty(), "{:?}", told.messages);
    scene.balance(fault, &told)
}
