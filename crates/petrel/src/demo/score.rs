//! Compares what Petrel reported with what was made to happen.
//!
//! Rules, from `anomaly` events and ground truth alone:
//!
//! - An anomaly **hits** an incident when service, type and direction are those that the incident must
//!   show ([`expected`]), it was detected after the incident began, it starts within the incident or
//!   its tolerance around it, and, where it names a template and the incident singles one out, that is
//!   the one.
//! - Tolerance is the smaller of five minutes and the incident's length. It holds before the start too:
//!   where a deviation began is an estimate, pulled back by a few low minutes that came just before, and
//!   silence begins with the last record.
//! - An anomaly that is no hit **belongs** to an incident as an effect of it when the service is the
//!   same, it was detected after the incident began and it starts within the same bounds: when one
//!   template is written eight times as often, the service's total rises too.
//! - Every other anomaly is a false alarm, whatever its tier or state and however early in the history.
//!   An incident without a hit is missed.

use std::time::Duration;

use petrel_batch::EventTime;

use super::anomaly::Anomaly;
use super::story::{Part, Scene};

/// Longest time around an incident at which an anomaly may start and still be its effect.
const TOLERANCE_MAX: Duration = Duration::from_secs(300);
/// Share of a reported template's words that the incident's template must hold to be the same one.
const WORDS_SHARED_MIN: f64 = 0.6;
/// Shorter words say nothing about a template.
const WORD_LETTERS_MIN: usize = 3;

/// What became of the incidents and the anomalies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Score<'a> {
    pub(super) hits: Vec<Hit<'a>>,
    pub(super) missed: Vec<&'a Scene>,
    /// Effects of an incident that are no hits.
    pub(super) effects: Vec<&'a Anomaly>,
    pub(super) false_alarms: Vec<&'a Anomaly>,
}

/// An incident and the anomaly that reported it first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit<'a> {
    pub(super) scene: &'a Scene,
    pub(super) anomaly: &'a Anomaly,
    /// From the incident's start to the report, in event time.
    pub(super) delay: Duration,
}

/// Scores anomalies against the scenes of a story.
pub(super) fn score<'a>(scenes: &'a [Scene], anomalies: &'a [Anomaly]) -> Score<'a> {
    let mut score = Score::default();
    let incidents: Vec<&Scene> = scenes
        .iter()
        .filter(|scene| scene.part.is_incident())
        .collect();
    for scene in &incidents {
        let first = anomalies
            .iter()
            .filter(|anomaly| hits(scene, anomaly))
            .min_by_key(|anomaly| anomaly.detected);
        match first {
            Some(anomaly) => {
                let delay = anomaly.detected.since(scene.start);
                score.hits.push(Hit {
                    scene,
                    anomaly,
                    delay,
                });
            }
            None => score.missed.push(scene),
        }
    }
    for anomaly in anomalies {
        if incidents.iter().any(|scene| hits(scene, anomaly)) {
            continue;
        }
        if incidents.iter().any(|scene| belongs(scene, anomaly)) {
            score.effects.push(anomaly);
        } else {
            score.false_alarms.push(anomaly);
        }
    }
    score
}

/// Type and direction that an incident must show; none for what must stay quiet.
pub(super) fn expected(part: Part) -> Option<(&'static str, &'static str)> {
    match part {
        Part::RateSpike => Some(("frequency", "above")),
        Part::RateDrop => Some(("frequency", "below")),
        Part::LatencyShift => Some(("latency", "above")),
        Part::NewTemplate => Some(("novelty", "appeared")),
        Part::Silence => Some(("silence", "disappeared")),
        Part::CronBurst | Part::Deploy | Part::SlowRise => None,
    }
}

fn hits(scene: &Scene, anomaly: &Anomaly) -> bool {
    let Some((kind, direction)) = expected(scene.part) else {
        return false;
    };
    let template_fits = match (scene.body, &anomaly.template) {
        (Some(body), Some(template)) => is_template_of(template, body),
        _ => true,
    };
    anomaly.kind == kind
        && anomaly.direction.as_deref() == Some(direction)
        && template_fits
        && belongs(scene, anomaly)
}

fn belongs(scene: &Scene, anomaly: &Anomaly) -> bool {
    anomaly.service == scene.service
        && anomaly.detected >= scene.start
        && bounds(scene).contains(&anomaly.start)
}

fn bounds(scene: &Scene) -> std::ops::RangeInclusive<EventTime> {
    let tolerance = TOLERANCE_MAX.min(scene.end.since(scene.start));
    scene.start.saturating_sub(tolerance)..=scene.end.saturating_add(tolerance)
}

