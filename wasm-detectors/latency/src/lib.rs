//! Finds templates whose durations are longer, or shorter, than they usually are.
//!
//! Durations come from attributes, else from variables of the body that its words make durations. Each
//! (template, field) is a series. What is usual is a fading sketch of its durations over their daily
//! rhythm; each minute, the values of the last 1, 5 and 30 minutes that lie above the usual quantiles
//! are counted and held against a beta-binomial, whose dispersion is the series' own.
//! Two-sample tests take records for independent and cry wolf; this one has learnt how restless the
//! series is.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::Duration;

use petrel_detector::{
    CalibrateBy, ColumnRequest, DataType, EventTime, Findings, FixedHasher, Kind, Level, PerStream,
    Plan, Readiness, Rows, Scale, SeriesTable, StreamDetector, Template, TemplateId, Watermark,
    math, names, saved,
};
use serde::{Deserialize, Serialize};

mod explain;
mod fields;
mod judge;
mod season;
mod series;
mod settings;
mod sketch;

use fields::{Attribute, Field, Slot};
use judge::Limits;
use series::{DAY_MINUTES, MINUTE_NANOS, Series, Value};
pub use settings::{ChosenSlot, Settings};

/// The latency detector.
#[derive(Debug)]
pub struct Latency {
    settings: Settings,
    attributes: Vec<(Attribute, Field)>,
    limits: Limits,
}

petrel_detector::export!(PerStream<Latency>);

/// Scores from here on are reported.
const REPORT_FROM: f64 = 2.0;
/// Series of one stream at most; the least recently used leave. Bounds saved state to 4 MiB.
const SERIES_MAX: usize = 384;
/// Templates of one stream whose variables are known at most; those past it are not watched.
const TEMPLATES_MAX: usize = 4_096;
/// What a series counts for in the instance's bound, which is meant for 1 KB each.
const SERIES_WEIGHT: usize = 3;

/// Columns of the plan that come before those of the attributes.
const TEMPLATE: usize = 0;
const EVENT_TIME: usize = 1;
const WEIGHT: usize = 2;
const TRACE: usize = 3;
const ATTRIBUTES: usize = 4;

/// What is known of one stream.
#[derive(Debug, Default)]
pub struct State {
    learnt: Learnt,
    /// Durations in bodies by template; told anew after every load.
    slots: HashMap<u64, Vec<Slot>, FixedHasher>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Learnt {
    series: SeriesTable<(u64, Field), Series>,
    /// Minutes since the epoch below which all is judged.
    closed: u64,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            series: SeriesTable::new(SERIES_MAX, 1),
            closed: 0,
        }
    }
}

impl StreamDetector for Latency {
    const NAME: &str = "latency";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Finds durations that are longer or shorter than they usually are.";
    const STATE_VERSION: u32 = 1;

    type Settings = Settings;
    type State = State;

    fn settings_schema() -> String {
        Settings::schema()
    }

    fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        let attributes = settings.attributes.iter().map(|key| {
            let attribute = Attribute::new(key);
            let field = attribute.field();
            (attribute, field)
        });
        Ok(Self {
            attributes: attributes.collect(),
            limits: Limits {
                values_min: settings.values_min,
                minute_values_min: f64::from(settings.minute_values_min),
                window_values_min: f64::from(settings.window_values_min),
                wants_fractions: false,
                floor: settings.floor,
                floor_ratio: settings.floor_ratio,
            },
            settings,
        })
    }

    fn plan(&self) -> Plan {
        let mut columns = vec![
            ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
            ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
            ColumnRequest::new(names::WEIGHT, DataType::Float64),
            ColumnRequest::new(names::TRACE, DataType::Uint64),
        ];
        columns.extend(self.attributes.iter().map(|(attribute, _)| {
            let name = format!("{}{}", names::ATTRIBUTE_PREFIX, attribute.key);
            ColumnRequest::new(name, DataType::Float64)
        }));
        if self.reads_bodies() {
            columns.push(ColumnRequest::new(
                names::BODY_NUMBERS,
                DataType::Float64List,
            ));
        }
        Plan {
            columns,
            kinds: vec![Kind {
                name: "latency".to_owned(),
                unit: "s".to_owned(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: REPORT_FROM,
                floor: self.settings.floor,
                floor_ratio: self.settings.floor_ratio,
            }],
            window: Duration::from_nanos(MINUTE_NANOS),
        }
    }

    fn start(&self) -> State {
        State::default()
    }

    fn template(&self, state: &mut State, template: &Template) {
        let mut slots = if self.settings.body_durations {
            fields::durations(&template.text)
        } else {
            Vec::new()
        };
        let chosen = self.settings.slots.iter();
        for slot in chosen.filter(|slot| slot.template == template.text) {
            slots.retain(|own| own.index != slot.slot as usize);
            slots.push(Slot {
                index: slot.slot as usize,
                field: Field::chosen(slot.slot),
                is_maybe: false,
            });
        }
        if !slots.is_empty() && state.slots.len() < TEMPLATES_MAX {
            state.slots.insert(template.id.0, slots);
        }
    }

    fn merge(&self, state: &mut State, source: TemplateId, target: TemplateId) {
        state.slots.remove(&source.0);
        let series = &mut state.learnt.series;
        let fields: Vec<Field> = series
            .iter()
            .filter(|((template, _), _)| *template == source.0)
            .map(|((_, field), _)| field)
            .collect();
        for field in fields {
            series.merge((source.0, field), (target.0, field), Series::join);
        }
    }

    fn observe(&self, state: &mut State, rows: &Rows<'_>, _out: &mut Findings) {
        let present: Vec<_> = self
            .attributes
            .iter()
            .enumerate()
            .map(|(index, attribute)| (attribute, rows.column(ATTRIBUTES + index)))
            .filter(|(_, column)| !column.float64().is_empty())
            .collect();
        let times = rows.column(EVENT_TIME).uint64();
        let templates = rows.column(TEMPLATE);
        for row in rows {
            let Some(&time) = times.get(row) else {
                continue;
            };
            let record = Record {
                rows,
                row,
                time: EventTime(time),
                template: if templates.is_valid(row) {
                    templates.uint64()[row]
                } else {
                    0
                },
            };
            let mut has_attribute = false;
            for ((attribute, field), column) in &present {
                if column.is_valid(row) {
                    has_attribute = true;
                    let number = column.float64()[row];
                    state
                        .learnt
                        .add(&record, *field, number, attribute.unit_log2);
                }
            }
            if !has_attribute && let Some(slots) = state.slots.get(&record.template) {
                self.observe_body(&mut state.learnt, slots, &record);
            }
        }
    }

    fn advance(&self, state: &mut State, watermark: Watermark, out: &mut Findings) {
        let minute = watermark.time.0 / MINUTE_NANOS;
        let judges = watermark.completeness > 0.0;
        for ((template, field), series) in state.learnt.series.iter_mut() {
            let key = self.key_of(field);
            let mut limits = self.limits;
            limits.wants_fractions = is_maybe(&state.slots, template, field);
            series.close(minute, judges.then_some(&limits), |series, judgement| {
                for hit in judgement.hits() {
                    if hit.surprise >= REPORT_FROM {
                        out.push(explain::finding(
                            series,
                            judgement,
                            hit,
                            template,
                            (field, key),
                        ));
                    }
                }
            });
        }
        state.learnt.closed = state.learnt.closed.max(minute);
    }

    fn status(&self, state: &State) -> Vec<Readiness> {
        vec![readiness(&state.learnt, self.settings.values_min)]
    }

    fn save(&self, state: &State) -> Vec<u8> {
        saved::save(&state.learnt)
    }

    fn load(&self, version: u32, bytes: &[u8]) -> Result<State, String> {
        if version != Self::STATE_VERSION {
            return Err(saved::unknown_version(version, Self::STATE_VERSION));
        }
        let learnt: Learnt = saved::load(bytes)?;
        if !learnt.series.iter().all(|(_, series)| series.is_whole()) {
            return Err("saved series have another shape".to_owned());
        }
        Ok(State {
            learnt,
            slots: HashMap::default(),
        })
    }

    fn n_series(&self, state: &State) -> usize {
        state.learnt.series.len() * SERIES_WEIGHT
    }

    fn shed(&self, state: &mut State, n_series_max: usize) {
        state
            .learnt
            .series
            .shed(n_series_max / SERIES_WEIGHT, |_, _| {});
    }
}

