//! Telling a story to a detector, in batches cut as wished, and what it found.

use std::collections::BTreeMap;

use petrel_batch::{
    Column, ColumnRequest, DataType, Dictionary, EventTime, Float64List, StreamId, Utf8, Values,
    names,
};

use super::{DAY, MINUTE, Record, START_SECONDS, Story, Value, template_id, text, unit};
use crate::{
    Batch, Detector, Direction, Finding, Level, Outcome, Plan, Template, TemplateMerge, Watermark,
};

/// How far the watermark lies behind the newest record, in seconds.
const LATENESS: u64 = 60;
/// Findings of one series closer than this many seconds are one episode.
const EPISODE_GAP: u64 = 1_800;

/// How a story is told; none of it may change what is found.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// Rows of a batch at most.
    pub rows_max: usize,
    /// Windows that one `advance` crosses.
    pub windows_an_advance: u64,
    /// Save, and load into a fresh detector, each so many minutes; 0 = never.
    pub restart_minutes: u64,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            rows_max: Batch::ROWS_MAX,
            windows_an_advance: 1,
            restart_minutes: 0,
        }
    }
}

/// What a detector found in a story.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Findings in the order in which they were made, without those made while learning.
    pub findings: Vec<Finding>,
    /// What was found while learning, which an engine would not emit.
    pub while_learning: Vec<Finding>,
    /// What the detector says of the first stream at the end.
    pub readiness: Vec<crate::Readiness>,
    /// State of each stream at the end.
    pub saved: Vec<Vec<u8>>,
    names: BTreeMap<u64, String>,
    streams: Vec<String>,
}

impl Story {
    /// Tells the story to a fresh detector with these settings (JSON; empty = none).
    #[must_use]
    pub fn tell<D: Detector + Default + 'static>(&self, settings: &str) -> Told {
        self.tell_as::<D>(settings, Telling::default())
    }

    /// The same, told in a certain way.
    #[must_use]
    pub fn tell_as<D: Detector + Default + 'static>(
        &self,
        settings: &str,
        telling: Telling,
    ) -> Told {
        let fresh = || -> Box<dyn Detector> { Box::new(D::default()) };
        self.tell_to(&fresh, settings, telling)
    }

    /// The same, to detectors that `fresh` makes: native or sandboxed.
    ///
    /// # Panics
    /// Where the detector faults.
    #[must_use]
    pub fn tell_to(
        &self,
        fresh: &dyn Fn() -> Box<dyn Detector>,
        settings: &str,
        telling: Telling,
    ) -> Told {
        let mut teller = Teller::new(self, fresh, settings);
        for minute in 0..self.end.div_ceil(MINUTE) {
            let records = self.minute(minute);
            for rows in records.chunks(telling.rows_max.max(1)) {
                teller.observe(rows, minute);
            }
            let done = minute + 1;
            if done.is_multiple_of(telling.windows_an_advance) || self.changes_at(done) {
                teller.advance(done * MINUTE);
            }
            if telling.restart_minutes > 0 && done.is_multiple_of(telling.restart_minutes) {
                teller.restart();
            }
        }
        teller.advance(self.end + LATENESS);
        teller.end()
    }

    /// Whether `advance` must be called at the end of a minute: completeness or a name changes.
    fn changes_at(&self, minute: u64) -> bool {
        let is_near = |second: u64| (second + LATENESS).div_ceil(MINUTE) == minute;
        self.gaps
            .iter()
            .any(|&(from, to)| is_near(from) || is_near(to))
    }
}

struct Teller<'s> {
    story: &'s Story,
    fresh: &'s dyn Fn() -> Box<dyn Detector>,
    settings: &'s str,
    detector: Box<dyn Detector>,
    plan: Plan,
    known: BTreeMap<(u32, u64), ()>,
    n_merged: usize,
    watermark: u64,
    told: Told,
}

impl<'s> Teller<'s> {
    fn new(story: &'s Story, fresh: &'s dyn Fn() -> Box<dyn Detector>, settings: &'s str) -> Self {
        let mut detector = fresh();
        let plan = detector.configure(settings).expect("settings of a story");
        let names = story.lines.iter().map(|line| line.template.clone());
        let targets = story.merges.iter().map(|merge| merge.target.clone());
        Self {
            story,
            fresh,
            settings,
            detector,
            plan,
            known: BTreeMap::new(),
            n_merged: 0,
            watermark: 0,
            told: Told {
                findings: Vec::new(),
                while_learning: Vec::new(),
                readiness: Vec::new(),
                saved: Vec::new(),
                names: names
                    .chain(targets)
                    .map(|name| (template_id(&name).0, name))
                    .collect(),
                streams: story.streams.clone(),
            },
        }
    }

