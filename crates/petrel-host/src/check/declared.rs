//! Rules for what a detector says of itself: descriptor and plan.

use petrel_detector::{ColumnRequest, DataType, Descriptor, Kind, Plan, names};

use super::{Bounds, Broken, at_least, at_most, hold, shown};
use crate::limits::contract::{
    COLUMN_NAME_BYTES_MAX, COLUMNS_MAX, KINDS_MAX, NAME_CHARS_MAX, SETTINGS_SCHEMA_BYTES_MAX,
    SUMMARY_BYTES_MAX, UNIT_BYTES_MAX, WINDOW_MIN,
};

/// Names under `petrel.` in the attributes of records that are Petrel's own.
const RESERVED_NAMES: [&str; 4] = ["petrel", "template", "stream", "detector"];

/// A name that can stand in an attribute's key, a version, a summary, a schema that is JSON.
///
/// # Errors
/// [`Broken`] naming the first that is not so.
pub fn descriptor(descriptor: &Descriptor) -> Result<(), Broken> {
    let name = descriptor.name.as_str();
    hyphenated("name", name)?;
    hold(!RESERVED_NAMES.contains(&name), "name", || {
        format!("{name} is Petrel's own; take another")
    })?;
    let version = semver::Version::parse(&descriptor.version);
    hold(version.is_ok(), "version", || {
        format!("{} is no semantic version", shown(&descriptor.version))
    })?;
    at_most(
        "summary",
        descriptor.summary.len(),
        SUMMARY_BYTES_MAX,
        "bytes",
    )?;
    let schema = descriptor.settings_schema.as_str();
    at_most(
        "settings-schema",
        schema.len(),
        SETTINGS_SCHEMA_BYTES_MAX,
        "bytes",
    )?;
    match serde_json::from_str(schema) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(Broken::new("settings-schema", "JSON, but not an object")),
        Err(error) => Err(Broken::new("settings-schema", format!("no JSON: {error}"))),
    }
}

/// Columns that exist in a form they come in, kinds with names of their own, a window.
///
/// # Errors
/// [`Broken`] naming the first that is not so.
pub fn plan(plan: &Plan) -> Result<Bounds, Broken> {
    at_most("columns", plan.columns.len(), COLUMNS_MAX, "columns")?;
    for (index, column) in plan.columns.iter().enumerate() {
        let before = &plan.columns[..index];
        let is_new = !before
            .iter()
            .any(|other| other.name == column.name && other.data_type == column.data_type);
        column_request(column)
            .and_then(|()| hold(is_new, "name", || format!("{} comes twice", column.name)))
            .map_err(|broken| broken.within(format_args!("columns[{index}]")))?;
    }
    at_most("kinds", plan.kinds.len(), KINDS_MAX, "kinds")?;
    hold(!plan.kinds.is_empty(), "kinds", || "there is none".into())?;
    for (index, kind) in plan.kinds.iter().enumerate() {
        let is_new = !plan.kinds[..index]
            .iter()
            .any(|other| other.name == kind.name);
        self::kind(kind)
            .and_then(|()| hold(is_new, "name", || format!("{} comes twice", kind.name)))
            .map_err(|broken| broken.within(format_args!("kinds[{index}]")))?;
    }
    hold(plan.window >= WINDOW_MIN, "window", || {
        format!("{:?}, at least {WINDOW_MIN:?} are needed", plan.window)
    })?;
    Ok(Bounds::new(plan))
}

fn column_request(column: &ColumnRequest) -> Result<(), Broken> {
    use DataType::{Dictionary, Float64, Float64List, Uint32, Uint64, Utf8};
    let name = column.name.as_str();
    at_most("name", name.len(), COLUMN_NAME_BYTES_MAX, "bytes")?;
    let comes = match name {
        names::STREAM | names::SEVERITY_NUMBER => column.data_type == Uint32,
        names::TEMPLATE | names::EVENT_TIME | names::OBSERVED_TIME | names::TRACE => {
            column.data_type == Uint64
        }
        names::WEIGHT => column.data_type == Float64,
        names::SERVICE_NAME | names::BODY | names::TRACE_ID | names::SPAN_ID => {
            matches!(column.data_type, Utf8 | Dictionary)
        }
        names::BODY_NUMBERS => column.data_type == Float64List,
        _ => {
            let key = name
                .strip_prefix(names::ATTRIBUTE_PREFIX)
                .or_else(|| name.strip_prefix(names::RESOURCE_PREFIX));
            hold(key.is_some_and(|key| !key.is_empty()), "name", || {
                format!("there is no column {}", shown(name))
            })?;
            column.data_type != Float64List
        }
    };
    hold(comes, "data-type", || {
        format!("{} does not come as {:?}", shown(name), column.data_type)
    })
}

fn kind(kind: &Kind) -> Result<(), Broken> {
    hyphenated("name", &kind.name)?;
    at_most("unit", kind.unit.len(), UNIT_BYTES_MAX, "bytes")?;
    at_least("report-from", kind.report_from, 0.0)?;
    at_least("floor", kind.floor, 0.0)?;
    at_least("floor-ratio", kind.floor_ratio, 1.0)
}

/// Lower case, digits and hyphens.
fn hyphenated(place: &str, name: &str) -> Result<(), Broken> {
    let is_one = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    hold(is_one, place, || {
        format!(
            "{} is not 1 to {NAME_CHARS_MAX} lower-case letters, digits and hyphens",
            shown(name)
        )
    })
}
