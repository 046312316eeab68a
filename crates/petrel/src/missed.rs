//! What workers have not seen of their streams, until they hear of it: requests that found no turn.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use petrel_batch::{EventTime, LogBatch, StreamKey};

/// Streams noted at most until the worker takes them; what else is missed is not noted.
const STREAMS_MAX: usize = 4_096;

/// Spans of event time by stream; several of a stream become one.
#[derive(Debug, Default)]
pub struct Missed {
    spans: Mutex<BTreeMap<StreamKey, Span>>,
}

/// What of a stream was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Event time of the first record.
    pub from: EventTime,
    /// Event time of the last one.
    pub to: EventTime,
    /// Number of records.
    pub n_records: u64,
}

impl Missed {
    /// Notes the rows of a batch. Times after `latest` are nobody's word on where input is missing.
    pub fn note(&self, log_batch: &LogBatch, latest: EventTime) {
        let times = log_batch.event_times();
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for run in log_batch.runs() {
            let n_records = run.rows.len() as u64;
            let times = times[run.rows.clone()].iter().copied().map(EventTime);
            let times = times.filter(|&time| time <= latest);
            let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
                continue;
            };
            let stream = &run.resource.stream;
            if let Some(span) = spans.get_mut(stream) {
                (span.from, span.to) = (first.min(span.from), last.max(span.to));
                span.n_records += n_records;
            } else if spans.len() < STREAMS_MAX {
                let span = Span {
                    from: first,
                    to: last,
                    n_records,
                };
                spans.insert(stream.clone(), span);
            }
        }
    }

    /// What has been noted since this was last asked.
    pub fn take(&self) -> BTreeMap<StreamKey, Span> {
        std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use petrel_batch::ColumnSet;
    use petrel_otlp::{ResourceCache, WalkPlan, WalkSettings, Workers, walk};
    use prost::Message;

    use super::*;

    #[test]
    fn spans_of_a_stream_become_one() {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
        let record = |second: u64| serde_json::json!({"timeUnixNano": (second * 1_000_000_000).to_string(), "body": {"stringValue": "a"}});
        let request: ExportLogsServiceRequest = serde_json::from_value(serde_json::json!({
            "resourceLogs": [{
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "api"}}]},
                "scopeLogs": [{"logRecords": [record(20), record(10), record(9_000)]}],
            }],
        }))
        .unwrap();
        let plan = WalkPlan::new(WalkSettings::new(Arc::new(ColumnSet::new(Vec::new()))));
        let bytes = request.encode_to_vec().into();
        let (cache, arrival) = (ResourceCache::default(), EventTime::from_seconds(30));
        let walked = walk(&bytes, &plan, &cache, "", arrival, Workers::ONE).unwrap();
        let log_batch = walked.batches[0].as_ref().unwrap();
        let missed = Missed::default();
        missed.note(log_batch, EventTime::from_seconds(300));
        missed.note(log_batch, EventTime::from_seconds(15));
        let spans: Vec<_> = missed.take().into_values().collect();
        let span = Span {
            from: EventTime::from_seconds(10),
            to: EventTime::from_seconds(20),
            n_records: 6,
        };
        assert_eq!(spans, [span]);
        assert!(missed.take().is_empty());
    }
}
