//! What a walk should find, said a second time with prost's objects and no regard to speed.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use petrel_batch::{ColumnRequest, ColumnSet, DataType, EventTime, LogBatch, Resource, StreamKey};
use petrel_otlp::{WalkPlan, WalkSettings};

pub(crate) const ARRIVAL: EventTime = EventTime::from_seconds(1_600_000_000);
pub(crate) const TENANT: &str = "tenant";

/// A cell that can be compared and read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Uint(u64),
    Int(i64),
    /// Bits, so that NaN equals itself.
    Double(u64),
    Bool(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) place: u32,
    pub(crate) resource: Resource,
    /// In the order of the column set.
    pub(crate) cells: Vec<Cell>,
}

pub(crate) fn column_set() -> Arc<ColumnSet> {
    use DataType::*;
    let columns = [
        ("observed_time", Uint64),
        ("severity_number", Uint32),
        ("body", Utf8),
        ("weight", Float64),
        ("trace", Uint64),
        ("trace_id", Utf8),
        ("span_id", Dictionary),
        ("service_name", Dictionary),
        ("attribute.http.route", Utf8),
        ("attribute.log.record.template", Utf8),
        ("attribute.n", Int64),
        ("attribute.n", Uint64),
        ("attribute.n", Uint32),
        ("attribute.n", Float64),
        ("attribute.n", Boolean),
        ("attribute.n", Float64List),
        ("attribute.log_count", Int64),
        ("resource.n", Int64),
        ("resource.n", Float64),
        ("resource.k8s.deployment.name", Utf8),
        ("nonsense", Utf8),
    ];
    Arc::new(ColumnSet::new(
        columns.map(|(name, data_type)| ColumnRequest::new(name, data_type)),
    ))
}

pub(crate) fn plan(accept_enriched: bool) -> WalkPlan {
    WalkPlan::new(WalkSettings {
        accept_enriched,
        ..WalkSettings::new(column_set())
    })
}

/// The rows of a request in the order of its records, and how many records have none.
pub(crate) fn expected_rows(
    request: &ExportLogsServiceRequest,
    settings: &WalkSettings,
) -> (Vec<Row>, u64) {
    let (mut rows, mut skipped, mut place) = (Vec::new(), 0, 0);
    for resource_logs in &request.resource_logs {
        let attributes = resource_logs
            .resource
            .as_ref()
            .map(|resource| resource.attributes.as_slice())
            .unwrap_or_default();
        let resource = expected_resource(attributes, settings);
        for scope_logs in &resource_logs.scope_logs {
            let is_own = scope_logs
                .scope
                .as_ref()
                .is_some_and(|scope| scope.name.starts_with("petrel/"));
            for record in &scope_logs.log_records {
                let is_enriched =
                    is_own || find(&record.attributes, "petrel.template.id").is_some();
                if is_enriched && !settings.accept_enriched {
                    skipped += 1;
                } else {
                    let requests = settings.column_set.requests().iter();
                    rows.push(Row {
                        place,
                        resource: resource.clone(),
                        cells: requests
                            .map(|request| expected_cell(request, record, &resource, attributes))
                            .collect(),
                    });
                }
                place += 1;
            }
        }
    }
    (rows, skipped)
}

/// The rows that a batch has.
pub(crate) fn actual_rows(batch: &LogBatch) -> Vec<Row> {
    let mut rows = Vec::new();
    for run in batch.runs() {
        for row in run.rows.clone() {
            let requests = batch.column_set().requests().iter();
            rows.push(Row {
                place: batch.places()[row],
                resource: (*run.resource).clone(),
                cells: requests
                    .map(|request| actual_cell(batch, request, row))
                    .collect(),
            });
        }
    }
    rows
}

