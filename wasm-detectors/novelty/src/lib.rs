//! Finds messages that a stream has never written before, where that means something.
//!
//! "Never seen" alone is no news: every stream finds new words at its own pace. So a stream is judged
//! once new templates have become rare in it (Good and Turing), and a new template is reported when it
//! tells of a failure and keeps coming, when it is fatal, or when several appear at once, a failing one
//! counting for three. New templates of one event are one finding.

#![forbid(unsafe_code)]

use std::time::Duration;

use petrel_detector::{
    CalibrateBy, ColumnRequest, DataType, EventTime, Findings, Kind, PerStream, Plan, Readiness,
    Rows, Scale, StreamDetector, Template, TemplateId, Watermark, names, saved,
};
use serde::{Deserialize, Serialize};

mod candidate;
mod deploy;
mod explain;
mod judge;
mod odds;
mod settings;
mod vocabulary;
mod words;

use candidate::Candidate;
use deploy::Deploys;
pub use settings::Settings;
use vocabulary::{Met, Vocabulary};

/// The novelty detector.
#[derive(Debug)]
pub struct Novelty {
    settings: Settings,
}

petrel_detector::export!(PerStream<Novelty>);

/// Scores from here on are reported; none that is found is lower than 7.
const REPORT_FROM: f64 = 2.0;
const WINDOW: Duration = Duration::from_secs(60);
/// Candidates of a stream at most; the oldest goes.
const CANDIDATES_MAX: usize = 256;

/// Columns of the plan.
const TEMPLATE: usize = 0;
const EVENT_TIME: usize = 1;
const SEVERITY: usize = 2;
const WEIGHT: usize = 3;
const VERSION: usize = 4;

/// What is known of one stream.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    vocabulary: Vocabulary,
    deploys: Deploys,
    /// New templates of the last day, in order of their first record.
    candidates: Vec<Candidate>,
    /// When something was reported last.
    reported: Option<EventTime>,
}

/// What is read of a row.
#[derive(Clone, Copy, Debug)]
struct Record {
    row: u32,
    template: u64,
    time: EventTime,
    severity: u8,
    weight: f64,
}

impl StreamDetector for Novelty {
    const NAME: &str = "novelty";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Finds messages never seen before that tell of a failure or come in a burst.";
    const STATE_VERSION: u32 = 1;

    type Settings = Settings;
    type State = State;

    fn settings_schema() -> String {
        Settings::schema()
    }

    fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings })
    }

    fn plan(&self) -> Plan {
        let version = format!(
            "{}{}",
            names::RESOURCE_PREFIX,
            self.settings.version_attribute
        );
        Plan {
            columns: vec![
                ColumnRequest::new(names::TEMPLATE, DataType::Uint64).required(),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
                ColumnRequest::new(names::SEVERITY_NUMBER, DataType::Uint32),
                ColumnRequest::new(names::WEIGHT, DataType::Float64),
                ColumnRequest::new(version, DataType::Dictionary),
            ],
            kinds: vec![Kind {
                name: "novelty".to_owned(),
                unit: "{record}".to_owned(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Stream,
                report_from: REPORT_FROM,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: WINDOW,
        }
    }

    fn start(&self) -> State {
        State::default()
    }

    fn template(&self, state: &mut State, template: &Template) {
        state
            .vocabulary
            .tell(template.id, &template.text, template.failure);
    }

    fn merge(&self, state: &mut State, source: TemplateId, target: TemplateId) {
        state.merge(source.0, target.0);
    }

    fn observe(&self, state: &mut State, rows: &Rows<'_>, out: &mut Findings) {
        let (templates, versions) = (rows.column(TEMPLATE), rows.column(VERSION));
        let times = rows.column(EVENT_TIME).uint64();
        for row in rows {
            let (Some(&time), true) = (times.get(row), templates.is_valid(row)) else {
                continue;
            };
            let time = EventTime(time);
            if let Some(text) = versions.text(row) {
                state.deploys.version(text, time);
            }
            let record = Record {
                row: row as u32,
                template: templates.uint64()[row],
                time,
                severity: severity(rows, row),
                weight: weight(rows, row),
            };
            self.observe_record(state, record, out);
        }
    }

    fn advance(&self, state: &mut State, watermark: Watermark, out: &mut Findings) {
        state.vocabulary.advance(watermark.time);
        judge::tell_what_goes_on(state, watermark.time, out);
        state.forget_candidates(watermark.time);
    }

    fn status(&self, state: &State) -> Vec<Readiness> {
        vec![state.vocabulary.readiness()]
    }

    fn save(&self, state: &State) -> Vec<u8> {
        saved::save(state)
    }

    fn load(&self, version: u32, bytes: &[u8]) -> Result<State, String> {
        if version != Self::STATE_VERSION {
            return Err(saved::unknown_version(version, Self::STATE_VERSION));
        }
        saved::load(bytes)
    }

    fn n_series(&self, state: &State) -> usize {
        state.vocabulary.known.len()
    }

    fn shed(&self, state: &mut State, n_series_max: usize) {
        state.vocabulary.shed(n_series_max);
    }
}

impl Novelty {
    #[inline]
    fn observe_record(&self, state: &mut State, record: Record, out: &mut Findings) {
        let meeting = state
            .vocabulary
            .meet(record.template, record.time, record.severity);
        if meeting.is_start {
            state.deploys.banner(record.time);
        }
        match meeting.met {
            _ if meeting.is_candidate => {}
            Met::First(forgotten) if state.vocabulary.is_settled() => {
                state.add_candidate(record.template, forgotten);
            }
            _ => return,
        }
        judge::judge(state, &self.settings, record, out);
    }
}

impl State {
    fn add_candidate(&mut self, id: u64, forgotten: Option<EventTime>) {
        if self.candidates.len() >= CANDIDATES_MAX {
            self.drop_candidate(0);
        }
        if let Some(known) = self.vocabulary.known_mut(id) {
            known.is_candidate = true;
            self.candidates.push(Candidate::new(id, known, forgotten));
        }
    }

    fn drop_candidate(&mut self, index: usize) -> Candidate {
        let candidate = self.candidates.remove(index);
        if let Some(known) = self.vocabulary.known_mut(candidate.id) {
            known.is_candidate = false;
        }
        candidate
    }

    /// Lets go of candidates that are a day old.
    fn forget_candidates(&mut self, watermark: EventTime) {
        while let Some(oldest) = self.candidates.first()
            && watermark.since(oldest.first) > candidate::YOUNG
        {
            self.drop_candidate(0);
        }
    }

    /// A template known under another name is not new: a merged one is a candidate only where all that
    /// it is made of were.
    fn merge(&mut self, source: u64, target: u64) {
        if source == target {
            return;
        }
        let place = |candidates: &[Candidate], id| candidates.iter().position(|own| own.id == id);
        let is_known = |state: &Self, id| {
            let known = state.vocabulary.known.get(id);
            known.is_some_and(|known| known.n_records > 0 && !known.is_candidate)
                || (known.is_none() && state.vocabulary.known.cold(id).is_some())
        };
        let moved = place(&self.candidates, source).map(|index| self.drop_candidate(index));
        let was_known = moved.is_none() && is_known(self, source);
        if was_known && let Some(index) = place(&self.candidates, target) {
            self.drop_candidate(index);
        }
        let target_known = is_known(self, target);
        self.vocabulary.merge(source, target);
        let Some(mut moved) = moved.filter(|_| !target_known) else {
            return;
        };
        moved.id = target;
        match place(&self.candidates, target) {
            Some(index) => self.candidates[index].join(moved),
            None => {
                if let Some(known) = self.vocabulary.known_mut(target) {
                    known.is_candidate = true;
                    let index = self
                        .candidates
                        .partition_point(|own| own.first <= moved.first);
                    self.candidates.insert(index, moved);
                }
            }
        }
    }
}

/// The severity number of a row; 0 = none.
fn severity(rows: &Rows<'_>, row: usize) -> u8 {
    let column = rows.column(SEVERITY);
    match column.uint32().get(row) {
        Some(&number) if column.is_valid(row) => number.min(24) as u8,
        _ => 0,
    }
}

/// How many records a row stands for.
fn weight(rows: &Rows<'_>, row: usize) -> f64 {
    let column = rows.column(WEIGHT);
    match column.float64().get(row) {
        Some(&weight) if column.is_valid(row) && weight.is_finite() && weight > 0.0 => weight,
        _ => 1.0,
    }
}
