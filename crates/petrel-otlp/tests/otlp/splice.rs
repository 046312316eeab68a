//! A splice adds what it is told and changes nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use petrel_batch::{Attribute, AttributeValue, RowEdits, StreamKey};
use petrel_otlp::{Buffers, ResourceCache, Walked, Workers, splice, walk};
use proptest::prelude::*;
use prost::Message;

use crate::generate::request;
use crate::model::{ARRIVAL, TENANT, plan};
use crate::pieces::{Piece, RECORD, pieces};
use crate::walk::message;

const N_SETS: u32 = 5;

fn sets() -> impl Strategy<Value = Vec<Vec<Attribute>>> {
    let value = prop_oneof![
        ".{0,200}".prop_map(AttributeValue::from),
        any::<i64>().prop_map(AttributeValue::Int),
        (-1e9..1e9).prop_map(AttributeValue::Double),
        any::<bool>().prop_map(AttributeValue::Bool),
        prop::collection::vec("[a-z]{0,20}".prop_map(Into::into), 0..4)
            .prop_map(AttributeValue::Texts),
        prop::collection::vec(-1e9..1e9, 0..4).prop_map(AttributeValue::Doubles),
    ];
    let key = prop::sample::select(vec![
        "log.record.template",
        "petrel.template.id",
        "anomaly.ids",
    ]);
    let set = prop::collection::vec((key, value), 0..4).prop_map(|attributes| {
        let attributes = attributes.into_iter();
        attributes
            .map(|(key, value)| Attribute::new(key, value))
            .collect()
    });
    prop::collection::vec(set, N_SETS as usize)
}

fn edits() -> impl Strategy<Value = RowEdits> {
    let set = prop_oneof![4 => 0..N_SETS, 1 => Just(RowEdits::NO_SET)];
    (
        sets(),
        prop_oneof![Just(vec![]), prop::collection::vec(set, 300)],
        prop::collection::btree_set((0..40u32, 0..N_SETS), 0..6),
    )
        .prop_map(|(sets, base, extra)| RowEdits {
            sets,
            base,
            extra: extra.into_iter().collect(),
        })
}

fn walk_with_two_workers(request: &Bytes) -> Walked {
    let workers = Workers {
        worker_of: &|stream: &StreamKey| (stream.stable_hash() % 2) as usize,
        n_workers: 2,
    };
    let (plan, cache) = (plan(true), ResourceCache::default());
    walk(request, &plan, &cache, TENANT, ARRIVAL, workers).expect("valid")
}

/// The attributes that each record should get, by place.
fn expected(edits: &[(&[u32], &RowEdits)]) -> BTreeMap<u32, Vec<Attribute>> {
    let mut added: BTreeMap<u32, Vec<Attribute>> = BTreeMap::new();
    for (places, edits) in edits {
        for (row, &place) in places.iter().enumerate() {
            let base = edits.base.get(row).copied();
            let extra = edits.extra.iter().filter(|extra| extra.0 as usize == row);
            for set in base.into_iter().chain(extra.map(|extra| extra.1)) {
                let set = edits.sets.get(set as usize).cloned().unwrap_or_default();
                added.entry(place).or_default().extend(set);
            }
        }
    }
    added
}

fn any_value(value: &AttributeValue) -> Value {
    let list = |values: Vec<Value>| {
        let values = values.into_iter();
        let values = values.map(|value| AnyValue { value: Some(value) });
        Value::ArrayValue(ArrayValue {
            values: values.collect(),
        })
    };
    match value {
        AttributeValue::Text(text) => Value::StringValue(text.to_string()),
        AttributeValue::Int(value) => Value::IntValue(*value),
        AttributeValue::Double(value) => Value::DoubleValue(*value),
        AttributeValue::Bool(value) => Value::BoolValue(*value),
        AttributeValue::Texts(texts) => list(
            texts
                .iter()
                .map(|text| Value::StringValue(text.to_string()))
                .collect(),
        ),
        AttributeValue::Doubles(values) => {
            list(values.iter().copied().map(Value::DoubleValue).collect())
        }
    }
}

