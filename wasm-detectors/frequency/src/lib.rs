//! The frequency detector: templates, and whole streams, that log much more or much less than usual.
//!
//! Counts of a minute are held against a negative binomial whose mean is level x time of day, over
//! windows of 1, 5 and 30 minutes, spikes and drops apart. What recurs at the same minute of the day or
//! hour is expected. This file is the border; the model is in `series.rs` and below.

#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]

mod calendar;
mod dispersion;
mod evidence;
mod judge;
mod profile;
mod ring;
mod series;
mod slots;
mod state;

use std::time::Duration;

use petrel_detector::{
    CalibrateBy, ColumnRequest, DataType, Findings, Kind, PerStream, Plan, Readiness, Rows, Scale,
    StreamDetector, TemplateId, Watermark, names, saved,
};
use serde::Deserialize;

use crate::state::State;

/// What the operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Hours of records before findings are tentative: one round of the daily rhythm.
    learning_hours: f64,
    /// Hours of records before findings are trusted.
    provisional_hours: f64,
    /// Hours after which a lasting change is the new normal.
    accept_hours: f64,
    /// Offset of local time from UTC in minutes: where days and weekends begin.
    utc_offset_minutes: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learning_hours: 24.0,
            provisional_hours: 72.0,
            accept_hours: 6.0,
            utc_offset_minutes: 0,
        }
    }
}

const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "learning_hours": {"type": "number", "minimum": 2, "default": 24,
      "description": "Hours of records before findings are tentative: one round of the daily rhythm."},
    "provisional_hours": {"type": "number", "minimum": 2, "default": 72,
      "description": "Hours of records before findings are trusted."},
    "accept_hours": {"type": "number", "minimum": 1, "maximum": 48, "default": 6,
      "description": "Hours after which a lasting change is the new normal."},
    "utc_offset_minutes": {"type": "integer", "minimum": -840, "maximum": 840, "default": 0,
      "description": "Offset of local time from UTC: where days and weekends begin."}
  }
}"#;

/// Columns in the order of the plan.
const TEMPLATE: usize = 0;
const EVENT_TIME: usize = 1;
const WEIGHT: usize = 2;

/// Finds rates outside their baseline.
#[derive(Clone, Copy, Debug)]
pub struct Frequency {
    settings: Settings,
}

impl StreamDetector for Frequency {
    const NAME: &str = "frequency";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Finds templates and streams that log much more or less than usual.";
    const STATE_VERSION: u32 = 1;

    type Settings = Settings;
    type State = State;

    fn settings_schema() -> String {
        SETTINGS_SCHEMA.to_owned()
    }

    fn new(settings: Settings) -> Result<Self, String> {
        let check = |name, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, allowed is {low} to {high}"))
            }
        };
        check("learning_hours", settings.learning_hours, 2.0, 1_000.0)?;
        check(
            "provisional_hours",
            settings.provisional_hours,
            settings.learning_hours,
            1_000.0,
        )?;
        check("accept_hours", settings.accept_hours, 1.0, 48.0)?;
        let offset = f64::from(settings.utc_offset_minutes);
        check("utc_offset_minutes", offset, -840.0, 840.0)?;
        Ok(Self { settings })
    }

    fn plan(&self) -> Plan {
        Plan {
            columns: vec![
                ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
                ColumnRequest::new(names::WEIGHT, DataType::Float64),
            ],
            kinds: vec![Kind {
                name: "frequency".to_owned(),
                unit: "{record}".to_owned(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: judge::REPORT_FROM,
                floor: 10.0,
                floor_ratio: 2.0,
            }],
            window: Duration::from_secs(60),
        }
    }

    fn start(&self) -> State {
        State::default()
    }

    fn merge(&self, state: &mut State, source: TemplateId, target: TemplateId) {
        state.merge(source, target);
    }

    fn observe(&self, state: &mut State, rows: &Rows<'_>, _out: &mut Findings) {
        let template = rows.column(TEMPLATE);
        let (templates, times) = (template.uint64(), rows.column(EVENT_TIME).uint64());
        let weight = rows.column(WEIGHT);
        let weights = weight.float64();
        for row in rows {
            let id = templates.get(row).map(|&id| TemplateId(id));
            let id = id.filter(|_| template.is_valid(row));
            let records = match weights.get(row) {
                Some(&records) if weight.is_valid(row) => records,
                _ => 1.0,
            };
            state.count(id, times.get(row).copied().unwrap_or_default(), records);
        }
    }

    fn advance(&self, state: &mut State, watermark: Watermark, out: &mut Findings) {
        state.advance(&self.settings, watermark, out);
    }

    fn status(&self, state: &State) -> Vec<Readiness> {
        vec![state.readiness(&self.settings)]
    }

    fn save(&self, state: &State) -> Vec<u8> {
        saved::save(state)
    }

    fn load(&self, version: u32, bytes: &[u8]) -> Result<State, String> {
        match version {
            Self::STATE_VERSION => saved::load(bytes),
            _ => Err(saved::unknown_version(version, Self::STATE_VERSION)),
        }
    }

    fn n_series(&self, state: &State) -> usize {
        state.n_series()
    }

    fn shed(&self, state: &mut State, n_series_max: usize) {
        state.shed(n_series_max);
    }
}

petrel_detector::export!(PerStream<Frequency>);
