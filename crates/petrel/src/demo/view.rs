//! What a person sees of the demo: progress and incidents as they are made, anomalies as they are
//! found, and a table at the end. People's words go to stdout, or nowhere with `--json`; progress
//! always to stderr.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use petrel_batch::EventTime;

use super::anomaly::{AnomalyEvent, Change};
use super::report::Document;
use super::score::Hit;
use super::story::{HISTORY, Part, Scene};

/// Where there is no terminal, progress is a line this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Prints for people.
pub(super) struct View {
    is_quiet: bool,
    explains: bool,
    history_start: EventTime,
    /// A bar on a terminal, hidden elsewhere.
    bar: ProgressBar,
    /// Elapsed time at the last line of progress.
    last_line: Mutex<Duration>,
    /// The severity that was last printed of each open anomaly.
    severities: Mutex<HashMap<String, String>>,
}

impl View {
    /// A view of a run; a quiet one prints progress alone.
    pub(super) fn new(is_quiet: bool, explains: bool, history_start: EventTime) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(HISTORY.as_secs()).with_style(
                ProgressStyle::with_template("{msg} {wide_bar} {percent}%  {eta} left")
                    .expect("the template is valid"),
            )
        } else {
            ProgressBar::hidden()
        };
        bar.set_message("learning from history");
        Self {
            is_quiet,
            explains,
            history_start,
            bar,
            last_line: Mutex::default(),
            severities: Mutex::default(),
        }
    }

    /// What is going to happen.
    pub(super) fn opening(&self, seed: u64) {
        self.say(&format!(
            "Replaying {:.1} days of a shop's logs through Petrel, then eight scenes drawn from seed {seed}: five\n\
             incidents that it should report, three look-alikes that it should not. Times are event times in UTC.\n",
            HISTORY.as_secs_f64() / 86_400.0
        ));
    }

    /// That the replay has reached a time, `elapsed` after the start of the process.
    pub(super) fn progress(&self, reached: EventTime, n_records: u64, elapsed: Duration) {
        let seconds = reached.since(self.history_start).as_secs();
        self.bar.set_position(seconds.min(HISTORY.as_secs()));
        if reached.since(self.history_start) >= HISTORY {
            self.bar.finish_and_clear();
        }
        let mut last_line = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.bar.is_hidden() && elapsed.saturating_sub(*last_line) >= PROGRESS_INTERVAL {
            *last_line = elapsed;
            eprintln!(
                "replayed {:.2} days, {n_records} records",
                seconds as f64 / 86_400.0
            );
        }
    }

    /// That a scene begins.
    pub(super) fn scene(&self, scene: &Scene) {
        let minutes = scene.end.since(scene.start).as_secs() / 60;
        let what = match scene.part {
            Part::RateSpike | Part::RateDrop => {
                format!("x{:.2} for {minutes} min: {}", scene.size, quoted(scene))
            }
            Part::LatencyShift => format!("durations x{:.1} for {minutes} min", scene.size),
            Part::NewTemplate => {
                format!("{:.0}/min for {minutes} min: {}", scene.size, quoted(scene))
            }
            Part::Silence => format!("nothing for {minutes} min"),
            Part::CronBurst => "the daily export, as on every day".to_owned(),
            Part::Deploy => format!("a new version, {:.0} s of pause, new lines", scene.size),
            Part::SlowRise => format!(
                "traffic grows by {:.0} % over {} h",
                scene.size * 100.0,
                minutes / 60
            ),
        };
        let verb = if scene.part.is_incident() {
            "now injecting"
        } else {
            "harmless"
        };
        self.say(&format!(
            "{}  {verb}: {} in {}, {what}",
            clock(scene.start),
            scene.part.name(),
            scene.service
        ));
    }

    /// An anomaly event. Onset, a change of severity and end are printed; other updates only with
    /// `--explain`.
    pub(super) fn event(&self, event: &AnomalyEvent) {
        let anomaly = &event.anomaly;
        let has_new_severity = self.takes_severity(event);
        let mut line = format!("{}  ", clock(anomaly.detected));
        match event.change {
            Change::Detected => {
                let _ = write!(
                    line,
                    "{:5} {:9}  {}",
                    event.severity, anomaly.service, event.body
                );
                let _ = write!(line, "  [score {:.2}", anomaly.score.unwrap_or_default());
                if let Some(days) = event.rarity_days {
                    let _ = write!(line, ", {}", once_in(days));
                }
                line.push(']');
            }
            Change::Updated if has_new_severity => {
                let (severity, service) = (&event.severity, &anomaly.service);
                let _ = write!(line, "{severity:5} {service:9}  Still: {}", event.body);
            }
            Change::Updated if self.explains => {
                let _ = write!(line, "still  {:9}  {}", anomaly.service, event.body);
            }
            Change::Updated => return,
            Change::Resolved => {
                let _ = write!(line, "over  {:9}  {}", anomaly.service, event.body);
            }
        }
        if self.explains {
            explain(&mut line, event);
        }
        self.say(&line);
    }

    /// Whether the severity of an anomaly is another one than before; remembers it.
    fn takes_severity(&self, event: &AnomalyEvent) -> bool {
        let mut severities = self
            .severities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = &event.anomaly.id;
        match event.change {
            Change::Resolved => severities.remove(id).is_none(),
            Change::Detected | Change::Updated => {
                let before = severities.insert(id.clone(), event.severity.clone());
                before.is_none_or(|before| before != event.severity)
            }
        }
    }

    /// The table at the end.
    pub(super) fn summary(&self, document: &Document<'_>) {
        let mut text =
            String::from("\nWhat happened                            What Petrel said\n");
        let mut scenes: Vec<&Scene> = document
            .injected
            .iter()
            .chain(&document.look_alikes)
            .copied()
            .collect();
        scenes.sort_by_key(|scene| scene.start);
        for scene in scenes {
            let what = format!(
                "{}  {}: {}",
                clock(scene.start),
                scene.service,
                scene.part.name()
            );
            let _ = writeln!(text, "{what:40} {}", outcome(document, scene));
        }
        for anomaly in &document.false_alarms {
            let what = anomaly.template.as_deref().unwrap_or("all records");
            let _ = writeln!(
                text,
                "false alarm at {}: {} in {}, {what}",
                clock(anomaly.start),
                anomaly.kind,
                anomaly.service
            );
        }
        let _ = writeln!(
            text,
            "\n{} of {} incidents found, {} false alarms; {} records in, {} out{}",
            document.score.hits.len(),
            document.injected.len(),
            document.false_alarms.len(),
            document.records_in,
            document.records_out,
            if document.records_unchanged {
                ", each as it was but for Petrel's attributes"
            } else {
                ", NOT as they were"
            },
        );
        if let Some(seconds) = document.seconds_to_first_anomaly {
            let _ = write!(
                text,
                "first anomaly after {seconds:.1} s of {:.1} s",
                document.seconds
            );
        }
        self.say(&text);
    }

    /// How to send something of one's own; `is_moved` when the usual ports were taken.
    pub(super) fn invitation(&self, grpc: SocketAddr, http: SocketAddr, is_moved: bool) {
        let why = if is_moved {
            "The usual ports 4317 and 4318 were taken, so others are used. "
        } else {
            ""
        };
        self.say(&format!(
            "{why}Live traffic goes on. Send logs of your own, and what Petrel finds is printed here:\n\
             \n  an SDK        OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc} OTEL_EXPORTER_OTLP_PROTOCOL=grpc\
             \n                OTEL_EXPORTER_OTLP_ENDPOINT=http://{http} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\
             \n  a Collector   exporters: {{otlp_grpc: {{endpoint: {grpc}, tls: {{insecure: true}}}}}}\n\
             \nA service of your own is learnt first, which takes hours. The shop's payment service is known: this \
             \nwrites an error of it that was never seen before, and is reported within seconds:\n\
             \n{}\n\
             \nCtrl-C ends it.",
            example(http)
        ));
    }

    fn say(&self, text: &str) {
        if !self.is_quiet {
            self.bar.suspend(|| println!("{text}"));
        }
    }
}