/// Adds attributes to a record as a splice should; answers each as the field that it is on the wire.
fn add(record: &mut LogRecord, attributes: &[Attribute]) -> Vec<Vec<u8>> {
    let n_existing = record.attributes.len();
    for attribute in attributes {
        let mut existing = record.attributes[..n_existing].iter();
        if existing.any(|it| it.key == attribute.key) {
            continue;
        }
        let value = Some(any_value(&attribute.value));
        record.attributes.push(KeyValue {
            key: attribute.key.to_string(),
            value: Some(AnyValue { value }),
            key_strindex: 0,
        });
    }
    let added = record.attributes[n_existing..].iter();
    added
        .map(|attribute| {
            let attributes = vec![attribute.clone()];
            let alone = LogRecord {
                attributes,
                ..LogRecord::default()
            };
            alone.encode_to_vec()
        })
        .collect()
}

/// Splices, and checks that the edits are there and that everything else is as it was, to the byte.
fn check_splice(walked: &Walked, edits: &[(&[u32], &RowEdits)]) -> Bytes {
    let request = &walked.request;
    let spliced = splice(request, &walked.layout, edits, &Buffers::default());
    let mut decoded = ExportLogsServiceRequest::decode(request.clone()).expect("valid");
    let records = decoded
        .resource_logs
        .iter_mut()
        .flat_map(|resource| &mut resource.scope_logs)
        .flat_map(|scope| &mut scope.log_records);
    let expected = expected(edits);
    let mut added = BTreeMap::new();
    for (place, record) in (0u32..).zip(records) {
        let fields = expected.get(&place).map(|set| add(record, set));
        if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
            added.insert(place, fields);
        }
    }
    let actual = ExportLogsServiceRequest::decode(spliced.clone()).expect("still valid");
    // Debug text, since NaN is not equal to itself.
    assert_eq!(format!("{actual:?}"), format!("{decoded:?}"));
    // Objects do not hold everything: unknown fields and how numbers are written are seen here alone.
    let mut before = pieces(request);
    forget_lengths(&mut before, &added);
    let mut after = without(pieces(&spliced), &added);
    forget_lengths(&mut after, &added);
    assert_eq!(after, before);
    spliced
}

/// Takes the added fields off the ends of their records, where they must be.
fn without<'a>(pieces: Vec<Piece<'a>>, added: &BTreeMap<u32, Vec<Vec<u8>>>) -> Vec<Piece<'a>> {
    let (mut left, mut place) = (vec![], 0);
    for piece in pieces {
        if piece == (Piece::End { level: RECORD }) {
            for field in added.get(&place).into_iter().flatten().rev() {
                assert_eq!(left.pop(), Some(Piece::Field(field)), "at place {place}");
            }
            place += 1;
        }
        left.push(piece);
    }
    left
}

