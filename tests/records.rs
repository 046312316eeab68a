//! Log records as a test sees them: read from a Collector's file, stripped of what Petrel adds, compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::wait;

/// One log record with all that encloses it. An absent resource or scope equals an empty one, as a
/// Collector writes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) resource: Resource,
    pub(crate) resource_schema: String,
    pub(crate) scope: InstrumentationScope,
    pub(crate) scope_schema: String,
    pub(crate) record: LogRecord,
}

impl Record {
    /// Every record of a request, in order.
    pub(crate) fn of(request: ExportLogsServiceRequest) -> Vec<Self> {
        let mut records = Vec::new();
        for resource_logs in request.resource_logs {
            let resource = resource_logs.resource.unwrap_or_default();
            for scope_logs in resource_logs.scope_logs {
                let scope = scope_logs.scope.unwrap_or_default();
                records.extend(scope_logs.log_records.into_iter().map(|record| Self {
                    resource: resource.clone(),
                    resource_schema: resource_logs.schema_url.clone(),
                    scope: scope.clone(),
                    scope_schema: scope_logs.schema_url.clone(),
                    record,
                }));
            }
        }
        records
    }

    /// Whether Petrel made this record to report an anomaly.
    pub(crate) fn is_event(&self) -> bool {
        self.scope.name.starts_with("petrel/")
    }

    /// Whether Petrel has looked at this record.
    pub(crate) fn is_enriched(&self) -> bool {
        self.record
            .attributes
            .iter()
            .any(|attribute| attribute.key == "petrel.template.id")
    }

    /// The same without any attribute that Petrel adds.
    pub(crate) fn without_ours(mut self) -> Self {
        self.record
            .attributes
            .retain(|attribute| !is_ours(&attribute.key));
        self
    }

    /// The text of a record's attribute.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        text(&self.record.attributes, key)
    }

    /// The integer of a record's attribute.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        let mut attributes = self.record.attributes.iter();
        let attribute = attributes.find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            any_value::Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// `service.name`, or nothing.
    pub(crate) fn service(&self) -> &str {
        text(&self.resource.attributes, "service.name").unwrap_or_default()
    }

    /// The body, when it is text.
    pub(crate) fn body(&self) -> &str {
        match self
            .record
            .body
            .as_ref()
            .and_then(|body| body.value.as_ref())
        {
            Some(any_value::Value::StringValue(body)) => body,
            _ => "",
        }
    }

    /// All of it as bytes, to sort by and to count by.
    fn key(&self) -> Vec<u8> {
        let scope_logs = ScopeLogs {
            scope: Some(self.scope.clone()),
            log_records: vec![self.record.clone()],
            schema_url: self.scope_schema.clone(),
        };
        let resource_logs = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![scope_logs],
            schema_url: self.resource_schema.clone(),
        };
        resource_logs.encode_to_vec()
    }
}

fn is_ours(key: &str) -> bool {
    const PREFIXES: [&str; 2] = ["petrel.", "anomaly."];
    key == "log.record.template" || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A text value.
pub(crate) fn string_value(text: impl Into<String>) -> AnyValue {
    AnyValue {
        value: Some(any_value::Value::StringValue(text.into())),
    }
}

/// A text attribute.
pub(crate) fn string_attribute(key: &str, text: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(string_value(text)),
        ..KeyValue::default()
    }
}

/// A request of one resource and one scope.
pub(crate) fn request(service: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let attributes = vec![string_attribute("service.name", service)];
    let resource = Resource {
        attributes,
        ..Resource::default()
    };
    let scope_logs = ScopeLogs {
        log_records,
        ..ScopeLogs::default()
    };
    let resource_logs = ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![scope_logs],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource_logs],
    }
}

/// The file that a Collector's `file` exporter is writing, in its `proto` format: requests one after the
/// other, each behind its length in four bytes, the highest first.
pub(crate) struct Output {
    path: PathBuf,
    offset: u64,
    records: Vec<Record>,
}

impl Output {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            records: Vec::new(),
        }
    }

    /// All records written so far, anomaly events included, in the order they arrived.
    pub(crate) fn read(&mut self) -> &[Record] {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.offset))
                .expect("a regular file");
            file.read_to_end(&mut bytes).expect("a regular file");
        }
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            let request =
                ExportLogsServiceRequest::decode(frame).expect("a Collector writes valid protobuf");
            self.records.extend(Record::of(request));
            rest = after;
        }
        self.offset += (bytes.len() - rest.len()) as u64;
        &self.records
    }

    /// Waits until `count` records other than anomaly events have arrived, and returns all of those.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, count: usize, deadline: Duration) -> Vec<Record> {
        let what = format!("{count} records in {}", self.path.display());
        wait::until(&what, deadline, || {
            let arrived = self
                .read()
                .iter()
                .filter(|record| !record.is_event())
                .count();
            (arrived >= count).then_some(())
        });
        self.records
            .iter()
            .filter(|record| !record.is_event())
            .cloned()
            .collect()
    }

    /// Petrel's anomaly events that have arrived so far.
    pub(crate) fn events(&mut self) -> Vec<Record> {
        self.read()
            .iter()
            .filter(|record| record.is_event())
            .cloned()
            .collect()
    }
}

/// Checks that both hold the same records the same number of times, in any order.
///
/// # Panics
/// With the counts and the first record that only one side has, beside the nearest of the other side.
#[track_caller]
pub(crate) fn assert_same(expected: &[Record], actual: &[Record]) {
    let mut balance: BTreeMap<Vec<u8>, (i64, &Record)> = BTreeMap::new();
    for record in expected {
        balance.entry(record.key()).or_insert((0, record)).0 += 1;
    }
    for record in actual {
        balance.entry(record.key()).or_insert((0, record)).0 -= 1;
    }
    let side = |sign: i64| {
        balance
            .values()
            .filter(move |(count, _)| count.signum() == sign)
    };
    let (missing, extra) = (side(1).count(), side(-1).count());
    if missing + extra == 0 {
        return;
    }
    let first = side(1).chain(side(-1)).next().map(|(_, record)| *record);
    let first = first.expect("one of the two is not empty");
    let others = if missing > 0 { actual } else { expected };
    let nearest = others.iter().find(|other| is_near(first, other));
    let (here, there) = if missing > 0 {
        ("expected", "actual")
    } else {
        ("actual", "expected")
    };
    panic!(
        "{} records expected, {} arrived; {missing} different ones are missing, {extra} are too many.\n\
         the first, {here}:\n{first:#?}\nits nearest, {there}:\n{nearest:#?}",
        expected.len(),
        actual.len()
    );
}

fn is_near(one: &Record, other: &Record) -> bool {
    one.record.body == other.record.body && one.record.time_unix_nano == other.record.time_unix_nano
}
