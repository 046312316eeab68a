//! The guest side of the border: turns a [`Detector`] into the exports that the contract names, and
//! the contract's records into the plain types of this crate. Lists change hands, they are not copied.
//!
//! Compiled for WASM alone, and used through [`export!`](crate::export) alone.

use std::borrow::Cow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

use petrel_batch::{Column, ColumnRequest, DataType, Dictionary, EventTime, Float64List};
use petrel_batch::{StreamId, Utf8, Values};

use self::bindings::exports::petrel::detector::detector as wit;
use crate::{
    Annotation, Batch, CalibrateBy, Descriptor, Detector, Direction, Evidence, EvidenceValue,
    Finding, Kind, Level, Outcome, Plan, Readiness, Scale, SeriesKey, Template, TemplateId,
    TemplateMerge, Watermark,
};

/// What wit-bindgen makes of the contract.
#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated: lowering and lifting by the canonical ABI"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "petrel-detector",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "petrel_detector::guest::bindings",
    });
}

/// Makes the one detector of this guest.
pub trait Make {
    /// A detector that has not been configured.
    fn make() -> Box<dyn Detector>;
}

/// The exports of a guest whose detector `M` makes.
#[derive(Debug)]
pub struct Component<M>(PhantomData<M>);

thread_local! {
    static DETECTOR: RefCell<Option<Box<dyn Detector>>> = const { RefCell::new(None) };
}

/// Calls the detector, which is made at the first call.
fn with<M: Make, T>(call: impl FnOnce(&mut dyn Detector) -> T) -> T {
    DETECTOR.with_borrow_mut(|detector| {
        let detector = detector.get_or_insert_with(|| {
            std::panic::set_hook(Box::new(|panic| {
                bindings::petrel::detector::host::log(&panic.to_string());
            }));
            M::make()
        });
        call(detector.as_mut())
    })
}

/// A fault that the contract has no words for ends the instance, as a trap does.
fn or_trap<T>(answer: Result<T, crate::Fault>) -> T {
    answer.unwrap_or_else(|fault| panic!("{fault}"))
}

impl<M: Make> wit::Guest for Component<M> {
    fn describe() -> wit::Descriptor {
        descriptor(or_trap(with::<M, _>(|detector| detector.describe())))
    }

    fn configure(settings: String) -> Result<wit::Plan, String> {
        match with::<M, _>(|detector| detector.configure(&settings)) {
            Ok(answer) => Ok(plan(answer)),
            Err(fault) if fault.kind.survives() => Err(fault.message),
            Err(fault) => panic!("{fault}"),
        }
    }

    fn observe(batch: wit::Batch) -> wit::Outcome {
        let batch = Batch {
            rows: batch.rows,
            columns: batch.columns.into_iter().map(column).collect(),
            templates: batch.templates.into_iter().map(template).collect(),
            merges: batch.merges.into_iter().map(template_merge).collect(),
        };
        outcome(or_trap(with::<M, _>(|detector| detector.observe(&batch))))
    }

    fn advance(watermarks: Vec<wit::Watermark>) -> wit::Outcome {
        let watermarks: Vec<_> = watermarks.into_iter().map(watermark).collect();
        outcome(or_trap(with::<M, _>(|detector| {
            detector.advance(&watermarks)
        })))
    }

    fn status(stream: u32) -> Vec<wit::Readiness> {
        let answer = or_trap(with::<M, _>(|detector| detector.status(StreamId(stream))));
        answer.into_iter().map(readiness).collect()
    }

    fn save(stream: u32) -> Vec<u8> {
        or_trap(with::<M, _>(|detector| detector.save(StreamId(stream))))
    }

    fn load(stream: u32, version: u32, state: Vec<u8>) -> Result<(), String> {
        match with::<M, _>(|detector| detector.load(StreamId(stream), version, &state)) {
            Ok(()) => Ok(()),
            Err(fault) if fault.kind.survives() => Err(fault.message),
            Err(fault) => panic!("{fault}"),
        }
    }

    fn forget(stream: u32) {
        or_trap(with::<M, _>(|detector| detector.forget(StreamId(stream))));
    }
}

// What comes in.

fn column(column: wit::Column) -> Column<'static> {
    Column {
        values: values_in(column.values),
        validity: column.validity.map(Cow::Owned),
    }
}

fn values_in(values: wit::Values) -> Values<'static> {
    match values {
        wit::Values::Boolean(bits) => Values::Boolean(bits.into()),
        wit::Values::Uint32(values) => Values::Uint32(values.into()),
        wit::Values::Uint64(values) => Values::Uint64(values.into()),
        wit::Values::Int64(values) => Values::Int64(values.into()),
        wit::Values::Float64(values) => Values::Float64(values.into()),
        wit::Values::Float64List(list) => Values::Float64List(Float64List {
            offsets: list.offsets.into(),
            values: list.values.into(),
        }),
        wit::Values::Utf8(texts) => Values::Utf8(utf8_in(texts)),
        wit::Values::Dictionary(dictionary) => Values::Dictionary(Dictionary {
            keys: dictionary.keys.into(),
            values: utf8_in(dictionary.values),
        }),
        wit::Values::Absent => Values::Absent,
    }
}

fn utf8_in(texts: wit::Utf8) -> Utf8<'static> {
    Utf8 {
        offsets: texts.offsets.into(),
        bytes: texts.bytes.into(),
    }
}

fn template(template: wit::Template) -> Template {
    Template {
        stream: StreamId(template.stream),
        id: TemplateId(template.id),
        text: template.text,
        failure: template.failure,
    }
}

