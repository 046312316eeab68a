//! Twice as much as it can take, from senders that do not wait: what becomes of memory.
//!
//! A request is sent when it is due; refused, it is not sent again; without an answer, it is given up after a
//! Collector's own timeout. So that the load itself stays within memory, a request is not sent, and that is
//! counted, while very many have no answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::{Bench, load_average};
use crate::client::Grpc;
use crate::latency::saturation;
use crate::load::{Arrivals, Load, Sending, Shape};
use crate::report::Object;
use crate::subject::Subject;
use crate::variants::{OPEN_LOOP, Variant};

const SECONDS_DEFAULT: u64 = 60;
/// As of a Collector's exporter.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 10;
/// Requests without an answer: four times what Petrel has in flight at most.
const UNANSWERED_MAX: usize = 1000;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of requests.
#[derive(Default)]
struct Outcomes {
    accepted: u64,
    refused: u64,
    given_up: u64,
    not_sent: u64,
}

/// One variant's run.
struct Flood {
    offered: f64,
    outcomes: Outcomes,
    /// Records a second that came out.
    rate: f64,
    resident_before: f64,
    /// Resident MiB, each second.
    resident: Vec<f64>,
}

enum Outcome {
    Accepted,
    Refused,
    GivenUp,
}

/// Runs each variant once.
pub(crate) async fn measure(bench: &Bench) -> Result<Object> {
    let (loads, sink, arrivals) = bench.loads([Shape::LARGE]).await?;
    let load = Load::of_shape(&loads, Shape::LARGE);
    let mut object = Object::new();
    println!(
        "\n{:<16}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}  resident MiB: before, at 1/6 .. 6/6, peak",
        "", "offered/s", "out/s", "accepted", "refused", "given up", "not sent"
    );
    for variant in &OPEN_LOOP {
        if !bench.arguments.is_wanted(variant.name) {
            continue;
        }
        let flood = flood(bench, variant, load, &sink, &arrivals).await;
        let flood = flood.with_context(|| format!("{} failed", variant.name))?;
        object.insert(variant.name.to_owned(), flood.report(variant.name));
    }
    Ok(object)
}

async fn flood(
    bench: &Bench,
    variant: &Variant,
    load: &Load,
    sink: &str,
    arrivals: &Arrivals,
) -> Result<Flood> {
    let seconds = bench.arguments.seconds.unwrap_or(SECONDS_DEFAULT);
    let records = load.shape().records as f64;
    let offered = 2.0 * saturation(bench, variant, load, sink, arrivals).await?;
    let subject = Subject::start(variant, bench.otelcol, sink, &bench.cores)?;
    let mut sending = load.sending(&subject, arrivals);
    sending.warm_up().await?;
    let (before, resident_before) = (arrivals.count(), subject.resident_mib()?);
    let mut resident = Vec::new();
    let outcomes = send(&mut sending, offered / records, seconds, || {
        resident.push(subject.resident_mib()?);
        Ok(())
    })
    .await?;
    let rate = (arrivals.count() - before) as f64 * records / seconds as f64;
    // It has more to do than it can end in good order.
    subject.kill();
    Ok(Flood {
        offered,
        outcomes,
        rate,
        resident_before,
        resident,
    })
}

/// Sends so many requests a second for so long; calls `look` each second.
#[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
async fn send(
    sending: &mut Sending<'_>,
    requests_a_second: f64,
    seconds: u64,
    mut look: impl FnMut() -> Result<()>,
) -> Result<Outcomes> {
    let clients: Vec<Grpc> = (0..CONNECTIONS).map(|_| sending.client()).collect();
    let mut outcomes = Outcomes::default();
    let mut in_flight = JoinSet::new();
    let (started, mut next_look, mut n_due) = (Instant::now(), LOOK_EVERY, 0);
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while started.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
        while let Some(ended) = in_flight.try_join_next() {
            outcomes.count(&ended?);
        }
        if started.elapsed() >= next_look {
            look()?;
            next_look += LOOK_EVERY;
        }
        while (n_due as f64) < started.elapsed().as_secs_f64() * requests_a_second {
            let mut client = clients[n_due % CONNECTIONS].clone();
            n_due += 1;
            if in_flight.len() >= UNANSWERED_MAX {
                outcomes.not_sent += 1;
                continue;
            }
            let request = sending.next();
            in_flight.spawn(async move {
                match tokio::time::timeout(TIMEOUT, client.send(request)).await {
                    Ok(Ok(_)) => Outcome::Accepted,
                    Ok(Err(_)) => Outcome::Refused,
                    Err(_) => Outcome::GivenUp,
                }
            });
            // Answers must be read beside.
            tokio::task::yield_now().await;
        }
    }
    look()?;
    Ok(outcomes)
}

impl Outcomes {
    fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::Refused => &mut self.refused,
            Outcome::GivenUp => &mut self.given_up,
        } += 1;
    }
}

impl Flood {
    fn report(&self, name: &str) -> serde_json::Value {
        let Outcomes {
            accepted,
            refused,
            given_up,
            not_sent,
        } = self.outcomes;
        let peak = self.resident.iter().copied().fold(0.0, f64::max);
        let sixths: Vec<String> = (1..=6)
            .filter_map(|sixth| {
                self.resident
                    .get((self.resident.len() * sixth / 6).checked_sub(1)?)
            })
            .map(|mib| format!("{mib:.0}"))
            .collect();
        println!(
            "{name:<16}{:>12.0}{:>12.0}{accepted:>10}{refused:>10}{given_up:>10}{not_sent:>10}  {:.0}, {}, {peak:.0}; load average {:.1}",
            self.offered,
            self.rate,
            self.resident_before,
            sixths.join(" "),
            load_average()
        );
        json!({
            "offered_records_per_second": self.offered,
            "records_per_second": self.rate,
            "requests": { "accepted": accepted, "refused": refused, "given_up": given_up, "not_sent": not_sent },
            "resident_mib_before": self.resident_before,
            "resident_mib_peak": peak,
            "resident_mib": self.resident,
        })
    }
}
