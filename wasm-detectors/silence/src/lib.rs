//! Finds sources that have fallen silent.
//!
//! Silence is judged in operational time: how many records a source had been expected to write since
//! its last one, by its daily rhythm. How rare so long a gap is says the tail of the source's own gaps,
//! so that a heartbeat is missed after a few beats and a batch job is not missed at night.
//! A second test knows what comes at the same time each hour or day.
//!
//! The score is -log10 of how often a minute such a silence is expected, so 6 is once in two years.
//! Beside the source's own rhythm it expects pauses that befall any source, as a restart: 0.2 a day,
//! 25 s on average, longer ones exponentially rarer. They bound the score of short silences: a source
//! that writes every second reaches 6 two minutes after its last record, 8 after four, and so on.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use petrel_detector::{
    CalibrateBy, ColumnRequest, DataType, Findings, FixedHasher, Kind, PerStream, Plan, Readiness,
    Rows, Scale, StreamDetector, Template, TemplateId, Watermark, names, saved,
};
use serde::{Deserialize, Serialize};

mod appointments;
mod cells;
mod explain;
mod gaps;
mod readiness;
mod season;
mod settings;
mod source;
mod tail;
mod words;

pub use settings::Settings;
use source::{MINUTE_NANOS, REPORT_FROM, Source};

/// The silence detector.
#[derive(Debug)]
pub struct Silence {
    settings: Settings,
}

petrel_detector::export!(PerStream<Silence>);

/// Least ratio of a silence to the usual gap; the tail decides long before.
const FLOOR_RATIO: f64 = 2.0;
/// Texts of templates kept for a stream at most, and letters of each; those past it go unnamed.
const TEXTS_MAX: usize = 512;
const TEXT_LETTERS: usize = 120;
/// What so many texts count for in the instance's bound, which is meant for 1 KB each.
const TEXTS_A_SERIES: usize = 8;

/// Columns of the plan.
const EVENT_TIME: usize = 0;
const TEMPLATE: usize = 1;

/// What is known of one stream.
#[derive(Debug, Default)]
pub struct State {
    source: Source,
    /// Texts of templates, and whether they announce an end; told anew after every load.
    texts: HashMap<u64, Text, FixedHasher>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Text {
    text: String,
    says_goodbye: bool,
}

impl StreamDetector for Silence {
    const NAME: &str = "silence";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Finds sources that should write records and have stopped.";
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
        Plan {
            columns: vec![
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
                ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
            ],
            kinds: vec![Kind {
                name: "silence".to_owned(),
                unit: "s".to_owned(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: REPORT_FROM,
                floor: self.settings.floor,
                floor_ratio: FLOOR_RATIO,
            }],
            window: Duration::from_nanos(MINUTE_NANOS),
        }
    }

    fn start(&self) -> State {
        State::default()
    }

    fn template(&self, state: &mut State, template: &Template) {
        if state.texts.len() < TEXTS_MAX || state.texts.contains_key(&template.id.0) {
            let text = Text {
                text: template.text.chars().take(TEXT_LETTERS).collect(),
                says_goodbye: words::says_goodbye(&template.text),
            };
            state.texts.insert(template.id.0, text);
        }
    }

    fn merge(&self, state: &mut State, source: TemplateId, target: TemplateId) {
        state.texts.remove(&source.0);
        if state.source.last.template == source.0 {
            state.source.last.template = target.0;
        }
    }

    fn observe(&self, state: &mut State, rows: &Rows<'_>, out: &mut Findings) {
        let times = rows.column(EVENT_TIME).uint64();
        let templates = rows.column(TEMPLATE);
        let says_goodbye = state.texts.values().any(|text| text.says_goodbye);
        for row in rows {
            let Some(&time) = times.get(row) else {
                continue;
            };
            let template = match templates.uint64().get(row) {
                Some(&template) if templates.is_valid(row) => template,
                _ => 0,
            };
            let goodbye = says_goodbye
                && state
                    .texts
                    .get(&template)
                    .is_some_and(|text| text.says_goodbye);
            state.source.observe(time, template, goodbye, out);
        }
    }

    fn advance(&self, state: &mut State, watermark: Watermark, out: &mut Findings) {
        let texts = &state.texts;
        let text_of = |template| texts.get(&template).map(|text| text.text.clone());
        let is_watched = watermark.completeness >= 1.0;
        let to = watermark.time.0 / MINUTE_NANOS;
        state
            .source
            .close(to, is_watched, &self.settings, &text_of, out);
    }

    fn status(&self, state: &State) -> Vec<Readiness> {
        vec![readiness::readiness(&state.source, self.settings.gaps_min)]
    }

    fn save(&self, state: &State) -> Vec<u8> {
        // Texts are told again with their first row: what comes before that needs its own.
        let pending: BTreeMap<u64, &Text> = state
            .source
            .pending_templates()
            .filter_map(|template| Some((template, state.texts.get(&template)?)))
            .collect();
        saved::save(&(&state.source, pending))
    }

    fn load(&self, version: u32, bytes: &[u8]) -> Result<State, String> {
        if version != Self::STATE_VERSION {
            return Err(saved::unknown_version(version, Self::STATE_VERSION));
        }
        let (source, pending): (Source, BTreeMap<u64, Text>) = saved::load(bytes)?;
        if !source.is_whole() {
            return Err("saved state has another shape".to_owned());
        }
        Ok(State {
            source,
            texts: pending.into_iter().collect(),
        })
    }

    fn n_series(&self, state: &State) -> usize {
        // The source itself, its profile and calendars are two.
        2 + state.texts.len() / TEXTS_A_SERIES
    }

    fn shed(&self, state: &mut State, _n_series_max: usize) {
        state.texts.clear();
    }
}
