//! Replies that cannot be lifted, and other things that no compiler would write. wasmtime would let a
//! guest run on after a failed lift; the host does not.

use petrel_detector::{Batch, Detector, EventTime, Fault, FaultKind, Module, StreamId, Watermark};
use petrel_host::{Limits, LoadError};

use crate::guests::{patient, sandbox};
use crate::text_guest::{ANSWER, MEMORY_END, TextGuest};

fn instance(guest: &TextGuest) -> Box<dyn Detector + Send> {
    let module = sandbox().load(&guest.wasm(), patient()).unwrap();
    let mut detector = module.instantiate().unwrap();
    detector.configure("").unwrap();
    let watermark = Watermark {
        stream: StreamId(0),
        time: EventTime(60),
        completeness: 1.0,
    };
    detector.advance(&[watermark]).unwrap();
    detector
}

fn check(
    guest: &TextGuest,
    call: impl FnOnce(&mut dyn Detector) -> Result<(), Fault>,
    kind: FaultKind,
    message: &str,
) {
    let mut detector = instance(guest);
    let fault = call(&mut *detector).unwrap_err();
    assert_eq!(fault.kind, kind, "{message}: {fault}");
    assert!(fault.message.contains(message), "{message}: {fault}");
    let ended = detector.forget(StreamId(0)).unwrap_err();
    assert!(ended.message.contains("has ended"), "{message}: {ended}");
}

fn observe(detector: &mut dyn Detector) -> Result<(), Fault> {
    detector.observe(&Batch::default()).map(drop)
}

fn save(detector: &mut dyn Detector) -> Result<(), Fault> {
    detector.save(StreamId(0)).map(drop)
}

fn status(detector: &mut dyn Detector) -> Result<(), Fault> {
    detector.status(StreamId(0)).map(drop)
}

fn load(detector: &mut dyn Detector) -> Result<(), Fault> {
    detector.load(StreamId(0), 1, b"state")
}

fn answering(words: &[u32]) -> TextGuest {
    TextGuest {
        words: vec![(ANSWER, words.to_vec())],
        ..TextGuest::default()
    }
}

#[test]
fn the_text_guest_is_a_detector() {
    let mut detector = instance(&answering(&[]));
    assert_eq!(detector.describe().unwrap().name, "text");
    observe(&mut *detector).unwrap();
    assert!(detector.save(StreamId(0)).unwrap().is_empty());
    load(&mut *detector).unwrap();
}

#[test]
fn lists_outside_of_memory() {
    for (pointer, length) in [
        (MEMORY_END - 4, 5),
        (MEMORY_END, 1),
        (u32::MAX, 1),
        (8, u32::MAX),
    ] {
        check(&answering(&[pointer, length]), save, FaultKind::Reply, "");
    }
    let mut whole = instance(&answering(&[MEMORY_END - 4, 4]));
    assert_eq!(whole.save(StreamId(0)).unwrap(), [0; 4]);

    // The answer itself, not only what it points to.
    let guest = TextGuest {
        save: format!("i32.const {}", MEMORY_END - 4),
        ..TextGuest::default()
    };
    check(&guest, save, FaultKind::Reply, "");
}

#[test]
fn misaligned_lists_and_answers() {
    check(
        &answering(&[ANSWER + 0x101, 1]),
        status,
        FaultKind::Reply,
        "align",
    );
    let guest = TextGuest {
        observe: format!("i32.const {}", ANSWER + 2),
        ..TextGuest::default()
    };
    check(&guest, observe, FaultKind::Reply, "align");
}

#[test]
fn texts_that_are_none() {
    let at = ANSWER + 0x100;
    // A readiness: level 0 and a text of four bytes, which are no UTF-8.
    let mut guest = answering(&[at, 1]);
    guest.words.push((at, vec![0, at + 0x100, 4]));
    guest.words.push((at + 0x100, vec![0xffff_ffff]));
    check(&guest, status, FaultKind::Reply, "utf-8");
}

#[test]
fn cases_that_do_not_exist() {
    let at = ANSWER + 0x100;
    let mut guest = answering(&[at, 1]);
    guest.words.push((at, vec![9, 0, 0]));
    check(&guest, status, FaultKind::Reply, "discriminant");
    check(
        &answering(&[2, 0, 0]),
        load,
        FaultKind::Reply,
        "discriminant",
    );
}

#[test]
fn findings_that_share_one_list() {
    const FINDING_BYTES: u32 = 184;
    const ROWS_AT: u32 = 148;
    let findings = 0x1_0000;
    let mut guest = answering(&[findings, 1_000]);
    for index in 0..1_000 {
        let rows = vec![0x10_0000, 0x10_0000];
        guest
            .words
            .push((findings + index * FINDING_BYTES + ROWS_AT, rows));
    }
    check(&guest, observe, FaultKind::Reply, "fuel");
}

#[test]
fn recursion_without_memory() {
    let arguments: String = (0..7).map(|index| format!("local.get {index} ")).collect();
    let guest = TextGuest {
        observe: format!("{arguments} call $observe"),
        ..TextGuest::default()
    };
    check(&guest, observe, FaultKind::Trap, "call stack exhausted");
}

#[test]
fn memory_that_is_given_badly_to_the_host() {
    for (realloc, kind) in [
        ("i32.const 0x600001", FaultKind::Reply),
        (&format!("i32.const {MEMORY_END}"), FaultKind::Reply),
        ("unreachable", FaultKind::Trap),
    ] {
        let guest = TextGuest {
            realloc: realloc.into(),
            ..TextGuest::default()
        };
        // The first call that hands something over; an odd address is none for watermarks.
        let module = sandbox().load(&guest.wasm(), patient()).unwrap();
        let mut detector = module.instantiate().unwrap();
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime(60),
            completeness: 1.0,
        };
        let fault = detector
            .configure("")
            .and_then(|_| detector.advance(&[watermark]))
            .unwrap_err();
        assert_eq!(fault.kind, kind, "{realloc}: {fault}");
    }
}

#[test]
fn what_goes_wrong_before_the_first_call() {
    let load = |guest: &TextGuest| {
        let error = sandbox()
            .load(&guest.wasm(), Limits::default())
            .unwrap_err();
        match error {
            LoadError::Describe(fault) => fault,
            error => panic!("{error}"),
        }
    };
    let spin = TextGuest {
        besides: "(func $spin (loop br 0)) (start $spin)".into(),
        ..TextGuest::default()
    };
    let fault = load(&spin);
    assert_eq!(
        (fault.call, fault.kind),
        ("instantiate", FaultKind::Deadline),
        "{fault}"
    );

    let wide = TextGuest {
        pages: 2_000,
        ..TextGuest::default()
    };
    let fault = load(&wide);
    assert_eq!(
        (fault.call, fault.kind),
        ("instantiate", FaultKind::Memory),
        "{fault}"
    );
}
