//! How many items a request carries: log records, spans, data points; by a scan that decodes nothing.

use crate::signal::Signal;
use crate::split::count_records;
use crate::wire::{LENGTH, Malformed, Reader, Span, tag};

/// `ExportMetricsServiceRequest.resource_metrics`.
const RESOURCE_METRICS: u32 = tag(1, LENGTH);
/// `ResourceMetrics.scope_metrics`.
const SCOPE_METRICS: u32 = tag(2, LENGTH);
/// `ScopeMetrics.metrics`.
const METRICS: u32 = tag(2, LENGTH);
/// `Metric.gauge`, `sum`, `histogram`, `exponential_histogram` and `summary`.
const DATA: [u32; 5] = [
    tag(5, LENGTH),
    tag(7, LENGTH),
    tag(9, LENGTH),
    tag(10, LENGTH),
    tag(11, LENGTH),
];
/// The `data_points` of each of them.
const DATA_POINTS: u32 = tag(1, LENGTH);

/// The way down to the data points of a request of metrics.
const METRICS_WAY: [&[u32]; 5] = [
    &[RESOURCE_METRICS],
    &[SCOPE_METRICS],
    &[METRICS],
    &DATA,
    &[DATA_POINTS],
];

/// Number of items of a request: log records, spans, or data points of metrics.
///
/// # Errors
/// [`Malformed`] when the framing around them is broken; what is within an item is not looked at.
pub fn count_items(signal: Signal, request: &[u8]) -> Result<u64, Malformed> {
    match signal {
        // Spans lie in a request under the same field numbers as log records.
        Signal::Logs | Signal::Traces => count_records(request),
        Signal::Metrics => count_along(request, Span::new(0, request.len()), &METRICS_WAY),
    }
}

/// Counts the fields at the end of `way`.
fn count_along(request: &[u8], message: Span, way: &[&[u32]]) -> Result<u64, Malformed> {
    let Some((wanted, rest)) = way.split_first() else {
        return Ok(1);
    };
    let mut n_items = 0;
    let mut reader = Reader::of(request, message);
    while let Some(tag) = reader.tag()? {
        if wanted.contains(&tag) {
            n_items += count_along(request, reader.span()?, rest)?;
        } else {
            reader.skip_value(tag, 0)?;
        }
    }
    Ok(n_items)
}
