//! A splice adds what it is told and changes nothing else.

use std::collections::HashMap;

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
fn expected(edits: &[(&[u32], &RowEdits)]) -> HashMap<u32, Vec<Attribute>> {
    let mut added: HashMap<u32, Vec<Attribute>> = HashMap::new();
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

fn add(record: &mut LogRecord, attributes: &[Attribute]) {
    let existing: Vec<_> = record.attributes.iter().map(|it| it.key.clone()).collect();
    for attribute in attributes {
        if existing.iter().any(|key| *key == attribute.key) {
            continue;
        }
        let value = Some(any_value(&attribute.value));
        record.attributes.push(KeyValue {
            key: attribute.key.to_string(),
            value: Some(AnyValue { value }),
            key_strindex: 0,
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn no_edits_same_bytes(request in request(), sets in sets()) {
        let request = Bytes::from(request);
        let walked = walk_with_two_workers(&request);
        let places: Vec<u32> = (0..walked.layout.n_records() as u32).collect();
        let nothing = RowEdits { sets, base: vec![RowEdits::NO_SET; places.len()], extra: vec![] };
        for edits in [&[][..], &[(&places[..], &nothing)]] {
            let spliced = splice(&request, &walked.layout, edits, &Buffers::default());
            prop_assert_eq!(spliced.as_ptr(), request.as_ptr());
            prop_assert_eq!(spliced.len(), request.len());
        }
    }

    #[test]
    fn edits_are_added_and_nothing_else_changes(
        request in request(),
        edits in prop::collection::vec(edits(), 2),
    ) {
        let mut decoded = ExportLogsServiceRequest::decode(request.as_slice()).expect("valid");
        let request = Bytes::from(request);
        let walked = walk_with_two_workers(&request);
        let edits: Vec<_> = walked
            .batches
            .iter()
            .zip(&edits)
            .filter_map(|(batch, edits)| Some((batch.as_ref()?.places(), edits)))
            .collect();
        let added = expected(&edits);
        let records = decoded
            .resource_logs
            .iter_mut()
            .flat_map(|resource| &mut resource.scope_logs)
            .flat_map(|scope| &mut scope.log_records);
        for (place, record) in records.enumerate() {
            if let Some(attributes) = added.get(&(place as u32)) {
                add(record, attributes);
            }
        }
        let spliced = splice(&request, &walked.layout, &edits, &Buffers::default());
        let actual = ExportLogsServiceRequest::decode(spliced.clone()).expect("still valid");
        // Debug text, since NaN is not equal to itself.
        prop_assert_eq!(format!("{actual:?}"), format!("{decoded:?}"));
        // Unknown fields are kept too: only the additions and wider lengths make it longer.
        prop_assert!(spliced.len() >= request.len());
    }
}
