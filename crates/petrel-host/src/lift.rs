//! From what a guest answered to plain values. Lists change hands; nothing is judged here.

use std::time::Duration;

use petrel_detector::{
    Annotation, CalibrateBy, ColumnRequest, DataType, Descriptor, Dictionary, Direction, EventTime,
    Evidence, EvidenceValue, Finding, Float64List, Kind, Level, Outcome, Plan, Readiness, Scale,
    SeriesKey, StreamId, TemplateId, Utf8, Values,
};

use crate::bindings::exports::petrel::detector::detector as wit;

pub(crate) fn descriptor(descriptor: wit::Descriptor) -> Descriptor {
    Descriptor {
        name: descriptor.name,
        version: descriptor.version,
        summary: descriptor.summary,
        settings_schema: descriptor.settings_schema,
        state_version: descriptor.state_version,
    }
}

pub(crate) fn plan(plan: wit::Plan) -> Plan {
    Plan {
        columns: plan.columns.into_iter().map(column_request).collect(),
        kinds: plan.kinds.into_iter().map(kind).collect(),
        window: Duration::from_nanos(plan.window),
    }
}

fn column_request(request: wit::ColumnRequest) -> ColumnRequest {
    ColumnRequest {
        name: request.name,
        data_type: match request.data_type {
            wit::DataType::Boolean => DataType::Boolean,
            wit::DataType::Uint32 => DataType::Uint32,
            wit::DataType::Uint64 => DataType::Uint64,
            wit::DataType::Int64 => DataType::Int64,
            wit::DataType::Float64 => DataType::Float64,
            wit::DataType::Float64List => DataType::Float64List,
            wit::DataType::Utf8 => DataType::Utf8,
            wit::DataType::Dictionary => DataType::Dictionary,
        },
        required: request.required,
    }
}

fn kind(kind: wit::Kind) -> Kind {
    Kind {
        name: kind.name,
        unit: kind.unit,
        scale: match kind.scale {
            wit::Scale::Surprise => Scale::Surprise,
            wit::Scale::Ordinal => Scale::Ordinal,
        },
        calibrate_by: match kind.calibrate_by {
            wit::CalibrateBy::Series => CalibrateBy::Series,
            wit::CalibrateBy::Stream => CalibrateBy::Stream,
        },
        report_from: kind.report_from,
        floor: kind.floor,
        floor_ratio: kind.floor_ratio,
    }
}

pub(crate) fn outcome(outcome: wit::Outcome) -> Outcome {
    Outcome {
        findings: outcome.findings.into_iter().map(finding).collect(),
        omitted: outcome.omitted,
        annotations: outcome.annotations.into_iter().map(annotation).collect(),
    }
}

fn finding(finding: wit::Finding) -> Finding {
    Finding {
        stream: StreamId(finding.stream),
        kind: finding.kind,
        template: finding.template.map(TemplateId),
        series: finding.series.into_iter().map(series_key).collect(),
        direction: match finding.direction {
            wit::Direction::Above => Direction::Above,
            wit::Direction::Below => Direction::Below,
            wit::Direction::Appeared => Direction::Appeared,
            wit::Direction::Disappeared => Direction::Disappeared,
            wit::Direction::Changed => Direction::Changed,
        },
        score: finding.score,
        start: EventTime(finding.start),
        end: EventTime(finding.end),
        since: EventTime(finding.since),
        observed: finding.observed,
        expected: finding.expected,
        lower: finding.lower,
        upper: finding.upper,
        unit: finding.unit,
        rows: finding.rows,
        records: finding.records,
        evidence: finding.evidence.into_iter().map(evidence).collect(),
    }
}

fn series_key(attribute: wit::Attribute) -> SeriesKey {
    SeriesKey {
        key: attribute.key,
        value: attribute.value,
    }
}

fn evidence(evidence: wit::Evidence) -> Evidence {
    Evidence {
        name: evidence.name,
        value: match evidence.value {
            wit::EvidenceValue::Number(number) => EvidenceValue::Number(number),
            wit::EvidenceValue::Text(text) => EvidenceValue::Text(text),
            wit::EvidenceValue::Numbers(numbers) => EvidenceValue::Numbers(numbers),
        },
    }
}

fn annotation(annotation: wit::Annotation) -> Annotation {
    Annotation {
        key: annotation.key,
        rows: annotation.rows,
        values: values(annotation.values),
    }
}

fn values(values: wit::ValuesResult) -> Values<'static> {
    match values {
        wit::ValuesResult::Boolean(bits) => Values::Boolean(bits.into()),
        wit::ValuesResult::Uint32(values) => Values::Uint32(values.into()),
        wit::ValuesResult::Uint64(values) => Values::Uint64(values.into()),
        wit::ValuesResult::Int64(values) => Values::Int64(values.into()),
        wit::ValuesResult::Float64(values) => Values::Float64(values.into()),
        wit::ValuesResult::Float64List(list) => Values::Float64List(Float64List {
            offsets: list.offsets.into(),
            values: list.values.into(),
        }),
        wit::ValuesResult::Utf8(texts) => Values::Utf8(utf8(texts)),
        wit::ValuesResult::Dictionary(dictionary) => Values::Dictionary(Dictionary {
            keys: dictionary.keys.into(),
            values: utf8(dictionary.values),
        }),
        wit::ValuesResult::Absent => Values::Absent,
    }
}

fn utf8(texts: wit::Utf8Result) -> Utf8<'static> {
    Utf8 {
        offsets: texts.offsets.into(),
        bytes: texts.bytes.into(),
    }
}

pub(crate) fn readiness(readiness: wit::Readiness) -> Readiness {
    Readiness {
        level: match readiness.level {
            wit::ReadinessLevel::Learning => Level::Learning,
            wit::ReadinessLevel::Provisional => Level::Provisional,
            wit::ReadinessLevel::Ready => Level::Ready,
        },
        missing: readiness.missing,
    }
}
