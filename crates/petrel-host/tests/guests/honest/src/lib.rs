//! A detector that counts records per stream and template in windows of a minute and reports counts far
//! above their moving average. Small on purpose: run natively and in the sandbox it must answer the
//! same, and the difference in time is the border's.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use petrel_detector::{
    Annotation, Batch, CalibrateBy, ColumnRequest, DataType, Descriptor, Detector, Direction,
    EventTime, Evidence, EvidenceValue, Fault, FaultKind, Finding, Kind, Level, Outcome, Plan,
    Readiness, Scale, SeriesKey, StreamId, TemplateId, Values, Watermark, names,
};

petrel_detector::export!(Honest);

const WINDOW: Duration = Duration::from_secs(60);
const WINDOWS_MIN: u64 = 10;
const FORGETTING: f64 = 0.1;
/// Severity numbers from here on are errors in OTLP.
const SEVERITY_ERROR: u32 = 17;
/// Bytes of one saved series: id and five numbers.
const SERIES_BYTES: usize = 48;

/// Template ids are hashes already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only ids are hashed")
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Series {
    count: f64,
    sum: f64,
    windows: u64,
    mean: f64,
    variance: f64,
}

#[derive(Debug, Default)]
struct Stream {
    series: HashMap<u64, Series, BuildHasherDefault<IdHasher>>,
    first: u64,
    window: u64,
}

#[derive(Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    z: f64,
    /// 3: stream, template, time; 6: severity, a double and a dictionary besides.
    columns: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { z: 4.0, columns: 3 }
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Honest {
    settings: Settings,
    streams: Vec<Stream>,
}

impl Detector for Honest {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(Descriptor {
            name: "honest".into(),
            version: "1.2.3".into(),
            summary: "Counts far above their moving average.".into(),
            settings_schema: r#"{"type":"object","properties":{"z":{"type":"number","default":4},"columns":{"enum":[3,6],"default":3}}}"#.into(),
            state_version: 1,
        })
    }

    fn configure(&mut self, settings: &str) -> Result<Plan, Fault> {
        if !settings.is_empty() {
            self.settings = serde_json::from_str(settings).map_err(|error| Fault {
                call: "configure",
                kind: FaultKind::Settings,
                message: error.to_string(),
            })?;
        }
        let mut columns = vec![
            ColumnRequest::new(names::STREAM, DataType::Uint32).required(),
            ColumnRequest::new(names::TEMPLATE, DataType::Uint64),
            ColumnRequest::new(names::EVENT_TIME, DataType::Uint64).required(),
        ];
        if self.settings.columns == 6 {
            columns.extend([
                ColumnRequest::new(names::SEVERITY_NUMBER, DataType::Uint32),
                ColumnRequest::new("attribute.duration", DataType::Float64),
                ColumnRequest::new("attribute.method", DataType::Dictionary),
            ]);
        }
        Ok(Plan {
            columns,
            kinds: vec![Kind {
                name: "frequency".into(),
                unit: "{record}/min".into(),
                scale: Scale::Ordinal,
                calibrate_by: CalibrateBy::Series,
                report_from: self.settings.z,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: WINDOW,
        })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        for merge in &batch.merges {
            let stream = self.stream(merge.stream.0);
            if let Some(source) = stream.series.remove(&merge.source.0) {
                let target = stream.series.entry(merge.target.0).or_default();
                target.count += source.count;
                target.windows = target.windows.max(source.windows);
            }
        }
        if self.settings.columns == 6 {
            return Ok(self.observe_six(batch));
        }
        let (streams, templates) = (batch.columns[0].uint32(), batch.columns[1].uint64());
        let times = batch.columns[2].uint64();
        for row in 0..batch.rows as usize {
            let stream = self.stream(streams[row]);
            if stream.first == 0 {
                stream.first = times[row];
            }
            let series = stream.series.entry(templates[row]).or_default();
            series.count += 1.0;
        }
        Ok(Outcome::default())
    }

    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        for watermark in watermarks {
            let z = self.settings.z;
            let stream = self.stream(watermark.stream.0);
            let end = watermark.time.floor_to(WINDOW).0;
            if end <= stream.window {
                continue;
            }
            stream.window = end;
            let since = EventTime(stream.first);
            let mut ids: Vec<u64> = stream.series.keys().copied().collect();
            ids.sort_unstable();
            for id in ids {
                if let Some(series) = stream.series.get_mut(&id)
                    && let Some(mut finding) = series.close(z)
                {
                    finding.stream = watermark.stream;
                    finding.template = Some(TemplateId(id));
                    finding.start = EventTime(end).saturating_sub(WINDOW);
                    finding.end = EventTime(end);
                    finding.since = since.min(finding.start);
                    outcome.findings.push(finding);
                }
            }
        }
        Ok(outcome)
    }

    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault> {
        let windows = self
            .stream(stream.0)
            .series
            .values()
            .map(|series| series.windows);
        let windows = windows.max().unwrap_or_default();
        Ok(vec![if windows < WINDOWS_MIN {
            Readiness {
                level: Level::Learning,
                missing: format!("{windows} of {WINDOWS_MIN} windows"),
            }
        } else {
            Readiness {
                level: Level::Ready,
                missing: String::new(),
            }
        }])
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        let stream = self.stream(stream.0);
        if stream.series.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<_> = stream.series.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        let mut bytes = Vec::with_capacity(16 + ids.len() * SERIES_BYTES);
        bytes.extend_from_slice(&stream.first.to_le_bytes());
        bytes.extend_from_slice(&stream.window.to_le_bytes());
        for (id, series) in ids {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&series.windows.to_le_bytes());
            for number in [series.count, series.sum, series.mean, series.variance] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        Ok(bytes)
    }

    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault> {
        let refused = |message: String| Fault {
            call: "load",
            kind: FaultKind::State,
            message,
        };
        if version != 1 {
            return Err(refused(format!("state version {version}, known is 1")));
        }
        if state.len() < 16 || !(state.len() - 16).is_multiple_of(SERIES_BYTES) {
            return Err(refused(format!("{} bytes are no whole state", state.len())));
        }
        let mut numbers = state
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight")));
        let mut next = || numbers.next().unwrap_or_default();
        let mut loaded = Stream {
            first: next(),
            window: next(),
            ..Stream::default()
        };
        for _ in 0..(state.len() - 16) / SERIES_BYTES {
            let (id, windows) = (next(), next());
            let mut number = || f64::from_bits(next());
            let series = Series {
                windows,
                count: number(),
                sum: number(),
                mean: number(),
                variance: number(),
            };
            loaded.series.insert(id, series);
        }
        *self.stream(stream.0) = loaded;
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        *self.stream(stream.0) = Stream::default();
        Ok(())
    }
}

