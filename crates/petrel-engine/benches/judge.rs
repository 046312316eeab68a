//! What the engine adds to miner and detectors, in microseconds a record, on one core: requests of
//! 1,000 rows of twenty templates from one and from ten services, ten records a second, template
//! enrichment. The baseline is the miner alone over the same bodies; the detectors do nothing, so
//! that what is left is the engine. CPU time of the thread, the fastest of many passes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, StringViewArray, UInt64Array};
use petrel_batch::{ColumnSet, EventTime, LogBatch, Resource, ResourceRun, StreamKey, names};
use petrel_detector::{
    Batch, CalibrateBy, ColumnRequest, DataType, Descriptor, Detector, Fault, Kind, Level, Module,
    Outcome, Plan, Readiness, Scale, StreamId, Watermark,
};
use petrel_engine::templates::StreamMiner;
use petrel_engine::{DetectorSpec, Frontier, FrontierClock, Settings, Worker};
use rustix::time::{ClockId, clock_gettime};

const ROWS: usize = 1_000;
const REQUESTS: usize = 100;
/// Passes over the same requests; the fastest counts.
const PASSES: usize = 25;
const DETECTORS: [&str; 4] = ["frequency", "latency", "novelty", "silence"];

/// A detector that asks for columns and does nothing.
struct Idle(&'static str);

impl Module for Idle {
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault> {
        Ok(Box::new(Idle(self.0)))
    }

    fn digest(&self) -> &str {
        "native:idle"
    }
}

impl Detector for Idle {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(Descriptor {
            name: self.0.to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Does nothing.".to_owned(),
            settings_schema: "{}".to_owned(),
            state_version: 1,
        })
    }

    fn configure(&mut self, _: &str) -> Result<Plan, Fault> {
        Ok(Plan {
            columns: vec![
                ColumnRequest::new(names::STREAM, DataType::Uint32),
                ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
            ],
            kinds: vec![Kind {
                name: self.0.to_owned(),
                unit: String::new(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: 2.0,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: Duration::from_secs(60),
        })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        black_box(batch);
        Ok(Outcome::default())
    }

    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        black_box(watermarks);
        Ok(Outcome::default())
    }

    fn status(&mut self, _: StreamId) -> Result<Vec<Readiness>, Fault> {
        Ok(vec![Readiness {
            level: Level::Ready,
            missing: String::new(),
        }])
    }

    fn save(&mut self, _: StreamId) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: StreamId, _: u32, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn forget(&mut self, _: StreamId) -> Result<(), Fault> {
        Ok(())
    }
}

fn main() {
    println!(
        "{:<44} {:>12} {:>12}",
        "us a record", "1 service", "10 services"
    );
    let mut rows: Vec<(&str, Vec<f64>)> = vec![
        ("frontier at intake", Vec::new()),
        ("miner alone", Vec::new()),
        ("engine without detectors", Vec::new()),
        ("engine with four idle detectors", Vec::new()),
        ("engine less miner", Vec::new()),
    ];
    for n_services in [1, 10] {
        let requests = requests(n_services);
        let frontiers = stamp(&requests);
        let frontier = fastest(|| {
            black_box(stamp(&requests));
        });
        let miner = fastest(|| mine(&requests, n_services));
        let bare = fastest(|| judge(&requests, &frontiers, &[]));
        let full = fastest(|| judge(&requests, &frontiers, &DETECTORS));
        for (row, figure) in rows
            .iter_mut()
            .zip([frontier, miner, bare, full, full - miner])
        {
            row.1.push(figure);
        }
    }
    for (name, figures) in rows {
        println!("{name:<44} {:>12.3} {:>12.3}", figures[0], figures[1]);
    }
}

/// Microseconds of CPU a record, the fastest of all passes.
fn fastest(mut run: impl FnMut()) -> f64 {
    let records = (ROWS * REQUESTS) as f64;
    let passes = (0..PASSES).map(|_| {
        let start = cpu_micros();
        run();
        (cpu_micros() - start) / records
    });
    passes.fold(f64::INFINITY, f64::min)
}

fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn mine(requests: &[LogBatch], n_services: usize) {
    let mut miners: Vec<_> = (0..n_services).map(|_| StreamMiner::default()).collect();
    let mut changes = Vec::new();
    for request in requests {
        let bodies = request
            .column(names::BODY, DataType::Utf8)
            .expect("it was asked for");
        let bodies = bodies
            .as_any()
            .downcast_ref::<StringViewArray>()
            .expect("it is text");
        for (run, miner) in request.runs().iter().zip(&mut miners) {
            for row in run.rows.clone() {
                let time = EventTime(request.event_times()[row]);
                black_box(miner.assign(bodies.value(row), time, &mut changes));
            }
        }
        changes.clear();
    }
}

fn stamp(requests: &[LogBatch]) -> Vec<Frontier> {
    let mut clock = FrontierClock::new(&Settings::default());
    requests
        .iter()
        .map(|request| clock.admit(&[request], EventTime(u64::MAX)))
        .collect()
}

fn judge(requests: &[LogBatch], frontiers: &[Frontier], detectors: &[&'static str]) {
    let mut worker = Worker::new(Arc::new(Settings::default()));
    for detector in detectors {
        let spec = DetectorSpec {
            module: Arc::new(Idle(detector)),
            settings: String::new(),
        };
        worker.add(spec).expect("an idle detector is fine");
    }
    for (sequence, (request, frontier)) in requests.iter().zip(frontiers).enumerate() {
        black_box(worker.judge(sequence as u64, Some(request), frontier));
    }
}

fn requests(n_services: usize) -> Vec<LogBatch> {
    let mut requests = Vec::new();
    let resources: Vec<_> = (0..n_services).map(resource).collect();
    let set = Arc::new(ColumnSet::new([ColumnRequest::new(
        names::BODY,
        DataType::Utf8,
    )]));
    for request in 0..REQUESTS {
        let from = 1_700_000_000_000_000_000 + request as u64 * 100_000_000_000;
        let times =
            (0..ROWS as u64).map(|row| from + row % (ROWS / n_services) as u64 * 100_000_000);
        let bodies = (0..ROWS).map(|row| body(request * ROWS + row));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(times)),
            Arc::new(StringViewArray::from_iter_values(bodies)),
        ];
        let share = ROWS / n_services;
        let runs = resources
            .iter()
            .enumerate()
            .map(|(index, resource)| ResourceRun {
                resource: Arc::clone(resource),
                rows: index * share..(index + 1) * share,
                digest: None,
            });
        let places = (0..ROWS as u32).collect();
        let batch = LogBatch::try_new(Arc::clone(&set), columns, runs.collect(), places);
        requests.push(batch.expect("columns fit"));
    }
    requests
}

fn resource(index: usize) -> Arc<Resource> {
    let name = format!("service-{index}");
    Arc::new(Resource {
        stream: StreamKey {
            tenant: String::new(),
            values: vec!["shop".to_owned(), name.clone(), "production".to_owned()],
        },
        service_name: name.clone(),
        attributes: vec![("service.name".to_owned(), name)],
    })
}

/// About 110 bytes, one of twenty templates.
fn body(number: usize) -> String {
    const VERBS: [&str; 20] = [
        "accepted", "billed", "cached", "deleted", "encoded", "fetched", "granted", "hashed",
        "indexed", "joined", "kept", "listed", "merged", "noted", "opened", "parsed", "queued",
        "routed", "stored", "tagged",
    ];
    let verb = VERBS[number * 7 % VERBS.len()];
    format!(
        "request {number} {verb} for customer c{} by 10.0.{}.{} in {} ms, {} bytes sent, cache hit, retries 0",
        number % 977,
        number % 13,
        number % 251,
        number % 83,
        number * 31 % 4_096,
    )
}
