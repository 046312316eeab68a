//! What runs natively runs the same in the sandbox.

use std::sync::Arc;

use guest_honest::Honest;
use petrel_detector::{
    Batch, Column, Detector, Dictionary, EventTime, FaultKind, Module, StreamId, Template,
    TemplateId, TemplateMerge, Utf8, Values, Watermark,
};
use petrel_host::{Meter, Sandbox};

use crate::guests::{Lines, load, patient, sandbox, wasm};

const MINUTE: u64 = 60_000_000_000;
const N_STREAMS: u32 = 5;

/// A batch of the sixfold plan: `n_rows` rows of a minute, with nulls, a burst in minute 40.
fn batch(minute: u64, n_rows: u32) -> Batch<'static> {
    let n_rows = if minute == 40 { n_rows * 8 } else { n_rows };
    let rows = 0..u64::from(n_rows);
    let scramble = |row: u64| (row + minute * 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let columns = vec![
        Column::full(Values::Uint32(
            rows.clone()
                .map(|row| scramble(row) as u32 % N_STREAMS)
                .collect(),
        )),
        Column::full(Values::Uint64(
            rows.clone().map(|row| scramble(row) % 7).collect(),
        )),
        Column::full(Values::Uint64(
            rows.clone().map(|row| minute * MINUTE + row).collect(),
        )),
        Column::full(Values::Uint32(
            rows.clone().map(|row| scramble(row) as u32 % 24).collect(),
        )),
        Column {
            values: Values::Float64(rows.clone().map(|row| row as f64 / 3.0).collect()),
            validity: Some(vec![0b1011_0110; n_rows.div_ceil(8) as usize].into()),
        },
        Column::full(Values::Dictionary(Dictionary {
            keys: rows.map(|row| row as u32 % 2).collect(),
            values: Utf8 {
                offsets: vec![0, 3, 7].into(),
                bytes: b"GETPOST".to_vec().into(),
            },
        })),
    ];
    let merges = (minute == 20).then_some(TemplateMerge {
        stream: StreamId(1),
        source: TemplateId(3),
        target: TemplateId(99),
    });
    let templates = (minute == 0).then(|| Template {
        stream: StreamId(0),
        id: TemplateId(1),
        text: "opened <*> für <*>".into(),
        failure: false,
    });
    Batch {
        rows: n_rows,
        columns,
        templates: templates.into_iter().collect(),
        merges: merges.into_iter().collect(),
    }
}

/// Everything that a detector answers to the same story, as text.
fn story(detector: &mut dyn Detector) -> Vec<String> {
    let mut answers = vec![
        format!("{:?}", detector.describe().unwrap()),
        format!(
            "{:?}",
            detector.configure(r#"{"columns":6,"z":3.5}"#).unwrap()
        ),
    ];
    for minute in 0..50 {
        let outcome = detector.observe(&batch(minute, 400)).unwrap();
        answers.push(format!("{outcome:?}"));
        let watermarks: Vec<_> = (0..N_STREAMS)
            .map(|stream| Watermark {
                stream: StreamId(stream),
                time: EventTime((minute + 1) * MINUTE),
                completeness: 1.0,
            })
            .collect();
        answers.push(format!("{:?}", detector.advance(&watermarks).unwrap()));
    }
    for stream in (0..N_STREAMS).map(StreamId) {
        answers.push(format!("{:?}", detector.status(stream).unwrap()));
        let state = detector.save(stream).unwrap();
        answers.push(format!("{state:?}"));
        detector.forget(stream).unwrap();
        assert!(detector.save(stream).unwrap().is_empty());
        detector.load(stream, 1, &state).unwrap();
        assert_eq!(detector.save(stream).unwrap(), state);
    }
    answers
}

#[test]
fn native_and_sandboxed_answer_the_same() {
    let native = story(&mut Honest::default());
    let found = native.iter().filter(|answer| answer.contains("Finding {"));
    assert!(found.count() > 0, "the story should have a finding");

    let sandboxed = story(&mut *load("honest").instantiate().unwrap());
    assert_eq!(native, sandboxed);

    let fuelled = Sandbox::new(Meter::Fuel, Arc::new(Lines::default())).unwrap();
    let module = fuelled.load(&wasm("honest"), patient()).unwrap();
    assert_eq!(native, story(&mut *module.instantiate().unwrap()));
}

#[test]
fn a_module_says_what_it_is() {
    let module = load("honest");
    assert_eq!(module.descriptor().name, "honest");
    assert_eq!(module.descriptor().version, "1.2.3");
    let digest = module.digest().strip_prefix("sha256:").unwrap();
    assert_eq!(digest.len(), 64);
}

#[test]
fn a_component_is_taken_as_it_is() {
    let component = wit_component::ComponentEncoder::default()
        .module(&wasm("honest"))
        .and_then(|encoder| encoder.encode())
        .unwrap();
    let module = sandbox().load(&component, patient()).unwrap();
    assert_eq!(module.descriptor().name, "honest");
    assert_ne!(module.digest(), load("honest").digest());
}

#[test]
fn what_a_guest_refuses_in_words_leaves_it_alive() {
    let mut detector = load("honest").instantiate().unwrap();
    let fault = detector.configure(r#"{"zz":1}"#).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Settings);
    assert!(fault.message.contains("unknown field `zz`"), "{fault}");
    detector.configure("").unwrap();

    for (version, state) in [(1, &b"garbage"[..]), (2, &[0; 16]), (1, &[])] {
        let fault = detector.load(StreamId(0), version, state).unwrap_err();
        assert_eq!(fault.kind, FaultKind::State, "{fault}");
    }
    assert!(detector.save(StreamId(0)).unwrap().is_empty());
}
