//! A detector that counts the rows of a stream and says on each the how-manieth it is, and which version
//! counted it: so a test sees what was learnt, handed over and kept. A row of severity FATAL is a finding
//! at once.

use std::hint::black_box;
use std::time::Duration;

use petrel_detector::{
    Annotation, Batch, CalibrateBy, ColumnRequest, DataType, Descriptor, Detector, Direction,
    EventTime, Fault, FaultKind, Finding, Kind, Level, Outcome, Plan, Readiness, Scale, StreamId,
    Utf8, Values, Watermark, names,
};

petrel_detector::export!(Counter);

/// What marks the place of name and version. Tests write others behind it: one build serves them all.
static IDENTITY: [u8; 64] = *b"identity of the test's detector: counter 1.0.0                  ";
const STATE_VERSION: u32 = 1;
const SEVERITY_FATAL: u32 = 21;
/// Far above what any series takes for usual.
const SCORE: f64 = 40.0;
const SECOND: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Counter {
    /// Rows seen, by stream.
    seen: Vec<u64>,
}

/// Name and version.
fn identity() -> (String, String) {
    let text = String::from_utf8_lossy(black_box(&IDENTITY)).into_owned();
    let (_, words) = text.split_once(": ").unwrap_or_default();
    let mut words = words.split_whitespace().map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    (next(), next())
}

impl Detector for Counter {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        let (name, version) = identity();
        Ok(Descriptor {
            name,
            version,
            summary: "Counts the rows of each stream.".into(),
            settings_schema: "{}".into(),
            state_version: STATE_VERSION,
        })
    }

    fn configure(&mut self, _: &str) -> Result<Plan, Fault> {
        Ok(Plan {
            columns: vec![
                ColumnRequest::new(names::STREAM, DataType::Uint32).required(),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64).required(),
                ColumnRequest::new(names::SEVERITY_NUMBER, DataType::Uint32),
            ],
            kinds: vec![Kind {
                name: "fatal".into(),
                unit: "{record}".into(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: 2.0,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: SECOND,
        })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        if batch.rows == 0 {
            return Ok(Outcome::default());
        }
        let streams = batch.columns[0].uint32();
        let times = batch.columns[1].uint64();
        // Absent where no record has a severity.
        let severities = match &batch.columns[2].values {
            Values::Uint32(severities) => severities,
            _ => &[][..],
        };
        let seen = streams
            .iter()
            .map(|&stream| {
                let seen = self.stream(StreamId(stream));
                *seen += 1;
                *seen
            })
            .collect();
        let is_fatal = |row: &u32| {
            let severity = severities.get(*row as usize).copied().unwrap_or_default();
            batch.columns[2].is_valid(*row as usize) && severity >= SEVERITY_FATAL
        };
        let findings = (0..batch.rows).filter(is_fatal).map(|row| {
            let index = row as usize;
            finding(row, StreamId(streams[index]), EventTime(times[index]))
        });
        Ok(Outcome {
            findings: findings.collect(),
            omitted: 0,
            annotations: annotations(batch.rows, seen),
        })
    }

    fn advance(&mut self, _: &[Watermark]) -> Result<Outcome, Fault> {
        Ok(Outcome::default())
    }

    fn status(&mut self, _: StreamId) -> Result<Vec<Readiness>, Fault> {
        Ok(vec![Readiness {
            level: Level::Ready,
            missing: String::new(),
        }])
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        Ok(match *self.stream(stream) {
            0 => Vec::new(),
            seen => seen.to_le_bytes().to_vec(),
        })
    }

    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault> {
        let seen = state.try_into().map(u64::from_le_bytes);
        let (Ok(seen), STATE_VERSION) = (seen, version) else {
            return Err(Fault {
                call: "load",
                kind: FaultKind::State,
                message: format!("{} bytes of version {version} are no count", state.len()),
            });
        };
        *self.stream(stream) = seen;
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        *self.stream(stream) = 0;
        Ok(())
    }
}

impl Counter {
    fn stream(&mut self, stream: StreamId) -> &mut u64 {
        let index = stream.0 as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, 0);
        }
        &mut self.seen[index]
    }
}

fn annotations(n_rows: u32, seen: Vec<u64>) -> Vec<Annotation> {
    let (_, version) = identity();
    let length = version.len() as u32;
    let versions = Utf8 {
        offsets: (0..=n_rows).map(|row| row * length).collect(),
        bytes: version.repeat(n_rows as usize).into_bytes().into(),
    };
    let on_all = |key: &str, values| Annotation {
        key: key.into(),
        rows: (0..n_rows).collect(),
        values,
    };
    vec![
        on_all("seen", Values::Uint64(seen.into())),
        on_all("version", Values::Utf8(versions)),
    ]
}

fn finding(row: u32, stream: StreamId, time: EventTime) -> Finding {
    let start = time.floor_to(SECOND);
    let end = EventTime(start.0 + 1_000_000_000);
    Finding {
        stream,
        rows: vec![row],
        records: Some(1.0),
        ..Finding::new(0, Direction::Appeared, SCORE, start, end)
    }
}
