//! Any bytes: a walk refuses what prost refuses, and finds what prost decodes.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_batch::StreamKey;
use petrel_otlp::{Malformed, ResourceCache, WalkPlan, Walked, Workers, count_records};
use prost::Message;

use crate::model::{ARRIVAL, TENANT, actual_rows, expected_rows, plan};

/// Walks the input as a request.
///
/// # Panics
/// When prost decodes it and the walk refuses it, or the reverse (but for text that is not UTF-8 and
/// values nested deeper than either looks), when the rows are not those that prost's objects make, or
/// when the layout contradicts itself.
pub fn walk(input: &[u8]) {
    let (request, plan) = (Bytes::copy_from_slice(input), plan(false));
    let decoded = ExportLogsServiceRequest::decode(input);
    match (walk_with_two_workers(&request, &plan), decoded) {
        (Ok(walked), decoded) => {
            check_layout(&walked);
            match decoded {
                Ok(decoded) => check_rows(&walked, &decoded, &plan),
                Err(error) => assert!(only_prost_refuses(&error.to_string()), "{error}"),
            }
        }
        (Err(error), Ok(_)) => panic!("prost decodes what is refused: {error}"),
        (Err(error), Err(_)) => assert!(error.offset as usize <= input.len(), "{error}"),
    }
}

pub(crate) fn walk_with_two_workers(request: &Bytes, plan: &WalkPlan) -> Result<Walked, Malformed> {
    let workers = Workers {
        worker_of: &|stream: &StreamKey| (stream.stable_hash() % 2) as usize,
        n_workers: 2,
    };
    let cache = ResourceCache::default();
    petrel_otlp::walk(request, plan, &cache, TENANT, ARRIVAL, workers)
}

fn only_prost_refuses(error: &str) -> bool {
    error.contains("UTF-8") || error.contains("recursion limit")
}

/// Every record belongs to one resource, rows stand in order and are counted.
fn check_layout(walked: &Walked) {
    let layout = &walked.layout;
    let mut next = 0;
    for resource in 0..layout.n_resources() {
        let places = layout.records_of(resource);
        assert_eq!(places.start, next, "resource {resource} follows the last");
        next = places.end;
        for place in places {
            assert_eq!(layout.resource_of(place), Some(resource));
        }
        assert_ne!(
            layout.digest(&walked.request, resource),
            0,
            "the span is in the request"
        );
    }
    assert_eq!(next as usize, layout.n_records());
    assert_eq!(layout.resource_of(next), None);
    let counts = walked.counts;
    assert_eq!(counts.records, u64::from(next));
    assert_eq!(count_records(&walked.request), Ok(counts.records));
    let batches = || walked.batches.iter().flatten();
    for batch in batches() {
        assert!(batch.places().is_sorted_by(|one, other| one < other));
        assert!(batch.places().last().is_none_or(|&last| last < next));
    }
    let n_rows: usize = batches().map(|batch| batch.places().len()).sum();
    assert_eq!(counts.rows, n_rows as u64);
    assert_eq!(counts.rows + counts.skipped_enriched, counts.records);
}

fn check_rows(walked: &Walked, decoded: &ExportLogsServiceRequest, plan: &WalkPlan) {
    let (expected, skipped) = expected_rows(decoded, plan.settings());
    let mut rows: Vec<_> = walked
        .batches
        .iter()
        .flatten()
        .flat_map(actual_rows)
        .collect();
    rows.sort_by_key(|row| row.place);
    assert_eq!(rows, expected);
    assert_eq!(walked.counts.skipped_enriched, skipped);
}
