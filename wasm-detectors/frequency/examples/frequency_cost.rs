//! What the detector costs: nanoseconds a row in `observe`, and a series and minute in `advance`.
//!
//! `cargo run --release -p frequency --example frequency_cost`. Two days of 20 streams with 300 templates each,
//! daily rhythm, batches of 1,000 rows of one stream; the second day is timed.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock, the detector does not"
)]

use std::time::{Duration, Instant};

use frequency::Frequency;
use petrel_detector::{
    Batch, Column, Detector, EventTime, PerStream, StreamId, Values, Watermark, math,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const STREAMS: u32 = 20;
const TEMPLATES: u64 = 300;
const ROWS: usize = 1_000;
const DAY: u64 = 1_440;
const START: u64 = 1_704_067_200 / 60;

fn main() {
    let mut detector = PerStream::<Frequency>::default();
    detector
        .configure("")
        .expect("no settings are good settings");
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut observing, mut advancing) = (Duration::ZERO, Duration::ZERO);
    let (mut rows, mut findings) = (0, 0);
    for minute in 0..2 * DAY {
        let is_timed = minute >= DAY;
        let turn = minute as f64 / DAY as f64 * 2.0 * std::f64::consts::PI;
        let n_rows = (ROWS as f64 * math::exp(0.5 * libm::sin(turn))) as usize;
        for stream in 0..STREAMS {
            let batch = batch(&mut rng, minute, stream, n_rows);
            let begun = Instant::now();
            findings += detector.observe(&batch).expect("native").findings.len();
            if is_timed {
                observing += begun.elapsed();
                rows += n_rows;
            }
        }
        let watermarks: Vec<_> = (0..STREAMS)
            .map(|stream| Watermark {
                stream: StreamId(stream),
                time: EventTime((START + minute) * 60_000_000_000),
                completeness: 1.0,
            })
            .collect();
        let begun = Instant::now();
        findings += detector
            .advance(&watermarks)
            .expect("native")
            .findings
            .len();
        if is_timed {
            advancing += begun.elapsed();
        }
    }
    let closes = DAY * u64::from(STREAMS) * TEMPLATES;
    println!(
        "observe: {:.1} ns a row",
        observing.as_nanos() as f64 / rows as f64
    );
    println!(
        "advance: {:.0} ns a series and minute",
        advancing.as_nanos() as f64 / closes as f64
    );
    let begun = Instant::now();
    let saved = detector.save(StreamId(0)).expect("native");
    println!(
        "save: {} bytes a series, {:?} a stream",
        saved.len() as u64 / TEMPLATES,
        begun.elapsed()
    );
    println!("findings: {findings}");
}

/// Rows of a minute; templates by Zipf's law, so that most are rare.
fn batch(rng: &mut SmallRng, minute: u64, stream: u32, n_rows: usize) -> Batch<'static> {
    let templates = (0..n_rows).map(|_| {
        let u: f64 = rng.random();
        (math::exp(u * math::ln(TEMPLATES as f64)) as u64).min(TEMPLATES - 1) + 1
    });
    let time = (START + minute) * 60_000_000_000;
    Batch {
        rows: n_rows as u32,
        columns: vec![
            Column::full(Values::Uint64(templates.collect())),
            Column::full(Values::Uint64(vec![time; n_rows].into())),
            Column::full(Values::Float64(vec![1.0; n_rows].into())),
            Column::full(Values::Uint32(vec![stream; n_rows].into())),
        ],
        ..Batch::default()
    }
}