    fn observe(&mut self, records: &[Record], minute: u64) {
        let merges = self.merges(minute * MINUTE);
        let records: Vec<_> = records.iter().map(|record| self.renamed(record)).collect();
        let mut templates = Vec::new();
        for record in &records {
            let key = (record.stream, record.template.0);
            if self.known.insert(key, ()).is_none() {
                let text = self.told.names[&key.1].clone();
                let is_failure = |word| text.contains(word);
                templates.push(Template {
                    stream: StreamId(record.stream),
                    id: record.template,
                    failure: ["error", "fail", "timeout", "refused"]
                        .iter()
                        .any(is_failure),
                    text,
                });
            }
        }
        let columns = self.plan.columns.iter();
        let batch = Batch {
            rows: records.len() as u32,
            columns: columns
                .map(|request| self.column(request, &records))
                .collect(),
            templates,
            merges,
        };
        let outcome = self.detector.observe(&batch).expect("observe");
        self.take(outcome);
    }

    fn merges(&mut self, now: u64) -> Vec<TemplateMerge> {
        let due = self.story.merges[self.n_merged..]
            .iter()
            .take_while(|merge| merge.at <= now);
        let mut merges = Vec::new();
        for merge in due {
            self.n_merged += 1;
            for stream in 0..self.story.streams.len() as u32 {
                merges.push(TemplateMerge {
                    stream: StreamId(stream),
                    source: template_id(&merge.source),
                    target: template_id(&merge.target),
                });
            }
        }
        merges
    }

    fn renamed(&self, record: &Record) -> Record {
        let mut record = record.clone();
        for merge in &self.story.merges[..self.n_merged] {
            if record.template == template_id(&merge.source) {
                record.template = template_id(&merge.target);
            }
        }
        record
    }

    fn column(&self, request: &ColumnRequest, records: &[Record]) -> Column<'static> {
        let values = match request.name.as_str() {
            names::STREAM => Values::Uint32(records.iter().map(|r| r.stream).collect()),
            names::TEMPLATE => Values::Uint64(records.iter().map(|r| r.template.0).collect()),
            names::EVENT_TIME | names::OBSERVED_TIME => {
                Values::Uint64(records.iter().map(|r| r.event_time.0).collect())
            }
            _ => return self.drawn(request, records),
        };
        Column::full(values)
    }

    /// A column that the lines' values fill; a line without it has null.
    fn drawn(&self, request: &ColumnRequest, records: &[Record]) -> Column<'static> {
        let default = match request.name.as_str() {
            names::WEIGHT => Some(Value::Range(1.0, 1.0)),
            _ => None,
        };
        let of = |record: &Record| {
            let values = &self.story.lines[record.line].values;
            let own = values.iter().find(|(key, _)| *key == request.name);
            own.map(|(_, value)| value.clone()).or(default.clone())
        };
        let cells: Vec<_> = records.iter().map(|record| (of(record), record)).collect();
        let mut validity = vec![0; records.len().div_ceil(8)];
        for (row, _) in cells.iter().enumerate().filter(|(_, (v, _))| v.is_some()) {
            validity[row / 8] |= 1 << (row % 8);
        }
        let numbers = || cells.iter().map(|(value, record)| number(value, record));
        let values = match request.data_type {
            DataType::Uint32 => Values::Uint32(numbers().map(|n| n as u32).collect()),
            DataType::Uint64 => Values::Uint64(numbers().map(|n| n as u64).collect()),
            DataType::Int64 => Values::Int64(numbers().map(|n| n as i64).collect()),
            DataType::Float64 => Values::Float64(numbers().collect()),
            DataType::Float64List => Values::Float64List(Float64List {
                offsets: (0..=records.len() as u32).collect(),
                values: numbers().collect(),
            }),
            DataType::Boolean => Values::Absent,
            DataType::Utf8 => Values::Utf8(texts(&cells)),
            DataType::Dictionary => Values::Dictionary(Dictionary {
                keys: (0..records.len() as u32).collect(),
                values: texts(&cells),
            }),
        };
        Column {
            values,
            validity: Some(validity.into()),
        }
    }

    /// Moves the watermark of all streams behind a second of the story.
    fn advance(&mut self, second: u64) {
        let to = second.saturating_sub(LATENESS);
        let window = self.plan.window.as_secs();
        let to = (START_SECONDS + to) / window * window;
        if to <= self.watermark {
            return;
        }
        let from = self.watermark.saturating_sub(START_SECONDS);
        let gaps = &self.story.gaps;
        let is_gap = gaps.iter().any(|&(start, end)| start <= from && from < end);
        self.watermark = to;
        let streams = 0..self.story.streams.len() as u32;
        let watermarks: Vec<_> = streams
            .map(|stream| Watermark {
                stream: StreamId(stream),
                time: EventTime::from_seconds(to),
                completeness: if is_gap { 0.0 } else { 1.0 },
            })
            .collect();
        let outcome = self.detector.advance(&watermarks).expect("advance");
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome) {
        for finding in outcome.findings {
            let readiness = self.detector.status(finding.stream).expect("status");
            let level = readiness[finding.kind as usize].level;
            if level == Level::Learning {
                self.told.while_learning.push(finding);
            } else {
                self.told.findings.push(finding);
            }
        }
    }

    fn save(&mut self) -> Vec<Vec<u8>> {
        let streams = 0..self.story.streams.len() as u32;
        streams
            .map(|stream| self.detector.save(StreamId(stream)).expect("save"))
            .collect()
    }

    fn restart(&mut self) {
        let version = self.detector.describe().expect("describe").state_version;
        let saved = self.save();
        self.detector = (self.fresh)();
        self.detector.configure(self.settings).expect("configure");
        for (stream, state) in saved.iter().enumerate() {
            self.detector
                .load(StreamId(stream as u32), version, state)
                .expect("load of own state");
        }
        // Templates are told again after a load.
        self.known.clear();
    }

    fn end(mut self) -> Told {
        self.told.saved = self.save();
        self.told.readiness = self.detector.status(StreamId(0)).expect("status");
        self.told
    }
}

