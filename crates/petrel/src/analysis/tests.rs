//! Detection as a whole: one analysis in the place of another, detectors switched off, what the status
//! says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use petrel_batch::{ColumnRequest, DataType, EventRecord, StreamId, names};
use petrel_detector::{
    Batch, CalibrateBy, Descriptor, Detector, Direction, Fault, Finding, Kind, Level, Module,
    Outcome, Plan, Readiness, Scale, Watermark,
};
use petrel_otlp::{ResourceCache, WalkPlan, WalkSettings, walk};
use prost::Message;

use super::*;
use crate::outbox::{Encoder, Format};

const START: u64 = 1_551_434_400;

/// Finds something in every hundredth record of a stream.
#[derive(Default)]
struct Hundredth {
    counts: BTreeMap<StreamId, u64>,
}

struct HundredthModule;

impl Module for HundredthModule {
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault> {
        Ok(Box::<Hundredth>::default())
    }

    fn digest(&self) -> &'static str {
        "native:hundredth"
    }
}

impl Detector for Hundredth {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        Ok(Descriptor {
            name: "hundredth".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "A test.".to_owned(),
            settings_schema: "{}".to_owned(),
            state_version: 1,
        })
    }

    fn configure(&mut self, _settings: &str) -> Result<Plan, Fault> {
        Ok(Plan {
            columns: vec![
                ColumnRequest::new(names::STREAM, DataType::Uint32),
                ColumnRequest::new(names::EVENT_TIME, DataType::Uint64),
            ],
            kinds: vec![Kind {
                name: "count".to_owned(),
                unit: String::new(),
                scale: Scale::Surprise,
                calibrate_by: CalibrateBy::Series,
                report_from: 2.0,
                floor: 0.0,
                floor_ratio: 1.0,
            }],
            window: Duration::from_secs(60),
        })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        for row in 0..batch.rows as usize {
            let stream = StreamId(batch.columns[0].uint32()[row]);
            let time = batch.columns[1].uint64()[row];
            let count = self.counts.entry(stream).or_default();
            *count += 1;
            if !count.is_multiple_of(100) {
                continue;
            }
            let series = petrel_detector::SeriesKey {
                key: "count".to_owned(),
                value: count.to_string(),
            };
            outcome.findings.push(Finding {
                stream,
                kind: 0,
                template: None,
                series: vec![series],
                direction: Direction::Changed,
                score: 12.0,
                start: EventTime(time),
                end: EventTime(time + 60_000_000_000),
                since: EventTime(time),
                observed: None,
                expected: None,
                lower: None,
                upper: None,
                unit: None,
                rows: vec![row as u32],
                records: None,
                evidence: Vec::new(),
            });
        }
        Ok(outcome)
    }

    fn advance(&mut self, _watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        Ok(Outcome::default())
    }

    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault> {
        Ok(vec![Readiness {
            level: Level::Ready,
            missing: format!("{} records seen", self.counts.get(&stream).unwrap_or(&0)),
        }])
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        let count = self.counts.get(&stream);
        Ok(count.map_or_else(Vec::new, |count| count.to_le_bytes().to_vec()))
    }

    fn load(&mut self, stream: StreamId, _version: u32, state: &[u8]) -> Result<(), Fault> {
        let count = state.try_into().expect("saved by the same detector");
        self.counts.insert(stream, u64::from_le_bytes(count));
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        self.counts.remove(&stream);
        Ok(())
    }
}

fn encode(event: &EventRecord) -> Bytes {
    format!("{event:?}\n").into()
}

fn outbox() -> Outbox {
    let format = Format::JsonLines;
    Outbox::new(64 << 20, None, Encoder { format, encode }).unwrap()
}

fn start(knowledge: Knowledge, outbox: &Outbox) -> Analysis {
    let spec = DetectorSpec {
        module: Arc::new(HundredthModule),
        settings: String::new(),
    };
    Analysis::start(Start {
        settings: Settings::default(),
        roster: [("hundredth".to_owned(), spec)].into(),
        n_workers: 2,
        budget: Duration::from_secs(600),
        knowledge,
        continuity: Continuity::Seamless,
        outbox: outbox.clone(),
        counts: Arc::default(),
    })
    .unwrap()
}

