//! What the border costs: the same small detector natively and in the sandbox, on the same batches.
//!
//! `cargo bench -p petrel-host`. Variants take turns within a round, in rotating order, since the first
//! on a batch pays for cold columns; of all rounds the tenth percentile is shown. Read the ratios.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use guest_honest::Honest;
use petrel_detector::{
    Batch, Column, DataType, Detector, Dictionary, EventTime, Finding, Module, Outcome, Plan,
    StreamId, Utf8, Values, Watermark,
};
use petrel_host::{Limits, Meter, Sandbox, TracingLog, WasmModule, check};

const N_STREAMS: u32 = 24;
const N_TEMPLATES: u64 = 300;
const MINUTE: u64 = 60_000_000_000;
const ROUNDS: usize = 200;

type Subject = Box<dyn Detector + Send>;

fn main() {
    let wasm = build();
    let modules: Vec<WasmModule> = [Meter::CpuTime, Meter::Fuel]
        .map(|meter| {
            let sandbox = Sandbox::new(meter, Arc::new(TracingLog)).expect("the engine starts");
            sandbox
                .load(&wasm, Limits::default())
                .expect("the honest guest loads")
        })
        .into();
    observe(&modules);
    state(&modules[0]);
    making(&modules[0]);
    checking();
}

/// The guest, as an author builds it, in a target directory of its own.
fn build() -> Vec<u8> {
    let target_dir = concat!(env!("CARGO_TARGET_TMPDIR"), "/guests");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--target",
            "wasm32-unknown-unknown",
            "--profile",
            "guest",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args(["-p", "guest-honest"])
        .env("CARGO_TARGET_DIR", target_dir)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the guest does not build");
    let path = format!("{target_dir}/wasm32-unknown-unknown/guest/guest_honest.wasm");
    std::fs::read(path).expect("cargo has built it")
}

fn configured(mut detector: Subject, n_columns: usize) -> Subject {
    let settings = format!(r#"{{"columns":{n_columns},"z":1e9}}"#);
    detector.configure(&settings).expect("its own settings");
    detector
}

fn native() -> Subject {
    Box::new(Honest::default())
}

fn instance(module: &WasmModule) -> Subject {
    module.instantiate().expect("the honest guest starts")
}

fn batch(n_rows: u32, n_columns: usize) -> Batch<'static> {
    let scramble = |row: u32| u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let rows = 0..n_rows;
    let columns = [
        Values::Uint32(
            rows.clone()
                .map(|row| scramble(row) as u32 % N_STREAMS)
                .collect(),
        ),
        Values::Uint64(
            rows.clone()
                .map(|row| scramble(row + 7) % N_TEMPLATES)
                .collect(),
        ),
        Values::Uint64(rows.clone().map(|row| MINUTE + u64::from(row)).collect()),
        Values::Uint32(rows.clone().map(|row| scramble(row) as u32 % 17).collect()),
        Values::Float64(rows.clone().map(f64::from).collect()),
        Values::Dictionary(Dictionary {
            keys: rows.map(|row| row % 2).collect(),
            values: Utf8 {
                offsets: vec![0, 3, 7].into(),
                bytes: b"GETPOST".to_vec().into(),
            },
        }),
    ];
    Batch {
        rows: n_rows,
        columns: columns
            .into_iter()
            .take(n_columns)
            .map(Column::full)
            .collect(),
        ..Batch::default()
    }
}

/// Tenth percentile of the microseconds of a call, for each subject in turn.
#[expect(clippy::disallowed_methods, reason = "a bench looks at the clock")]
fn race(subjects: &mut [Subject], repeats: usize, mut call: impl FnMut(&mut Subject)) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            let start = Instant::now();
            for _ in 0..repeats {
                call(&mut subjects[index]);
            }
            times[index].push(start.elapsed().as_secs_f64() * 1e6 / repeats as f64);
        }
    }
    times.into_iter().map(tenth_percentile).collect()
}

fn tenth_percentile(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 10]
}

