//! A request with any edits: what was added can be taken away, and then it is as it was.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use petrel_batch::{Attribute, AttributeValue, RowEdits};
use petrel_otlp::{Buffers, Walked};
use prost::Message;

use crate::model::plan;
use crate::pieces::{Piece, RECORD, pieces};
use crate::walk::walk_with_two_workers;

/// Splices edits into a request: the first byte says how many of the next are edits, the rest is the
/// request.
///
/// # Panics
/// When a record has got anything but what it should, at its end and encoded as prost does, or when
/// anything else has changed by a byte, lengths around additions aside.
pub fn splice(input: &[u8]) {
    let Some((&n_choices, rest)) = input.split_first() else {
        return;
    };
    let Some((choices, request)) = rest.split_at_checked(n_choices.into()) else {
        return;
    };
    let Ok(walked) = walk_with_two_workers(&Bytes::copy_from_slice(request), &plan(true)) else {
        return;
    };
    let edits = edits(choices, &walked);
    let edits: Vec<_> = edits
        .iter()
        .map(|(places, edits)| (&places[..], edits))
        .collect();
    let spliced = petrel_otlp::splice(&walked.request, &walked.layout, &edits, &Buffers::default());
    let n_added = check(&pieces(&walked.request), &pieces(&spliced), &edits);
    if n_added == 0 {
        assert_eq!(
            spliced.as_ptr(),
            walked.request.as_ptr(),
            "a copy for nothing"
        );
    }
}

fn sets() -> Vec<Vec<Attribute>> {
    let texts = ["", "b"].map(Into::into).to_vec();
    vec![
        vec![
            Attribute::new("log.record.template", "user <*> took <*> ms"),
            Attribute::new("petrel.template.id", "0123456789abcdef"),
        ],
        vec![
            Attribute::new("anomaly.ids", AttributeValue::Texts(texts)),
            Attribute::new("anomaly.score", 0.5),
            Attribute::new("anomaly.limits", AttributeValue::Doubles(vec![0.0, 1e9])),
        ],
        vec![],
        vec![
            Attribute::new("petrel.n", AttributeValue::Int(-1)),
            Attribute::new("petrel.ok", AttributeValue::Bool(true)),
            Attribute::new(
                "petrel.text",
                "a text that takes two bytes for its length ".repeat(5),
            ),
        ],
    ]
}

/// Edits for the rows of each worker, or for all records as rows of one where the first choice is odd.
fn edits(choices: &[u8], walked: &Walked) -> Vec<(Vec<u32>, RowEdits)> {
    let places: Vec<Vec<u32>> = match choices.first() {
        Some(choice) if choice % 2 == 1 => vec![(0..walked.layout.n_records() as u32).collect()],
        _ => walked
            .batches
            .iter()
            .flatten()
            .map(|batch| batch.places().to_vec())
            .collect(),
    };
    let set_of = |choice: u8| match choice % 6 {
        4 => RowEdits::NO_SET,
        5 => 7, // there is no such set
        set => set.into(),
    };
    let mut extra: Vec<(u32, u32)> = choices
        .iter()
        .filter(|&&choice| choice >= 0x80)
        .map(|&choice| (u32::from(choice & 0x1f), u32::from(choice >> 5 & 3)))
        .collect();
    extra.sort_unstable();
    extra.dedup();
    let with_edits = |places: Vec<u32>| {
        let rows = choices.iter().cycle().take(places.len());
        let base = rows.map(|&choice| set_of(choice)).collect();
        let (sets, extra) = (sets(), extra.clone());
        (places, RowEdits { sets, base, extra })
    };
    places.into_iter().map(with_edits).collect()
}

