//! The messages of traces.

use super::{Field, KEY_VALUE, Kind, RESOURCE, SCOPE, field, repeated};

pub(super) static REQUEST: [Field; 1] =
    [repeated("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))];

static RESOURCE_SPANS: [Field; 3] = [
    field("resource", 1, Kind::Message(&RESOURCE)),
    repeated("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
    field("schemaUrl", 3, Kind::Text),
];

static SCOPE_SPANS: [Field; 3] = [
    field("scope", 1, Kind::Message(&SCOPE)),
    repeated("spans", 2, Kind::Message(&SPAN)),
    field("schemaUrl", 3, Kind::Text),
];

static SPAN: [Field; 16] = [
    field("traceId", 1, Kind::Hex),
    field("spanId", 2, Kind::Hex),
    field("traceState", 3, Kind::Text),
    field("parentSpanId", 4, Kind::Hex),
    field("name", 5, Kind::Text),
    field("kind", 6, Kind::Int32),
    field("startTimeUnixNano", 7, Kind::Fixed64),
    field("endTimeUnixNano", 8, Kind::Fixed64),
    repeated("attributes", 9, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 10, Kind::Uint32),
    repeated("events", 11, Kind::Message(&EVENT)),
    field("droppedEventsCount", 12, Kind::Uint32),
    repeated("links", 13, Kind::Message(&LINK)),
    field("droppedLinksCount", 14, Kind::Uint32),
    field("status", 15, Kind::Message(&STATUS)),
    field("flags", 16, Kind::Fixed32),
];

static EVENT: [Field; 4] = [
    field("timeUnixNano", 1, Kind::Fixed64),
    field("name", 2, Kind::Text),
    repeated("attributes", 3, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 4, Kind::Uint32),
];

static LINK: [Field; 6] = [
    field("traceId", 1, Kind::Hex),
    field("spanId", 2, Kind::Hex),
    field("traceState", 3, Kind::Text),
    repeated("attributes", 4, Kind::Message(&KEY_VALUE)),
    field("droppedAttributesCount", 5, Kind::Uint32),
    field("flags", 6, Kind::Fixed32),
];

static STATUS: [Field; 2] = [
    field("message", 2, Kind::Text),
    field("code", 3, Kind::Int32),
];
