//! What a call can answer: honest replies, each with one thing wrong where a deed says so.

use std::time::Duration;

use petrel_detector::{
    Annotation, CalibrateBy, ColumnRequest, DataType, Descriptor, Dictionary, Direction, EventTime,
    Evidence, EvidenceValue, Finding, Float64List, Kind, Level, Outcome, Plan, Readiness, Scale,
    SeriesKey, StreamId, Utf8, Values, names,
};

const MIB: usize = 1 << 20;

pub(crate) fn descriptor(deed: &str) -> Descriptor {
    let mut descriptor = Descriptor {
        name: "evil".into(),
        version: "0.0.1".into(),
        summary: "Misbehaves.".into(),
        settings_schema: "{}".into(),
        state_version: 1,
    };
    match deed {
        "name-upper" => descriptor.name = "Evil".into(),
        "name-empty" => descriptor.name.clear(),
        "name-reserved" => descriptor.name = "petrel".into(),
        "version" => descriptor.version = "one".into(),
        "schema" => descriptor.settings_schema = "{".into(),
        "schema-list" => descriptor.settings_schema = "[]".into(),
        "schema-huge" => descriptor.settings_schema = format!("{{{}}}", " ".repeat(MIB)),
        _ => (),
    }
    descriptor
}

pub(crate) fn plan(deed: &str) -> Plan {
    let column = |name: &str, data_type| ColumnRequest::new(name, data_type);
    let kind = Kind {
        name: "oddity".into(),
        unit: "{record}".into(),
        scale: Scale::Surprise,
        calibrate_by: CalibrateBy::Series,
        report_from: 2.0,
        floor: 0.0,
        floor_ratio: 1.0,
    };
    let mut plan = Plan {
        columns: vec![column(names::STREAM, DataType::Uint32)],
        kinds: vec![kind.clone()],
        window: Duration::from_secs(60),
    };
    match deed {
        "window-zero" => plan.window = Duration::ZERO,
        "columns-100000" => plan.columns = vec![column("body", DataType::Utf8); 100_000],
        "columns-65" => {
            plan.columns = (0..65)
                .map(|key| column(&format!("attribute.{key}"), DataType::Utf8))
                .collect();
        }
        "column-unknown" => plan.columns.push(column("colour", DataType::Utf8)),
        "column-no-key" => plan.columns.push(column("attribute.", DataType::Utf8)),
        "column-type" => plan.columns.push(column(names::TEMPLATE, DataType::Utf8)),
        "column-twice" => plan.columns.push(column(names::STREAM, DataType::Uint32)),
        "kinds-none" => plan.kinds.clear(),
        "kind-twice" => plan.kinds.push(kind),
        "kind-name" => plan.kinds[0].name = "Odd one".into(),
        "kind-nan" => plan.kinds[0].report_from = f64::NAN,
        "kind-ratio" => plan.kinds[0].floor_ratio = 0.5,
        _ => (),
    }
    plan
}

pub(crate) fn readiness(deed: &str) -> Vec<Readiness> {
    let mut readiness = vec![Readiness {
        level: Level::Ready,
        missing: String::new(),
    }];
    match deed {
        "none" => readiness.clear(),
        "missing" => readiness[0].missing = "a thing".into(),
        "missing-long" => {
            readiness[0].level = Level::Learning;
            readiness[0].missing = "x".repeat(2_000);
        }
        _ => (),
    }
    readiness
}

pub(crate) fn state(deed: &str) -> Vec<u8> {
    match deed {
        "largest" => vec![7; 4 * MIB],
        "over" => vec![7; 4 * MIB + 1],
        "huge" => vec![7; 40 * MIB],
        _ => vec![1, 2, 3],
    }
}

pub(crate) fn outcome(deed: &str, n_rows: u32) -> Outcome {
    let mut outcome = Outcome {
        findings: vec![finding(n_rows)],
        omitted: 0,
        annotations: Vec::new(),
    };
    if n_rows > 0 {
        outcome
            .annotations
            .push(annotation(Values::Float64(vec![0.5, 1.5].into())));
    }
    match deed {
        "findings-1024" => outcome.findings = vec![finding(n_rows); 1_024],
        "findings-1025" => outcome.findings = vec![finding(n_rows); 1_025],
        "findings-30000" => outcome.findings = vec![finding(n_rows); 30_000],
        "annotations-65" => {
            outcome.annotations = (0..65)
                .map(|key| {
                    let mut annotation = annotation(Values::Float64(vec![0.5, 1.5].into()));
                    annotation.key = format!("key_{key}");
                    annotation
                })
                .collect();
        }
        "annotation-twice" => outcome.annotations.extend_from_within(..),
        "annotation-key" => outcome.annotations[0].key = "Key".into(),
        "annotation-rows" => outcome.annotations[0].rows = vec![1, 0],
        "annotation-row" => outcome.annotations[0].rows = vec![0, n_rows],
        _ => match bad_values(deed) {
            Some(values) => outcome.annotations = vec![annotation(values)],
            None => break_finding(&mut outcome.findings[0], deed, n_rows),
        },
    }
    outcome
}

