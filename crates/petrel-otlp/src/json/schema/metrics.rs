//! The messages of metrics.

use super::{Field, KEY_VALUE, Kind, RESOURCE, SCOPE, either, field, optional, repeated};

pub(super) static REQUEST: [Field; 1] = [repeated(
    "resourceMetrics",
    1,
    Kind::Message(&RESOURCE_METRICS),
)];

static RESOURCE_METRICS: [Field; 3] = [
    field("resource", 1, Kind::Message(&RESOURCE)),
    repeated("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
    field("schemaUrl", 3, Kind::Text),
];

static SCOPE_METRICS: [Field; 3] = [
    field("scope", 1, Kind::Message(&SCOPE)),
    repeated("metrics", 2, Kind::Message(&METRIC)),
    field("schemaUrl", 3, Kind::Text),
];

static METRIC: [Field; 9] = [
    field("name", 1, Kind::Text),
    field("description", 2, Kind::Text),
    field("unit", 3, Kind::Text),
    either("gauge", 5, Kind::Message(&GAUGE)),
    either("sum", 7, Kind::Message(&SUM)),
    either("histogram", 9, Kind::Message(&HISTOGRAM)),
    either(
        "exponentialHistogram",
        10,
        Kind::Message(&EXPONENTIAL_HISTOGRAM),
    ),
    either("summary", 11, Kind::Message(&SUMMARY)),
    repeated("metadata", 12, Kind::Message(&KEY_VALUE)),
];

static GAUGE: [Field; 1] = [repeated("dataPoints", 1, Kind::Message(&NUMBER_POINT))];

static SUM: [Field; 3] = [
    repeated("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
    field("aggregationTemporality", 2, Kind::Int32),
    field("isMonotonic", 3, Kind::Bool),
];

static HISTOGRAM: [Field; 2] = [
    repeated("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
    field("aggregationTemporality", 2, Kind::Int32),
];

static EXPONENTIAL_HISTOGRAM: [Field; 2] = [
    repeated("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
    field("aggregationTemporality", 2, Kind::Int32),
];

static SUMMARY: [Field; 1] = [repeated("dataPoints", 1, Kind::Message(&SUMMARY_POINT))];

static NUMBER_POINT: [Field; 7] = [
    field("startTimeUnixNano", 2, Kind::Fixed64),
    field("timeUnixNano", 3, Kind::Fixed64),
    either("asDouble", 4, Kind::Double),
    repeated("exemplars", 5, Kind::Message(&EXEMPLAR)),
    either("asInt", 6, Kind::Sfixed64),
    repeated("attributes", 7, Kind::Message(&KEY_VALUE)),
    field("flags", 8, Kind::Uint32),
];

static HISTOGRAM_POINT: [Field; 11] = [
    field("startTimeUnixNano", 2, Kind::Fixed64),
    field("timeUnixNano", 3, Kind::Fixed64),
    field("count", 4, Kind::Fixed64),
    optional("sum", 5, Kind::Double),
    repeated("bucketCounts", 6, Kind::Fixed64),
    repeated("explicitBounds", 7, Kind::Double),
    repeated("exemplars", 8, Kind::Message(&EXEMPLAR)),
    repeated("attributes", 9, Kind::Message(&KEY_VALUE)),
    field("flags", 10, Kind::Uint32),
    optional("min", 11, Kind::Double),
    optional("max", 12, Kind::Double),
];

static EXPONENTIAL_POINT: [Field; 14] = [
    repeated("attributes", 1, Kind::Message(&KEY_VALUE)),
    field("startTimeUnixNano", 2, Kind::Fixed64),
    field("timeUnixNano", 3, Kind::Fixed64),
    field("count", 4, Kind::Fixed64),
    optional("sum", 5, Kind::Double),
    field("scale", 6, Kind::Sint32),
    field("zeroCount", 7, Kind::Fixed64),
    field("positive", 8, Kind::Message(&BUCKETS)),
    field("negative", 9, Kind::Message(&BUCKETS)),
    field("flags", 10, Kind::Uint32),
    repeated("exemplars", 11, Kind::Message(&EXEMPLAR)),
    optional("min", 12, Kind::Double),
    optional("max", 13, Kind::Double),
    field("zeroThreshold", 14, Kind::Double),
];

static BUCKETS: [Field; 2] = [
    field("offset", 1, Kind::Sint32),
    repeated("bucketCounts", 2, Kind::Uint64),
];

static SUMMARY_POINT: [Field; 7] = [
    field("startTimeUnixNano", 2, Kind::Fixed64),
    field("timeUnixNano", 3, Kind::Fixed64),
    field("count", 4, Kind::Fixed64),
    field("sum", 5, Kind::Double),
    repeated("quantileValues", 6, Kind::Message(&QUANTILE)),
    repeated("attributes", 7, Kind::Message(&KEY_VALUE)),
    field("flags", 8, Kind::Uint32),
];

static QUANTILE: [Field; 2] = [
    field("quantile", 1, Kind::Double),
    field("value", 2, Kind::Double),
];

static EXEMPLAR: [Field; 6] = [
    field("timeUnixNano", 2, Kind::Fixed64),
    either("asDouble", 3, Kind::Double),
    field("spanId", 4, Kind::Hex),
    field("traceId", 5, Kind::Hex),
    either("asInt", 6, Kind::Sfixed64),
    repeated("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
];
