//! False alarms on records in which nothing happens, and recall of faults, beside two naive rules.
//!
//! `cargo run --release -p frequency --example frequency_false_alarms -- [days] [keys] [seed]`. Counts of a minute are
//! negative binomial around a daily and weekly rhythm with slow noise; a fifth of the keys have a daily
//! burst of five minutes. The last half of the days is scored: once without faults, once with one of
//! each kind for each key. Scores are recalibrated as the engine does it; FA/d/k = false alarms a
//! day and 1,000 keys, alarms of a key within half an hour being one.

use std::collections::BTreeMap;

use frequency::Frequency;
use petrel_detector::{
    Batch, Column, Detector, Direction, EventTime, Finding, PerStream, StreamId, Values, Watermark,
    math,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const DAY: usize = 1_440;
/// Monday, 1 January 2024, in minutes since the epoch.
const START: u64 = 1_704_067_200 / 60;
const KEYS_A_STREAM: usize = 30;
const EPISODE: usize = 30;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).flat_map(|a| a.parse()).collect();
    let get = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (days, n_keys, seed) = (get(0, 14) as usize, get(1, 300) as usize, get(2, 1));
    let scored = days / 2 * DAY..days * DAY;
    let keys = keys(n_keys, seed);

    let null = Counts::draw(&keys, days, &[], seed);
    let faults = faults(&keys, scored.clone(), seed);
    let hurt = Counts::draw(&keys, days, &faults, seed);
    println!(
        "{n_keys} keys, {days} days, the last {} scored, seed {seed}",
        days - days / 2
    );

    let quiet = run(&null);
    let found = run(&hurt);
    for (floors, name) in [
        (false, "no floors"),
        (true, "floors of 10 records and factor 2"),
    ] {
        println!("\n{name}");
        report(
            "s' >= 6",
            &keys,
            &faults,
            scored.clone(),
            &quiet,
            &found,
            6.0,
            floors,
        );
        let at_one = threshold(&quiet, scored.clone(), n_keys, floors, 1.0);
        let label = format!("s' >= {at_one:.1} (1 FA/d/k)");
        report(
            &label,
            &keys,
            &faults,
            scored.clone(),
            &quiet,
            &found,
            at_one,
            floors,
        );
    }
    println!("\nnaive rules");
    for (name, rule) in [
        ("ratio > 5 of lifetime mean", ratio_rule as Rule),
        ("z > 3, 24 h EWMA", z_rule),
    ] {
        let quiet = naive(&null, rule);
        let found = naive(&hurt, rule);
        report(
            name,
            &keys,
            &faults,
            scored.clone(),
            &quiet,
            &found,
            0.0,
            false,
        );
    }
    by_day(&quiet, days, n_keys);
}

/// A key: its rhythm, noise and burst.
struct Key {
    rate: f64,
    amplitude: f64,
    phase: f64,
    weekend: f64,
    dispersion: f64,
    noise: f64,
    burst: Option<(usize, f64)>,
}

#[derive(Clone, Copy)]
struct Fault {
    key: usize,
    kind: usize,
    start: usize,
    end: usize,
}

/// Name, factor, minutes.
const KINDS: [(&str, f64, usize); 4] = [
    ("x10 for 3 min", 10.0, 3),
    ("x3 for 10 min", 3.0, 10),
    ("zero for 15 min", 0.0, 15),
    ("x0.3 for 30 min", 0.3, 30),
];

/// Keys are a property of the run, their noise of the seed.
fn keys(n_keys: usize, seed: u64) -> Vec<Key> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..n_keys)
        .map(|index| Key {
            rate: math::exp(rng.random_range(math::ln(0.02)..math::ln(300.0))),
            amplitude: rng.random_range(0.0..0.8),
            phase: rng.random_range(0.0..1.0),
            weekend: rng.random_range(0.5..1.0),
            dispersion: rng.random_range(0.005..0.1),
            noise: rng.random_range(0.0..0.15),
            burst: (index % 5 == 0)
                .then(|| (rng.random_range(0..DAY - 5), rng.random_range(5.0..30.0))),
        })
        .collect()
}

