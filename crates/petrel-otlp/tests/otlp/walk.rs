//! What a walk finds is what prost decodes, and what prost refuses a walk refuses.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_batch::StreamKey;
use petrel_otlp::{Counts, Malformed, ResourceCache, Walked, Workers, walk};
use proptest::prelude::*;
use prost::Message;

use crate::generate::{damaged_request, request};
use crate::model::{ARRIVAL, TENANT, actual_rows, expected_rows, plan};

pub fn walk_all(request: &Bytes) -> Result<Walked, Malformed> {
    let (plan, cache) = (plan(false), ResourceCache::default());
    walk(request, &plan, &cache, TENANT, ARRIVAL, Workers::ONE)
}

/// Walks with two workers, twice with one cache, and compares all rows with prost's.
pub fn check_rows(request: Vec<u8>, accept_enriched: bool) {
    let decoded = ExportLogsServiceRequest::decode(request.as_slice()).expect("valid");
    let (request, plan) = (Bytes::from(request), plan(accept_enriched));
    let (expected, skipped) = expected_rows(&decoded, plan.settings());
    let n_records = decoded
        .resource_logs
        .iter()
        .flat_map(|resource| &resource.scope_logs)
        .map(|scope| scope.log_records.len())
        .sum::<usize>();
    let cache = ResourceCache::default();
    let worker_of = |stream: &StreamKey| (stream.stable_hash() % 2) as usize;
    let workers = Workers {
        worker_of: &worker_of,
        n_workers: 2,
    };
    for _ in 0..2 {
        let walked = walk(&request, &plan, &cache, TENANT, ARRIVAL, workers).expect("valid");
        let mut rows = Vec::new();
        for (worker, batch) in walked.batches.iter().enumerate() {
            for row in batch.iter().flat_map(actual_rows) {
                assert_eq!(worker_of(&row.resource.stream), worker);
                rows.push(row);
            }
        }
        assert!(rows.is_sorted_by_key(|row| (worker_of(&row.resource.stream), row.place)));
        rows.sort_by_key(|row| row.place);
        for (row, expected) in rows.iter().zip(&expected) {
            assert_eq!(row, expected);
        }
        assert_eq!(rows.len(), expected.len());
        let Counts {
            records,
            rows: n_rows,
            skipped_enriched,
            unlisted,
            invalid_utf8,
            ..
        } = walked.counts;
        assert_eq!(records, n_records as u64);
        assert_eq!(n_rows, expected.len() as u64);
        assert_eq!((skipped_enriched, unlisted, invalid_utf8), (skipped, 0, 0));
        assert_eq!(walked.layout.n_records(), n_records);
    }
}

/// What Petrel lets through and prost does not: text that is not UTF-8, and values nested deeper than
/// either looks.
fn only_prost_refuses(error: &str) -> bool {
    error.contains("UTF-8") || error.contains("recursion limit")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn rows_are_what_prost_decodes(request in request(), accept_enriched: bool) {
        check_rows(request, accept_enriched);
    }

    #[test]
    fn damage_is_refused_where_prost_refuses_it(request in damaged_request()) {
        let walked = walk_all(&request.clone().into());
        match (ExportLogsServiceRequest::decode(request.as_slice()), walked) {
            (Ok(_), Ok(_)) => {
                if !ExportLogsServiceRequest::decode(request.as_slice()).is_err() {
                    check_rows(request, false);
                }
            }
            (Err(error), Ok(_)) => prop_assert!(only_prost_refuses(&error.to_string()), "{}", error),
            (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
            (Err(_), Err(error)) => prop_assert!(error.offset <= request.len()),
        }
    }

    #[test]
    fn garbage_is_refused_where_prost_refuses_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let walked = walk_all(&bytes.clone().into());
        match ExportLogsServiceRequest::decode(bytes.as_slice()) {
            Ok(_) => prop_assert!(walked.is_ok()),
            Err(error) => prop_assert!(walked.is_err() || only_prost_refuses(&error.to_string())),
        }
    }
}
