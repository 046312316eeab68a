//! Parts put together are what was cut.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_otlp::{count_records, halve, split};
use proptest::prelude::*;
use prost::Message;

use crate::generate::request;

/// The request that parts make: neighbours with equal resources, and equal scopes, are one.
fn put_together(parts: &[Bytes]) -> ExportLogsServiceRequest {
    let mut whole = ExportLogsServiceRequest::default();
    for part in parts {
        let part = ExportLogsServiceRequest::decode(part.clone()).expect("valid");
        whole.resource_logs.extend(part.resource_logs);
    }
    merged(whole)
}

fn merged(request: ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    let mut merged = ExportLogsServiceRequest::default();
    for resource_logs in request.resource_logs {
        let is_same = merged.resource_logs.last().is_some_and(|last| {
            last.schema_url == resource_logs.schema_url
                && format!("{:?}", last.resource) == format!("{:?}", resource_logs.resource)
        });
        if !is_same {
            let scope_logs = vec![];
            merged
                .resource_logs
                .push(opentelemetry_proto::tonic::logs::v1::ResourceLogs {
                    scope_logs,
                    ..resource_logs.clone()
                });
        }
        let scopes = &mut merged.resource_logs.last_mut().expect("one").scope_logs;
        for scope_logs in resource_logs.scope_logs {
            match scopes.last_mut() {
                Some(last)
                    if last.schema_url == scope_logs.schema_url
                        && format!("{:?}", last.scope) == format!("{:?}", scope_logs.scope) =>
                {
                    last.log_records.extend(scope_logs.log_records);
                }
                _ => scopes.push(scope_logs),
            }
        }
    }
    merged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn parts_make_the_request(request in request(), bytes_max in 1..2000usize) {
        let request = Bytes::from(request);
        let decoded = ExportLogsServiceRequest::decode(request.clone()).expect("valid");
        let parts = split(&request, bytes_max).expect("valid");
        prop_assert_eq!(
            format!("{:?}", put_together(&parts)),
            format!("{:?}", merged(decoded.clone()))
        );
        let n_records = decoded
            .resource_logs
            .iter()
            .flat_map(|resource| &resource.scope_logs)
            .map(|scope| scope.log_records.len() as u64)
            .sum::<u64>();
        prop_assert_eq!(count_records(&request).expect("valid"), n_records);
        if request.len() <= bytes_max {
            prop_assert_eq!(parts, vec![request]);
            return Ok(());
        }
        for part in &parts {
            let single = count_records(part).expect("valid") <= 1;
            prop_assert!(part.len() <= bytes_max || single, "{} bytes", part.len());
        }
    }
}

#[test]
fn halves_are_two() {
    let record = [&[0x12, 102, 0x2a, 100, 0x0a, 98][..], &[b'x'; 98]].concat();
    let scope_logs = record.repeat(100);
    let mut request = vec![];
    for (tag, length) in [(0x0a, scope_logs.len() + 3), (0x12, scope_logs.len())] {
        request.extend([tag, length as u8 | 0x80, (length >> 7) as u8]);
    }
    request.extend(scope_logs);
    let halves = halve(&request.into())
        .expect("valid")
        .expect("many records");
    assert_eq!(halves.len(), 2);
    let counts = halves
        .iter()
        .map(|half| count_records(half).expect("valid"));
    assert_eq!(counts.sum::<u64>(), 100);
    let single = Bytes::from([&[0x0a, 106, 0x12, 104], &record[..]].concat());
    assert_eq!(halve(&single), Ok(None));
}