fn number(value: &Option<Value>, record: &Record) -> f64 {
    match value {
        Some(Value::Range(low, high)) => low + (high - low) * unit(record.seed ^ 0x5eed),
        _ => 0.0,
    }
}

fn texts(cells: &[(Option<Value>, &Record)]) -> Utf8<'static> {
    let (mut offsets, mut bytes) = (vec![0], Vec::new());
    for (value, record) in cells {
        match value {
            Some(Value::Text(text)) => bytes.extend_from_slice(text.as_bytes()),
            Some(Value::Range(..)) => {
                bytes.extend_from_slice(number(value, record).to_string().as_bytes());
            }
            None => {}
        }
        offsets.push(bytes.len() as u32);
    }
    Utf8 {
        offsets: offsets.into(),
        bytes: bytes.into(),
    }
}

/// Stream, template, keys and direction.
type EpisodeKey = (u32, Option<u64>, Vec<String>, Direction);

impl Told {
    /// Episodes of a score or more, by start: findings of one series, kind and direction that lie less
    /// than half an hour apart, as `order above 3d 00:00..00:07`.
    #[must_use]
    pub fn episodes(&self, score: f64) -> Vec<String> {
        let mut open: BTreeMap<EpisodeKey, Vec<(u64, u64)>> = BTreeMap::new();
        for finding in self.findings.iter().filter(|f| f.score >= score) {
            let series = finding
                .series
                .iter()
                .map(|s| format!("{}={}", s.key, s.value));
            let key = (
                finding.stream.0,
                finding.template.map(|id| id.0),
                series.collect(),
                finding.direction,
            );
            let start = finding.start.seconds() - START_SECONDS;
            let end = finding.end.seconds() - START_SECONDS;
            let spans = open.entry(key).or_default();
            match spans.last_mut() {
                Some(last) if start <= last.1 + EPISODE_GAP => {
                    *last = (last.0.min(start), last.1.max(end));
                }
                _ => spans.push((start, end)),
            }
        }
        let mut lines = Vec::new();
        for ((stream, template, series, direction), spans) in open {
            let name = self.series_name(stream, template, &series);
            for (start, end) in spans {
                let way = direction.as_str();
                lines.push((
                    start,
                    format!("{name} {way} {}..{}", clock(start), clock(end)),
                ));
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Findings whose end lies in a span as `3d..3d10m`.
    pub fn within(&self, span: &str) -> impl Iterator<Item = &Finding> {
        let (from, to) = span.split_once("..").expect("a span has two ends");
        let second = |at| START_SECONDS + text::duration(at).expect("a time as 3d10m");
        let (from, to) = (second(from), second(to));
        let is_in = move |at: u64| from < at && at <= to;
        self.findings
            .iter()
            .filter(move |finding| is_in(finding.end.seconds()))
    }

    fn series_name(&self, stream: u32, template: Option<u64>, series: &[String]) -> String {
        let mut name = self.streams[stream as usize].clone();
        if !name.is_empty() {
            name.push(':');
        }
        match template {
            Some(id) => name.push_str(self.names.get(&id).map_or("?", String::as_str)),
            None => name.push('*'),
        }
        for key in series {
            name.push(' ');
            name.push_str(key);
        }
        name
    }
}

/// `2d 03:04` for a second since the start.
fn clock(second: u64) -> String {
    let (day, minute) = (second / DAY, second % DAY / 60);
    format!("{day}d {:02}:{:02}", minute / 60, minute % 60)
}
