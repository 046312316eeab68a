//! How often the detector cries wolf, and what it finds, beside the simple rules.
//!
//! `cargo run --release -p latency --example latency_false_alarms [keys] [days] [seed]` writes two worlds of
//! log-normal durations with a daily rhythm and a restless mean: one calm, one with a fault in the last
//! day of each key. An alarm is what passes the effect floors (20 %, 10 ms) and a score of 6 after the
//! engine's calibration; the rules of thumb get the same floors. Alarms of a key within 30 minutes are one.

use latency::Latency;
use petrel_detector::{
    Batch, Column, Detector, EventTime, PerStream, StreamId, TemplateId, Values, Watermark, math,
    names,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MINUTES_A_DAY: usize = 1_440;
const FAULT_MINUTES: usize = 15;
const OPENS: f64 = 6.0;
/// Days that do not count for the steady figure.
const WARM_DAYS: usize = 3;
const EPISODE_MINUTES: usize = 30;

/// A key: what its durations are like.
struct Key {
    rate: f64,
    median: f64,
    deviation: f64,
    swing: f64,
    restlessness: f64,
    memory: f64,
    state: f64,
    fault_at: usize,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// All calls take 1.5 times as long.
    Half,
    /// All calls take 2.5 times as long.
    Double,
    /// A tenth of the calls takes ten times as long.
    Tail,
}

const FAULTS: [Fault; 3] = [Fault::Half, Fault::Double, Fault::Tail];
const RULES: [&str; 4] = ["latency (this)", "p95 z>3", "KS p<1e-6", "binomial p<1e-6"];

impl Key {
    fn new(random: &mut ChaCha8Rng, index: usize, days: usize) -> Self {
        let between = |random: &mut ChaCha8Rng, low: f64, high: f64| random.random_range(low..high);
        Self {
            rate: math::exp2(between(random, 1.0, 7.0)),
            median: math::exp2(between(random, -5.0, 0.0)),
            deviation: between(random, 0.3, 0.8),
            swing: between(random, 0.0, 0.25),
            restlessness: between(random, 0.02, 0.1),
            memory: between(random, 3.0, 60.0),
            state: 0.0,
            fault_at: (days - 1) * MINUTES_A_DAY + random.random_range(60..1_300),
            fault: FAULTS[index % FAULTS.len()],
        }
    }

    /// Durations of a minute, in seconds.
    fn minute(&mut self, minute: usize, faulty: bool, random: &mut ChaCha8Rng) -> Vec<f64> {
        let kept = math::exp(-1.0 / self.memory);
        self.state = kept * self.state + (1.0 - kept * kept).sqrt() * normal(random);
        let phase = (minute % MINUTES_A_DAY) as f64 / MINUTES_A_DAY as f64;
        let rhythm = self.swing * libm::sin(phase * std::f64::consts::TAU);
        let level = math::ln(self.median) + rhythm + self.restlessness * self.state;
        let on = faulty && (self.fault_at..self.fault_at + FAULT_MINUTES).contains(&minute);
        let rate = self.rate * (1.0 + 0.5 * libm::sin(phase * std::f64::consts::TAU));
        let n = (rate + rate.sqrt() * normal(random)).max(0.0) as usize;
        (0..n)
            .map(|_| {
                let factor = match self.fault {
                    _ if !on => 1.0,
                    Fault::Half => 1.5,
                    Fault::Double => 2.5,
                    Fault::Tail if random.random_bool(0.1) => 10.0,
                    Fault::Tail => 1.0,
                };
                factor * math::exp(level + self.deviation * normal(random))
            })
            .collect()
    }
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (random.random_range(1e-12..1.0), random.random());
    (-2.0 * math::ln(a)).sqrt() * libm::cos(b * std::f64::consts::TAU)
}

/// The engine's calibration of one series and direction: the rate and the mean
/// excess of scores from 2 on, both fading with a half-life of 60 hours.
#[derive(Clone, Default)]
struct Calibration {
    life: f64,
    count: f64,
    excess: f64,
    minute: usize,
    /// The newest episode: its start and what it counts for.
    episode: (u64, f64, f64),
}

impl Calibration {
    const PRIOR_MINUTES: f64 = 1_440.0;
    const PRIOR_RATE: f64 = 0.01;
    const PRIOR_COUNT: f64 = 20.0;
    const UNIT: f64 = 1.0 / math::LN_10;
    const HALF_LIFE: f64 = 3_600.0;

    /// The calibrated score of a finding of at least 2 that ends with a minute.
    fn score(&mut self, score: f64, start: u64, minute: usize) -> f64 {
        let passed = (minute - self.minute) as f64;
        let kept = math::exp2(-passed / Self::HALF_LIFE);
        self.life = self.life * kept + (1.0 - kept) * Self::HALF_LIFE / std::f64::consts::LN_2;
        self.count *= kept;
        self.excess *= kept;
        self.minute = minute;
        if self.episode.0 == start {
            self.count = (self.count - self.episode.1).max(0.0);
            self.excess = (self.excess - self.episode.2).max(0.0);
        }
        let theta =
            (Self::UNIT * Self::PRIOR_COUNT + self.excess) / (Self::PRIOR_COUNT + self.count);
        let theta = theta.max(Self::UNIT);
        let rate = Self::PRIOR_RATE * Self::PRIOR_MINUTES + self.count;
        let rate = rate / (Self::PRIOR_MINUTES + self.life);
        let clipped = (score - 2.0).min(4.0 * theta);
        self.count += 1.0;
        self.excess += clipped;
        self.episode = (start, 1.0, clipped);
        -math::log10(rate) + (score - 2.0) * Self::UNIT / theta
    }
}

/// The rules of thumb, on five minutes at a time against what they have seen of the key.
#[derive(Default)]
struct Thumb {
    window: Vec<f64>,
    past: Vec<f64>,
    mean: f64,
    square: f64,
    n: f64,
}

impl Thumb {
    /// Which rules raise at the end of a minute.
    fn minute(&mut self, minute: usize, values: &[f64], random: &mut ChaCha8Rng) -> [bool; 4] {
        self.window.extend_from_slice(values);
        if !(minute + 1).is_multiple_of(5) {
            return [false; 4];
        }
        let mut window = std::mem::take(&mut self.window);
        if window.len() < 10 {
            return [false; 4];
        }
        window.sort_by(f64::total_cmp);
        let p95 = window[window.len() * 95 / 100];
        let deviation = (self.square - self.mean * self.mean).max(1e-12).sqrt();
        let mut raised = [false; 4];
        if self.n > 100.0 && self.past.len() >= 2_000 {
            let mut past = self.past.clone();
            past.sort_by(f64::total_cmp);
            let (usual, usual_p95) = (past[past.len() / 2], past[past.len() * 95 / 100]);
            let moved = |now: f64, then: f64| now / then >= 1.2 && now - then >= 0.01;
            let median_moved = moved(window[window.len() / 2], usual);
            let matters = median_moved || moved(p95, usual_p95);
            raised[1] = (math::log2(p95) - self.mean) / deviation > 3.0 && matters;
            raised[2] = ks_ln_p(&window, &past) < -6.0 * math::LN_10 && matters;
            let k = window.iter().filter(|value| **value > usual_p95).count() as f64;
            let ln_p = math::binomial_upper(k, window.len() as f64, 0.05);
            raised[3] = ln_p < -6.0 * math::LN_10 && matters;
        }
        let step = (1.0 / (self.n + 1.0)).max(1.0 / 288.0);
        self.n += 1.0;
        self.mean += step * (math::log2(p95) - self.mean);
        self.square += step * (math::log2(p95) * math::log2(p95) - self.square);
        for value in window {
            if self.past.len() < 4_000 {
                self.past.push(value);
            } else if random.random_bool(0.05) {
                let place = random.random_range(0..self.past.len());
                self.past[place] = value;
            }
        }
        raised
    }
}

/// ln of the asymptotic p-value of the two-sample Kolmogorov-Smirnov test; both sorted.
fn ks_ln_p(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let distance = a.iter().enumerate().fold(0.0_f64, |most, (index, value)| {
        let below = b.partition_point(|other| other <= value) as f64 / m;
        most.max((below - (index + 1) as f64 / n).abs())
    });
    (math::ln(2.0) - 2.0 * distance * distance * n * m / (n + m)).min(0.0)
}

/// Minutes at which each rule raised, for one key.
type Raised = [Vec<usize>; 4];

fn run(n_keys: usize, days: usize, seed: u64, faulty: bool) -> (Vec<Key>, Vec<Raised>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut keys: Vec<Key> = (0..n_keys)
        .map(|i| Key::new(&mut random, i, days))
        .collect();
    let mut thumbs: Vec<Thumb> = keys.iter().map(|_| Thumb::default()).collect();
    let mut raised: Vec<Raised> = keys.iter().map(|_| Raised::default()).collect();
    let mut calibrations = vec![[Calibration::default(), Calibration::default()]; n_keys];
    let mut detector = PerStream::<Latency>::default();
    let plan = detector
        .configure(r#"{"attributes": ["duration"]}"#)
        .expect("settings");
    for minute in 0..days * MINUTES_A_DAY {
        let (mut templates, mut durations) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter_mut().enumerate() {
            let values = key.minute(minute, faulty, &mut random);
            let thumb = thumbs[index].minute(minute, &values, &mut random);
            for rule in (1..4).filter(|rule| thumb[*rule]) {
                raised[index][rule].push(minute);
            }
            templates.extend(std::iter::repeat_n(index as u64 + 1, values.len()));
            durations.extend(values);
        }
        for from in (0..durations.len()).step_by(Batch::ROWS_MAX) {
            let to = durations.len().min(from + Batch::ROWS_MAX);
            let batch = batch(
                &plan.columns,
                &templates[from..to],
                &durations[from..to],
                minute,
            );
            let outcome = detector.observe(&batch).expect("native");
            assert!(outcome.findings.is_empty());
        }
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime::from_seconds((minute as u64 + 1) * 60),
            completeness: 1.0,
        };
        for finding in detector.advance(&[watermark]).expect("native").findings {
            let index = finding.template.map_or(0, |TemplateId(id)| id as usize - 1);
            let way = usize::from(finding.observed < finding.expected);
            let score =
                calibrations[index][way].score(finding.score, finding.start.seconds(), minute);
            let (now, then) = (
                finding.observed.unwrap_or(0.0),
                finding.expected.unwrap_or(1.0),
            );
            let matters = (now / then).max(then / now) >= 1.2 && (now - then).abs() >= 0.01;
            if score >= OPENS && matters {
                raised[index][0].push(minute);
            }
        }
    }
    (keys, raised)
}

fn batch<'a>(
    columns: &[petrel_detector::ColumnRequest],
    templates: &'a [u64],
    durations: &'a [f64],
    minute: usize,
) -> Batch<'a> {
    let rows = durations.len();
    let columns = columns.iter().map(|request| match request.name.as_str() {
        names::STREAM => Values::Uint32(vec![0; rows].into()),
        names::TEMPLATE => Values::Uint64(templates.into()),
        names::EVENT_TIME => Values::Uint64(vec![minute as u64 * 60_000_000_000; rows].into()),
        "attribute.duration" => Values::Float64(durations.into()),
        _ => Values::Absent,
    });
    Batch {
        rows: rows as u32,
        columns: columns.map(Column::full).collect(),
        ..Batch::default()
    }
}

