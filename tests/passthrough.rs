//! What goes in comes out: a real recording through Collector A, Petrel and Collector B equals the same
//! recording without Petrel, but for what Petrel adds. Anomalies arrive as log records.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::collector::{self, Collector, build};
use crate::process::Scratch;
use crate::recording::{self, LogFile};
use crate::records::{self, Output, Record};
use crate::{petrel, wait};

/// 30,000 records through an unoptimised build on a busy machine.
const REPLAY: Duration = Duration::from_secs(240);

#[test]
fn cinder_recording() {
    check(
        "passthrough::cinder_recording",
        &[
            "Cinder/Test_41.r2",
            "Cinder/Test_42.r2",
            "Cinder/Test_43.r2",
        ],
        "Cinder/Test_44",
    );
}

#[test]
fn neutron_recording() {
    check(
        "passthrough::neutron_recording",
        &[
            "Neutron/Test_174.r2",
            "Neutron/Test_175.r2",
            "Neutron/Test_176.r2",
        ],
        "Neutron/Test_177",
    );
}

/// Replays `history` (rounds without a fault), then the round of `test` with its fault on; and again with
/// the fault off.
#[track_caller]
fn check(name: &str, history: &[&str], test: &str) {
    let Some(collector) = collector::available(name) else {
        return;
    };
    let Some(archive) = recording::open_stack() else {
        return collector::did_not_run(name, "no recordings (PETREL_DATA)");
    };
    for (fault, round) in [("on", "r1"), ("off", "r2")] {
        let round = format!("{test}.{round}");
        let rounds: Vec<&str> = history.iter().copied().chain([round.as_str()]).collect();
        let log_file = LogFile::of_rounds(&archive, &rounds);
        let events = replay(collector, &log_file);
        build::announce(&report(test, fault, &log_file, &events));
    }
}

/// Sends the recording both ways at once, compares what arrives, and returns the anomaly events.
#[track_caller]
fn replay(collector: Collector, log_file: &LogFile) -> Vec<Record> {
    let scratch = Scratch::new("passthrough");
    let [via, direct] = std::array::from_fn(|_| wait::free_address());
    let [via_file, direct_file] =
        ["via", "direct"].map(|name| scratch.path(&format!("{name}.binpb")));

    let sinks = [("via", &via, &via_file), ("direct", &direct, &direct_file)].map(
        |(name, address, path)| {
            let config = collector::sink_config(address, path);
            collector.start(&scratch, name, &config, &[wait::port_of(address)])
        },
    );
    let setup = petrel::Setup::new(&scratch, "petrel", &via, "");
    let petrel = setup.start(&scratch);
    let log_path = scratch.write("recording.log", &log_file.text);
    let source = collector.start(
        &scratch,
        "source",
        &source_config(&log_path, &setup.grpc, &direct),
        &[],
    );

    let expected = Output::new(direct_file).wait_for(log_file.n_records, REPLAY);
    let mut output = Output::new(via_file);
    let actual = output.wait_for(log_file.n_records, REPLAY);
    assert_eq!(expected.len(), log_file.n_records);
    assert!(
        actual.iter().all(Record::is_enriched),
        "every record of the recording has a template"
    );
    let actual: Vec<Record> = actual.into_iter().map(Record::without_ours).collect();
    records::assert_same(&expected, &actual);

    assert!(source.stop().success());
    assert!(petrel.stop().success());
    for sink in sinks {
        assert!(sink.stop().success());
    }
    let events = output.events();
    assert_eq!(
        output.read().len(),
        log_file.n_records + events.len(),
        "nothing came twice"
    );
    for event in &events {
        assert!(
            event.record.event_name.starts_with("anomaly."),
            "an event without its name: {event:#?}"
        );
    }
    events
}

/// Reads the recording and sends it to Petrel and to a sink: one reading, so that both get the same
/// observed times. One consumer a queue, so that the order stays.
fn source_config(recording: &Path, petrel: &str, direct: &str) -> String {
    let recording = recording.display();
    let exporter = |endpoint: &str| {
        format!(
            "{{ endpoint: '{endpoint}', compression: none, tls: {{ insecure: true }},
    sending_queue: {{ num_consumers: 1, block_on_overflow: true }}, retry_on_failure: {{ initial_interval: 100ms }} }}"
        )
    };
    let (petrel, direct) = (exporter(petrel), exporter(direct));
    format!(
        r#"
receivers:
  file_log:
    include: ['{recording}']
    start_at: beginning
    multiline: {{ line_start_pattern: '^\d{{13}}\t' }}
    operators:
      - type: regex_parser
        regex: '(?s)^(?P<at>\d{{13}})\t(?P<service>[^\t]*)\t(?P<line>.*)'
        timestamp: {{ parse_from: attributes.at, layout_type: epoch, layout: ms }}
      - type: regex_parser
        parse_from: attributes.line
        regex: '^\S+ \S+ (\d+ )?(?P<level>TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL) '
        on_error: send_quiet
        severity: {{ parse_from: attributes.level, mapping: {{ warn: WARNING, fatal: CRITICAL }} }}
      - {{ type: move, from: attributes.service, to: 'resource["service.name"]' }}
      - {{ type: move, from: attributes.line, to: body }}
      - {{ type: remove, field: attributes.at }}
exporters:
  otlp_grpc/petrel: {petrel}
  otlp_grpc/direct: {direct}
service: {{ pipelines: {{ logs: {{ receivers: [file_log], exporters: [otlp_grpc/petrel, otlp_grpc/direct] }} }} }}
"#
    )
}

/// One line: what was found in the last round, and in the fault-free history before it.
fn report(test: &str, fault: &str, log_file: &LogFile, events: &[Record]) -> String {
    let detected = events
        .iter()
        .filter(|event| event.record.event_name == "anomaly.detected");
    let starts_ns = log_file.last_round_starts_ms * 1_000_000;
    let (before, within): (Vec<&Record>, Vec<&Record>) =
        detected.partition(|event| event.record.time_unix_nano < starts_ns);
    format!(
        "OpenStack {test}, fault {fault}: {} records equal; anomalies in this round: {}; in the history before: {}",
        log_file.n_records,
        by_detector(&within),
        by_detector(&before)
    )
}

fn by_detector(events: &[&Record]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        *counts
            .entry(event.text("anomaly.detector.name").unwrap_or("?"))
            .or_default() += 1;
    }
    match counts.is_empty() {
        true => "none".to_owned(),
        false => counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}
