//! Small native detectors: a counter of records a minute, a finder of new templates, a watcher of
//! gaps. Crude models, but they keep the contract: answers do not depend on how rows are split.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use petrel_detector::*;
use petrel_engine::DetectorSpec;
use serde::{Deserialize, Serialize};

const MINUTE: u64 = 60_000_000_000;
/// A body with this text makes every test detector trap, so long as its settings say so.
pub(crate) const BOMB: &str = "bomb";

/// Makes instances of one of the test detectors.
#[derive(Clone)]
pub(crate) struct Native {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) state_version: u32,
    pub(crate) digest: String,
}

impl Native {
    pub(crate) fn spec(name: &'static str) -> DetectorSpec {
        Self::with(name, "1.0.0", 1, "")
    }

    pub(crate) fn with(
        name: &'static str,
        version: &'static str,
        state_version: u32,
        settings: &str,
    ) -> DetectorSpec {
        DetectorSpec {
            module: Arc::new(Self {
                name,
                version,
                state_version,
                digest: format!("native:{name}@{version}"),
            }),
            settings: settings.to_owned(),
        }
    }
}

impl Module for Native {
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault> {
        Ok(Box::new(Running {
            of: self.clone(),
            fragile: false,
            told: BTreeSet::new(),
            state: BTreeMap::new(),
        }))
    }

    fn digest(&self) -> &str {
        &self.digest
    }
}

struct Running {
    of: Native,
    fragile: bool,
    /// What was told of templates: an untold one is a broken contract.
    told: BTreeSet<(StreamId, TemplateId)>,
    state: BTreeMap<StreamId, State>,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    since: u64,
    told: u64,
    /// Records by template and minute, 0 = all.
    counts: BTreeMap<(u64, u64), u32>,
    /// The last ten closed minutes of a template.
    past: BTreeMap<u64, Vec<u32>>,
    n_windows: u32,
    seen: BTreeSet<u64>,
    n_rows: u32,
    last: u64,
    longest: u64,
}

fn fault(call: &'static str, kind: FaultKind, message: &str) -> Fault {
    Fault {
        call,
        kind,
        message: message.to_owned(),
    }
}

