//! The built-in detectors find the same in the sandbox as compiled in: every finding with its evidence,
//! and the state at the end, to the bit.

use petrel::config::Config;
use petrel::modules::Loader;
use petrel_detector::story::{Story, Telling};

/// Something for each of the four: rates, durations in attributes and bodies, new templates, services
/// that stop, a merge and a gap.
const STORY: &str = "
    0d..1d6h       order         ~5..40/min attribute.duration_ms=50..150 severity_number=9 trace=1..900000
    0d..1d6h       login         ~30/min    severity_number=9
    0d..1d6h       a:took=<*>    ~20/min    body.numbers=0.01..0.9
    0d..1d2h       b:beat        6/min
    0d..1d6h       c:job         60/min     every 1h at 5m for 1m
    1d..1d30m      order         ~60/min    attribute.duration_ms=125..375 severity_number=9 trace=1..900000
    1d1h..1d1h20m  a:x_refused   ~4/min     severity_number=17
    1d3h..1d3h12m  login         400/min    severity_number=9
    merge          login session at 1d4h
    gap            12h..12h30m
";

/// So that a day is enough to have findings.
fn settings(detector: &str) -> &'static str {
    match detector {
        "frequency" => r#"{"learning_hours": 12, "provisional_hours": 24}"#,
        _ => "",
    }
}

#[test]
fn the_built_in_detectors_find_the_same_in_the_sandbox() {
    let loader = Loader::new(&Config::default().detectors).unwrap();
    let sandboxed = loader.built_in(false).unwrap();
    let native = loader.built_in(true).unwrap();
    assert_eq!(sandboxed.len(), 4);
    let telling = Telling {
        rows_max: 500,
        restart_minutes: 400,
        ..Telling::default()
    };
    for (sandboxed, native) in sandboxed.iter().zip(&native) {
        assert_eq!(sandboxed.descriptor, native.descriptor);
        let name = native.descriptor.name.as_str();
        let [sandboxed, native] = [sandboxed, native].map(|loaded| {
            let fresh =
                || -> Box<dyn petrel_detector::Detector> { loaded.module.instantiate().unwrap() };
            Story::new(STORY).tell_to(&fresh, settings(name), telling)
        });
        assert!(!native.findings.is_empty(), "{name} found nothing");
        // As text, since evidence may be NaN: that is bit for bit all the same.
        let same = format!("{sandboxed:?}") == format!("{native:?}");
        assert!(same, "{name}: findings or state differ");
    }
}
