//! The detector of `examples/c-detector`, built as its README says and run on a short story.

use petrel_detector::{
    Batch, Column, Detector, Direction, EventTime, FaultKind, Finding, Level, Module, StreamId,
    Values, Watermark,
};

use crate::build;
use crate::guests::{patient, sandbox};

const MINUTE: u64 = 60_000_000_000;

#[test]
fn the_c_detector_works() {
    let wasm = match build::c_detector() {
        Ok(wasm) => wasm,
        Err(why) => return eprintln!("the C detector was not tested: {why}"),
    };
    let module = sandbox().load(&wasm, patient()).unwrap();
    assert_eq!(module.descriptor().name, "error-burst");

    let mut detector = module.instantiate().unwrap();
    let fault = detector.configure(r#"{"threshold": "high"}"#).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Settings, "{fault}");
    let plan = detector.configure(r#"{"threshold": 5}"#).unwrap();
    assert_eq!(plan.kinds[0].report_from, 5.0);

    let findings = steady_burst_steady(&mut *detector);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let burst = &findings[0];
    assert_eq!(burst.start, EventTime(40 * MINUTE));
    assert_eq!(
        (burst.direction, burst.observed),
        (Direction::Above, Some(50.0))
    );
    assert!(burst.expected.unwrap() < 5.0, "{burst:?}");

    let state = detector.save(StreamId(0)).unwrap();
    let mut heir = module.instantiate().unwrap();
    heir.configure("").unwrap();
    heir.load(StreamId(0), 1, &state).unwrap();
    assert_eq!(heir.save(StreamId(0)).unwrap(), state);
    assert_eq!(heir.status(StreamId(0)).unwrap()[0].level, Level::Ready);
    let fault = heir.load(StreamId(0), 1, &state[1..]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::State, "{fault}");
}

/// Sixty minutes of four errors each, fifty in the fortieth; what is found.
fn steady_burst_steady(detector: &mut dyn Detector) -> Vec<Finding> {
    let mut findings = Vec::new();
    for minute in 1..60 {
        let n_errors = if minute == 40 { 50 } else { 4 };
        let n_rows = n_errors + 20;
        let times = (0..n_rows as u64)
            .map(|row| minute * MINUTE + row)
            .collect();
        let severities = (0..n_rows)
            .map(|row| if row < n_errors { 17 } else { 9 })
            .collect();
        let batch = Batch {
            rows: n_rows as u32,
            columns: vec![
                Column::full(Values::Uint32(vec![0; n_rows].into())),
                Column::full(Values::Uint64(times)),
                Column::full(Values::Uint32(severities)),
            ],
            ..Batch::default()
        };
        findings.extend(detector.observe(&batch).unwrap().findings);
        let watermark = Watermark {
            stream: StreamId(0),
            time: EventTime(minute * MINUTE),
            completeness: 1.0,
        };
        findings.extend(detector.advance(&[watermark]).unwrap().findings);
        let learning = detector.status(StreamId(0)).unwrap()[0].level == Level::Learning;
        assert_eq!(learning, minute <= 30, "minute {minute}");
    }
    findings
}