impl Honest {
    fn stream(&mut self, index: u32) -> &mut Stream {
        let index = index as usize;
        if index >= self.streams.len() {
            self.streams.resize_with(index + 1, Stream::default);
        }
        &mut self.streams[index]
    }

    fn observe_six(&mut self, batch: &Batch<'_>) -> Outcome {
        let (streams, templates) = (batch.columns[0].uint32(), batch.columns[1].uint64());
        let times = batch.columns[2].uint64();
        let severities = batch.columns[3].uint32();
        let durations = batch.columns[4].float64();
        let keys = match &batch.columns[5].values {
            Values::Dictionary(dictionary) => &dictionary.keys[..],
            _ => &[],
        };
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for row in 0..batch.rows as usize {
            let stream = self.stream(streams[row]);
            if stream.first == 0 {
                stream.first = times[row];
            }
            let series = stream.series.entry(templates[row]).or_default();
            series.count += 1.0;
            if batch.columns[4].is_valid(row) {
                series.sum += durations.get(row).copied().unwrap_or_default();
            }
            if severities[row] >= SEVERITY_ERROR && keys.get(row) == Some(&0) && rows.len() < 16 {
                rows.push(row as u32);
                values.push(series.count);
            }
        }
        let annotation = Annotation {
            key: "errors".into(),
            rows,
            values: Values::Float64(values.into()),
        };
        Outcome {
            annotations: if annotation.rows.is_empty() {
                vec![]
            } else {
                vec![annotation]
            },
            ..Outcome::default()
        }
    }
}

impl Series {
    /// Ends a window: scores its count, then learns it.
    fn close(&mut self, z_min: f64) -> Option<Finding> {
        let count = std::mem::take(&mut self.count);
        let difference = count - self.mean;
        let deviation = self.variance.sqrt().max(1.0);
        let z = difference / deviation;
        let finding = (self.windows >= WINDOWS_MIN && z >= z_min).then(|| Finding {
            stream: StreamId(0),
            kind: 0,
            template: None,
            series: vec![SeriesKey {
                key: "unit".into(),
                value: "window".into(),
            }],
            direction: Direction::Above,
            score: z,
            start: EventTime(0),
            end: EventTime(0),
            since: EventTime(0),
            observed: Some(count),
            expected: Some(self.mean),
            lower: None,
            upper: Some(self.mean + z_min * deviation),
            unit: None,
            rows: Vec::new(),
            records: Some(count),
            evidence: vec![
                Evidence {
                    name: "z".into(),
                    value: EvidenceValue::Number(z),
                },
                Evidence {
                    name: "sentence".into(),
                    value: EvidenceValue::Text(format!("{count} against {:.1}", self.mean)),
                },
                Evidence {
                    name: "history".into(),
                    value: EvidenceValue::Numbers(vec![self.mean, f64::NAN, count]),
                },
            ],
        });
        self.mean += FORGETTING * difference;
        self.variance = (1.0 - FORGETTING) * (self.variance + FORGETTING * difference * difference);
        self.windows += 1;
        finding
    }
}
