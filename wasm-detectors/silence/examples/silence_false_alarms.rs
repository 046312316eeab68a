//! False alarms of sources that are well, and how soon their end is found, beside two rules of thumb.
//!
//! Five kinds of source, four weeks each; at the end each source dies. Scores
//! are the detector's own: calibration would lower those of sources that exceed them often.
//! `cargo run --release -p silence --example silence_false_alarms -- [sources of each kind] [seed]`

use std::time::Duration;

use petrel_detector::{
    Batch, Column, DataType, Detector, EventTime, Level, Outcome, PerStream, StreamId, Template,
    Values, Watermark, names,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use silence::Silence;

/// Monday, 1 January 2024.
const START: u64 = 1_704_067_200;
const DAY: u64 = 86_400;
const DAYS: u64 = 28;
/// False alarms are counted from here on.
const WARM: u64 = 3;
/// How long the end of a source is waited for.
const WAIT: u64 = 48 * 3_600;
const OPENS: f64 = 6.0;
/// Findings this close are one alarm.
const EPISODE: u64 = 1_800;
const KINDS: [&str; 5] = [
    "poisson",
    "batchy",
    "heartbeat",
    "office hours",
    "hourly burst",
];

/// What one way of finding silences made of a source.
#[derive(Default)]
struct Verdict {
    /// Starts of silences that were none.
    false_alarms: Vec<u64>,
    /// Seconds from the source's last breath to the alarm.
    delay: Option<u64>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default| {
        arguments
            .next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (n_sources, seed) = (next(40), next(1));
    println!(
        "{n_sources} sources of each kind, {DAYS} days; false alarms a day per 1,000 sources / delay p50"
    );
    println!("| kind | fixed 5 min | 2 x weekly longest gap | silence |");
    println!("|---|---|---|---|");
    for (kind, name) in KINDS.iter().enumerate() {
        let mut verdicts: [Vec<Verdict>; 3] = Default::default();
        for source in 0..n_sources {
            let mut random = ChaCha8Rng::seed_from_u64(seed * 1_000_003 + source * 7 + kind as u64);
            let (times, death) = draw(kind, &mut random);
            verdicts[0].push(by_rule(&times, death, |_, _| Some(300)));
            verdicts[1].push(by_rule(&times, death, twice_longest));
            verdicts[2].push(by_detector(&times, death));
        }
        let cells: Vec<_> = verdicts
            .iter_mut()
            .map(|verdicts| summary(verdicts))
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// Milliseconds since the start at which a source wrote, and the second at which it died.
fn draw(kind: usize, random: &mut ChaCha8Rng) -> (Vec<u64>, u64) {
    // A working day, between 10 and 15 h.
    let death = DAYS * DAY + DAY + random.random_range(10 * 3_600..15 * 3_600);
    let mut times = Vec::new();
    let mut log_uniform = |low: f64, high: f64| low * (high / low).powf(random.random::<f64>());
    match kind {
        0 => {
            let rate = log_uniform(0.2, 60.0) / 60.0;
            poisson(&mut times, death, random, |second| {
                let phase = (second % DAY) as f64 / DAY as f64 * std::f64::consts::TAU;
                rate * (1.0 + 0.5 * phase.sin())
            });
        }
        1 => {
            let every = log_uniform(300.0, 1_800.0);
            let mut at = 0.0;
            while at < death as f64 {
                at += -every * (1.0 - random.random::<f64>()).ln();
                for _ in 0..random.random_range(5..50) {
                    times.push(((at + random.random::<f64>() * 10.0) * 1e3) as u64);
                }
            }
        }
        2 => {
            let period = log_uniform(10.0, 120.0);
            for beat in 0.. {
                let at = (beat as f64 + 0.1 * (random.random::<f64>() - 0.5)) * period;
                if at > death as f64 {
                    break;
                }
                times.push((at.max(0.0) * 1e3) as u64);
            }
        }
        3 => {
            let rate = log_uniform(1.0, 20.0) / 60.0;
            let hours: Vec<(u64, u64)> = (0..DAYS + 2)
                .map(|day| {
                    let opens = random.random_range(8 * 3_600..9 * 3_600);
                    let closes = random.random_range(17 * 3_600..18 * 3_600);
                    if day % 7 < 5 { (opens, closes) } else { (0, 0) }
                })
                .collect();
            poisson(&mut times, death, random, |second| {
                let (opens, closes) = hours[(second / DAY) as usize];
                let is_open = (opens..closes).contains(&(second % DAY));
                if is_open { rate } else { 0.0 }
            });
        }
        _ => {
            let minute = random.random_range(0..60) * 60;
            for hour in 0..=death / 3_600 {
                let at = hour * 3_600 + minute + random.random_range(0..60);
                for _ in 0..random.random_range(10..60) {
                    times.push(at * 1_000 + random.random_range(0..60_000));
                }
            }
        }
    }
    times.retain(|&time| time < death * 1_000);
    times.sort_unstable();
    (times, death)
}

fn poisson(times: &mut Vec<u64>, to: u64, random: &mut ChaCha8Rng, rate: impl Fn(u64) -> f64) {
    for minute in 0..to / 60 {
        let mean = rate(minute * 60) * 60.0;
        let mut at = 0.0;
        loop {
            at += -(1.0 - random.random::<f64>()).ln() / mean;
            if mean <= 0.0 || at >= 1.0 {
                break;
            }
            times.push(minute * 60_000 + (at * 60e3) as u64);
        }
    }
}

/// A rule that calls a gap too long from so many seconds on, given the gaps of the week before.
fn by_rule(
    times: &[u64],
    death: u64,
    limit: impl Fn(&[(u64, u64)], u64) -> Option<u64>,
) -> Verdict {
    let mut verdict = Verdict::default();
    // Longest gap of each day, which is enough for a week's.
    let mut days: Vec<(u64, u64)> = Vec::new();
    for pair in times.windows(2) {
        let (from, gap) = (pair[0] / 1_000, (pair[1] - pair[0]) / 1_000);
        let is_long = gap > 60 && limit(&days, from / DAY).is_some_and(|limit| gap > limit);
        if is_long && from >= WARM * DAY {
            verdict.false_alarms.push(from);
        }
        match days.last_mut() {
            Some((day, longest)) if *day == from / DAY => *longest = gap.max(*longest),
            _ => days.push((from / DAY, gap)),
        }
    }
    let last = times.last().map_or(0, |time| time / 1_000);
    let limit = limit(&days, last / DAY).filter(|limit| *limit < WAIT);
    verdict.delay = limit.map(|limit| (last + limit.max(60)).saturating_sub(death));
    verdict
}

fn twice_longest(days: &[(u64, u64)], today: u64) -> Option<u64> {
    let week = days.iter().filter(|(day, _)| day + 7 >= today);
    week.map(|(_, longest)| 2 * longest).max()
}

fn by_detector(times: &[u64], death: u64) -> Verdict {
    let mut detector = PerStream::<Silence>::default();
    let plan = detector.configure("").expect("defaults");
    let mut verdict = Verdict::default();
    let mut told_at = 0;
    let mut rest = times;
    for minute in 1..=(death + WAIT) / 60 {
        let n = rest.partition_point(|time| *time < minute * 60_000);
        let (rows, after) = rest.split_at(n);
        rest = after;
        for rows in rows.chunks(Batch::ROWS_MAX) {
            detector
                .observe(&batch(rows, &plan.columns))
                .expect("observe");
        }
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime::from_seconds(START + minute * 60),
            completeness: 1.0,
        };
        let Outcome { findings, .. } = detector.advance(&[watermark]).expect("advance");
        let Some(finding) = findings.iter().find(|finding| finding.score >= OPENS) else {
            continue;
        };
        let level = detector.status(StreamId(0)).expect("status")[0].level;
        if level == Level::Learning {
            continue;
        }
        if minute * 60 > death && rest.is_empty() {
            verdict.delay = Some(minute * 60 - death);
            break;
        }
        let start = finding.start.since(EventTime::from_seconds(START));
        let is_new = minute * 60 > told_at + EPISODE;
        told_at = minute * 60;
        if is_new && start >= Duration::from_secs(WARM * DAY) {
            verdict.false_alarms.push(start.as_secs());
        }
    }
    verdict
}

fn batch(times: &[u64], columns: &[petrel_detector::ColumnRequest]) -> Batch<'static> {
    let column = |request: &petrel_detector::ColumnRequest| {
        let values = match (request.name.as_str(), request.data_type) {
            (names::EVENT_TIME, _) => Values::Uint64(
                times
                    .iter()
                    .map(|time| START * 1_000_000_000 + time * 1_000_000)
                    .collect(),
            ),
            (_, DataType::Uint32) => Values::Uint32(vec![0; times.len()].into()),
            _ => Values::Uint64(vec![1; times.len()].into()),
        };
        Column::full(values)
    };
    Batch {
        rows: times.len() as u32,
        columns: columns.iter().map(column).collect(),
        templates: Vec::<Template>::new(),
        merges: Vec::new(),
    }
}

fn summary(verdicts: &mut [Verdict]) -> String {
    let days = verdicts.len() as f64 * (DAYS - WARM) as f64;
    let n: usize = verdicts
        .iter()
        .map(|verdict| verdict.false_alarms.len())
        .sum();
    verdicts.sort_by_key(|verdict| verdict.delay.unwrap_or(u64::MAX));
    let median = verdicts[verdicts.len() / 2].delay;
    let delay = median.map_or("never".to_owned(), |delay| {
        format!("{:.1} min", delay as f64 / 60.0)
    });
    format!("{:.0} / {delay}", n as f64 * 1_000.0 / days)
}
