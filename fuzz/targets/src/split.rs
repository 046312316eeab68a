//! A request cut into parts of any size: put together they are the request.

use bytes::Bytes;
use petrel_otlp::{count_records, halve};

use crate::model::plan;
use crate::pieces::{Piece, RECORD, pieces};
use crate::walk::walk_with_two_workers;

/// What the tags and lengths of a resource and a scope are taken for at most, in bytes.
const HEADS: usize = 12;

/// Cuts a request: the first two bytes are the size of parts, the rest is the request.
///
/// # Panics
/// When the parts of a request that a walk takes lack a byte of a record, a resource or a scope, have
/// them in another order, or are larger than they need be; or when one that it takes is refused.
pub fn split(input: &[u8]) {
    let Some((size, request)) = input.split_first_chunk() else {
        return;
    };
    let bytes_max = usize::from(u16::from_le_bytes(*size)).max(1);
    let request = Bytes::copy_from_slice(request);
    let (parts, halves) = (petrel_otlp::split(&request, bytes_max), halve(&request));
    let n_records = count_records(&request);
    if walk_with_two_workers(&request, &plan(true)).is_err() {
        return;
    }
    let (parts, halves) = (
        parts.expect("a walk takes it"),
        halves.expect("a walk takes it"),
    );
    check_parts(&request, &parts);
    if let Some(halves) = halves {
        assert!(halves.len() > 1);
        check_parts(&request, &halves);
    }
    check_sizes(&request, &parts, bytes_max);
    assert_eq!(n_records.expect("a walk takes it"), n_records_of(&parts));
}

fn n_records_of(parts: &[Bytes]) -> u64 {
    let counts = parts.iter().map(|part| count_records(part));
    counts.map(|count| count.expect("a part is valid")).sum()
}

fn check_sizes(request: &Bytes, parts: &[Bytes], bytes_max: usize) {
    if request.len() <= bytes_max {
        assert_eq!(parts, std::slice::from_ref(request));
        return;
    }
    for part in parts {
        let is_single = count_records(part).expect("a part is valid") <= 1;
        let is_uncut = bytes_around_records(part) + HEADS > bytes_max / 2;
        let n_bytes = part.len();
        assert!(
            n_bytes <= bytes_max || is_single || is_uncut,
            "a part of {n_bytes} bytes"
        );
    }
    let n_bytes: usize = parts.iter().map(Bytes::len).sum();
    assert!(
        n_bytes <= 8 * request.len(),
        "{n_bytes} bytes of {}",
        request.len()
    );
}

fn bytes_around_records(part: &[u8]) -> usize {
    let (mut n_bytes, mut in_record) = (0, false);
    for piece in pieces(part) {
        in_record |= matches!(piece, Piece::Start { level: RECORD, .. });
        n_bytes += match piece {
            _ if in_record => 0,
            Piece::Start { tag, length, .. } => tag.len() + length.len(),
            Piece::Field(field) => field.len(),
            Piece::End { .. } => 0,
        };
        in_record &= piece != (Piece::End { level: RECORD });
    }
    n_bytes
}

/// A scope: its own fields, and its records with all that is in them.
#[derive(Debug, Default, PartialEq)]
struct Scope<'a> {
    fields: Vec<&'a [u8]>,
    records: Vec<Vec<Piece<'a>>>,
}

/// A resource: its own fields, and its scopes.
#[derive(Debug, Default, PartialEq)]
struct Resource<'a> {
    fields: Vec<&'a [u8]>,
    scopes: Vec<Scope<'a>>,
}

/// A request: its own fields, and its resources.
type Request<'a> = (Vec<&'a [u8]>, Vec<Resource<'a>>);

fn check_parts(request: &Bytes, parts: &[Bytes]) {
    let (fields, resources) = tree(request);
    let expected = merged(resources);
    let mut resources = vec![];
    for part in parts {
        let (part_fields, part_resources) = tree(part);
        assert_eq!(part_fields, fields, "the request's own fields are repeated");
        resources.extend(part_resources);
    }
    assert_eq!(merged(resources), expected);
}

fn tree(request: &[u8]) -> Request<'_> {
    let (mut fields, mut resources) = (vec![], vec![]);
    let mut pieces = pieces(request).into_iter();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Field(field) => fields.push(field),
            _ => resources.push(resource(&mut pieces)),
        }
    }
    (fields, resources)
}

/// The resource that has just started.
fn resource<'a>(pieces: &mut impl Iterator<Item = Piece<'a>>) -> Resource<'a> {
    let mut resource = Resource::default();
    loop {
        match pieces.next() {
            Some(Piece::Field(field)) => resource.fields.push(field),
            Some(Piece::Start { .. }) => resource.scopes.push(scope(pieces)),
            Some(Piece::End { .. }) | None => return resource,
        }
    }
}

/// The scope that has just started.
fn scope<'a>(pieces: &mut impl Iterator<Item = Piece<'a>>) -> Scope<'a> {
    let mut scope = Scope::default();
    loop {
        match pieces.next() {
            Some(Piece::Field(field)) => scope.fields.push(field),
            Some(start @ Piece::Start { .. }) => {
                let is_in = |piece: &Piece<'a>| matches!(piece, Piece::Field(_));
                let record = std::iter::once(start).chain(pieces.by_ref().take_while(is_in));
                scope.records.push(record.collect());
            }
            Some(Piece::End { .. }) | None => return scope,
        }
    }
}

/// Neighbours with equal resources, and within them equal scopes, as one.
fn merged(resources: Vec<Resource<'_>>) -> Vec<Resource<'_>> {
    let mut merged = Vec::<Resource<'_>>::new();
    for resource in resources {
        if merged
            .last()
            .is_none_or(|last| last.fields != resource.fields)
        {
            let (fields, scopes) = (resource.fields, vec![]);
            merged.push(Resource { fields, scopes });
        }
        let scopes = &mut merged.last_mut().expect("one was pushed").scopes;
        for scope in resource.scopes {
            match scopes.last_mut() {
                Some(last) if last.fields == scope.fields => last.records.extend(scope.records),
                _ => scopes.push(scope),
            }
        }
    }
    merged
}