impl Detector for Running {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(Descriptor {
            name: self.of.name.to_owned(),
            version: self.of.version.to_owned(),
            summary: "A test.".to_owned(),
            settings_schema: "{}".to_owned(),
            state_version: self.of.state_version,
        })
    }

    fn configure(&mut self, settings: &str) -> Result<Plan, Fault> {
        match settings {
            "" | "{}" => {}
            "fragile" => self.fragile = true,
            other => return Err(fault("configure", FaultKind::Settings, other)),
        }
        let kind = |unit: &str, calibrate_by| Kind {
            name: self.of.name.to_owned(),
            unit: unit.to_owned(),
            scale: Scale::Surprise,
            calibrate_by,
            report_from: 2.0,
            floor: 0.0,
            floor_ratio: 1.0,
        };
        Ok(Plan {
            columns: vec![
                ColumnRequest::new(names::STREAM, DataType::Uint32),
                ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
                ColumnRequest::new(names::BODY, DataType::Utf8),
            ],
            kinds: vec![match self.of.name {
                "frequency" => kind("{record}", CalibrateBy::Series),
                "silence" => kind("s", CalibrateBy::Series),
                _ => kind("", CalibrateBy::Stream),
            }],
            window: Duration::from_secs(60),
        })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        for template in &batch.templates {
            self.told.insert((template.stream, template.id));
        }
        for merge in &batch.merges {
            self.told.insert((merge.stream, merge.target));
            let state = self.state.entry(merge.stream).or_default();
            if state.seen.remove(&merge.source.0) {
                state.seen.insert(merge.target.0);
            }
            move_counts(state, merge.source.0, merge.target.0);
        }
        let mut outcome = Outcome::default();
        for row in 0..batch.rows as usize {
            let stream = StreamId(batch.columns[0].uint32()[row]);
            let template = batch.columns[1]
                .is_valid(row)
                .then(|| batch.columns[1].uint64()[row]);
            let time = batch.columns[2].uint64()[row];
            if self.fragile
                && batch.columns[3]
                    .text(row)
                    .is_some_and(|body| body.contains(BOMB))
            {
                return Err(fault("observe", FaultKind::Trap, "the bomb went off"));
            }
            if let Some(template) = template {
                assert!(
                    self.told.contains(&(stream, TemplateId(template))),
                    "{} has not been told of {template:x}",
                    self.of.name
                );
            }
            let state = self.state.entry(stream).or_default();
            if time < state.told {
                continue;
            }
            let template = template.unwrap_or(1);
            match self.of.name {
                "frequency" => count(state, template, time),
                "novelty" => outcome
                    .findings
                    .extend(discover(state, stream, template, time, row)),
                "telltale" => {
                    watch(state, time);
                    let body = batch.columns[3].text(row).unwrap_or_default();
                    if body.contains("failed") {
                        tell(&mut outcome, stream, time, row);
                    }
                }
                _ => watch(state, time),
            }
        }
        Ok(outcome)
    }

    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        for watermark in watermarks {
            let state = self.state.entry(watermark.stream).or_default();
            match self.of.name {
                "frequency" => close(state, watermark, &mut outcome.findings),
                "silence" => miss(state, watermark, &mut outcome.findings),
                _ => {}
            }
            state.told = watermark.time.0;
        }
        Ok(outcome)
    }

    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault> {
        let state = self.state.entry(stream).or_default();
        let progress = match self.of.name {
            "frequency" => state.n_windows,
            _ => state.n_rows / 10,
        };
        Ok(vec![Readiness {
            level: match progress {
                0..5 => Level::Learning,
                5..8 => Level::Provisional,
                _ => Level::Ready,
            },
            missing: String::new(),
        }])
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        Ok(match self.state.get(&stream) {
            Some(state) => postcard::to_extend(state, Vec::new()).expect("plain values"),
            None => Vec::new(),
        })
    }

    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault> {
        if version != self.of.state_version {
            return Err(fault(
                "load",
                FaultKind::State,
                "a state of another version",
            ));
        }
        let state = postcard::from_bytes(state)
            .map_err(|error| fault("load", FaultKind::State, &error.to_string()))?;
        self.state.insert(stream, state);
        self.told.retain(|(told, _)| *told != stream);
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        self.state.remove(&stream);
        self.told.retain(|(told, _)| *told != stream);
        Ok(())
    }
}

fn count(state: &mut State, template: u64, time: u64) {
    if state.since == 0 {
        state.since = time;
        state.told = time / MINUTE * MINUTE;
    }
    *state.counts.entry((0, time / MINUTE)).or_default() += 1;
    *state.counts.entry((template, time / MINUTE)).or_default() += 1;
}

fn move_counts(state: &mut State, source: u64, target: u64) {
    let moved: Vec<_> = state
        .counts
        .extract_if(.., |key, _| key.0 == source)
        .collect();
    for ((_, minute), count) in moved {
        *state.counts.entry((target, minute)).or_default() += count;
    }
    if let Some(past) = state.past.remove(&source) {
        state.past.entry(target).or_insert(past);
    }
}

