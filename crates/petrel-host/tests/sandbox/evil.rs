//! Whatever a guest does, its call ends soon with the fault that fits, and the next instance works.

use std::sync::Arc;
use std::time::Duration;

use petrel_detector::{
    Batch, Column, Detector, EventTime, Fault, FaultKind, Module, StreamId, Values, Watermark,
};
use petrel_host::{Limits, Meter, Sandbox, WasmModule};
use rustix::time::{ClockId, clock_gettime};

use crate::guests::{Lines, load, patient, sandbox, wasm};

const CALLS: [&str; 8] = [
    "describe",
    "configure",
    "observe",
    "advance",
    "status",
    "save",
    "load",
    "forget",
];
/// What a hostile call may take besides its deadline: two ticks, lowering and lifting, and for the first
/// backtrace of a module reading its names, which an unoptimised build does in some 60 ms.
const CPU_BESIDES: Duration = Duration::from_millis(250);

fn batch() -> Batch<'static> {
    Batch {
        rows: 70,
        columns: vec![Column::full(Values::Uint32(vec![0; 70].into()))],
        ..Batch::default()
    }
}

/// Configures an instance for a deed and makes the call; whether it worked, and the instance.
fn misbehave(
    module: &WasmModule,
    call: &str,
    deed: &str,
) -> (Result<(), Fault>, Box<dyn Detector + Send>) {
    let mut detector = module.instantiate().unwrap();
    let settings = format!(r#"{{"call":"{call}","deed":"{deed}"}}"#);
    let configured = detector.configure(&settings).map(drop);
    if call == "configure" {
        return (configured, detector);
    }
    configured.unwrap();
    let watermark = Watermark {
        stream: StreamId(0),
        time: EventTime(120),
        completeness: 1.0,
    };
    let answer = match call {
        "describe" => detector.describe().map(drop),
        "observe" => detector.observe(&batch()).map(drop),
        "advance" => detector.advance(&[watermark]).map(drop),
        "status" => detector.status(StreamId(0)).map(drop),
        "save" => detector.save(StreamId(0)).map(drop),
        "load" => detector.load(StreamId(0), 1, b"state"),
        "forget" => detector.forget(StreamId(0)),
        _ => unreachable!("{call} is no call"),
    };
    (answer, detector)
}

/// The deed ends in a fault of `kind` whose message holds `message`, in time; the instance is gone,
/// and a new one answers.
fn check(module: &WasmModule, call: &str, deed: &str, kind: FaultKind, message: &str) {
    let before = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (answer, mut detector) = misbehave(module, call, deed);
    let after = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let Err(fault) = answer else {
        panic!("{deed} in {call} went unnoticed");
    };
    assert_eq!((fault.call, fault.kind), (call, kind), "{deed}: {fault}");
    assert!(fault.message.contains(message), "{deed} in {call}: {fault}");
    let cpu_max = module.limits().call_cpu_max + CPU_BESIDES;
    assert!(
        after - before < cpu_max,
        "{deed} in {call}: {:?}",
        after - before
    );

    let ended = detector.save(StreamId(0)).unwrap_err();
    assert!(
        ended.message.contains("has ended"),
        "{deed} in {call}: {ended}"
    );
    let (healthy, _) = misbehave(module, "observe", "nothing");
    assert_eq!(healthy, Ok(()), "after {deed} in {call}");
}

#[test]
fn time_ends_in_every_call() {
    let module = sandbox().load(&wasm("evil"), Limits::default()).unwrap();
    for call in CALLS {
        check(&module, call, "spin", FaultKind::Deadline, "interrupt");
    }
    check(
        &module,
        "observe",
        "log-flood",
        FaultKind::Deadline,
        "interrupt",
    );
}

#[test]
fn stack_and_memory_end_in_every_call() {
    let module = load("evil");
    for call in CALLS {
        check(&module, call, "recurse", FaultKind::Trap, "recurse");
        check(&module, call, "trap", FaultKind::Trap, "unreachable");
        check(&module, call, "bomb", FaultKind::Memory, "bomb");
    }
}

#[test]
fn the_words_of_a_panic_and_its_place_are_kept() {
    let module = load("evil");
    for call in CALLS {
        check(
            &module,
            call,
            "panic",
            FaultKind::Trap,
            "the cat sat on the keyboard",
        );
        check(&module, call, "panic", FaultKind::Trap, "deeds.rs:");
    }
}

#[test]
fn memory_refused_and_not_minded_is_no_fault() {
    let (answer, mut detector) = misbehave(&load("evil"), "observe", "bomb-ignored");
    assert_eq!(answer, Ok(()));
    assert_eq!(detector.save(StreamId(0)), Ok(vec![1, 2, 3]));
}

#[test]
fn fuel_ends_what_time_does_not() {
    let sandbox = Sandbox::new(Meter::Fuel, Arc::new(Lines::default())).unwrap();
    let limits = Limits {
        call_fuel_max: 10_000_000,
        ..Limits::default()
    };
    let module = sandbox.load(&wasm("evil"), limits).unwrap();
    check(&module, "observe", "spin", FaultKind::Deadline, "fuel");
}

#[test]
fn the_log_is_bounded() {
    let lines = Arc::new(Lines::default());
    let sandbox = Sandbox::new(Meter::CpuTime, Arc::clone(&lines) as _).unwrap();
    let limits = Limits {
        call_cpu_max: Duration::from_secs(1),
        ..patient()
    };
    let module = sandbox.load(&wasm("evil"), limits).unwrap();
    check(
        &module,
        "observe",
        "log-flood",
        FaultKind::Deadline,
        "interrupt",
    );
    let flood = std::mem::take(&mut *lines.0.lock().unwrap());
    assert_eq!(flood.len(), 65);
    assert!(flood.iter().all(|line| line.len() <= "evil: ".len() + 1024));
    assert!(flood[64].ends_with(" dropped"), "{}", flood[64]);

    let (answer, _) = misbehave(&module, "advance", "log-lines");
    assert_eq!(answer, Ok(()));
    let told = std::mem::take(&mut *lines.0.lock().unwrap());
    assert_eq!(
        told[0], "evil: line 0  [31m",
        "control characters are blanked"
    );
    assert_eq!(told[64], "evil: 36 dropped");

    check(&module, "observe", "log-huge", FaultKind::Reply, "fuel");
}

#[test]
fn replies_are_held_to_their_size() {
    let module = load("evil");
    for call in ["observe", "advance"] {
        check(&module, call, "findings-30000", FaultKind::Reply, "fuel");
        check(&module, call, "text-huge", FaultKind::Reply, "fuel");
        check(
            &module,
            call,
            "findings-1025",
            FaultKind::Reply,
            "findings: 1025 findings",
        );
        let (answer, _) = misbehave(&module, call, "findings-1024");
        assert_eq!(answer, Ok(()));
    }
    let (answer, _) = misbehave(&module, "save", "largest");
    assert_eq!(answer, Ok(()));
    check(&module, "save", "over", FaultKind::Reply, "");
    check(&module, "save", "huge", FaultKind::Reply, "fuel");
    check(
        &module,
        "configure",
        "columns-100000",
        FaultKind::Reply,
        "columns: 100000 columns",
    );
}

#[test]
fn replies_are_held_to_the_contract() {
    let module = load("evil");
    for (call, deed, message) in BROKEN {
        check(&module, call, deed, FaultKind::Reply, message);
    }
}

/// A call, what is wrong with its reply, and where the message says so.
const BROKEN: [(&str, &str, &str); 70] = [
    ("describe", "name-upper", "name: "),
    ("describe", "name-empty", "name: "),
    ("describe", "name-reserved", "name: petrel is Petrel's own"),
    ("describe", "version", "version: "),
    ("describe", "schema", "settings-schema: no JSON"),
    (
        "describe",
        "schema-list",
        "settings-schema: JSON, but not an object",
    ),
    ("describe", "schema-huge", "settings-schema: 1048578 bytes"),
    ("configure", "window-zero", "window: "),
    ("configure", "columns-65", "columns: 65 columns"),
    (
        "configure",
        "column-unknown",
        "columns[1].name: there is no column \"colour\"",
    ),
    ("configure", "column-no-key", "columns[1].name"),
    ("configure", "column-type", "columns[1].data-type"),
    (
        "configure",
        "column-twice",
        "columns[1].name: stream comes twice",
    ),
    ("configure", "kinds-none", "kinds: there is none"),
    (
        "configure",
        "kind-twice",
        "kinds[1].name: oddity comes twice",
    ),
    ("configure", "kind-name", "kinds[0].name"),
    ("configure", "kind-nan", "kinds[0].report-from: NaN"),
    ("configure", "kind-ratio", "kinds[0].floor-ratio: 0.5"),
    ("status", "none", "readiness: 0 for 1 kinds"),
    ("status", "missing", "readiness[0].missing"),
    ("status", "missing-long", "readiness[0].missing: 2000 bytes"),
    ("observe", "stream", "findings[0].stream: 77"),
    ("observe", "kind", "findings[0].kind: 1 of 1"),
    ("observe", "score-nan", "findings[0].score: NaN"),
    ("observe", "score-infinite", "findings[0].score: inf"),
    ("observe", "score-negative", "findings[0].score: -1"),
    ("observe", "observed-nan", "findings[0].observed: NaN"),
    ("observe", "upper-infinite", "findings[0].upper: inf"),
    ("observe", "records-negative", "findings[0].records: -1"),
    ("observe", "end-before-start", "findings[0].end"),
    ("observe", "end-at-start", "findings[0].end"),
    ("observe", "since-late", "findings[0].since"),
    ("observe", "row", "findings[0].rows: row 70 of 70"),
    ("observe", "rows-descend", "findings[0].rows: do not ascend"),
    ("observe", "rows-65", "findings[0].rows: 65 rows"),
    ("observe", "unit", "findings[0].unit: 100 bytes"),
    ("observe", "series-9", "findings[0].series: 9 keys"),
    (
        "observe",
        "series-twice",
        "findings[0].series[1].key: \"method\" comes twice",
    ),
    (
        "observe",
        "series-value",
        "findings[0].series[0].value: 1025 bytes",
    ),
    ("observe", "evidence-13", "findings[0].evidence: 13 pieces"),
    (
        "observe",
        "evidence-twice",
        "findings[0].evidence[1].name: sentence comes twice",
    ),
    ("observe", "evidence-name", "findings[0].evidence[0].name"),
    (
        "observe",
        "evidence-nan",
        "findings[0].evidence[0].value: NaN",
    ),
    (
        "observe",
        "evidence-infinite",
        "findings[0].evidence[0].value: holds an infinite",
    ),
    (
        "observe",
        "evidence-numbers",
        "findings[0].evidence[0].value: 257 numbers",
    ),
    (
        "observe",
        "evidence-text",
        "findings[0].evidence[0].value: 4097 bytes",
    ),
    (
        "observe",
        "evidence-sum",
        "findings[0].evidence: 16008 bytes",
    ),
    ("observe", "annotations-65", "annotations: 65 annotations"),
    (
        "observe",
        "annotation-twice",
        "annotations[1].key: oddness comes twice",
    ),
    ("observe", "annotation-key", "annotations[0].key: \"Key\""),
    (
        "observe",
        "annotation-rows",
        "annotations[0].rows: do not ascend",
    ),
    (
        "observe",
        "annotation-row",
        "annotations[0].rows: row 70 of 70",
    ),
    ("observe", "values-few", "annotations[0].values: 1 values"),
    (
        "observe",
        "values-nan",
        "annotations[0].values: one is not finite",
    ),
    (
        "observe",
        "values-uint64",
        "annotations[0].values: one is over",
    ),
    ("observe", "values-bits", "annotations[0].values: 2 values"),
    ("observe", "values-absent", "annotations[0].values: absent"),
    ("observe", "values-list", "annotations[0].values: lists"),
    ("observe", "values-key", "annotations[0].values: a key"),
    (
        "observe",
        "utf8-bytes",
        "annotations[0].values.bytes: no UTF-8",
    ),
    (
        "observe",
        "utf8-split",
        "annotations[0].values.offsets: split",
    ),
    (
        "observe",
        "utf8-start",
        "annotations[0].values.offsets: do not lead",
    ),
    (
        "observe",
        "utf8-end",
        "annotations[0].values.offsets: do not lead",
    ),
    (
        "observe",
        "utf8-descend",
        "annotations[0].values.offsets: descend",
    ),
    (
        "observe",
        "utf8-empty",
        "annotations[0].values.offsets: do not lead",
    ),
    ("advance", "row", "findings[0].rows: row 0 of 0"),
    ("advance", "rows-65", "findings[0].rows: 65 rows"),
    (
        "advance",
        "values-absent",
        "annotations[0].rows: row 1 of 0",
    ),
    ("advance", "stream", "findings[0].stream: 77"),
    ("advance", "score-nan", "findings[0].score: NaN"),
];