/// A line for the shell that gives the payment service a new error, five times.
fn example(http: SocketAddr) -> String {
    let resource = [
        ("service.namespace", "shop"),
        ("service.name", "payment"),
        ("deployment.environment.name", "production"),
    ]
    .map(|(key, value)| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#))
    .join(",");
    format!(
        "for n in 1 2 3 4 5; do curl http://{http}/v1/logs -H 'content-type: application/json' -d \
         '{{\"resourceLogs\":[{{\"resource\":{{\"attributes\":[{resource}]}},\"scopeLogs\":[{{\"logRecords\":\
         [{{\"severityNumber\":17,\"body\":{{\"stringValue\":\"ledger '$n' is corrupt, payment refused\"}}}}]}}]}}]}}'; done"
    )
}

fn outcome(document: &Document<'_>, scene: &Scene) -> String {
    if !scene.part.is_incident() {
        let is_quiet = document
            .false_alarms
            .iter()
            .all(|anomaly| anomaly.service != scene.service);
        return if is_quiet {
            "nothing, rightly".into()
        } else {
            "a false alarm".into()
        };
    }
    match document.score.hits.iter().find(|hit| hit.scene == scene) {
        Some(Hit { anomaly, delay, .. }) => {
            let score = anomaly.score.unwrap_or_default();
            format!(
                "{} after {:.0} min, score {score:.2}",
                anomaly.kind,
                delay.as_secs_f64() / 60.0
            )
        }
        None => "MISSED".into(),
    }
}

fn explain(line: &mut String, event: &AnomalyEvent) {
    let anomaly = &event.anomaly;
    let plain = [
        ("id", Some(anomaly.id.clone())),
        ("template", anomaly.template.clone()),
        ("start", Some(super::story::text(anomaly.start))),
        (
            "observed",
            anomaly
                .observed
                .map(|value| with_unit(value, anomaly.unit.as_deref())),
        ),
        (
            "expected",
            anomaly
                .expected
                .map(|value| with_unit(value, anomaly.unit.as_deref())),
        ),
        (
            "detector",
            anomaly
                .detector
                .name
                .clone()
                .zip(anomaly.detector.version.clone())
                .map(|(name, version)| format!("{name} {version}")),
        ),
        ("module", anomaly.detector.digest.clone()),
    ];
    let plain = plain
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    for (name, value) in plain.chain(event.evidence.iter().cloned()) {
        let _ = write!(line, "\n         {name:24} {value}");
    }
}

fn with_unit(value: f64, unit: Option<&str>) -> String {
    let number = if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    };
    format!("{number} {}", unit.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// How rare, in words of which nobody needs to know the scale.
fn once_in(days: f64) -> String {
    match days {
        days if days < 2.0 => format!("once in {:.0} hours", days * 24.0),
        days if days < 730.0 => format!("once in {days:.0} days"),
        days if days < 365_250.0 => format!("once in {:.0} years", days / 365.25),
        _ => "once in a thousand years or less".into(),
    }
}

fn quoted(scene: &Scene) -> String {
    let line = scene
        .body
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    format!("\"{line}\"")
}

/// Hour and minute in UTC.
fn clock(time: EventTime) -> String {
    let minute = time.seconds() / 60 % 1_440;
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