/// Judges the closed minutes: a count beyond thrice or below a third of the mean is odd.
fn close(state: &mut State, watermark: &Watermark, findings: &mut Vec<Finding>) {
    if state.since == 0 {
        return;
    }
    for minute in state.told / MINUTE..watermark.time.0 / MINUTE {
        let mut series: BTreeSet<_> = state.past.keys().copied().collect();
        series.extend(state.counts.keys().map(|key| key.0));
        for template in series {
            let count = state.counts.remove(&(template, minute)).unwrap_or(0);
            if watermark.completeness < 1.0 {
                continue;
            }
            let past = state.past.entry(template).or_default();
            let mean = past.iter().sum::<u32>() as f64 / past.len().max(1) as f64;
            let ratio = (f64::from(count) + 0.5) / (mean + 0.5);
            let is_odd = past.len() >= 5 && !(0.33..=3.0).contains(&ratio);
            if is_odd {
                let direction = if ratio > 1.0 {
                    Direction::Above
                } else {
                    Direction::Below
                };
                findings.push(Finding {
                    template: (template > 0).then_some(TemplateId(template)),
                    observed: Some(f64::from(count)),
                    expected: Some(mean),
                    lower: Some(mean * 0.8),
                    upper: Some(mean * 1.2),
                    records: Some(f64::from(count)),
                    ..finding(
                        watermark.stream,
                        direction,
                        8.0,
                        minute * MINUTE,
                        (minute + 1) * MINUTE,
                        state.since,
                    )
                });
            } else {
                past.push(count);
                if past.len() > 10 {
                    past.remove(0);
                }
            }
        }
        state.n_windows += u32::from(watermark.completeness == 1.0);
    }
}

fn discover(
    state: &mut State,
    stream: StreamId,
    template: u64,
    time: u64,
    row: usize,
) -> Option<Finding> {
    state.n_rows += 1;
    if state.since == 0 {
        state.since = time;
    }
    state.seen.insert(template).then(|| Finding {
        template: Some(TemplateId(template)),
        rows: vec![row as u32],
        records: Some(1.0),
        ..finding(
            stream,
            Direction::Appeared,
            7.0,
            time,
            (time / MINUTE + 1) * MINUTE,
            state.since,
        )
    })
}

/// Says all that it should not.
fn tell(outcome: &mut Outcome, stream: StreamId, time: u64, row: usize) {
    let text = |name: &str, text: &str| Evidence {
        name: name.to_owned(),
        value: EvidenceValue::Text(text.to_owned()),
    };
    outcome.findings.push(Finding {
        series: vec![SeriesKey {
            key: "user.name".to_owned(),
            value: "huntertwo".to_owned(),
        }],
        rows: vec![row as u32],
        evidence: vec![
            text("message", "seen: huntertwo"),
            text("user.name", "huntertwo"),
            text("who", "at 9, user.name=huntertwo"),
        ],
        ..finding(stream, Direction::Changed, 9.0, time, time + MINUTE, time)
    });
    outcome.annotations.push(Annotation {
        key: "who".to_owned(),
        rows: vec![row as u32],
        values: Values::Utf8(Utf8 {
            offsets: vec![0, 19].into(),
            bytes: b"user.name=huntertwo".to_vec().into(),
        }),
    });
}

fn watch(state: &mut State, time: u64) {
    state.n_rows += 1;
    if state.since == 0 {
        state.since = time;
    } else {
        state.longest = state.longest.max(time.saturating_sub(state.last));
    }
    state.last = state.last.max(time);
}

/// A gap of more than ten times the longest is odd.
fn miss(state: &mut State, watermark: &Watermark, findings: &mut Vec<Finding>) {
    let Some(gap) = watermark.time.0.checked_sub(state.last) else {
        return;
    };
    if watermark.completeness < 1.0 || state.longest == 0 || gap < 10 * state.longest {
        return;
    }
    findings.push(Finding {
        observed: Some(gap as f64 / 1e9),
        expected: Some(state.longest as f64 / 1e9),
        ..finding(
            watermark.stream,
            Direction::Disappeared,
            9.0,
            state.last,
            watermark.time.0,
            state.since,
        )
    });
}

fn finding(
    stream: StreamId,
    direction: Direction,
    score: f64,
    start: u64,
    end: u64,
    since: u64,
) -> Finding {
    Finding {
        stream,
        kind: 0,
        template: None,
        series: Vec::new(),
        direction,
        score,
        start: EventTime(start),
        end: EventTime(end),
        since: EventTime(since.min(start)),
        observed: None,
        expected: None,
        lower: None,
        upper: None,
        unit: None,
        rows: Vec::new(),
        records: None,
        evidence: Vec::new(),
    }
}
