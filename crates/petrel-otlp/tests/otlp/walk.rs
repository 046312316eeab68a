//! What a walk finds is what prost decodes, and what prost refuses a walk refuses.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_batch::{DataType, StreamKey};
use petrel_otlp::{
    Counts, LISTED_MAX, Malformed, ResourceCache, WalkPlan, WalkSettings, Walked, Workers, walk,
};
use proptest::prelude::*;
use prost::Message;

use crate::generate::{damaged_request, request};
use crate::model::{ARRIVAL, Cell, TENANT, actual_rows, column_set, expected_rows, plan};

pub(crate) fn walk_all(request: &Bytes) -> Result<Walked, Malformed> {
    let (plan, cache) = (plan(false), ResourceCache::default());
    walk(request, &plan, &cache, TENANT, ARRIVAL, Workers::ONE)
}

/// Walks with two workers, twice with one cache, and compares all rows with prost's.
pub(crate) fn check_rows(request: Vec<u8>, accept_enriched: bool) {
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
            (Ok(_), Ok(_)) => check_rows(request, false),
            (Err(error), Ok(_)) => prop_assert!(only_prost_refuses(&error.to_string()), "{}", error),
            (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
            (Err(_), Err(error)) => prop_assert!(error.offset as usize <= request.len()),
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

/// A body of one byte that is no UTF-8, and an attribute of a megabyte.
#[test]
fn text_that_is_not_utf8_is_a_null_cell_and_counted() {
    let mut record = vec![0x2a, 3, 0x0a, 1, 0xff];
    let mut value = vec![0x0a];
    put_varint(&mut value, 1 << 20);
    value.extend(vec![b'x'; 1 << 20]);
    let attribute = [message(0x0a, b"http.route"), message(0x12, &value)].concat();
    record.extend(message(0x32, &attribute));
    let scope_logs = message(0x12, &record);
    let request = Bytes::from(message(0x0a, &message(0x12, &scope_logs)));
    let walked = walk_all(&request).expect("framing is fine");
    assert_eq!(walked.counts.invalid_utf8, 1);
    let rows = actual_rows(walked.batches[0].as_ref().expect("a row"));
    let set = column_set();
    let cell = |name| &rows[0].cells[set.index_of(name, DataType::Utf8).expect("asked for")];
    assert_eq!(*cell("body"), Cell::Null);
    assert_eq!(
        *cell("attribute.http.route"),
        Cell::Text("x".repeat(1 << 20))
    );
}

/// An integer of one byte and a byte too many, where one of two bytes is read without a second look.
#[test]
fn a_byte_after_a_short_integer_is_refused() {
    let with_body = |value: &[u8]| {
        let scope_logs = message(0x12, &message(0x2a, value));
        Bytes::from(message(0x0a, &message(0x12, &scope_logs)))
    };
    assert!(walk_all(&with_body(&[0x18, 0x85, 0x01])).is_ok());
    assert!(walk_all(&with_body(&[0x18, 0x05, 0x01])).is_err());
}

/// Values within values, far deeper than anybody looks, neither end the process nor are refused.
#[test]
fn nesting_without_end_passes() {
    let mut value = vec![];
    for _ in 0..20_000 {
        value = message(0x2a, &message(0x0a, &value));
    }
    let scope_logs = message(0x12, &message(0x2a, &value));
    let request = Bytes::from(message(0x0a, &message(0x12, &scope_logs)));
    let walked = walk_all(&request).expect("framing is fine");
    let rows = actual_rows(walked.batches[0].as_ref().expect("a row"));
    let body = &rows[0].cells[column_set()
        .index_of("body", DataType::Utf8)
        .expect("there")];
    let Cell::Text(body) = body else {
        panic!("{body:?}");
    };
    assert!(body.starts_with("[[[[") && body.contains("null"), "{body}");
}

/// More records than are listed: those have rows, the others are only checked and counted.
#[test]
fn records_beyond_the_bound_are_counted() {
    let scope_logs = [0x12, 0].repeat(LISTED_MAX + 10);
    let mut request = message(0x0a, &message(0x12, &scope_logs));
    let walked = walk_all(&request.clone().into()).expect("framing is fine");
    assert_eq!(walked.counts.records, LISTED_MAX as u64 + 10);
    assert_eq!(walked.counts.rows, LISTED_MAX as u64);
    assert_eq!(walked.counts.unlisted, 10);
    *request.last_mut().expect("bytes") = 1;
    assert!(walk_all(&request.into()).is_err());
}

#[test]
fn the_digest_tells_resource_logs_apart() {
    let resource_logs = |body: &[u8]| {
        let record = message(0x12, &message(0x2a, &message(0x0a, body)));
        message(0x0a, &message(0x12, &record))
    };
    let request = [
        resource_logs(b"a"),
        resource_logs(b"b"),
        resource_logs(b"a"),
    ]
    .concat();
    let walked = walk_all(&request.clone().into()).expect("valid");
    let layout = &walked.layout;
    let digest = |resource| layout.digest(&request, resource);
    assert_eq!(digest(0), digest(2));
    assert_ne!(digest(0), digest(1));
    assert_eq!(
        (0..4)
            .map(|place| layout.resource_of(place))
            .collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2), None]
    );
    assert!(!layout.is_timed(0));
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn message(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    put_varint(&mut out, content.len());
    out.extend(content);
    out
}

/// `ResourceLogs` of a service, with one record of `time`; two where `twice`.
fn service(name: &str, time: u64, twice: bool) -> Vec<u8> {
    let value = message(0x12, &message(0x0a, name.as_bytes()));
    let attribute = [message(0x0a, b"service.name"), value].concat();
    let resource = message(0x0a, &message(0x0a, &attribute));
    let mut record = message(0x2a, &message(0x0a, b"hello"));
    if time > 0 {
        record.push(0x09);
        record.extend(time.to_le_bytes());
    }
    let record = message(0x12, &record);
    let scope_logs = message(0x12, &if twice { record.repeat(2) } else { record });
    message(0x0a, &[scope_logs, resource].concat())
}

#[test]
fn runs_carry_the_digest_of_timed_resource_logs() {
    let request = [
        service("a", 7, true),
        service("a", 8, false),
        service("a", 0, false),
        service("a", 7, true),
    ];
    let request = Bytes::from(request.concat());
    let settings = |digests| WalkSettings {
        digests,
        ..plan(false).settings().clone()
    };
    let cache = ResourceCache::default();
    for digests in [true, false] {
        let plan = WalkPlan::new(settings(digests));
        let walked = walk(&request, &plan, &cache, TENANT, ARRIVAL, Workers::ONE).expect("valid");
        let batch = walked.batches[0].as_ref().expect("rows");
        let found: Vec<_> = batch.runs().iter().map(|run| run.digest).collect();
        let expected: Vec<_> = (0..4)
            .map(|resource| {
                let is_known = digests && walked.layout.is_timed(resource);
                is_known.then(|| walked.layout.digest(&request, resource))
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(found[0], found[3]);
        assert_eq!((found[0].is_some(), found[2]), (digests, None));
    }
}

/// Where the end of a `ResourceLogs` is not listed, its digest is good for those rows alone.
#[test]
fn a_digest_covers_the_rows_that_are_listed() {
    let mut record = vec![0x12, 9, 0x09];
    record.extend(7_u64.to_le_bytes());
    let large = |n: usize| message(0x0a, &message(0x12, &record.repeat(n)));
    let plan = WalkPlan::new(WalkSettings {
        digests: true,
        ..WalkSettings::new(column_set())
    });
    let cache = ResourceCache::default();
    let last_run = |request: Vec<u8>| {
        let walked = walk(
            &request.into(),
            &plan,
            &cache,
            TENANT,
            ARRIVAL,
            Workers::ONE,
        );
        let batch = walked.expect("valid").batches.remove(0).expect("rows");
        let run = batch.runs().last().expect("a run").clone();
        (run.rows.len(), run.digest)
    };
    let alone = last_run(large(LISTED_MAX));
    let cut = last_run([service("a", 1, false), large(LISTED_MAX)].concat());
    assert_eq!((alone.0, cut.0), (LISTED_MAX, LISTED_MAX - 1));
    assert_ne!(alone.1, cut.1);
    assert_eq!(
        cut,
        last_run([service("b", 2, false), large(LISTED_MAX)].concat())
    );
}

#[test]
fn excluded_streams_have_no_rows_and_a_new_plan_decides_anew() {
    let services = ["batch-1", "api", "web", "api-batch"];
    let request: Vec<_> = services.map(|name| service(name, 1, true)).concat();
    let request = Bytes::from(request);
    let cache = ResourceCache::default();
    let check = |include: &[&str], exclude: &[&str], expected: &[&str]| {
        let patterns = |globs: &[&str]| {
            let pattern = |glob: &&str| [("service.name".to_owned(), (*glob).to_owned())].into();
            globs.iter().map(pattern).collect()
        };
        let plan = WalkPlan::new(WalkSettings {
            include: patterns(include),
            exclude: patterns(exclude),
            ..WalkSettings::new(column_set())
        });
        let walked = walk(&request, &plan, &cache, TENANT, ARRIVAL, Workers::ONE).expect("valid");
        let runs = walked.batches[0].iter().flat_map(|batch| batch.runs());
        let found: Vec<_> = runs.map(|run| run.resource.service_name.as_str()).collect();
        assert_eq!(found, expected, "{include:?} {exclude:?}");
        let n_excluded = 2 * (services.len() - expected.len()) as u64;
        assert_eq!(walked.counts.skipped_excluded, n_excluded);
        assert_eq!(
            (walked.counts.records, walked.counts.skipped_enriched),
            (8, 0)
        );
        assert_eq!(walked.layout.n_records(), 8);
    };
    check(&[], &[], &services);
    check(&[], &["batch-*"], &["api", "web", "api-batch"]);
    check(&["api*"], &[], &["api", "api-batch"]);
    check(&["api*", "web"], &["*batch*"], &["api", "web"]);
    check(&["nobody"], &[], &[]);
}

#[test]
fn tenants_share_a_cache_and_no_stream() {
    let request = Bytes::from(service("api", 1, false));
    let (plan, cache) = (plan(false), ResourceCache::default());
    for tenant in ["one", "two", "one"] {
        let walked = walk(&request, &plan, &cache, tenant, ARRIVAL, Workers::ONE).expect("valid");
        let batch = walked.batches[0].as_ref().expect("a row");
        assert_eq!(batch.runs()[0].resource.stream.tenant, tenant);
    }
}
