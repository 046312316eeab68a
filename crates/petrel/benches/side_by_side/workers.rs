//! Two workers beside one: detection alone, in this process, over batches that were read before.
//!
//! Both cores belong to detection here, since the load is made beforehand; what is left beside it is handing
//! over and taking back. Two figures: by wall time, which others on this machine disturb, and by the CPU time
//! of the busiest worker, which they hardly do: what wall time would be with a core for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use petrel::analysis::{Skipped, worker_of};
use petrel::config::Config;
use petrel::pipeline::Pipeline;
use petrel::running::Running;
use petrel_batch::{EventTime, LogBatch};
use petrel_otlp::{ResourceCache, walk};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::{Bench, load_average};
use crate::load::{Load, Shape};
use crate::process::Scratch;
use crate::report::{Object, median};
use crate::subject::cpu_seconds_of;
use crate::wait;

/// Requests that are read before they are analysed.
const CHUNK: u64 = 200;
const CHUNKS_WARM_UP: u64 = 1;
/// Requests in detection at a time: enough that no worker waits for the other.
const IN_DETECTION: usize = 32;

/// One run.
struct Speed {
    /// Records a second of wall time.
    rate: f64,
    /// CPU seconds per million records: of all workers, and of the busiest.
    cpu: f64,
    cpu_busiest: f64,
}

/// A request's rows by worker, and its bytes.
struct Read {
    parts: Vec<Option<LogBatch>>,
    n_bytes: usize,
}

/// Runs all rounds.
pub(crate) async fn measure(bench: &Bench) -> Result<Object> {
    let (loads, sink, _arrivals) = bench.loads([Shape::SPREAD]).await?;
    let load = Load::of_shape(&loads, Shape::SPREAD);
    let mut rounds: Vec<[Speed; 2]> = Vec::new();
    for round in 0..bench.arguments.rounds {
        let one = speed(bench, load, &sink, 1).await?;
        let two = speed(bench, load, &sink, 2).await?;
        for (n_workers, speed) in [(1, &one), (2, &two)] {
            eprintln!(
                "round {} workers {n_workers}: {:.0} records/s, {:.3} CPU-s per million, {:.3} of the busiest, load average {:.1}",
                round + 1,
                speed.rate,
                speed.cpu,
                speed.cpu_busiest,
                load_average()
            );
        }
        rounds.push([one, two]);
    }
    Ok(report(&rounds))
}

async fn speed(bench: &Bench, load: &Load, sink: &str, n_workers: usize) -> Result<Speed> {
    bench.cores.pin_to_both()?;
    let scratch = Scratch::new("workers");
    let running = Running::start(&config(&scratch, sink, n_workers)?).await?;
    let pipeline = running.inline().pipeline();
    let n_chunks = bench
        .arguments
        .records
        .div_ceil(CHUNK * load.shape().records);
    let cache = ResourceCache::default();
    let (mut elapsed, mut cpu_before) = (Duration::ZERO, Vec::new());
    for chunk in 0..CHUNKS_WARM_UP + n_chunks {
        let numbers = chunk * CHUNK..(chunk + 1) * CHUNK;
        let read = numbers
            .map(|number| read(&pipeline, &cache, load, number))
            .collect::<Result<Vec<_>>>()?;
        if chunk == CHUNKS_WARM_UP {
            cpu_before = worker_seconds(n_workers)?;
        }
        let took = analyse(&pipeline, read).await?;
        if chunk >= CHUNKS_WARM_UP {
            elapsed += took;
        }
    }
    let cpu: Vec<f64> = worker_seconds(n_workers)?
        .iter()
        .zip(&cpu_before)
        .map(|(after, before)| after - before)
        .collect();
    drop(pipeline);
    running.drain().await?;
    bench.cores.pin_to_load()?;
    let n_records = (n_chunks * CHUNK * load.shape().records) as f64;
    let a_million = 1e6 / n_records;
    Ok(Speed {
        rate: n_records / elapsed.as_secs_f64(),
        cpu: cpu.iter().sum::<f64>() * a_million,
        cpu_busiest: cpu.iter().copied().fold(0.0, f64::max) * a_million,
    })
}

