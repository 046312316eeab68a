//! Names of columns and of the attributes that Petrel reads and writes; each is spelled here only.

/// Number of the stream, `uint32`.
pub const STREAM: &str = "stream";
/// Id of the template, `uint64`.
pub const TEMPLATE: &str = "template";
/// Event time in nanoseconds, `uint64`.
pub const EVENT_TIME: &str = "event_time";
/// Observed time in nanoseconds, `uint64`.
pub const OBSERVED_TIME: &str = "observed_time";
/// OTLP severity number, `uint32`, 0 = unspecified.
pub const SEVERITY_NUMBER: &str = "severity_number";
/// How many records a row stands for, `float64`.
pub const WEIGHT: &str = "weight";
/// `service.name` of the resource, text.
pub const SERVICE_NAME: &str = "service_name";
/// The body as text.
pub const BODY: &str = "body";
/// Trace id as 32 lower-case hex digits, text.
pub const TRACE_ID: &str = "trace_id";
/// Span id as 16 lower-case hex digits, text.
pub const SPAN_ID: &str = "span_id";
/// Low half of the trace id, `uint64`.
pub const TRACE: &str = "trace";
/// Numbers in the body, one for each variable of the template, `float64-list`.
pub const BODY_NUMBERS: &str = "body.numbers";
/// What a column over an attribute of the record begins with.
pub const ATTRIBUTE_PREFIX: &str = "attribute.";
/// What a column over an attribute of the resource begins with.
pub const RESOURCE_PREFIX: &str = "resource.";

/// Attribute with the text of the template, ours and that of the Collector's own drain processor.
pub const LOG_RECORD_TEMPLATE: &str = "log.record.template";
/// Other attributes that bring a template along, in order of preference after `log.record.template`.
pub const TEMPLATE_ATTRIBUTES: [&str; 4] = [
    LOG_RECORD_TEMPLATE,
    "message_template.text",
    "{OriginalFormat}",
    "sentry.message.template",
];
/// Attribute with the id of the template; a record that has it comes from a Petrel.
pub const PETREL_TEMPLATE_ID: &str = "petrel.template.id";
/// What the names of scopes of Petrel's own records begin with.
pub const PETREL_SCOPE_PREFIX: &str = "petrel/";
/// Attribute in which the Collector's `log_dedup` says how many records one stands for.
pub const LOG_COUNT: &str = "log_count";
