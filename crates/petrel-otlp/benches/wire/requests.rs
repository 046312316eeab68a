//! Requests of records of several sizes, in the order in which an SDK writes fields (ascending) and in
//! that in which a Collector does (descending).

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// Records of a request.
pub(crate) const N_RECORDS: u32 = 1000;

/// What records are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A time, a severity and a short text.
    Bytes100,
    /// A text, six attributes and a trace: what most logs are.
    Bytes350,
    /// The same with a text as long as a short stack trace.
    Bytes2000,
    /// The same as of 350 bytes, with 30 attributes.
    Attributes30,
}

impl Shape {
    pub(crate) const ALL: [Self; 4] = [
        Self::Bytes100,
        Self::Bytes350,
        Self::Bytes2000,
        Self::Attributes30,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes100 => "100 B",
            Self::Bytes350 => "350 B",
            Self::Bytes2000 => "2 KB",
            Self::Attributes30 => "30 attributes",
        }
    }
}

/// Who writes a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// An SDK: fields ascend.
    Sdk,
    /// A Collector: fields descend.
    Collector,
}

impl Order {
    pub(crate) const ALL: [Self; 2] = [Self::Sdk, Self::Collector];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sdk => "SDK",
            Self::Collector => "Collector",
        }
    }
}

/// An encoded request of [`N_RECORDS`] records.
pub(crate) fn request(shape: Shape, order: Order) -> Bytes {
    let request = decoded(shape);
    let bytes = match order {
        Order::Sdk => request.encode_to_vec(),
        Order::Collector => descending::request(&request),
    };
    let bytes = Bytes::from(bytes);
    let same = ExportLogsServiceRequest::decode(bytes.clone()).expect("valid");
    assert_eq!(same, request, "both orders mean the same");
    bytes
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    }
}

fn decoded(shape: Shape) -> ExportLogsServiceRequest {
    let resource = Resource {
        attributes: vec![
            text("service.name", "orders"),
            text("service.namespace", "shop"),
            text("k8s.pod.name", "orders-7d9f8b6c4-x2x5z"),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "orders.http".to_owned(),
        ..InstrumentationScope::default()
    };
    let record = match shape {
        Shape::Bytes100 => small_record,
        Shape::Bytes350 => record,
        Shape::Bytes2000 => long_record,
        Shape::Attributes30 => wide_record,
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: (0..N_RECORDS).map(record).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn small_record(n: u32) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + u64::from(n) * 1_000_000,
        observed_time_unix_nano: 1_700_000_000_100_000_000 + u64::from(n) * 1_000_000,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: body(format!(
            "request {n:08x} of user {:03} took {:03} ms, answer 200, cache miss",
            n % 977,
            n % 300
        )),
        ..LogRecord::default()
    }
}

fn record(n: u32) -> LogRecord {
    LogRecord {
        body: body(format!(
            "request 7f3a{n:08x} of user {:03} took {:03} ms, answer 200, cache miss, 2 rows of orders",
            n % 977,
            n % 300
        )),
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/api/v1/orders/{id}"),
            attribute(
                "http.response.status_code",
                Value::IntValue(200 + i64::from(n % 5)),
            ),
            attribute("duration_ms", Value::DoubleValue(f64::from(n % 300))),
            text("thread.name", "worker-17"),
            text("code.function.name", "orders.handle"),
        ],
        trace_id: u128::from(n)
            .wrapping_mul(0x9e37_79b9)
            .to_be_bytes()
            .to_vec(),
        span_id: u64::from(n + 1).to_be_bytes().to_vec(),
        flags: 1,
        ..small_record(n)
    }
}

fn long_record(n: u32) -> LogRecord {
    let frame = "\n    at com.example.orders.http.OrderController.handle(OrderController.java:217)";
    LogRecord {
        body: body(format!(
            "request 7f3a{n:08x} failed: timeout{}",
            frame.repeat(22)
        )),
        ..record(n)
    }
}

fn wide_record(n: u32) -> LogRecord {
    let mut wide = record(n);
    let more = 30 - wide.attributes.len() as u32;
    wide.attributes.extend((0..more).map(|index| {
        text(
            &format!("app.order.field_{index:02}"),
            &format!("value {}", (n + index) % 50),
        )
    }));
    wide
}

fn body(text: String) -> Option<AnyValue> {
    let value = Some(Value::StringValue(text));
    Some(AnyValue { value })
}

/// The order in which the Collector's encoder writes fields.
mod descending {
    use super::*;

    pub(super) fn request(request: &ExportLogsServiceRequest) -> Vec<u8> {
        let resource_logs = request.resource_logs.iter().map(resource_logs);
        resource_logs.flat_map(|bytes| field(1, &bytes)).collect()
    }

    fn resource_logs(resource_logs: &ResourceLogs) -> Vec<u8> {
        let mut out = Vec::new();
        for scope_logs in &resource_logs.scope_logs {
            out.extend(field(2, &self::scope_logs(scope_logs)));
        }
        let mut resource = Vec::new();
        for attribute in resource_logs.resource.iter().flat_map(|it| &it.attributes) {
            resource.extend(field(1, &key_value(attribute)));
        }
        out.extend(field(1, &resource));
        out
    }

    fn scope_logs(scope_logs: &ScopeLogs) -> Vec<u8> {
        let mut out = Vec::new();
        for record in &scope_logs.log_records {
            out.extend(field(2, &self::record(record)));
        }
        let scope = scope_logs.scope.as_ref().map(Message::encode_to_vec);
        out.extend(field(1, &scope.unwrap_or_default()));
        out
    }

    fn record(record: &LogRecord) -> Vec<u8> {
        let mut out = vec![0x59];
        out.extend(record.observed_time_unix_nano.to_le_bytes());
        for (number, id) in [(10, &record.span_id), (9, &record.trace_id)] {
            if !id.is_empty() {
                out.extend(field(number, id));
            }
        }
        if record.flags != 0 {
            out.push(0x45);
            out.extend(record.flags.to_le_bytes());
        }
        for attribute in &record.attributes {
            out.extend(field(6, &key_value(attribute)));
        }
        let body = record.body.as_ref().map(Message::encode_to_vec);
        out.extend(field(5, &body.unwrap_or_default()));
        out.extend(field(3, record.severity_text.as_bytes()));
        out.extend([0x10, record.severity_number as u8, 0x09]);
        out.extend(record.time_unix_nano.to_le_bytes());
        out
    }

    fn key_value(attribute: &KeyValue) -> Vec<u8> {
        let value = attribute.value.as_ref().map(Message::encode_to_vec);
        let mut out = field(2, &value.unwrap_or_default());
        out.extend(field(1, attribute.key.as_bytes()));
        out
    }

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(content);
        out
    }
}