fn config(scratch: &Scratch, sink: &str, n_workers: usize) -> Result<Config> {
    let address = wait::free_address();
    let state = scratch.directory("state");
    let text = format!(
        "workers: {n_workers}
receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters: {{ otlp_grpc: {{ endpoint: '{sink}', tls: {{ insecure: true }} }} }}
state: {{ directory: '{}' }}
detectors: {{ budget: 60s }}
",
        state.display()
    );
    Config::parse(&text, &|_| None).map_err(|diagnostics| anyhow::anyhow!("{diagnostics:?}"))
}

fn read(pipeline: &Pipeline, cache: &ResourceCache, load: &Load, number: u64) -> Result<Read> {
    let n_workers = pipeline.analysis.n_workers();
    let workers = petrel_otlp::Workers {
        worker_of: &|stream| worker_of(stream, n_workers),
        n_workers,
    };
    let request = load.request(number);
    let arrival = petrel::clock::now();
    let walked = walk(&request, &pipeline.plan(), cache, "", arrival, workers)?;
    Ok(Read {
        parts: walked.batches,
        n_bytes: request.len(),
    })
}

/// Has requests analysed, some at a time and in their order; returns how long that took.
#[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
async fn analyse(pipeline: &Arc<Pipeline>, requests: Vec<Read>) -> Result<Duration> {
    let started = Instant::now();
    let arrival: EventTime = petrel::clock::now();
    let mut in_detection: JoinSet<Result<(), Skipped>> = JoinSet::new();
    for Read { parts, n_bytes } in requests {
        if in_detection.len() == IN_DETECTION
            && let Some(judged) = in_detection.join_next().await
        {
            judged?.map_err(|skipped| anyhow::anyhow!("{skipped:?}"))?;
        }
        let analysis = Arc::clone(&pipeline.analysis);
        in_detection.spawn(async move {
            let edits = analysis.analyse(parts, n_bytes, arrival).await;
            edits.map(drop)
        });
    }
    while let Some(judged) = in_detection.join_next().await {
        judged?.map_err(|skipped| anyhow::anyhow!("{skipped:?}"))?;
    }
    Ok(started.elapsed())
}

/// CPU seconds of each worker's thread so far.
fn worker_seconds(n_workers: usize) -> Result<Vec<f64>> {
    let mut seconds = vec![None; n_workers];
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let index = name.trim().strip_prefix("worker-").map(str::parse::<usize>);
        if let Some(Ok(index)) = index
            && let Some(seconds) = seconds.get_mut(index)
        {
            *seconds = Some(cpu_seconds_of(&path.join("stat").display().to_string())?);
        }
    }
    let seconds: Option<Vec<f64>> = seconds.into_iter().collect();
    seconds.context("a worker's thread is not there")
}

fn report(rounds: &[[Speed; 2]]) -> Object {
    let of = |value: fn(&[Speed; 2]) -> f64| {
        let values: Vec<f64> = rounds.iter().map(value).collect();
        (
            median(values.iter().copied()),
            values.iter().copied().fold(0.0, f64::max),
        )
    };
    let by_wall = of(|[one, two]| two.rate / one.rate);
    let by_cpu = of(|[one, two]| one.cpu_busiest / two.cpu_busiest);
    let best = of(|[one, _]| one.rate).1;
    let best_of_two = of(|[_, two]| two.rate).1;
    println!("\ndetection in two workers beside one, 200 streams: median of rounds (best)\n");
    println!("by wall time          {:.2} ({:.2})", by_wall.0, by_wall.1);
    println!(
        "best against best     {:.2} ({best_of_two:.0} and {best:.0} records/s)",
        best_of_two / best
    );
    println!(
        "by the busiest's CPU  {:.2} ({:.2})   aim: at least 1.80",
        by_cpu.0, by_cpu.1
    );
    let cpu = [of(|[one, _]| one.cpu).0, of(|[_, two]| two.cpu).0];
    println!(
        "CPU-s per million     {:.3} and {:.3}, all workers together",
        cpu[0], cpu[1]
    );
    let object = json!({
        "speedup_wall": by_wall.0,
        "speedup_wall_max": by_wall.1,
        "speedup_best_to_best": best_of_two / best,
        "speedup_busiest_cpu": by_cpu.0,
        "records_per_second_max": [best, best_of_two],
        "cpu_seconds_per_million": cpu,
    });
    match object {
        serde_json::Value::Object(object) => object,
        _ => unreachable!("it is written as an object"),
    }
}