/// Compares piece by piece; answers how many attributes were added in all.
fn check(before: &[Piece<'_>], after: &[Piece<'_>], edits: &[(&[u32], &RowEdits)]) -> usize {
    let mut after = after.iter().peekable();
    let (mut place, mut record_start, mut n_added) = (0, 0, 0);
    // Of each message around: its length before and after, and whether something in it grew.
    let mut open: Vec<(&[u8], &[u8], bool)> = vec![];
    for (index, piece) in before.iter().enumerate() {
        match *piece {
            Piece::Start { level, tag, length } => {
                let Some(&Piece::Start {
                    level: level_now,
                    tag: tag_now,
                    length: now,
                }) = after.next()
                else {
                    panic!("no message starts at piece {index}");
                };
                assert_eq!((level_now, tag_now), (level, tag), "at piece {index}");
                open.push((length, now, false));
                record_start = index + 1;
            }
            Piece::Field(field) => {
                assert_eq!(after.next(), Some(&Piece::Field(field)), "at piece {index}");
            }
            Piece::End { level } => {
                if level == RECORD {
                    let mut added = vec![];
                    while let Some(Piece::Field(field)) =
                        after.next_if(|it| matches!(it, Piece::Field(_)))
                    {
                        added.push(*field);
                    }
                    check_added(&added, &before[record_start..index], &asked(place, edits));
                    if !added.is_empty() {
                        open.iter_mut().for_each(|message| message.2 = true);
                    }
                    n_added += added.len();
                    place += 1;
                }
                assert_eq!(after.next(), Some(piece), "at piece {index}");
                let (length, now, grew) = open.pop().expect("a message starts before it ends");
                assert!(
                    grew || length == now,
                    "a length is written anew at piece {index}"
                );
            }
        }
    }
    assert_eq!(after.next(), None);
    n_added
}

/// What a record should get, in this order, but for keys that it has.
fn asked(place: u32, edits: &[(&[u32], &RowEdits)]) -> Vec<Attribute> {
    let mut asked = vec![];
    for (places, edits) in edits {
        let Ok(row) = places.binary_search(&place) else {
            continue;
        };
        let base = edits.base.get(row).copied();
        let extra = edits.extra.iter().filter(|extra| extra.0 as usize == row);
        for set in base.into_iter().chain(extra.map(|extra| extra.1)) {
            asked.extend(edits.sets.get(set as usize).cloned().unwrap_or_default());
        }
    }
    asked
}

fn check_added(added: &[&[u8]], record: &[Piece<'_>], asked: &[Attribute]) {
    // A field that prost cannot read leaves open which key it has.
    let (mut keys, mut all_known) = (vec![], true);
    for piece in record {
        let Piece::Field(field) = piece else { continue };
        match LogRecord::decode(*field) {
            Ok(alone) => keys.extend(alone.attributes.into_iter().map(|it| it.key)),
            Err(_) => all_known = false,
        }
    }
    let mut added = added.iter().peekable();
    for attribute in asked {
        let is_there = keys.iter().any(|key| *key == attribute.key);
        let written = added
            .next_if(|field| ***field == encoded(attribute))
            .is_some();
        assert!(
            written != is_there || !all_known,
            "{attribute:?}, there: {is_there}"
        );
    }
    assert_eq!(added.next(), None, "nobody asked for it");
}

/// An attribute as the field of a log record, encoded by prost.
fn encoded(attribute: &Attribute) -> Vec<u8> {
    let list = |values: Vec<Value>| {
        let values = values.into_iter();
        let values = values
            .map(|value| AnyValue { value: Some(value) })
            .collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    let value = match &attribute.value {
        AttributeValue::Text(value) => text(value),
        AttributeValue::Int(value) => Value::IntValue(*value),
        AttributeValue::Double(value) => Value::DoubleValue(*value),
        AttributeValue::Bool(value) => Value::BoolValue(*value),
        AttributeValue::Texts(values) => list(values.iter().map(|it| text(it)).collect()),
        AttributeValue::Doubles(values) => {
            list(values.iter().copied().map(Value::DoubleValue).collect())
        }
    };
    let attributes = vec![KeyValue {
        key: attribute.key.to_string(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    }];
    let alone = LogRecord {
        attributes,
        ..LogRecord::default()
    };
    alone.encode_to_vec()
}
