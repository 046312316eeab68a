//! Stories: records written as text, told to a detector natively, and its findings read as text.
//!
//! For tests of detectors. Templates are given, there is no engine: scores are the detector's own, and
//! what it finds while it says that it is learning is left out, as the engine would.
//!
//! ```text
//! # from..to  template  rate        more
//! 0d..4d      order     ~20..60/min duration=0.1..0.2
//! 3d..3d5m    order     400/min
//! 0d..4d      backup    200/min     every 1d at 3h for 2m
//! 0d..4d      db:query  ~5/min      severity=17 late=90s
//! gap         1d..1d2h
//! merge       order orders at 2d
//! ```
//!
//! A rate is evenly spaced, with `~` Poisson; `20..60` is a daily rhythm, lowest at 4 h and highest at
//! 16 h. `db:` names a stream other than the first. A value `a..b` is drawn evenly between the two. Day 0
//! is a Monday. Everything is drawn from fixed seeds: a story is always the same.

mod telling;
mod text;

use petrel_batch::EventTime;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub use telling::{Telling, Told};

use crate::{TemplateId, math};

/// Where stories begin: Monday, 1 January 2024, in seconds since the epoch.
pub const START_SECONDS: u64 = 1_704_067_200;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// Records as lines that say which template comes how often and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    lines: Vec<Line>,
    merges: Vec<Merge>,
    /// Seconds in which no input was taken in.
    gaps: Vec<(u64, u64)>,
    streams: Vec<String>,
    /// Second after the last line's end.
    end: u64,
    seed: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    stream: u32,
    template: String,
    span: (u64, u64),
    rate: Rate,
    every: Option<Every>,
    late: u64,
    values: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Merge {
    at: u64,
    source: String,
    target: String,
}

/// Records a second, between a daily low and a daily high.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    low: f64,
    high: f64,
    noisy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Every {
    period: u64,
    at: u64,
    length: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Range(f64, f64),
    Text(String),
}

/// A record of a story.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Nanoseconds since the story's start at which it comes.
    pub(crate) arrival: u64,
    pub(crate) event_time: EventTime,
    pub(crate) stream: u32,
    pub(crate) template: TemplateId,
    /// Index of its line.
    pub(crate) line: usize,
    /// Draws its values.
    pub(crate) seed: u64,
}

impl Story {
    /// Reads a story; panics with the line that it cannot read, since stories are part of tests.
    #[must_use]
    pub fn new(text: &str) -> Self {
        text::parse(text)
    }

    /// The same story, its noise drawn from another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Records that come in a minute since the start, in order.
    pub(crate) fn minute(&self, minute: u64) -> Vec<Record> {
        let from = minute * MINUTE;
        let mut records = Vec::new();
        if self.in_gap(from) {
            return records;
        }
        for (index, line) in self.lines.iter().enumerate() {
            self.draw(index, line, from, &mut records);
        }
        records.sort_by_key(|record| (record.arrival, record.line));
        records
    }

    fn in_gap(&self, second: u64) -> bool {
        self.gaps
            .iter()
            .any(|&(from, to)| from <= second && second < to)
    }

    fn draw(&self, index: usize, line: &Line, from: u64, records: &mut Vec<Record>) {
        let seed = xxh3_64_with_seed(
            &from.to_le_bytes(),
            self.seed ^ xxh3_64(&(index as u64).to_le_bytes()),
        );
        let per_second = line.rate.at(from);
        let n = if line.rate.noisy {
            poisson(per_second * MINUTE as f64, seed)
        } else {
            // Evenly spaced over the whole span, so that slow rates come out right too.
            let before = |second: u64| (second as f64 * per_second) as u64;
            before(from + MINUTE) - before(from)
        };
        for i in 0..n {
            let seed = xxh3_64_with_seed(&i.to_le_bytes(), seed);
            let share = if line.rate.noisy {
                unit(seed)
            } else {
                (i as f64 + 0.5) / n as f64
            };
            let arrival = from * 1_000_000_000 + (share * 60e9) as u64;
            if !line.is_on(arrival / 1_000_000_000) {
                continue;
            }
            let event = START_SECONDS * 1_000_000_000 + arrival;
            records.push(Record {
                arrival,
                event_time: EventTime(event - line.late * 1_000_000_000),
                stream: line.stream,
                template: template_id(&line.template),
                line: index,
                seed,
            });
        }
    }
}

impl Line {
    fn is_on(&self, second: u64) -> bool {
        let within = self.span.0 <= second && second < self.span.1;
        within
            && self.every.is_none_or(|every| {
                let phase = (second % every.period + every.period - every.at) % every.period;
                phase < every.length
            })
    }
}

impl Rate {
    fn at(&self, second: u64) -> f64 {
        let hour = (second % DAY) as f64 / 3_600.0;
        let phase = (hour - 16.0) / 24.0 * 2.0 * std::f64::consts::PI;
        let share = 0.5 + 0.5 * libm::cos(phase);
        self.low + (self.high - self.low) * share
    }
}

/// Id of the template of a name in a story.
#[must_use]
pub fn template_id(name: &str) -> TemplateId {
    TemplateId(xxh3_64(name.as_bytes()))
}

/// Evenly in [0, 1).
fn unit(seed: u64) -> f64 {
    (xxh3_64(&seed.to_le_bytes()) >> 11) as f64 / (1u64 << 53) as f64
}

fn poisson(mean: f64, seed: u64) -> u64 {
    if mean > 50.0 {
        // Normal by twelve draws: near enough for noise.
        let sum: f64 = (0..12).map(|i| unit(seed.wrapping_add(i))).sum();
        return (mean + libm::sqrt(mean) * (sum - 6.0)).max(0.0).round() as u64;
    }
    let (limit, mut product, mut n) = (math::exp(-mean), 1.0, 0);
    loop {
        product *= unit(seed.wrapping_add(n));
        if product <= limit {
            return n;
        }
        n += 1;
    }
}