fn faults(keys: &[Key], scored: std::ops::Range<usize>, seed: u64) -> Vec<Fault> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0xfa17);
    let mut faults = Vec::new();
    let step = scored.len() / KINDS.len();
    for key in 0..keys.len() {
        for (kind, &(_, _, minutes)) in KINDS.iter().enumerate() {
            let from = scored.start + kind * step;
            let start = rng.random_range(from..from + step - 120);
            let end = start + minutes;
            faults.push(Fault {
                key,
                kind,
                start,
                end,
            });
        }
    }
    faults
}

/// Counts by minute and key.
struct Counts {
    n_keys: usize,
    counts: Vec<f32>,
}

impl Counts {
    fn draw(keys: &[Key], days: usize, faults: &[Fault], seed: u64) -> Self {
        let n_keys = keys.len();
        let mut counts = vec![0.0; n_keys * days * DAY];
        for (index, key) in keys.iter().enumerate() {
            let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(7_919) + index as u64);
            let own: Vec<_> = faults.iter().filter(|f| f.key == index).collect();
            let mut noise = 0.0;
            for minute in 0..days * DAY {
                noise = 0.97 * noise + key.noise * 0.243 * normal(&mut rng);
                let mut mean = key.mean(minute) * math::exp(noise);
                if let Some(fault) = own.iter().find(|f| (f.start..f.end).contains(&minute)) {
                    mean *= KINDS[fault.kind].1;
                }
                let shape = 1.0 / key.dispersion;
                let drawn = mean * gamma(&mut rng, shape) / shape;
                counts[minute * n_keys + index] = poisson(&mut rng, drawn) as f32;
            }
        }
        Self { n_keys, counts }
    }

    fn minutes(&self) -> impl Iterator<Item = &[f32]> {
        self.counts.chunks(self.n_keys)
    }
}

impl Key {
    fn mean(&self, minute: usize) -> f64 {
        let turn = (minute % DAY) as f64 / DAY as f64 + self.phase;
        let day = math::exp(self.amplitude * libm::sin(turn * 2.0 * std::f64::consts::PI));
        let week = if minute / DAY % 7 >= 5 {
            self.weekend
        } else {
            1.0
        };
        let burst = match self.burst {
            Some((at, factor)) if (at..at + 5).contains(&(minute % DAY)) => factor,
            _ => 1.0,
        };
        self.rate * day * week * burst
    }
}

/// A scored minute of a key: minute, key (none = a stream's total), direction, score, passes floors.
struct Alarm {
    minute: usize,
    key: Option<usize>,
    above: bool,
    score: f64,
    big: bool,
}

fn run(counts: &Counts) -> Vec<Alarm> {
    let mut detector = PerStream::<Frequency>::default();
    detector
        .configure("")
        .expect("no settings are good settings");
    let mut tails: BTreeMap<(Option<usize>, u32, bool), Tail> = BTreeMap::new();
    let mut alarms = Vec::new();
    let n_streams = counts.n_keys.div_ceil(KEYS_A_STREAM);
    for (minute, row) in counts.minutes().enumerate() {
        observe(&mut detector, minute, row);
        let watermarks: Vec<_> = (0..n_streams as u32)
            .map(|stream| Watermark {
                stream: StreamId(stream),
                time: EventTime((START + minute as u64 + 1) * 60_000_000_000),
                completeness: 1.0,
            })
            .collect();
        let outcome = detector.advance(&watermarks).expect("native");
        for finding in outcome.findings {
            let key = finding.template.map(|id| id.0 as usize - 1);
            let above = finding.direction == Direction::Above;
            let tail = tails
                .entry((key, finding.stream.0, above))
                .or_insert_with(Tail::new);
            let score = tail.take(minute, finding.score, above);
            let big = is_big(&finding);
            alarms.push(Alarm {
                minute,
                key,
                above,
                score,
                big,
            });
        }
    }
    alarms
}

