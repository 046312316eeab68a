//! OTLP's messages as tables: the name of each field in JSON, its number, and what it holds.

mod metrics;
mod traces;

use crate::signal::Signal;

/// A field of a message.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// An id in hex.
    Hex,
    Base64,
    Bool,
    Uint32,
    Int32,
    Sint32,
    Int64,
    Uint64,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    Message(&'static [Field]),
}

/// When a field is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Unless it has the default of its type.
    Implicit,
    /// Always: one that may be absent, or a message.
    Explicit,
    /// Always, and of those of a message at most one: the last.
    OneOf,
    /// Once for each entry.
    Repeated,
}

impl Kind {
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Hex => "an id in hex",
            Self::Base64 => "base64",
            Self::Bool => "true or false",
            Self::Uint32 | Self::Fixed32 => "an unsigned number of 32 bits",
            Self::Int32 | Self::Sint32 => "a number of 32 bits",
            Self::Int64 | Self::Sfixed64 => "a number of 64 bits",
            Self::Uint64 | Self::Fixed64 => "an unsigned number of 64 bits",
            Self::Double => "a number",
            Self::Message(_) => "an object",
        }
    }
}

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    let presence = match kind {
        Kind::Message(_) => Presence::Explicit,
        _ => Presence::Implicit,
    };
    Field {
        name,
        number,
        kind,
        presence,
    }
}

const fn repeated(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        presence: Presence::Repeated,
        ..field(name, number, kind)
    }
}

/// A number that may be absent.
const fn optional(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        presence: Presence::Explicit,
        ..field(name, number, kind)
    }
}

/// One of the kinds that a value may have.
const fn either(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        presence: Presence::OneOf,
        ..field(name, number, kind)
    }
}

/// The request of a signal.
pub(super) fn request(signal: Signal) -> &'static [Field] {
    match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Traces => &traces::REQUEST,
        Signal::Metrics => &metrics::REQUEST,
    }
}

static LOGS_REQUEST: [Field; 1] = [repeated("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))];

static RESOURCE_LOGS: [Field; 3] = [
    field("resource", 1, Kind::Message(&RESOURCE)),
    repeated("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
    field("schemaUrl", 3, Kind::Text),
];

static RESOURCE: [Field; 3] = [
    repeated("attributes", 1, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 2, Kind::Uint32),
    repeated("entityRefs", 3, Kind::Message(&ENTITY_REF)),
];

static ENTITY_REF: [Field; 4] = [
    field("schemaUrl", 1, Kind::Text),
    field("type", 2, Kind::Text),
    repeated("idKeys", 3, Kind::Text),
    repeated("descriptionKeys", 4, Kind::Text),
];

static SCOPE_LOGS: [Field; 3] = [
    field("scope", 1, Kind::Message(&SCOPE)),
    repeated("logRecords", 2, Kind::Message(&LOG_RECORD)),
    field("schemaUrl", 3, Kind::Text),
];

static SCOPE: [Field; 4] = [
    field("name", 1, Kind::Text),
    field("version", 2, Kind::Text),
    repeated("attributes", 3, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 4, Kind::Uint32),
];

static LOG_RECORD: [Field; 11] = [
    field("timeUnixNano", 1, Kind::Fixed64),
    field("severityNumber", 2, Kind::Int32),
    field("severityText", 3, Kind::Text),
    field("body", 5, Kind::Message(&ANY_VALUE)),
    repeated("attributes", 6, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 7, Kind::Uint32),
    field("flags", 8, Kind::Fixed32),
    field("traceId", 9, Kind::Hex),
    field("spanId", 10, Kind::Hex),
    field("observedTimeUnixNano", 11, Kind::Fixed64),
    field("eventName", 12, Kind::Text),
];

static KEY_VALUE: [Field; 2] = [
    field("key", 1, Kind::Text),
    field("value", 2, Kind::Message(&ANY_VALUE)),
];

static ANY_VALUE: [Field; 7] = [
    either("stringValue", 1, Kind::Text),
    either("boolValue", 2, Kind::Bool),
    either("intValue", 3, Kind::Int64),
    either("doubleValue", 4, Kind::Double),
    either("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
    either("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
    either("bytesValue", 7, Kind::Base64),
];

static ARRAY_VALUE: [Field; 1] = [repeated("values", 1, Kind::Message(&ANY_VALUE))];

static KEY_VALUE_LIST: [Field; 1] = [repeated("values", 1, Kind::Message(&KEY_VALUE))];
