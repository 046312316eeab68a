//! What the demo knows at its end: the ledger of anomalies and the document of `--once --json`.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::anomaly::{Anomaly, AnomalyEvent};
use super::score::{self, Score};
use super::sink::Tally;
use super::story::{Scene, Story};

/// Version of the document; grows when a field changes its meaning or goes.
const SCHEMA_VERSION: u32 = 1;

/// Anomalies in order of their first report.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) anomalies: Vec<Anomaly>,
    index_by_id: HashMap<String, usize>,
    /// From the start of the process to the first report, wall time.
    pub(super) first_after: Option<Duration>,
}

impl Ledger {
    /// Takes an event that arrived `elapsed` after the start of the process.
    ///
    /// The first event of an id says what was found; later ones only how long it lasted and how it
    /// ended, and a repeated one says nothing new.
    pub(super) fn apply(&mut self, event: &AnomalyEvent, elapsed: Duration) {
        match self.index_by_id.get(&event.anomaly.id) {
            Some(&index) => {
                let known = &mut self.anomalies[index];
                known.end = event.anomaly.end.or(known.end);
                known.state.clone_from(&event.anomaly.state);
            }
            None => {
                self.first_after.get_or_insert(elapsed);
                self.index_by_id
                    .insert(event.anomaly.id.clone(), self.anomalies.len());
                self.anomalies.push(event.anomaly.clone());
            }
        }
    }
}

/// Whether all was as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing missed, no false alarm, every record out as it came in.
    Passed,
    Failed,
}

/// The document of `petrel demo --once --json`.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub(super) schema_version: u32,
    pub(super) seed: u64,
    pub(super) records_in: u64,
    pub(super) records_out: u64,
    /// Whether the records that came out are those that went in, to the byte, but for Petrel's attributes.
    pub(super) records_unchanged: bool,
    /// Wall time from the start of the process.
    pub(super) seconds_to_first_anomaly: Option<f64>,
    pub(super) seconds: f64,
    /// Whether the run was interrupted before its end.
    pub(super) partial: bool,
    pub(super) injected: Vec<&'a Scene>,
    /// What was made to happen and must stay quiet.
    pub(super) look_alikes: Vec<&'a Scene>,
    pub(super) anomalies: &'a [Anomaly],
    pub(super) missed: Vec<&'a Scene>,
    pub(super) false_alarms: Vec<&'a Anomaly>,
    #[serde(skip)]
    pub(super) score: Score<'a>,
}

impl<'a> Document<'a> {
    /// The document of a run that took `elapsed` since the start of the process.
    pub(super) fn new(
        seed: u64,
        story: &'a Story,
        ledger: &'a Ledger,
        (sent, received): (Tally, Tally),
        elapsed: Duration,
        partial: bool,
    ) -> Self {
        let score = score::score(&story.scenes, &ledger.anomalies);
        Self {
            schema_version: SCHEMA_VERSION,
            seed,
            records_in: sent.n_records,
            records_out: received.n_records,
            records_unchanged: sent == received,
            seconds_to_first_anomaly: ledger.first_after.map(seconds),
            seconds: seconds(elapsed),
            partial,
            injected: story.incidents().collect(),
            look_alikes: story
                .scenes
                .iter()
                .filter(|scene| !scene.part.is_incident())
                .collect(),
            anomalies: &ledger.anomalies,
            missed: score.missed.clone(),
            false_alarms: score.false_alarms.clone(),
            score,
        }
    }

    /// Passed only when nothing was missed, nothing else was reported and every record came out unchanged.
    pub(super) fn verdict(&self) -> Verdict {
        let is_passed = self.missed.is_empty()
            && self.false_alarms.is_empty()
            && self.records_in == self.records_out
            && self.records_unchanged
            && !self.partial;
        if is_passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        }
    }
}