fn episodes(minutes: &[usize], from: usize, to: usize) -> usize {
    let mut last = None;
    let within = minutes.iter().filter(|minute| (from..to).contains(*minute));
    within
        .filter(|minute| {
            let is_new = last.is_none_or(|last| **minute > last + EPISODE_MINUTES);
            last = Some(**minute);
            is_new
        })
        .count()
}

fn main() {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let at = |index, default| arguments.get(index).copied().unwrap_or(default);
    let (n_keys, days, seed) = (at(0, 200) as usize, (at(1, 7) as usize).max(5), at(2, 1));
    let (_, calm) = run(n_keys, days, seed, false);
    let (keys, struck) = run(n_keys, days, seed, true);
    println!(
        "{n_keys} keys, {days} days, seed {seed}; false alarms a day and 1,000 keys in the calm world,"
    );
    println!(
        "recall of 15-minute faults (alarm from the start to 5 minutes past the end) by values in 5 minutes"
    );
    println!(
        "{:<16} {:>9} {:>9} | {:>21} | {:>21} | {:>21}",
        "", "days 1-3", "then", "x1.5 10-50/-300/more", "x2.5", "10 % x10"
    );
    for (rule, name) in RULES.iter().enumerate() {
        let alarms = |from: usize, to: usize| {
            let (from, to) = (from * MINUTES_A_DAY, to * MINUTES_A_DAY);
            let n: usize = calm
                .iter()
                .map(|raised| episodes(&raised[rule], from, to))
                .sum();
            n as f64 * 1e3 / n_keys as f64 * MINUTES_A_DAY as f64 / (to - from) as f64
        };
        print!(
            "{name:<16} {:>9.1} {:>9.1}",
            alarms(0, WARM_DAYS),
            alarms(WARM_DAYS, days)
        );
        for fault in FAULTS {
            print!(" | ");
            for (low, high) in [(10.0, 50.0), (50.0, 300.0), (300.0, 1e9)] {
                let of = |key: &Key| key.fault == fault && (low..high).contains(&(key.rate * 5.0));
                let (mut n, mut found) = (0, 0);
                for (key, raised) in keys.iter().zip(&struck).filter(|(key, _)| of(key)) {
                    n += 1;
                    let to = key.fault_at + FAULT_MINUTES + 5;
                    found += usize::from(episodes(&raised[rule], key.fault_at, to) > 0);
                }
                print!("{:>3}/{:<3}", found, n);
            }
        }
        println!();
    }
}
