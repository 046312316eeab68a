//! Walk and splice against what they replace, prost decoding, inserting and encoding the same bytes,
//! and against the least that can be done with them, a copy.
//!
//! `cargo bench --bench wire`: one core, one line a case; also as `target/wire.json`, where
//! `ratio_to_prost` and `ratio_to_memcpy` are those of 350-byte records in a Collector's order. All
//! variants take turns, and each is as fast as in its best run: what a busy machine adds is left out.

mod requests;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_batch::{Attribute, ColumnRequest, ColumnSet, DataType, EventTime, RowEdits};
use petrel_otlp::{Buffers, ResourceCache, WalkPlan, WalkSettings, Walked, Workers};
use prost::Message;
use serde_json::{Value, json};

use requests::{N_RECORDS, Order, Shape, text};

/// Turns of each variant.
const RUNS: u32 = 1000;

/// The case that the aim is about.
const AIMED_AT: (Shape, Order) = (Shape::Bytes350, Order::Collector);

fn main() -> std::io::Result<()> {
    println!("us a record, {N_RECORDS} records a request, two attributes added to each");
    println!(
        "{:<14}{:<10}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "records",
        "order",
        "bytes",
        "copy",
        "walk",
        "splice",
        "both",
        "prost",
        "both/prost",
        "both/copy"
    );
    let mut cases = vec![];
    let mut aimed_at = Value::Null;
    for shape in Shape::ALL {
        for order in Order::ALL {
            let case = case(shape, order);
            if (shape, order) == AIMED_AT {
                aimed_at = case.clone();
            }
            cases.push(case);
        }
    }
    let report = json!({
        "ratio_to_prost": aimed_at["ratio_to_prost"],
        "ratio_to_memcpy": aimed_at["ratio_to_memcpy"],
        "cases": cases,
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("wire.json");
    std::fs::write(&path, format!("{report:#}\n"))?;
    println!("written to {}", path.display());
    Ok(())
}

/// Measures one case, prints its line and answers it as JSON.
fn case(shape: Shape, order: Order) -> Value {
    let bytes = requests::request(shape, order);
    let (plan, cache, buffers) = (plan(), ResourceCache::default(), Buffers::default());
    let edits = template_edits();
    let walk = || {
        let arrival = EventTime::from_seconds(1_700_000_000);
        petrel_otlp::walk(&bytes, &plan, &cache, "", arrival, Workers::ONE).expect("valid")
    };
    let splice = |walked: &Walked| {
        let batch = walked.batches[0].as_ref().expect("rows");
        petrel_otlp::splice(
            &bytes,
            &walked.layout,
            &[(batch.places(), &edits)],
            &buffers,
        )
    };
    let walked = walk();
    let mut copy = vec![0; bytes.len()];
    let [memcpy, walk_alone, splice_alone, both, prost] = measure([
        &mut || copy.copy_from_slice(black_box(&bytes)),
        &mut || drop(black_box(walk())),
        &mut || drop(black_box(splice(&walked))),
        &mut || drop(black_box(splice(&walk()))),
        &mut || drop(black_box(decode_insert_encode(&bytes))),
    ]);
    black_box(copy);
    let n_bytes = bytes.len() as f64 / f64::from(N_RECORDS);
    println!(
        "{:<14}{:<10}{n_bytes:>8.0}{memcpy:>10.4}{walk_alone:>10.4}{splice_alone:>10.4}{both:>10.4}{prost:>10.4}{:>12.3}{:>12.1}",
        shape.name(),
        order.name(),
        both / prost,
        both / memcpy,
    );
    json!({
        "records": shape.name(),
        "order": order.name(),
        "bytes_per_record": n_bytes,
        "memcpy_us": memcpy,
        "walk_us": walk_alone,
        "splice_us": splice_alone,
        "walk_and_splice_us": both,
        "prost_us": prost,
        "ratio_to_prost": both / prost,
        "ratio_to_memcpy": both / memcpy,
    })
}

/// Microseconds a record of each variant: the best of [`RUNS`] turns.
fn measure<const N: usize>(mut variants: [&mut dyn FnMut(); N]) -> [f64; N] {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let now = std::time::Instant::now;
    let mut best = [Duration::MAX; N];
    for _ in 0..RUNS {
        for (variant, best) in variants.iter_mut().zip(&mut best) {
            let start = now();
            variant();
            *best = start.elapsed().min(*best);
        }
    }
    best.map(|best| best.as_secs_f64() * 1e6 / f64::from(N_RECORDS))
}

/// The columns that the built-in detectors and the template miner ask for.
const COLUMNS: [&str; 7] = [
    "body",
    "severity_number",
    "weight",
    "trace",
    "attribute.http.route",
    "attribute.log.record.template",
    "attribute.duration_ms",
];

fn plan() -> WalkPlan {
    let requests = COLUMNS.iter().map(|&name| {
        let data_type = match name {
            "severity_number" => DataType::Uint32,
            "trace" => DataType::Uint64,
            "weight" | "attribute.duration_ms" => DataType::Float64,
            _ => DataType::Utf8,
        };
        ColumnRequest::new(name, data_type)
    });
    WalkPlan::new(WalkSettings::new(Arc::new(ColumnSet::new(requests))))
}

/// What a request's records most often get: one of a few templates.
fn template_edits() -> RowEdits {
    let template = |id: u32| {
        vec![
            Attribute::new(
                "log.record.template",
                format!("request <*> of user <*> took <*> ms, answer {id:02}"),
            ),
            Attribute::new("petrel.template.id", format!("{id:016x}")),
        ]
    };
    RowEdits {
        sets: (0..20).map(template).collect(),
        base: (0..N_RECORDS).map(|row| row % 20).collect(),
        extra: vec![],
    }
}

fn decode_insert_encode(bytes: &Bytes) -> Vec<u8> {
    let mut request = ExportLogsServiceRequest::decode(bytes.clone()).expect("valid");
    for record in &mut request.resource_logs[0].scope_logs[0].log_records {
        record.attributes.push(text(
            "log.record.template",
            "request <*> of user <*> took <*> ms, answer 12",
        ));
        record
            .attributes
            .push(text("petrel.template.id", "0123456789abcdef"));
    }
    request.encode_to_vec()
}