/// Seconds to the millisecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use petrel_batch::EventTime;
    use serde_json::{Value, json};

    use super::super::anomaly;
    use super::*;

    /// An anomaly event as it arrives, in OTLP/JSON, a minute after the anomaly began.
    fn event(name: &str, service: &str, start: &str, more: Vec<Value>) -> AnomalyEvent {
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let mut attributes = vec![
            text("anomaly.id", &format!("id-{service}")),
            text("anomaly.type", "silence"),
            text("anomaly.direction", "disappeared"),
            text("anomaly.start.time", start),
            text("anomaly.detector.name", "silence"),
            text("petrel.detector.module.digest", "sha256:00"),
            json!({"key": "anomaly.score", "value": {"doubleValue": 0.75}}),
            json!({"key": "anomaly.evidence.gap_p99_s", "value": {"doubleValue": 2.5}}),
        ];
        attributes.extend(more);
        let start: jiff::Timestamp = start.parse().unwrap();
        let observed = (start.as_nanosecond() + 60_000_000_000).to_string();
        let request: ExportLogsServiceRequest = serde_json::from_value(json!({"resourceLogs": [{
            "resource": {"attributes": [text("service.name", service)]},
            "scopeLogs": [{"scope": {"name": "petrel/detectors/silence"}, "logRecords": [{
                "eventName": name,
                "timeUnixNano": "1767571200000000000",
                "observedTimeUnixNano": observed,
                "severityText": "WARN",
                "body": {"stringValue": "auth has fallen silent"},
                "attributes": attributes,
            }]}],
        }]}))
        .unwrap();
        let mut events = anomaly::events_of(&request);
        let event = events.next().unwrap();
        assert!(events.next().is_none());
        event
    }

    fn story() -> Story {
        Story::new(1, EventTime::from_seconds(1_767_571_200))
    }

    fn resolved(service: &str, start: &str) -> AnomalyEvent {
        let end =
            json!({"key": "anomaly.end.time", "value": {"stringValue": "2026-01-06T00:00:00Z"}});
        let state = json!({"key": "anomaly.state", "value": {"stringValue": "resolved"}});
        event("anomaly.resolved", service, start, vec![end, state])
    }

    #[test]
    fn an_event_is_read_by_the_names_of_the_schema() {
        let event = event(
            "anomaly.detected",
            "auth",
            "2026-01-05T00:00:00Z",
            Vec::new(),
        );
        assert_eq!(event.change, anomaly::Change::Detected);
        assert_eq!(
            event.anomaly.detected,
            EventTime::from_seconds(1_767_571_260)
        );
        assert_eq!(event.evidence, [("gap_p99_s".to_owned(), "2.5".to_owned())]);
        let json = serde_json::to_value(&event.anomaly).unwrap();
        assert_eq!(json["id"], "id-auth");
        assert_eq!(json["type"], "silence");
        assert_eq!(json["service"], "auth");
        assert_eq!(json["template"], Value::Null);
        assert_eq!(json["direction"], "disappeared");
        assert_eq!(json["score"], 0.75);
        assert_eq!(json["start"], "2026-01-05T00:00:00Z");
        assert_eq!(json["end"], Value::Null);
        assert_eq!(
            json["detector"],
            json!({"name": "silence", "version": null, "digest": "sha256:00"})
        );
        for key in ["observed", "expected", "lower", "upper"] {
            assert!(json.as_object().unwrap().contains_key(key), "{key}");
        }
    }

    #[test]
    fn an_anomaly_is_listed_once_with_its_end() {
        let mut ledger = Ledger::default();
        ledger.apply(
            &event(
                "anomaly.detected",
                "auth",
                "2026-01-05T00:00:00Z",
                Vec::new(),
            ),
            Duration::from_secs(9),
        );
        ledger.apply(
            &resolved("auth", "2026-01-05T00:00:00Z"),
            Duration::from_secs(11),
        );
        assert_eq!(ledger.anomalies.len(), 1);
        assert_eq!(
            ledger.anomalies[0].end,
            Some(EventTime::from_seconds(1_767_657_600))
        );
        assert_eq!(ledger.first_after, Some(Duration::from_secs(9)));
    }

    #[test]
    fn the_document_says_what_was_missed_and_what_was_false() {
        let story = story();
        let silent = story
            .incidents()
            .find(|scene| scene.part.name() == "silence")
            .unwrap();
        let start = super::super::story::text(silent.start);
        let mut ledger = Ledger::default();
        ledger.apply(
            &event("anomaly.detected", silent.service, &start, Vec::new()),
            Duration::from_secs(30),
        );
        ledger.apply(
            &event("anomaly.detected", "batch", &start, Vec::new()),
            Duration::from_secs(31),
        );
        let tally = Tally {
            n_records: 3,
            fingerprint: 8,
        };
        let document = Document::new(
            1,
            &story,
            &ledger,
            (tally, tally),
            Duration::from_secs(60),
            false,
        );
        assert_eq!(document.verdict(), Verdict::Failed);
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(
            (json["records_in"].as_u64(), json["records_out"].as_u64()),
            (Some(3), Some(3))
        );
        assert_eq!(json["seconds_to_first_anomaly"], 30.0);
        let lengths = [
            "injected",
            "look_alikes",
            "anomalies",
            "missed",
            "false_alarms",
        ]
        .map(|key| json[key].as_array().unwrap().len());
        assert_eq!(lengths, [5, 3, 2, 4, 1]);
        assert_eq!(json["false_alarms"][0]["service"], "batch");
        for key in ["kind", "service", "start", "end"] {
            assert!(json["injected"][0][key].is_string(), "{key}");
        }
    }

    #[test]
    fn a_lost_or_changed_record_fails_the_run() {
        let story = Story {
            scenes: Vec::new(),
            ..story()
        };
        let ledger = Ledger::default();
        let sent = Tally {
            n_records: 3,
            fingerprint: 8,
        };
        for (received, expected) in [
            (sent, Verdict::Passed),
            (
                Tally {
                    n_records: 2,
                    ..sent
                },
                Verdict::Failed,
            ),
            (
                Tally {
                    fingerprint: 9,
                    ..sent
                },
                Verdict::Failed,
            ),
        ] {
            let document =
                Document::new(1, &story, &ledger, (sent, received), Duration::ZERO, false);
            assert_eq!(document.verdict(), expected, "{received:?}");
        }
    }
}