fn observe(modules: &[WasmModule]) {
    println!(
        "observe, us a batch      native     guest   ratio   by fuel   ratio   guest adds ns a row"
    );
    for n_columns in [3, 6] {
        for n_rows in [10, 1_000, Batch::ROWS_MAX as u32] {
            let batch = batch(n_rows, n_columns);
            let mut subjects = vec![native(), instance(&modules[0]), instance(&modules[1])];
            subjects = subjects
                .into_iter()
                .map(|subject| configured(subject, n_columns))
                .collect();
            let repeats = (20_000 / n_rows as usize).clamp(1, 200);
            let times = race(&mut subjects, repeats, |subject| {
                black_box(subject.observe(&batch).expect("an honest batch"));
            });
            let [native, guest, fuel] = times[..] else {
                unreachable!("three subjects")
            };
            println!(
                "{n_rows:>6} rows x {n_columns} columns {native:>9.2} {guest:>9.2} {:>7.2} {fuel:>9.2} {:>7.2} {:>10.1}",
                guest / native,
                fuel / native,
                (guest - native) * 1e3 / f64::from(n_rows),
            );
        }
    }
}

fn state(module: &WasmModule) {
    println!("\nby stream, us a call     native     guest   ratio");
    let mut subjects = vec![configured(native(), 3), configured(instance(module), 3)];
    let batch = batch(Batch::ROWS_MAX as u32, 3);
    for subject in &mut subjects {
        subject.observe(&batch).expect("an honest batch");
    }
    let stream = StreamId(3);
    let saved = subjects[0].save(stream).expect("native");
    let print = |name: &str, times: Vec<f64>| {
        println!(
            "{name:<22} {:>8.2} {:>9.2} {:>7.2}",
            times[0],
            times[1],
            times[1] / times[0]
        );
    };
    let times = race(&mut subjects, 50, |subject| {
        black_box(subject.save(stream).expect("a state"));
    });
    print(&format!("save, {} bytes", saved.len()), times);
    let times = race(&mut subjects, 50, |subject| {
        subject.load(stream, 1, &saved).expect("its own state");
    });
    print("load", times);
    let times = race(&mut subjects, 200, |subject| {
        black_box(subject.status(stream).expect("a readiness"));
    });
    print("status", times);
    for n_streams in [1, N_STREAMS] {
        let mut turn = 0_u64;
        let times = race(&mut subjects, 1, |subject| {
            turn += 1;
            let time = EventTime((10_000 + turn) * MINUTE);
            let watermarks: Vec<_> = (0..n_streams)
                .map(|stream| Watermark {
                    stream: StreamId(stream),
                    time,
                    completeness: 1.0,
                })
                .collect();
            black_box(subject.advance(&watermarks).expect("watermarks"));
        });
        print(&format!("advance {n_streams}, closing"), times);
    }
}

fn making(module: &WasmModule) {
    let mut none = vec![native()];
    let made = race(&mut none, 20, |_| drop(black_box(instance(module))));
    let ready = race(&mut none, 20, |_| {
        drop(black_box(configured(instance(module), 3)))
    });
    println!(
        "\ninstantiate and drop {:.1} us, configured besides {:.1} us",
        made[0], ready[0]
    );
}

/// The rules for replies alone, on a reply as full as the contract lets it be.
fn checking() {
    let plan = Plan {
        columns: vec![petrel_detector::ColumnRequest::new(
            "stream",
            DataType::Uint32,
        )],
        ..configured_plan()
    };
    let mut bounds = check::plan(&plan).expect("the honest plan");
    bounds
        .meet_stream("advance", StreamId(0))
        .expect("the first stream");
    let finding = found();
    let mut none = vec![native()];
    for n_findings in [1, 64, Outcome::FINDINGS_MAX] {
        let outcome = Outcome {
            findings: vec![finding.clone(); n_findings],
            ..Outcome::default()
        };
        let times = race(&mut none, 20, |_| {
            black_box(check::outcome(black_box(&outcome), &bounds, 0)).expect("an honest outcome");
        });
        println!("check of {n_findings:>4} findings {:>8.2} us", times[0]);
    }
}

fn configured_plan() -> Plan {
    Honest::default().configure("").expect("no settings")
}

/// A finding of the honest detector itself, evidence and all.
fn found() -> Finding {
    let mut detector = Honest::default();
    detector
        .configure(r#"{"z":0.5}"#)
        .expect("its own settings");
    let mut batch = batch(10, 3);
    batch.columns[0] = Column::full(Values::Uint32(vec![0; 10].into()));
    for minute in 1..40 {
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime(minute * MINUTE),
            completeness: 1.0,
        };
        let n_batches = if minute > 20 { 50 } else { 1 };
        for _ in 0..n_batches {
            detector.observe(&batch).expect("native");
        }
        let outcome = detector.advance(&[watermark]).expect("native");
        if let Some(finding) = outcome.findings.into_iter().next() {
            return finding;
        }
    }
    unreachable!("fifty times as many records are found")
}