fn template_merge(merge: wit::TemplateMerge) -> TemplateMerge {
    TemplateMerge {
        stream: StreamId(merge.stream),
        source: TemplateId(merge.source),
        target: TemplateId(merge.target),
    }
}

fn watermark(watermark: wit::Watermark) -> Watermark {
    Watermark {
        stream: StreamId(watermark.stream),
        time: EventTime(watermark.time),
        completeness: watermark.completeness,
    }
}

// What goes out.

fn descriptor(descriptor: Descriptor) -> wit::Descriptor {
    wit::Descriptor {
        name: descriptor.name,
        version: descriptor.version,
        summary: descriptor.summary,
        settings_schema: descriptor.settings_schema,
        state_version: descriptor.state_version,
    }
}

fn plan(plan: Plan) -> wit::Plan {
    wit::Plan {
        columns: plan.columns.into_iter().map(column_request).collect(),
        kinds: plan.kinds.into_iter().map(kind).collect(),
        window: nanos(plan.window),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn column_request(request: ColumnRequest) -> wit::ColumnRequest {
    wit::ColumnRequest {
        name: request.name,
        data_type: match request.data_type {
            DataType::Boolean => wit::DataType::Boolean,
            DataType::Uint32 => wit::DataType::Uint32,
            DataType::Uint64 => wit::DataType::Uint64,
            DataType::Int64 => wit::DataType::Int64,
            DataType::Float64 => wit::DataType::Float64,
            DataType::Float64List => wit::DataType::Float64List,
            DataType::Utf8 => wit::DataType::Utf8,
            DataType::Dictionary => wit::DataType::Dictionary,
        },
        required: request.required,
    }
}

fn kind(kind: Kind) -> wit::Kind {
    wit::Kind {
        name: kind.name,
        unit: kind.unit,
        scale: match kind.scale {
            Scale::Surprise => wit::Scale::Surprise,
            Scale::Ordinal => wit::Scale::Ordinal,
        },
        calibrate_by: match kind.calibrate_by {
            CalibrateBy::Series => wit::CalibrateBy::Series,
            CalibrateBy::Stream => wit::CalibrateBy::Stream,
        },
        report_from: kind.report_from,
        floor: kind.floor,
        floor_ratio: kind.floor_ratio,
    }
}

fn outcome(outcome: Outcome) -> wit::Outcome {
    wit::Outcome {
        findings: outcome.findings.into_iter().map(finding).collect(),
        omitted: outcome.omitted,
        annotations: outcome.annotations.into_iter().map(annotation).collect(),
    }
}

fn finding(finding: Finding) -> wit::Finding {
    wit::Finding {
        stream: finding.stream.0,
        kind: finding.kind,
        template: finding.template.map(|template| template.0),
        series: finding.series.into_iter().map(series_key).collect(),
        direction: match finding.direction {
            Direction::Above => wit::Direction::Above,
            Direction::Below => wit::Direction::Below,
            Direction::Appeared => wit::Direction::Appeared,
            Direction::Disappeared => wit::Direction::Disappeared,
            Direction::Changed => wit::Direction::Changed,
        },
        score: finding.score,
        start: finding.start.0,
        end: finding.end.0,
        since: finding.since.0,
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

fn series_key(series_key: SeriesKey) -> wit::Attribute {
    wit::Attribute {
        key: series_key.key,
        value: series_key.value,
    }
}

fn evidence(evidence: Evidence) -> wit::Evidence {
    wit::Evidence {
        name: evidence.name,
        value: match evidence.value {
            EvidenceValue::Number(number) => wit::EvidenceValue::Number(number),
            EvidenceValue::Text(text) => wit::EvidenceValue::Text(text),
            EvidenceValue::Numbers(numbers) => wit::EvidenceValue::Numbers(numbers),
        },
    }
}

fn annotation(annotation: Annotation) -> wit::Annotation {
    wit::Annotation {
        key: annotation.key,
        rows: annotation.rows,
        values: values_out(annotation.values),
    }
}

fn values_out(values: Values<'static>) -> wit::Values {
    match values {
        Values::Boolean(bits) => wit::Values::Boolean(bits.into_owned()),
        Values::Uint32(values) => wit::Values::Uint32(values.into_owned()),
        Values::Uint64(values) => wit::Values::Uint64(values.into_owned()),
        Values::Int64(values) => wit::Values::Int64(values.into_owned()),
        Values::Float64(values) => wit::Values::Float64(values.into_owned()),
        Values::Float64List(list) => wit::Values::Float64List(wit::Float64List {
            offsets: list.offsets.into_owned(),
            values: list.values.into_owned(),
        }),
        Values::Utf8(texts) => wit::Values::Utf8(utf8_out(texts)),
        Values::Dictionary(dictionary) => wit::Values::Dictionary(wit::Dictionary {
            keys: dictionary.keys.into_owned(),
            values: utf8_out(dictionary.values),
        }),
        Values::Absent => wit::Values::Absent,
    }
}

fn utf8_out(texts: Utf8<'static>) -> wit::Utf8 {
    wit::Utf8 {
        offsets: texts.offsets.into_owned(),
        bytes: texts.bytes.into_owned(),
    }
}

fn readiness(readiness: Readiness) -> wit::Readiness {
    wit::Readiness {
        level: match readiness.level {
            Level::Learning => wit::ReadinessLevel::Learning,
            Level::Provisional => wit::ReadinessLevel::Provisional,
            Level::Ready => wit::ReadinessLevel::Ready,
        },
        missing: readiness.missing,
    }
}
