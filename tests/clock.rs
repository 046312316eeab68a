//! A wall clock that jumps under Petrel, by Debian's libfaketime: requests flow, and nothing is told that did
//! not happen.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use crate::client::Grpc;
use crate::collector::did_not_run;
use crate::faketime::Clock;
use crate::front::{self, Ports};
use crate::metrics::Metrics;
use crate::process::{Process, Scratch};
use crate::records::{self, Record};
use crate::stage::records_of;
use crate::{petrel, sink, wait};

const HOUR_SECONDS: f64 = 3_600.0;

/// A request of a sender whose own clock is right. (Records without times have those of their arrival: they
/// jump with the clock, which nobody can tell from a silence.)
#[expect(clippy::disallowed_methods, reason = "the sender's clock")]
fn order(number: usize) -> Bytes {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.expect("after 1970").as_nanos();
    let record = LogRecord {
        time_unix_nano: u64::try_from(nanos).expect("before 2554"),
        body: Some(records::string_value(format!("order {number} accepted"))),
        ..LogRecord::default()
    };
    records::request("shop", vec![record])
        .encode_to_vec()
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_are_nobodys_fault() {
    const REQUESTS: usize = 20;
    let name = "clock::jumps_are_nobodys_fault";
    let Some(clock) = Clock::find() else {
        return did_not_run(name, "no libfaketime on this machine");
    };
    let (scratch, ports) = (Scratch::new("clock"), Ports::new());
    let sink = wait::free_address();
    let kept = sink::keep(&sink, || Ok(()));
    let config = format!(
        "{}{}{}detectors: {{ native: true }}\nstate: {{ directory: '{}', interval: 600ms }}\n",
        ports.receivers(),
        ports.telemetry(""),
        front::exporters(&sink),
        scratch.directory("state").display()
    );
    let file = scratch.write("petrel.yaml", config);
    let mut command = petrel::command(&[]);
    command.arg("run").arg("-c").arg(file);
    clock.give(&scratch, &mut command);
    let ready = [&ports.grpc, &ports.http].map(|address| wait::port_of(address));
    let petrel = Process::start(&scratch, "petrel", command, &ready);

    let uptime = || Metrics::of(&ports.metrics).sum("otelcol_process_uptime", &[]);
    let mut client = Grpc::new(&ports.grpc);
    let mut n_sent = 0;
    for jump in ["+0", "+2d", "-3d", "+0"] {
        Clock::jump(&scratch, jump);
        // Figures are taken as often as it is asked whether the input is quiet: after two, it was.
        for _ in 0..2 {
            let before = uptime();
            let after = wait::until("figures of the process", wait::SOON, || {
                Some(uptime()).filter(|after| (after - before).abs() > f64::EPSILON)
            });
            assert!(
                (before..HOUR_SECONDS).contains(&after),
                "{before}, then {after} at {jump}"
            );
        }
        for _ in 0..REQUESTS {
            let sent = client.send(order(n_sent)).await;
            sent.unwrap_or_else(|status| panic!("{jump}: {status}"));
            n_sent += 1;
        }
    }
    let seen = petrel.stderr();
    assert!(petrel.stop().success());
    let arrived: Vec<Record> = kept.requests().into_iter().flat_map(records_of).collect();
    let (events, records): (Vec<&Record>, Vec<&Record>) =
        arrived.iter().partition(|record| record.is_event());
    assert_eq!(records.len(), n_sent);
    let told: Vec<&str> = events.iter().map(|event| event.body()).collect();
    assert!(told.is_empty(), "{told:?}\n{seen}");
}
