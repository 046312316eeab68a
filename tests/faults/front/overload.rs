//! Twice the load that Petrel can pass on, for a minute, of senders that do not wait as they are told.

use std::time::Duration;

use crate::collector::{Collector, build};
use crate::linux;
use crate::load::{RECORDS_A_REQUEST, Shape};
use crate::relay::Wire;
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::Row;

const LASTING: Duration = Duration::from_secs(60);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const N_SENDERS: u64 = 64;
/// Bytes that each record has beside its id.
const PADDING: usize = 2_000;
/// Of a request as it is sent on, where each record's template is beside it.
const BYTES_OUT: usize = 2 * PADDING * RECORDS_A_REQUEST as usize;
/// Bytes a second to the next hop: what can be taken is known, some 13 requests a second.
const RATE: usize = 1 << 20;
/// More than Petrel has when it is idle, less than what senders have for it in a minute.
const LIMIT_MIB: u64 = 250;

/// Little may be in flight, and little memory be used.
pub(super) fn plan(mode: Mode) -> Plan {
    let queue = match mode {
        Mode::Wait => "",
        Mode::Memory | Mode::File => "sizer: requests, queue_size: 100",
    };
    Plan {
        queue,
        more: "limits: { request_mib_max: 1, in_flight_mib_max: 1 }
memory_limiter: { check_interval: 100ms, limit_mib: 250, spike_limit_mib: 50 }
",
        ..Plan::new(mode, Upstream::Client)
    }
}

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::start(collector, plan);
    scene.relay.set(Wire::Slow(RATE));
    let load = scene.load(Shape {
        n_requests: u64::MAX,
        n_senders: N_SENDERS,
        padding: PADDING,
        timeout: LASTING,
        ..Shape::default()
    });
    let mut highest = 0;
    let sampling = async {
        loop {
            let resident = linux::resident_bytes(scene.process()).unwrap_or_default();
            highest = highest.max(resident);
            assert!(resident < LIMIT_MIB << 20, "{resident} bytes are resident");
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
    };
    let is_over = tokio::time::timeout(LASTING, sampling).await;
    assert!(is_over.is_err(), "it samples until the time is over");
    let n_done = load.n_done();
    scene.relay.set(Wire::Whole);
    let told = load.finish().await;
    build::announce(&format!(
        "overload: {n_done} requests answered, {} tries refused, {} MiB resident at most",
        told.n_retried,
        highest >> 20
    ));
    let n_bytes = n_done as usize * BYTES_OUT;
    let capacity = RATE * LASTING.as_secs() as usize;
    assert!(2 * n_bytes > capacity, "{n_bytes} bytes of {capacity}");
    // Whoever is not served is refused, with a status that says to come back.
    assert!(told.n_retried >= n_done, "less than twice the load");
    assert!(told.refused.is_empty(), "{:?}", told.messages);
    let words = ["bytes are in flight already", "sending queue is full"];
    let is_said = |message: &String| words.iter().any(|words| message.contains(words));
    assert!(told.messages.iter().any(is_said), "{:?}", told.messages);
    scene.balance(fault, &told)
}
