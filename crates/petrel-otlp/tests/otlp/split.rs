//! Parts put together are what was cut.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use petrel_otlp::{count_records, halve, split};
use proptest::prelude::*;
use prost::Message;

use crate::generate::request;
use crate::pieces::{Piece, RECORD, pieces};
use crate::walk::message;

/// What the tags and lengths of a resource and a scope are taken for at most.
const HEADS: usize = 12;

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
    #![proptest_config(ProptestConfig::with_cases(6000))]

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
            let uncut = bytes_around_records(part) + HEADS > bytes_max / 2;
            prop_assert!(part.len() <= bytes_max || single || uncut, "{} bytes", part.len());
        }
        let bytes = parts.iter().map(Bytes::len).sum::<usize>();
        prop_assert!(bytes <= 8 * request.len(), "{} of {} bytes", bytes, request.len());
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

/// One resource with a text of that many bytes, `n_scopes` scopes of a name of `scope_bytes`, each
/// with `n_records` records of 20 bytes.
fn large_resource(
    resource_bytes: usize,
    (n_scopes, scope_bytes): (usize, usize),
    n_records: usize,
) -> Bytes {
    let resource = message(0x0a, &message(0x1a, &vec![b'r'; resource_bytes]));
    let scope = message(0x0a, &message(0x0a, &vec![b's'; scope_bytes]));
    let records = message(0x12, &message(0x1a, &[b'x'; 16])).repeat(n_records);
    let scopes = message(0x12, &[scope, records].concat()).repeat(n_scopes);
    message(0x0a, &[resource, scopes].concat()).into()
}

/// However much of a part resource and scope would take, and however many tiny records or scopes they
/// have, the parts together are a few times the request.
#[test]
fn what_is_repeated_is_bounded() {
    const MIB: usize = 1 << 20;
    const TINY: usize = 10_000;
    let check = |request: &Bytes, bytes_max: usize, n_parts: usize| {
        let n_records = count_records(request).expect("valid");
        let parts = split(request, bytes_max).expect("valid");
        assert_eq!(parts.len(), n_parts);
        let bytes = parts.iter().map(Bytes::len).sum::<usize>();
        assert!(
            bytes <= 4 * request.len(),
            "{bytes} of {} bytes",
            request.len()
        );
        let counts = parts.iter().map(|part| count_records(part).expect("valid"));
        assert_eq!(counts.sum::<u64>(), n_records);
        if n_parts == 1 {
            assert_eq!(parts[0], request);
        }
    };
    // Just under a half.
    check(&large_resource(MIB - 100, (1, 0), 100_000), 2 * MIB, 2);
    check(&large_resource(MIB - 100, (100_000, 0), 1), 2 * MIB, 3);
    // A scope that makes it too much, once and often.
    check(&large_resource(MIB / 2, (2, MIB), TINY), 2 * MIB, 2);
    check(&large_resource(MIB - 100, (TINY, 100), 3), 2 * MIB, 2);
    // Just over a half, nearly as large as a part, and larger: not cut. (The worst come last, since
    // they would take many GiB if they were.)
    check(&large_resource(MIB, (1, 0), 100_000), 2 * MIB, 1);
    check(&large_resource(3 * MIB, (1, 0), TINY), 3 * MIB + 1000, 1);
    check(&large_resource(3 * MIB, (TINY, 0), 1), 3 * MIB + 1000, 1);
    check(&large_resource(3 * MIB, (1, 0), TINY), 3 * MIB, 1);
    let halves = halve(&large_resource(3 * MIB, (1, 0), TINY));
    assert_eq!(halves, Ok(None));
    let halves = halve(&large_resource(MIB / 4, (1, 0), 100_000)).expect("valid");
    assert_eq!(halves.map(|halves| halves.len()), Some(2));
}

/// An entry that is not cut does not keep others from being cut.
#[test]
fn an_uncut_resource_stands_alone() {
    let small = large_resource(100, (1, 0), 1000);
    let large = large_resource(3000, (1, 0), 1000);
    let request = Bytes::from([&small[..], &large, &small].concat());
    let parts = split(&request, 4000).expect("valid");
    let alone = parts.iter().position(|part| part == &large);
    assert_eq!((parts.len(), alone), (13, Some(6)));
    for (index, part) in parts.iter().enumerate() {
        assert!(part.len() <= 4000 || Some(index) == alone);
    }
}

/// Bytes of all that is no record.
fn bytes_around_records(part: &[u8]) -> usize {
    let (mut bytes, mut in_record) = (0, false);
    for piece in pieces(part) {
        in_record |= matches!(piece, Piece::Start { level: RECORD, .. });
        bytes += match piece {
            _ if in_record => 0,
            Piece::Start { tag, length, .. } => tag.len() + length.len(),
            Piece::Field(field) => field.len(),
            Piece::End { .. } => 0,
        };
        in_record &= piece != (Piece::End { level: RECORD });
    }
    bytes
}