/// Forgets the lengths of records that are added to and of the messages around them; all other
/// lengths have to stay as they are written.
fn forget_lengths(pieces: &mut [Piece<'_>], added: &BTreeMap<u32, Vec<Vec<u8>>>) {
    let (mut open, mut place) = (vec![], 0);
    for index in 0..pieces.len() {
        match pieces[index] {
            Piece::Start { .. } => open.push(index),
            Piece::Field(_) => {}
            Piece::End { level } => {
                if level == RECORD {
                    if added.contains_key(&place) {
                        forget(pieces, &open);
                    }
                    place += 1;
                }
                open.pop();
            }
        }
    }
}

fn forget(pieces: &mut [Piece<'_>], starts: &[usize]) {
    for &start in starts {
        if let Piece::Start { length, .. } = &mut pieces[start] {
            *length = &[];
        }
    }
}

/// Adds to the records of a request at even places.
pub(crate) fn check_every_other_record(request: &Bytes) {
    let walked = walk_with_two_workers(request);
    let n_records = walked.layout.n_records() as u32;
    let places: Vec<u32> = (0..n_records).step_by(2).collect();
    let edits = RowEdits {
        sets: vec![vec![
            Attribute::new("log.record.template", "a <*> text"),
            Attribute::new("anomaly.score", 0.5),
        ]],
        base: vec![0; places.len()],
        extra: vec![],
    };
    check_splice(&walked, &[(&places, &edits)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn no_edits_same_bytes(request in request(), sets in sets()) {
        let walked = walk_with_two_workers(&request.into());
        let places: Vec<u32> = (0..walked.layout.n_records() as u32).collect();
        let nothing = RowEdits { sets, base: vec![RowEdits::NO_SET; places.len()], extra: vec![] };
        for edits in [&[][..], &[(&places[..], &nothing)]] {
            check_untouched(&walked, edits);
        }
    }

    #[test]
    fn edits_are_added_and_nothing_else_changes(
        request in request(),
        edits in prop::collection::vec(edits(), 2),
    ) {
        let walked = walk_with_two_workers(&request.into());
        let edits: Vec<_> = walked
            .batches
            .iter()
            .zip(&edits)
            .filter_map(|(batch, edits)| Some((batch.as_ref()?.places(), edits)))
            .collect();
        check_splice(&walked, &edits);
    }
}

/// The splice is the request itself, not a copy.
fn check_untouched(walked: &Walked, edits: &[(&[u32], &RowEdits)]) {
    let spliced = check_splice(walked, edits);
    assert_eq!(spliced.as_ptr(), walked.request.as_ptr());
    assert_eq!(spliced.len(), walked.request.len());
}

/// Five records in three scopes of two resources, written as no SDK does: unknown fields and groups
/// everywhere, tags and lengths wider than needed, a resource after its records, one text twice.
fn odd_request() -> Bytes {
    let unknown = [0x78, 0x85, 0x80, 0x00];
    let group = [0x7b, 0x78, 0x01, 0x7c];
    // Its length takes a second byte when anything is added.
    let long = [&message(0x1a, &[b'x'; 120])[..], &unknown].concat();
    let existing = message(0x32, &message(0x0a, b"anomaly.ids"));
    let scope_a = [
        &message(0x12, &long)[..],
        &group,
        // Length 4 in three bytes.
        &[0x12, 0x84, 0x80, 0x00],
        &unknown,
        &message(0x1a, b"one"),
        &message(0x1a, b"two"),
    ]
    .concat();
    let scope_b = [&message(0x12, &existing)[..], &[0x12, 0x00], &unknown].concat();
    let resource = message(0x0a, &message(0x0a, &message(0x0a, b"service.name")));
    // The tag of the second scope in two bytes.
    let wide_tag = [&[0x92, 0x00], &message(0x12, &scope_b)[1..]].concat();
    let first = [&message(0x12, &scope_a)[..], &group, &wide_tag, &resource].concat();
    let second = message(0x12, &message(0x12, &group));
    let request = [
        &unknown[..],
        &message(0x0a, &first),
        &group,
        &message(0x0a, &second),
        &unknown,
    ];
    request.concat().into()
}

#[test]
fn an_odd_request_keeps_its_oddities() {
    let walked = walk_with_two_workers(&odd_request());
    assert_eq!(walked.layout.n_records(), 5);
    check_every_other_record(&walked.request);
    let sets = vec![vec![], vec![Attribute::new("anomaly.ids", "x")]];
    let places = [0, 1, 2, 3, 4];
    for row in 0..places.len() {
        // All the others get nothing: no set, an empty one, or one that does not exist.
        for nothing in [RowEdits::NO_SET, 0, 7] {
            let mut base = vec![nothing; 5];
            base[row] = 1;
            let (sets, extra) = (sets.clone(), vec![]);
            let edits = RowEdits { sets, base, extra };
            check_splice(&walked, &[(&places, &edits)]);
        }
    }
}

/// These are edits to look through, and there is nothing in them to add.
#[test]
fn edits_without_effect_leave_the_same_bytes() {
    let walked = walk_with_two_workers(&odd_request());
    let check = |places: &[u32], base: &[u32], extra: &[(u32, u32)]| {
        let edits = RowEdits {
            sets: vec![vec![], vec![Attribute::new("anomaly.ids", "x")]],
            base: base.to_vec(),
            extra: extra.to_vec(),
        };
        assert!(!edits.is_empty());
        check_untouched(&walked, &[(places, &edits)]);
    };
    // Empty sets.
    check(&[0, 1, 2, 3, 4], &[0; 5], &[(1, 0), (4, 0)]);
    // A key that the record has.
    check(&[2], &[1], &[(0, 1)]);
    // Records and rows that the request does not have.
    check(&[5, 6], &[1, 1], &[(0, 1), (7, 1)]);
    // Sets that the edits do not have.
    check(&[0, 1], &[2, 3], &[(1, 2)]);
}