impl Latency {
    fn reads_bodies(&self) -> bool {
        self.settings.body_durations || !self.settings.slots.is_empty()
    }

    /// Key of the attribute of a field; none for a variable of the body.
    fn key_of(&self, field: Field) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes
            .find(|(_, own)| *own == field)
            .map(|(attribute, _)| attribute.key.as_str())
    }

    fn observe_body(&self, learnt: &mut Learnt, slots: &[Slot], record: &Record<'_>) {
        let column = record.rows.column(ATTRIBUTES + self.attributes.len());
        let Some(numbers) = column.float64_list(record.row) else {
            return;
        };
        for slot in slots {
            if let Some(&number) = numbers.get(slot.index) {
                learnt.add(record, slot.field, number, 0.0);
            }
        }
    }
}

/// A row, and what all its values share.
struct Record<'a> {
    rows: &'a Rows<'a>,
    row: usize,
    time: EventTime,
    /// 0 = none.
    template: u64,
}

impl Learnt {
    /// Takes in a number that stands for so many (as log2) seconds each; passes over what is no
    /// duration.
    fn add(&mut self, record: &Record<'_>, field: Field, number: f64, unit_log2: f64) {
        if !(number > 0.0 && number.is_finite()) {
            return;
        }
        let trace = record.rows.column(TRACE);
        let value = Value {
            time: record.time,
            log2_seconds: math::log2(number) + unit_log2,
            count: weight(record.rows, record.row),
            trace: trace
                .is_valid(record.row)
                .then(|| trace.uint64()[record.row]),
            is_whole: number == libm::trunc(number),
            is_late: record.time.0 / MINUTE_NANOS < self.closed,
        };
        let key = (record.template, field);
        let now = record.time;
        self.series
            .get_or_insert_with(key, now, |_| Series::new(now), |_, _| {})
            .add(value);
    }
}

/// How many values a row stands for.
fn weight(rows: &Rows<'_>, row: usize) -> u32 {
    let column = rows.column(WEIGHT);
    match column.float64().get(row) {
        Some(&weight) if column.is_valid(row) => libm::round(weight).clamp(1.0, 1e6) as u32,
        _ => 1,
    }
}

fn is_maybe(slots: &HashMap<u64, Vec<Slot>, FixedHasher>, template: u64, field: Field) -> bool {
    !field.is_attribute()
        && slots.get(&template).is_some_and(|slots| {
            slots
                .iter()
                .any(|slot| slot.field == field && slot.is_maybe)
        })
}

/// A stream is as ready as its best series: values first, then a whole day, so that its rhythm is no
/// surprise.
fn readiness(learnt: &Learnt, values_min: u64) -> Readiness {
    let age = |series: &Series| series.age_minutes(learnt.closed);
    let n_most = learnt
        .series
        .iter()
        .map(|(_, series)| series.n_values)
        .max();
    let oldest = learnt
        .series
        .iter()
        .filter(|(_, series)| series.n_values >= values_min)
        .map(|(_, series)| age(series))
        .max();
    let (level, missing) = match (n_most, oldest) {
        (None, _) => (Level::Learning, "no durations yet".to_owned()),
        (Some(n), None) => (Level::Learning, format!("{n} of {values_min} values")),
        (_, Some(minutes)) if minutes < DAY_MINUTES => {
            (Level::Provisional, format!("{} of 24 hours", minutes / 60))
        }
        _ => (Level::Ready, String::new()),
    };
    Readiness { level, missing }
}