fn observe(detector: &mut impl Detector, minute: usize, row: &[f32]) {
    let keys: Vec<usize> = (0..row.len()).filter(|&key| row[key] > 0.0).collect();
    let time = (START + minute as u64) * 60_000_000_000 + 30_000_000_000;
    let batch = Batch {
        rows: keys.len() as u32,
        columns: vec![
            Column::full(Values::Uint64(keys.iter().map(|&k| k as u64 + 1).collect())),
            Column::full(Values::Uint64(vec![time; keys.len()].into())),
            Column::full(Values::Float64(
                keys.iter().map(|&k| f64::from(row[k])).collect(),
            )),
            Column::full(Values::Uint32(
                keys.iter().map(|&k| (k / KEYS_A_STREAM) as u32).collect(),
            )),
        ],
        ..Batch::default()
    };
    detector.observe(&batch).expect("native");
}

fn is_big(finding: &Finding) -> bool {
    let (Some(observed), Some(expected)) = (finding.observed, finding.expected) else {
        return true;
    };
    let ratio = (observed / expected).max(expected / observed.max(1e-9));
    (observed - expected).abs() >= 10.0 && ratio >= 2.0
}

/// Tail recalibration of one series and direction.
struct Tail {
    rate: f64,
    excess: f64,
    weight: f64,
    last: usize,
}

impl Tail {
    fn new() -> Self {
        Self {
            rate: 0.01,
            excess: 0.434,
            weight: 0.0,
            last: 0,
        }
    }

    fn take(&mut self, minute: usize, score: f64, above: bool) -> f64 {
        let fading = |minutes: f64| math::exp2(-minutes / (2.5 * DAY as f64));
        self.rate *= fading((minute - self.last) as f64);
        self.last = minute;
        let excess = score - 2.0;
        let (prior, theta_max) = if above {
            (20.0, f64::INFINITY)
        } else {
            (40.0, 3.0 * 0.434)
        };
        let theta = self.excess.clamp(0.434, theta_max);
        let calibrated = -math::log10(self.rate.max(1e-6)) + excess * 0.434 / theta;
        self.rate += 1.0 - fading(1.0);
        self.weight += 1.0;
        self.excess += (excess.min(4.0 * theta) - self.excess) / (prior + self.weight).min(200.0);
        calibrated
    }
}

type Rule = fn(&mut [f64; 3], f64) -> bool;

fn ratio_rule(state: &mut [f64; 3], count: f64) -> bool {
    let [n, mean, _] = state;
    let odd = *n > DAY as f64 && count > 5.0 * *mean && count >= 5.0;
    *n += 1.0;
    *mean += (count - *mean) / *n;
    odd
}

fn z_rule(state: &mut [f64; 3], count: f64) -> bool {
    let [n, mean, square] = state;
    let deviation = (*square - *mean * *mean).max(1e-9).sqrt();
    let odd = *n > DAY as f64 && (count - *mean).abs() > 3.0 * deviation;
    *n += 1.0;
    let share = (1.0 / *n).max(1.0 - math::exp2(-1.0 / DAY as f64));
    *mean += (count - *mean) * share;
    *square += (count * count - *square) * share;
    odd
}

fn naive(counts: &Counts, rule: Rule) -> Vec<Alarm> {
    let mut states = vec![[0.0; 3]; counts.n_keys];
    let mut alarms = Vec::new();
    for (minute, row) in counts.minutes().enumerate() {
        for (key, &count) in row.iter().enumerate() {
            let above = f64::from(count) > states[key][1];
            if rule(&mut states[key], f64::from(count)) {
                let key = Some(key);
                alarms.push(Alarm {
                    minute,
                    key,
                    above,
                    score: 1.0,
                    big: true,
                });
            }
        }
    }
    alarms
}

/// Episodes of keys per day and 1,000 keys, by direction.
fn false_alarms(
    alarms: &[Alarm],
    scored: std::ops::Range<usize>,
    n_keys: usize,
    threshold: f64,
    floors: bool,
    above: bool,
) -> f64 {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    let mut n = 0;
    for alarm in alarms {
        let Some(key) = alarm.key else { continue };
        if alarm.above != above || alarm.score < threshold || (floors && !alarm.big) {
            continue;
        }
        let is_new = last.get(&key).is_none_or(|&at| alarm.minute > at + EPISODE);
        last.insert(key, alarm.minute);
        n += usize::from(is_new && scored.contains(&alarm.minute));
    }
    n as f64 * DAY as f64 / scored.len() as f64 * 1_000.0 / n_keys as f64
}