/// Whether a mined template is that of a body with slots: nearly all of its words are the body's.
fn is_template_of(template: &str, body: &str) -> bool {
    let of_body: Vec<&str> = words(body).collect();
    let (mut n_words, mut n_shared) = (0, 0);
    for word in words(template) {
        n_words += 1;
        n_shared += usize::from(of_body.contains(&word));
    }
    n_words > 0 && f64::from(n_shared as u32) >= WORDS_SHARED_MIN * f64::from(n_words)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphabetic())
        .filter(|word| word.len() >= WORD_LETTERS_MIN)
}

#[cfg(test)]
mod tests {
    use super::super::anomaly::Detector;
    use super::*;

    fn minute(minute: u64) -> EventTime {
        EventTime::from_seconds(minute * 60)
    }

    fn scene(part: Part, body: Option<&'static str>) -> Scene {
        Scene {
            part,
            service: "auth",
            start: minute(100),
            end: minute(120),
            size: 8.0,
            body,
            service_index: 4,
        }
    }

    fn anomaly(
        service: &str,
        kind: &str,
        direction: &str,
        start: u64,
        template: Option<&str>,
    ) -> Anomaly {
        Anomaly {
            id: "1".into(),
            kind: kind.into(),
            service: service.into(),
            template: template.map(Into::into),
            direction: Some(direction.into()),
            score: Some(0.7),
            start: minute(start),
            end: None,
            detected: minute(start + 3),
            state: None,
            observed: None,
            expected: None,
            lower: None,
            upper: None,
            unit: None,
            detector: Detector {
                name: None,
                version: None,
                digest: None,
            },
        }
    }

    fn check(part: Part, anomaly: Anomaly, expected: &str) {
        let scenes = [scene(
            part,
            (part == Part::RateSpike).then_some("session <uuid> opened for <user>"),
        )];
        let anomalies = [anomaly];
        let score = score(&scenes, &anomalies);
        let found = match (
            score.hits.len(),
            score.effects.len(),
            score.false_alarms.len(),
        ) {
            (1, 0, 0) => "hit",
            (0, 1, 0) => "effect",
            (0, 0, 1) => "false alarm",
            _ => "?",
        };
        assert_eq!(found, expected, "{:?}", anomalies[0]);
        assert_eq!(
            score.missed.len(),
            usize::from(part.is_incident() && found != "hit")
        );
    }

    #[test]
    fn an_anomaly_is_a_hit_an_effect_or_a_false_alarm() {
        use Part::{CronBurst, RateSpike, Silence};
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 101, None),
            "hit",
        );
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 99, None),
            "hit",
        );
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 125, None),
            "hit",
        );
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 94, None),
            "false alarm",
        );
        // Detected in minute 99, before anything was wrong.
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 96, None),
            "false alarm",
        );
        check(
            RateSpike,
            anomaly("auth", "frequency", "above", 126, None),
            "false alarm",
        );
        check(
            RateSpike,
            anomaly("auth", "frequency", "below", 101, None),
            "effect",
        );
        check(
            RateSpike,
            anomaly("auth", "latency", "above", 101, None),
            "effect",
        );
        check(
            RateSpike,
            anomaly("payment", "frequency", "above", 101, None),
            "false alarm",
        );
        check(
            RateSpike,
            anomaly(
                "auth",
                "frequency",
                "above",
                101,
                Some("session <*> opened for <*>"),
            ),
            "hit",
        );
        check(
            RateSpike,
            anomaly(
                "auth",
                "frequency",
                "above",
                101,
                Some("token verified for <*>"),
            ),
            "effect",
        );
        check(
            Silence,
            anomaly("auth", "silence", "disappeared", 100, None),
            "hit",
        );
        check(
            Silence,
            anomaly("auth", "frequency", "below", 100, None),
            "effect",
        );
        check(
            CronBurst,
            anomaly("auth", "frequency", "above", 101, None),
            "false alarm",
        );
    }

    #[test]
    fn the_first_report_counts() {
        let scenes = [scene(Part::RateSpike, None)];
        let late = anomaly("auth", "frequency", "above", 110, None);
        let early = anomaly("auth", "frequency", "above", 101, None);
        let anomalies = [late, early];
        let score = score(&scenes, &anomalies);
        assert_eq!(score.hits[0].delay, Duration::from_secs(240));
        assert!(score.false_alarms.is_empty() && score.effects.is_empty());
    }
}
