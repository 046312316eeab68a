use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::story::{Story, Telling};
use crate::{CalibrateBy, Direction, Finding, Kind, Scale, SeriesTable, saved};

/// Finds a minute with more than `limit` records of a template.
struct Counting {
    limit: u64,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limit: 30 }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    counts: SeriesTable<TemplateId, u64>,
}

impl StreamDetector for Counting {
    const NAME: &str = "counting";
    const VERSION: &str = "1.0.0";
    const SUMMARY: &str = "Minutes with many records.";
    const STATE_VERSION: u32 = 1;
    type Settings = Settings;
    type State = State;

    fn settings_schema() -> String {
        "{}".to_owned()
    }

    fn new(settings: Settings) -> Result<Self, String> {
        if settings.limit == 0 {
            return Err("limit is 0, it must be at least 1".to_owned());
        }
        Ok(Self {
            limit: settings.limit,
        })
    }

    fn plan(&self) -> Plan {
        Plan {
            columns: vec![ColumnRequest::new(names::TEMPLATE, DataType::Uint64)],
            kinds: vec![Kind {
                name: "many".to_owned(),
                unit: "{record}".to_owned(),
                scale: Scale::Ordinal,
                calibrate_by: CalibrateBy::Series,
                report_from: 1.0,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: Duration::from_secs(60),
        }
    }

    fn start(&self) -> State {
        State::default()
    }

    fn merge(&self, state: &mut State, source: TemplateId, target: TemplateId) {
        state
            .counts
            .merge(source, target, |target, source| *target += source);
    }

    fn observe(&self, state: &mut State, rows: &Rows<'_>, _: &mut Findings) {
        let templates = rows.column(0).uint64();
        for row in rows {
            let id = TemplateId(templates[row]);
            let count = state
                .counts
                .get_or_insert_with(id, Default::default(), |_| 0, |_, _| {});
            *count += 1;
        }
    }

    fn advance(&self, state: &mut State, watermark: Watermark, out: &mut Findings) {
        for (id, count) in state.counts.iter_mut() {
            if *count > self.limit {
                // A story's watermark lies a minute behind: what was counted is the minute after it.
                let start = watermark.time;
                let end = start.saturating_add(Duration::from_secs(60));
                let score = *count as f64;
                out.push(Finding::new(0, Direction::Above, score, start, end).template(id));
            }
            *count = 0;
        }
    }

    fn status(&self, _: &State) -> Vec<Readiness> {
        vec![Readiness {
            level: crate::Level::Ready,
            missing: String::new(),
        }]
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
        state.counts.len()
    }

    fn shed(&self, state: &mut State, n_series_max: usize) {
        state.counts.shed(n_series_max, |_, _| {});
    }
}

const STORY: &str = "
    0..30m    order 20/min
    5m..8m    order 50/min
    0..30m    db:query 10/min
    20m..22m  db:query 60/min
    10m..12m  orders 25/min
    merge     order orders at 10m
";

#[test]
fn a_story_is_told_stream_by_stream() {
    let told = Story::new(STORY).tell::<PerStream<Counting>>("");
    assert_eq!(
        told.episodes(1.0),
        [
            "order above 0d 00:05..0d 00:08",
            "orders above 0d 00:10..0d 00:12",
            "db:query above 0d 00:20..0d 00:22",
        ]
    );
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str| {
        let fault = PerStream::<Counting>::default().configure(settings);
        fault.expect_err("refused").message
    };
    assert!(refused(r#"{"limits": 3}"#).contains("expected `limit`"));
    assert!(refused(r#"{"limit": 0}"#).contains("at least 1"));
    assert!(refused("[").contains("EOF"));
}

#[test]
fn the_instance_bound_holds_over_streams() {
    let mut detector = PerStream::<Counting>::default();
    detector.configure("").unwrap();
    for stream in 0..10 {
        let ids: Vec<u64> = (0..2_900).collect();
        let streams = vec![stream; ids.len()];
        let batch = Batch {
            rows: ids.len() as u32,
            columns: vec![
                crate::Column::full(crate::Values::Uint64(ids.into())),
                crate::Column::full(crate::Values::Uint32(streams.into())),
            ],
            ..Batch::default()
        };
        detector.observe(&batch).unwrap();
    }
    assert!(detector.n_series <= SERIES_INSTANCE_MAX);
    for stream in 0..10 {
        detector.forget(StreamId(stream)).unwrap();
    }
    assert_eq!(detector.n_series, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn cuts_and_restarts_change_nothing(rows_max in 1..60usize, restart_minutes in 0..9u64) {
        let story = Story::new(STORY);
        let telling = Telling { rows_max, restart_minutes, ..Telling::default() };
        let told = story.tell_as::<PerStream<Counting>>("", telling);
        prop_assert_eq!(told, story.tell::<PerStream<Counting>>(""));
    }
}