/// Request `number`: ten records of each of three services, one in a second.
fn request(number: u64) -> Bytes {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    let records: Vec<_> = (0..10)
        .map(|index| {
            let second = START + number * 10 + index;
            serde_json::json!({
                "timeUnixNano": (second * 1_000_000_000).to_string(),
                "body": {"stringValue": "request served"},
            })
        })
        .collect();
    let resource_logs: Vec<_> = ["api", "cart", "web"]
        .map(|service| {
            serde_json::json!({
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeLogs": [{"logRecords": records}],
            })
        })
        .into();
    let request: ExportLogsServiceRequest =
        serde_json::from_value(serde_json::json!({ "resourceLogs": resource_logs })).unwrap();
    request.encode_to_vec().into()
}

/// Has a request analysed; returns how many of its rows got something.
async fn analyse(analysis: &Analysis, request: Bytes) -> usize {
    let plan = WalkPlan::new(WalkSettings {
        digests: true,
        ..WalkSettings::new(Arc::new(analysis.column_set().await))
    });
    let workers = petrel_otlp::Workers {
        worker_of: &|stream| worker_of(stream, 2),
        n_workers: 2,
    };
    let cache = ResourceCache::default();
    let arrival = EventTime(u64::MAX / 2);
    let walked = walk(&request, &plan, &cache, "", arrival, workers).unwrap();
    let edits = analysis.analyse(walked.batches, request.len(), arrival);
    let edits = edits.await.unwrap();
    let edited = edits
        .iter()
        .map(|(_, edits)| edits.base.len() + edits.extra.len());
    edited.sum()
}

/// All events so far, which the outbox has no more then.
async fn events(outbox: &Outbox) -> Vec<String> {
    outbox.close();
    let mut text = Vec::new();
    while let Some(request) = outbox.next_request().await {
        text.extend_from_slice(&request.bytes);
        outbox.accepted(&request).await;
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn an_analysis_in_the_place_of_another_finds_the_same() {
    let mut stories = Vec::new();
    for swaps in [&[][..], &[7, 31, 33]] {
        let outbox = outbox();
        let mut analysis = start(Knowledge::default(), &outbox);
        let mut n_edited = Vec::new();
        for number in 0..60 {
            if swaps.contains(&number) {
                let knowledge = analysis.snapshot(Scope::All).await;
                let old = std::mem::replace(&mut analysis, start(knowledge, &outbox));
                old.join();
            }
            n_edited.push(analyse(&analysis, request(number)).await);
            // The retry of one that came before.
            n_edited.push(analyse(&analysis, request(number.saturating_sub(3))).await);
        }
        let status = analysis.status().await;
        let streams: Vec<_> = status
            .streams
            .into_iter()
            .map(|stream| (stream.name, stream.counts, stream.newest, stream.detectors))
            .collect();
        stories.push((events(&outbox).await, n_edited, status.frontier, streams));
        analysis.join();
    }
    let found = stories[0].0.iter();
    assert!(
        found
            .filter(|line| line.contains("anomaly.detected"))
            .count()
            >= 3 * 5
    );
    assert!(stories[0] == stories[1], "{stories:#?}");
}

#[tokio::test]
async fn a_detector_that_is_off_stays_off_and_keeps_what_it_knows() {
    let outbox = outbox();
    let analysis = start(Knowledge::default(), &outbox);
    for number in 0..9 {
        analyse(&analysis, request(number)).await;
    }
    assert!(analysis.set_detector_enabled("other", false).await.is_err());
    analysis
        .set_detector_enabled("hundredth", false)
        .await
        .unwrap();
    for number in 9..20 {
        analyse(&analysis, request(number)).await;
    }
    let knowledge = analysis.snapshot(Scope::All).await;
    assert_eq!(knowledge.disabled, ["hundredth".to_owned()].into());
    analysis.join();
    let analysis = start(knowledge, &outbox);
    let status = analysis.status().await;
    let [hundredth] = &status.detectors[..] else {
        panic!("{status:?}")
    };
    assert_eq!(
        (hundredth.worst.health, hundredth.n_workers),
        ("disabled", 2)
    );
    analyse(&analysis, request(20)).await;
    assert!(outbox.is_empty());
    analysis
        .set_detector_enabled("hundredth", true)
        .await
        .unwrap();
    analyse(&analysis, request(21)).await;
    // Ninety it had counted, and these ten.
    let detected = events(&outbox).await;
    assert_eq!(detected.len(), 3, "{detected:#?}");
    let status = analysis.status().await;
    assert_eq!(status.detectors[0].worst.health, "live");
    assert_eq!((status.totals.records, status.totals.detected), (60, 3));
    let text = serde_json::to_string(&status).unwrap();
    assert!(
        text.contains("\"health\":\"live\"") && text.contains("records seen"),
        "{text}"
    );
    analysis.join();
}