/// The least threshold with at most so many false alarms, in both directions.
fn threshold(
    alarms: &[Alarm],
    scored: std::ops::Range<usize>,
    n_keys: usize,
    floors: bool,
    at_most: f64,
) -> f64 {
    (20..400)
        .map(|tenths| f64::from(tenths) / 10.0)
        .find(|&t| {
            [true, false].iter().all(|&above| {
                false_alarms(alarms, scored.clone(), n_keys, t, floors, above) <= at_most
            })
        })
        .unwrap_or(40.0)
}

#[expect(clippy::too_many_arguments, reason = "a table's row is what it is")]
fn report(
    name: &str,
    keys: &[Key],
    faults: &[Fault],
    scored: std::ops::Range<usize>,
    quiet: &[Alarm],
    found: &[Alarm],
    threshold: f64,
    floors: bool,
) {
    let n_keys = keys.len();
    let [up, down] = [true, false]
        .map(|above| false_alarms(quiet, scored.clone(), n_keys, threshold, floors, above));
    println!(
        "{name}: FA/d/k above {up:.1} below {down:.1}; recall >20/min (1-20/min), median delay"
    );
    for (kind, &(label, factor, minutes)) in KINDS.iter().enumerate() {
        let mut line = format!("  {label:16}");
        for (low, high) in [(20.0, f64::INFINITY), (1.0, 20.0)] {
            let of_class = |f: &&Fault| f.kind == kind && (low..high).contains(&keys[f.key].rate);
            let mut delays: Vec<usize> = Vec::new();
            let mut n = 0;
            for fault in faults.iter().filter(of_class) {
                n += 1;
                let within = fault.start..fault.end + minutes.min(5);
                let hit = found.iter().find(|a| {
                    a.key == Some(fault.key)
                        && within.contains(&a.minute)
                        && a.above == (factor > 1.0)
                        && a.score >= threshold
                        && (!floors || a.big)
                });
                delays.extend(hit.map(|alarm| alarm.minute + 1 - fault.start));
            }
            delays.sort_unstable();
            let recall = delays.len() as f64 / f64::from(n.max(1));
            let delay = delays.get(delays.len() / 2).copied().unwrap_or_default();
            line += &format!("  {recall:.2} {delay:>2} min (n {n})");
        }
        println!("{line}");
    }
}

fn by_day(alarms: &[Alarm], days: usize, n_keys: usize) {
    println!("\nFA/d/k at s' >= 6 by day, with floors (above, below)");
    for day in 0..days {
        let span = day * DAY..(day + 1) * DAY;
        let [up, down] =
            [true, false].map(|above| false_alarms(alarms, span.clone(), n_keys, 6.0, true, above));
        print!(" {up:.0},{down:.0}");
    }
    let totals = alarms
        .iter()
        .filter(|a| a.key.is_none() && a.score >= 6.0 && a.big);
    println!("\nodd minutes of stream totals: {}", totals.count());
}

fn normal(rng: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random());
    (-2.0 * math::ln(u)).sqrt() * libm::cos(2.0 * std::f64::consts::PI * v)
}

/// Marsaglia and Tsang, for shapes of 1 and more.
fn gamma(rng: &mut SmallRng, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = 1.0 + c * x;
        let cube = v * v * v;
        if v > 0.0 && math::ln(rng.random()) < 0.5 * x * x + d - d * cube + d * math::ln(cube) {
            return d * cube;
        }
    }
}

fn poisson(rng: &mut SmallRng, mean: f64) -> f64 {
    if mean > 60.0 {
        return (mean + mean.sqrt() * normal(rng)).max(0.0).round();
    }
    let (limit, mut product, mut n) = (math::exp(-mean), rng.random::<f64>(), 0.0);
    while product > limit {
        product *= rng.random::<f64>();
        n += 1.0;
    }
    n
}