fn actual_cell(batch: &LogBatch, request: &ColumnRequest, row: usize) -> Cell {
    let array = batch
        .column(&request.name, request.data_type)
        .expect("every column that was asked for is there");
    if array.is_null(row) {
        return Cell::Null;
    }
    match request.data_type {
        DataType::Utf8 | DataType::Dictionary => {
            Cell::Text(array.as_string_view().value(row).to_owned())
        }
        DataType::Uint32 => Cell::Uint(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::Uint64 => Cell::Uint(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Float64List => panic!("nothing fills a list"),
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    static NONE: Value = Value::StringValueStrindex(0);
    Some(
        attribute
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref())
            .unwrap_or(&NONE),
    )
}

fn expected_resource(attributes: &[KeyValue], settings: &WalkSettings) -> Resource {
    let text = |key: &str| match find(attributes, key)? {
        Value::StringValue(text) => Some(text.clone()),
        Value::BytesValue(_) | Value::StringValueStrindex(_) => None,
        value => Some(json(Some(value))).filter(|text| text.len() <= 1024),
    };
    let service_name = std::iter::once("service.name")
        .chain(settings.stream_fallback.iter().map(String::as_str))
        .find_map(|key| text(key).filter(|text| !text.is_empty()))
        .unwrap_or_default();
    let mut kept = settings.resource_attributes.clone();
    kept.extend(["n".to_owned(), "k8s.deployment.name".to_owned()]);
    kept.sort();
    kept.dedup();
    let values = settings.stream_key.iter().map(|key| match key.as_str() {
        "service.name" => service_name.clone(),
        key => text(key).unwrap_or_default(),
    });
    Resource {
        stream: StreamKey {
            tenant: TENANT.to_owned(),
            values: values.collect(),
        },
        attributes: kept
            .into_iter()
            .filter_map(|key| text(&key).map(|text| (key, text)))
            .collect(),
        service_name,
    }
}

fn expected_cell(
    request: &ColumnRequest,
    record: &LogRecord,
    resource: &Resource,
    resource_attributes: &[KeyValue],
) -> Cell {
    let hex = |id: &[u8], length: usize| match id.len() == length && id.iter().any(|&b| b != 0) {
        true => Cell::Text(id.iter().map(|byte| format!("{byte:02x}")).collect()),
        false => Cell::Null,
    };
    match request.name.as_str() {
        "event_time" => Cell::Uint(
            [
                record.time_unix_nano,
                record.observed_time_unix_nano,
                ARRIVAL.nanos(),
            ]
            .into_iter()
            .find(|&time| time != 0)
            .expect("the arrival is not 0"),
        ),
        "observed_time" if record.observed_time_unix_nano == 0 => Cell::Null,
        "observed_time" => Cell::Uint(record.observed_time_unix_nano),
        "severity_number" => Cell::Uint(record.severity_number.max(0) as u64),
        "body" => expected_body(record.body.as_ref()),
        "trace_id" => hex(&record.trace_id, 16),
        "span_id" => hex(&record.span_id, 8),
        "trace" => match hex(&record.trace_id, 16) {
            Cell::Text(hex) => Cell::Uint(u64::from_str_radix(&hex[16..], 16).expect("hex")),
            _ => Cell::Null,
        },
        "weight" => match expected_attribute(record, "log_count", DataType::Int64, |cell| {
            matches!(cell, Cell::Int(1..))
        }) {
            Cell::Int(count) => Cell::Double((count as f64).to_bits()),
            _ => Cell::Null,
        },
        "service_name" if resource.service_name.is_empty() => Cell::Null,
        "service_name" => Cell::Text(resource.service_name.clone()),
        name => {
            if let Some(key) = name.strip_prefix("attribute.") {
                expected_attribute(record, key, request.data_type, |cell| *cell != Cell::Null)
            } else if let Some(key) = name.strip_prefix("resource.") {
                convert(find(resource_attributes, key), request.data_type)
            } else {
                Cell::Null
            }
        }
    }
}

/// A key should not stand twice in a record; where it does, its first value that fits is taken.
fn expected_attribute(
    record: &LogRecord,
    key: &str,
    data_type: DataType,
    fits: impl Fn(&Cell) -> bool,
) -> Cell {
    let attributes = record.attributes.iter();
    attributes
        .filter(|attribute| attribute.key == key)
        .map(|attribute| {
            let value = attribute.value.as_ref();
            convert(value.and_then(|value| value.value.as_ref()), data_type)
        })
        .find(fits)
        .unwrap_or(Cell::Null)
}

fn expected_body(body: Option<&AnyValue>) -> Cell {
    match body.and_then(|body| body.value.as_ref()) {
        None | Some(Value::BytesValue(_) | Value::StringValueStrindex(_)) => Cell::Null,
        Some(Value::StringValue(text)) => Cell::Text(text.clone()),
        value => Cell::Text(json(value)),
    }
}

fn convert(value: Option<&Value>, data_type: DataType) -> Cell {
    use DataType::*;
    match (value, data_type) {
        (Some(Value::StringValue(text)), Utf8 | Dictionary) => Cell::Text(text.clone()),
        (Some(Value::BoolValue(value)), Boolean) => Cell::Bool(*value),
        (Some(Value::DoubleValue(value)), Float64) => Cell::Double(value.to_bits()),
        (Some(Value::IntValue(value)), Float64) => Cell::Double((*value as f64).to_bits()),
        (Some(Value::IntValue(value)), Int64) => Cell::Int(*value),
        (Some(Value::IntValue(value)), Uint64) => {
            u64::try_from(*value).map_or(Cell::Null, Cell::Uint)
        }
        (Some(Value::IntValue(value)), Uint32) => {
            u32::try_from(*value).map_or(Cell::Null, |value| Cell::Uint(value.into()))
        }
        _ => Cell::Null,
    }
}

fn json(value: Option<&Value>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("text");
    match value {
        Some(Value::StringValue(text)) => quoted(text),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        // Its own JSON is `null` where a double is not finite.
        Some(Value::DoubleValue(value)) => serde_json::to_string(value).expect("a number"),
        Some(Value::ArrayValue(list)) => {
            let entries = list.values.iter().map(|entry| json(entry.value.as_ref()));
            format!("[{}]", entries.collect::<Vec<_>>().join(","))
        }
        Some(Value::KvlistValue(map)) => {
            let entries = map.values.iter().map(|entry| {
                let value = entry.value.as_ref().and_then(|value| value.value.as_ref());
                format!("{}:{}", quoted(&entry.key), json(value))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        None | Some(Value::BytesValue(_) | Value::StringValueStrindex(_)) => "null".to_owned(),
    }
}
