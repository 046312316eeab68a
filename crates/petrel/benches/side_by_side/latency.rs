//! How much longer a request takes through Petrel or a Collector than straight to where it goes, at half of
//! what each can take.
//!
//! Requests are sent when they are due, whether or not those before are answered, and a request's time counts
//! from when it was due.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bench::{Bench, load_average};
use crate::load::{Load, Sending, Shape};
use crate::report::{Object, median};
use crate::subject::Subject;
use crate::variants::{OPEN_LOOP, Variant};

/// Records by which is found out what a variant can take.
const CALIBRATION_RECORDS: u64 = 300_000;
const SECONDS_DEFAULT: u64 = 10;
/// Requests that may be due at a time before the sender that tells so waits.
const DUE_MAX: usize = 1024;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)];

/// Quantiles of one run, in milliseconds.
type Quantiles = [f64; QUANTILES.len()];

#[derive(Default)]
struct Latencies {
    rate: f64,
    /// By round: straight to the sink, and through the variant.
    rounds: Vec<(Quantiles, Quantiles)>,
}

/// Runs all rounds.
pub(crate) async fn measure(bench: &Bench) -> Result<Object> {
    let arguments = &bench.arguments;
    let seconds = arguments.seconds.unwrap_or(SECONDS_DEFAULT);
    let (loads, sink, arrivals) = bench.loads([Shape::LARGE]).await?;
    let load = Load::of_shape(&loads, Shape::LARGE);
    let variants: Vec<&Variant> = OPEN_LOOP
        .iter()
        .filter(|variant| arguments.is_wanted(variant.name))
        .collect();
    let mut latencies: Vec<Latencies> = Vec::new();
    for variant in &variants {
        let rate = saturation(bench, variant, load, &sink, &arrivals).await?;
        latencies.push(Latencies {
            rate: rate / 2.0,
            rounds: Vec::new(),
        });
    }
    for round in 0..arguments.rounds {
        for step in 0..variants.len() {
            let index = (step + round) % variants.len();
            let (variant, latencies) = (variants[index], &mut latencies[index]);
            let requests = (latencies.rate / load.shape().records as f64 * seconds as f64) as u64;
            let pause = Duration::from_secs(seconds) / u32::try_from(requests)?.max(1);
            let mut straight = load.sending_to(&sink, false, &arrivals);
            let before = open_loop(&mut straight, requests, pause).await?;
            let subject = Subject::start(variant, bench.otelcol, &sink, &bench.cores)?;
            let mut sending = load.sending(&subject, &arrivals);
            sending.warm_up().await?;
            let through = open_loop(&mut sending, requests, pause).await;
            let through = through.with_context(|| format!("{} failed", variant.name))?;
            subject.stop();
            eprintln!(
                "round {} {}: {through:.2?} ms, straight {before:.2?} ms, load average {:.1}",
                round + 1,
                variant.name,
                load_average()
            );
            latencies.rounds.push((before, through));
        }
    }
    Ok(report(&variants, &latencies))
}

/// Records a second that a variant takes on its core.
pub(crate) async fn saturation(
    bench: &Bench,
    variant: &Variant,
    load: &Load,
    sink: &str,
    arrivals: &crate::load::Arrivals,
) -> Result<f64> {
    let subject = Subject::start(variant, bench.otelcol, sink, &bench.cores)?;
    let run = load.run(&subject, arrivals, CALIBRATION_RECORDS).await?;
    subject.stop();
    eprintln!("{} takes {:.0} records/s", variant.name, run.rate);
    Ok(run.rate)
}

/// Sends requests at their times and returns the quantiles of their latencies.
async fn open_loop(sending: &mut Sending<'_>, requests: u64, pause: Duration) -> Result<Quantiles> {
    let client = sending.client();
    let mut due = clock(requests, pause);
    let mut in_flight: JoinSet<Result<Duration, tonic::Status>> = JoinSet::new();
    let mut next = sending.next();
    while let Some(due) = due.recv().await {
        let mut client = client.clone();
        in_flight.spawn(async move {
            client.send(next).await?;
            Ok(due.elapsed())
        });
        next = sending.next();
    }
    let mut latencies = Vec::new();
    while let Some(answered) = in_flight.join_next().await {
        latencies.push(answered??.as_secs_f64() * 1e3);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1)))
    };
    let quantiles = QUANTILES.map(|(_, share)| at(share).copied().unwrap_or(f64::NAN));
    Ok(quantiles)
}

/// A thread that says when requests are due; timers of the runtime are a millisecond off.
#[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
fn clock(requests: u64, pause: Duration) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(DUE_MAX);
    std::thread::spawn(move || {
        let mut due = Instant::now();
        for _ in 0..requests {
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

fn report(variants: &[&Variant], latencies: &[Latencies]) -> Object {
    println!(
        "\nlatency at half of saturation, added to that of sending straight, ms: median of rounds (least)\n"
    );
    println!(
        "{:<20}{:>12}{:>20}{:>20}{:>20}",
        "", "records/s", "p50", "p99", "p99.9"
    );
    let mut object = Object::new();
    for (variant, latencies) in variants.iter().zip(latencies) {
        let mut value = Object::new();
        value.insert("records_per_second".to_owned(), json!(latencies.rate));
        print!("{:<20}{:>12.0}", variant.name, latencies.rate);
        for (index, (name, _)) in QUANTILES.iter().enumerate() {
            let of = |quantile: fn(&(Quantiles, Quantiles), usize) -> f64| {
                let values: Vec<f64> = latencies
                    .rounds
                    .iter()
                    .map(|round| quantile(round, index))
                    .collect();
                let min = values.iter().copied().fold(f64::INFINITY, f64::min);
                (median(values), min)
            };
            let added = of(|(straight, through), index| through[index] - straight[index]);
            let (straight, through) = (of(|it, index| it.0[index]), of(|it, index| it.1[index]));
            print!("{:>20}", format!("{:.2} ({:.2})", added.0, added.1));
            let entry = json!({
                "added_ms": added.0, "added_ms_min": added.1,
                "through_ms": through.0, "through_ms_min": through.1,
                "straight_ms": straight.0, "straight_ms_min": straight.1,
            });
            value.insert((*name).to_owned(), entry);
        }
        println!();
        object.insert(variant.name.to_owned(), value.into());
    }
    object
}