fn finding(n_rows: u32) -> Finding {
    Finding {
        stream: StreamId(0),
        kind: 0,
        template: None,
        series: vec![series_key("method", "GET")],
        direction: Direction::Above,
        score: 3.0,
        start: EventTime(60),
        end: EventTime(120),
        since: EventTime(0),
        observed: Some(5.0),
        expected: Some(1.0),
        lower: None,
        upper: Some(2.0),
        unit: None,
        rows: (0..n_rows.min(3)).collect(),
        records: Some(5.0),
        evidence: vec![evidence(
            "sentence",
            EvidenceValue::Text("five, not one".into()),
        )],
    }
}

fn break_finding(finding: &mut Finding, deed: &str, n_rows: u32) {
    match deed {
        "stream" => finding.stream = StreamId(77),
        "kind" => finding.kind = 1,
        "score-nan" => finding.score = f64::NAN,
        "score-infinite" => finding.score = f64::INFINITY,
        "score-negative" => finding.score = -1.0,
        "observed-nan" => finding.observed = Some(f64::NAN),
        "upper-infinite" => finding.upper = Some(f64::INFINITY),
        "records-negative" => finding.records = Some(-1.0),
        "end-before-start" => finding.end = EventTime(59),
        "end-at-start" => finding.end = finding.start,
        "since-late" => finding.since = EventTime(61),
        "row" => finding.rows = vec![n_rows],
        "rows-descend" => finding.rows = vec![1, 0],
        "rows-65" => finding.rows = (0..65).collect(),
        "unit" => finding.unit = Some("x".repeat(100)),
        "series-9" => {
            finding.series = (0..9)
                .map(|key| series_key(&format!("k{key}"), ""))
                .collect();
        }
        "series-twice" => finding.series.push(series_key("method", "PUT")),
        "series-value" => finding.series[0].value = "x".repeat(1_025),
        "evidence-13" => {
            finding.evidence = (0..13)
                .map(|name| evidence(&format!("e{name}"), EvidenceValue::Number(0.0)))
                .collect();
        }
        "evidence-twice" => finding.evidence.extend_from_within(..),
        "evidence-name" => finding.evidence[0].name = "not-this".into(),
        "evidence-nan" => finding.evidence[0].value = EvidenceValue::Number(f64::NAN),
        "evidence-infinite" => {
            finding.evidence[0].value = EvidenceValue::Numbers(vec![f64::INFINITY]);
        }
        "evidence-numbers" => finding.evidence[0].value = EvidenceValue::Numbers(vec![0.0; 257]),
        "evidence-text" => finding.evidence[0].value = EvidenceValue::Text("x".repeat(4_097)),
        "evidence-sum" => {
            finding.evidence = (0..4)
                .map(|name| evidence(&format!("e{name}"), EvidenceValue::Text("x".repeat(4_000))))
                .collect();
        }
        "text-huge" => finding.unit = Some("x".repeat(40 * MIB)),
        _ => (),
    }
}

fn bad_values(deed: &str) -> Option<Values<'static>> {
    let utf8 = |offsets: &[u32], bytes: &[u8]| Utf8 {
        offsets: offsets.to_vec().into(),
        bytes: bytes.to_vec().into(),
    };
    Some(match deed {
        "values-few" => Values::Float64(vec![0.5].into()),
        "values-nan" => Values::Float64(vec![0.5, f64::NAN].into()),
        "values-uint64" => Values::Uint64(vec![0, 1 << 63].into()),
        "values-bits" => Values::Boolean(vec![1, 1].into()),
        "values-absent" => Values::Absent,
        "values-list" => Values::Float64List(Float64List {
            offsets: vec![0, 0, 0].into(),
            values: vec![].into(),
        }),
        "values-key" => Values::Dictionary(Dictionary {
            keys: vec![0, 1].into(),
            values: utf8(&[0, 2], b"ab"),
        }),
        "utf8-bytes" => Values::Utf8(utf8(&[0, 1, 2], &[0x61, 0xff])),
        "utf8-split" => Values::Utf8(utf8(&[0, 1, 2], "ü".as_bytes())),
        "utf8-start" => Values::Utf8(utf8(&[1, 1, 2], b"ab")),
        "utf8-end" => Values::Utf8(utf8(&[0, 1, 9], b"ab")),
        "utf8-descend" => Values::Utf8(utf8(&[0, 2, 1, 2], b"ab")),
        "utf8-empty" => Values::Utf8(utf8(&[], b"")),
        _ => return None,
    })
}

fn annotation(values: Values<'static>) -> Annotation {
    Annotation {
        key: "oddness".into(),
        rows: vec![0, 1],
        values,
    }
}

fn series_key(key: &str, value: &str) -> SeriesKey {
    SeriesKey {
        key: key.into(),
        value: value.into(),
    }
}

fn evidence(name: &str, value: EvidenceValue) -> Evidence {
    Evidence {
        name: name.into(),
        value,
    }
}
