//! One service of the shop: what it writes in a stretch of event time, and that as OTLP.

use std::time::Duration;

use petrel_batch::EventTime;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::catalogue::{self, Rhythm, Service, Template};
use super::encode::{self, Value, field};
use super::pattern::{Facts, Pattern};
use super::story::Effects;
use super::traffic::{self, DAY_SECONDS, Wander};

/// Deviation and memory in seconds of what moves a service's traffic over minutes, and over hours.
const MINUTES_WANDER: (f64, f64) = (0.08, 300.0);
const HOURS_WANDER: (f64, f64) = (0.04, 6.0 * 3_600.0);
/// The same of one template apart from its service, and of its durations.
const TEMPLATE_WANDER: (f64, f64) = (0.06, 180.0);
const LATENCY_WANDER: (f64, f64) = (0.05, 300.0);
/// Deviation of the logarithm of durations of one template within a minute.
const LATENCY_DEVIATION: f64 = 0.45;
/// Swing of durations with the daily cycle: busy hours are a little slower.
const LATENCY_SWING: f64 = 0.08;
/// The version that a deploy brings.
const NEW_VERSION_SUFFIX: &str = "+canary.1";

/// A service with the state of its traffic.
pub(super) struct Source {
    service: Service,
    lanes: Vec<Lane>,
    minutes_wander: Wander,
    hours_wander: Wander,
    latency_wander: Wander,
    /// Encoded resource and host name of each instance.
    instances: Vec<(Vec<u8>, String)>,
    version: String,
    encoded_scope: Vec<u8>,
}

/// A template with the state of its traffic.
struct Lane {
    template: Template,
    role: Role,
    /// The body, or its lines where each is a record.
    bodies: Vec<Pattern>,
    encoded_attributes: Vec<u8>,
    wander: Wander,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Written all the time.
    Steady,
    /// Written during an incident alone.
    Fault,
    /// Written by a new version alone; at its start if it has no rate.
    Deployed,
}

/// A record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) instance: usize,
    pub(super) time: EventTime,
    pub(super) lane: usize,
}

/// A stretch of event time, at most a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) start: EventTime,
    pub(super) length: Duration,
    /// Seconds since the shop's first midnight at `start`.
    pub(super) shop_second: u64,
}

impl Slice {
    fn daily_cycle(self, swing: f64) -> f64 {
        traffic::daily_cycle(self.shop_second as f64 % DAY_SECONDS, swing)
    }
}

impl Source {
    pub(super) fn new(mut service: Service) -> Self {
        let steady = std::mem::take(&mut service.templates)
            .into_iter()
            .map(|template| (template, Role::Steady));
        let faults = catalogue::faults()
            .into_iter()
            .map(|template| (template, Role::Fault));
        let novelties = catalogue::novelties()
            .into_iter()
            .map(|template| (template, Role::Deployed));
        let mut encoded_scope = Vec::new();
        encode::message(&mut encoded_scope, field::SCOPE_LOGS_SCOPE, |buffer| {
            encode::bytes(buffer, field::SCOPE_NAME, service.scope.as_bytes());
        });
        let mut source = Self {
            lanes: steady
                .chain(faults)
                .chain(novelties)
                .map(|(template, role)| Lane::new(template, role))
                .collect(),
            minutes_wander: Wander::new(MINUTES_WANDER.0, MINUTES_WANDER.1),
            hours_wander: Wander::new(HOURS_WANDER.0, HOURS_WANDER.1),
            latency_wander: Wander::new(LATENCY_WANDER.0, LATENCY_WANDER.1),
            instances: Vec::new(),
            version: String::new(),
            encoded_scope,
            service,
        };
        source.start_instances(source.service.version.to_owned());
        source
    }

    /// Gives every instance the resource of a version; the names of pods change with it.
    fn start_instances(&mut self, version: String) {
        self.version = version;
        let name = self.service.name;
        self.instances = (0..self.service.n_instances)
            .map(|index| {
                let replica_set = xxh3_64(format!("{name}/{}", self.version).as_bytes());
                let pod = xxh3_64(format!("{replica_set}/{index}").as_bytes());
                let host = format!("{name}-{:08x}-{:05x}", replica_set >> 32, pod >> 44);
                let mut resource = Vec::new();
                encode::message(&mut resource, field::RESOURCE_LOGS_RESOURCE, |buffer| {
                    for (key, value) in [
                        ("service.name", name),
                        ("service.namespace", "shop"),
                        ("service.version", &self.version),
                        ("service.instance.id", &host),
                        ("deployment.environment.name", "production"),
                        ("k8s.cluster.name", "eu-1"),
                        ("k8s.namespace.name", "shop"),
                        ("k8s.deployment.name", name),
                        ("k8s.pod.name", &host),
                        ("telemetry.sdk.name", "opentelemetry"),
                    ] {
                        encode::attribute(
                            buffer,
                            field::RESOURCE_ATTRIBUTES,
                            key,
                            Value::Text(value),
                        );
                    }
                });
                (resource, host)
            })
            .collect();
    }

    /// Appends what the service writes in a slice, in any order.
    pub(super) fn draw(
        &mut self,
        due: &mut Vec<Due>,
        slice: Slice,
        effects: &Effects,
        random: &mut ChaCha8Rng,
    ) {
        let seconds = slice.length.as_secs_f64();
        let wander =
            self.minutes_wander.step(seconds, random) * self.hours_wander.step(seconds, random);
        let traffic = slice.daily_cycle(self.service.daily_swing) * wander * effects.rate;
        for (lane_index, lane) in self.lanes.iter_mut().enumerate() {
            let wander = lane.wander.step(seconds, random);
            if effects.silent {
                continue;
            }
            let per_minute = match (lane.role, lane.template.rhythm) {
                (_, Rhythm::Every(period)) => {
                    lane.beat(lane_index, period, slice, self.instances.len(), random, due);
                    continue;
                }
                (_, rhythm @ (Rhythm::Hourly { .. } | Rhythm::Daily { .. })) => {
                    rhythm.scheduled(slice) * wander
                }
                (Role::Steady, Rhythm::PerMinute(rate)) => {
                    rate * traffic * wander * lane.factor(effects)
                }
                (Role::Fault, _) => lane.fault_rate(effects),
                (Role::Deployed, Rhythm::PerMinute(rate)) => {
                    lane.deployed_rate(rate, slice, effects)
                }
            };
            for _ in 0..traffic::count(per_minute * seconds / 60.0, random) {
                due.push(Due {
                    instance: random.random_range(0..self.instances.len()),
                    time: EventTime(
                        slice.start.0 + random.random_range(0..slice.length.as_nanos() as u64),
                    ),
                    lane: lane_index,
                });
            }
        }
        self.deploy(due, slice, effects);
    }

    /// Where a new version starts in this slice: no records until it is up, then its banner.
    fn deploy(&mut self, due: &mut Vec<Due>, slice: Slice, effects: &Effects) {
        let Some((start, pause_seconds)) = effects.deployed else {
            return;
        };
        if !self.version.ends_with(NEW_VERSION_SUFFIX) {
            self.start_instances(format!("{}{NEW_VERSION_SUFFIX}", self.service.version));
        }
        if start != slice.start {
            return;
        }
        let up = start.saturating_add(Duration::from_secs_f64(pause_seconds));
        due.retain(|due| due.time >= up);
        let banner = self.lanes.iter().enumerate().filter(|(_, lane)| {
            lane.role == Role::Deployed && lane.template.rhythm == Rhythm::PerMinute(0.0)
        });
        for (line, (lane, _)) in banner.enumerate() {
            for instance in 0..self.instances.len() {
                let time = up.saturating_add(Duration::from_millis(
                    40 * line as u64 + 7 * instance as u64,
                ));
                due.push(Due {
                    instance,
                    time,
                    lane,
                });
            }
        }
    }

    /// Appends the records as one `ResourceLogs` an instance and shows each record's bytes to `written`.
    pub(super) fn encode(
        &mut self,
        request: &mut Vec<u8>,
        due: &[Due],
        slice: Slice,
        effects: &Effects,
        random: &mut ChaCha8Rng,
        mut written: impl FnMut(&[u8]),
    ) {
        let wander = self.latency_wander.step(slice.length.as_secs_f64(), random);
        let latency = effects.latency * wander * slice.daily_cycle(LATENCY_SWING);
        for of_instance in due.chunk_by(|a, b| a.instance == b.instance) {
            let (resource, host) = &self.instances[of_instance[0].instance];
            encode::message(request, field::REQUEST_RESOURCE_LOGS, |request| {
                request.extend_from_slice(resource);
                encode::message(request, field::RESOURCE_LOGS_SCOPE_LOGS, |request| {
                    request.extend_from_slice(&self.encoded_scope);
                    for due in of_instance {
                        let lane = &self.lanes[due.lane];
                        let facts = Facts {
                            time: due.time,
                            duration_ms: lane.duration_ms(latency, random),
                            version: &self.version,
                            host,
                            trace: random.random(),
                        };
                        lane.encode(request, facts, random, &mut written);
                    }
                });
            });
        }
    }
}

impl Rhythm {
    /// Records a minute of what is written by schedule; slices lie within minutes.
    fn scheduled(self, slice: Slice) -> f64 {
        let minute = slice.shop_second / 60;
        match self {
            Self::Hourly {
                minute: at,
                records,
            } if minute % 60 == at => records,
            Self::Daily {
                minute: at,
                minutes,
                per_minute,
            } if (at..at + minutes).contains(&(minute % 1_440)) => per_minute,
            _ => 0.0,
        }
    }
}

impl Lane {
    fn new(template: Template, role: Role) -> Self {
        let bodies = if template.by_line {
            template.body.lines().map(Pattern::parse).collect()
        } else {
            vec![Pattern::parse(template.body)]
        };
        let mut encoded_attributes = Vec::new();
        for (key, value) in &template.attributes {
            encode::attribute(
                &mut encoded_attributes,
                field::RECORD_ATTRIBUTES,
                key,
                *value,
            );
        }
        Self {
            role,
            bodies,
            encoded_attributes,
            wander: Wander::new(TEMPLATE_WANDER.0, TEMPLATE_WANDER.1),
            template,
        }
    }

    fn factor(&self, effects: &Effects) -> f64 {
        match effects.singled_out {
            Some((body, factor)) if body == self.template.body => factor,
            _ => 1.0,
        }
    }

    fn fault_rate(&self, effects: &Effects) -> f64 {
        match effects.fault {
            Some((body, per_minute)) if body == self.template.body => per_minute,
            _ => 0.0,
        }
    }

    fn deployed_rate(&self, rate: f64, slice: Slice, effects: &Effects) -> f64 {
        match effects.deployed {
            Some((start, _)) if start <= slice.start => rate,
            _ => 0.0,
        }
    }

    /// Appends a beat of every instance at each multiple of the period, a few milliseconds late.
    fn beat(
        &self,
        lane: usize,
        period: u64,
        slice: Slice,
        n_instances: usize,
        random: &mut ChaCha8Rng,
        due: &mut Vec<Due>,
    ) {
        let end = slice.shop_second + slice.length.as_secs();
        for second in (slice.shop_second..end).filter(|second| second % period == 0) {
            for instance in 0..n_instances {
                let late = random.random_range(0..40_000_000);
                let time = slice.start.0 + (second - slice.shop_second) * 1_000_000_000 + late;
                due.push(Due {
                    instance,
                    time: EventTime(time),
                    lane,
                });
            }
        }
    }

    fn duration_ms(&self, latency: f64, random: &mut ChaCha8Rng) -> f64 {
        let median_ms = self.template.median_ms;
        median_ms.map_or(0.0, |median_ms| {
            traffic::log_normal(median_ms * latency, LATENCY_DEVIATION, random)
        })
    }

    /// Appends the record, or one for each line of its body, a microsecond apart.
    fn encode(
        &self,
        request: &mut Vec<u8>,
        mut facts: Facts<'_>,
        random: &mut ChaCha8Rng,
        written: &mut impl FnMut(&[u8]),
    ) {
        for body in &self.bodies {
            let mut n_record = 0;
            encode::message(request, field::SCOPE_LOGS_LOG_RECORDS, |record| {
                let start = record.len();
                self.encode_fields(record, body, &facts, random);
                n_record = record.len() - start;
            });
            written(&request[request.len() - n_record..]);
            facts.time = facts.time.saturating_add(Duration::from_micros(1));
        }
    }

    fn encode_fields(
        &self,
        record: &mut Vec<u8>,
        body: &Pattern,
        facts: &Facts<'_>,
        random: &mut ChaCha8Rng,
    ) {
        let level = self.template.level;
        encode::fixed64(record, field::RECORD_TIME, facts.time.nanos());
        encode::varint(record, field::RECORD_SEVERITY_NUMBER, level as u64);
        encode::bytes(record, field::RECORD_SEVERITY_TEXT, level.text().as_bytes());
        encode::message(record, field::RECORD_BODY, |record| {
            encode::message(record, field::VALUE_STRING, |record| {
                body.render(record, facts, random)
            });
        });
        record.extend_from_slice(&self.encoded_attributes);
        if self.template.median_ms.is_some() {
            encode::attribute(
                record,
                field::RECORD_ATTRIBUTES,
                "duration_ms",
                Value::Double(facts.duration_ms),
            );
        }
        if self.template.traced {
            encode::fixed32(record, field::RECORD_FLAGS, 1);
            encode::bytes(record, field::RECORD_TRACE_ID, &facts.trace);
            encode::bytes(record, field::RECORD_SPAN_ID, &random.random::<[u8; 8]>());
        }
        let observed = facts.time.nanos() + random.random_range(200_000..3_000_000);
        encode::fixed64(record, field::RECORD_OBSERVED_TIME, observed);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::story::{Part, Scene, Story};
    use super::*;

    const MIDNIGHT: EventTime = EventTime::from_seconds(1_767_571_200);
    const SLICE: Duration = Duration::from_secs(30);
    const DAY: Duration = Duration::from_secs(86_400);

    /// Records of a service a minute that the generator draws over `length`, with the scene at its start.
    fn rate(part: Part, size: f64, body: Option<&'static str>, length: Duration) -> f64 {
        let catalogue = catalogue::services();
        let service_index = catalogue
            .iter()
            .position(|service| service.name == "auth")
            .unwrap();
        let (start, end) = (MIDNIGHT, MIDNIGHT.saturating_add(length));
        let scene = Scene {
            part,
            service: "auth",
            start,
            end,
            size,
            body,
            service_index,
        };
        let story = Story {
            history_start: MIDNIGHT,
            end,
            scenes: vec![scene],
        };
        let mut source = Source::new(catalogue.into_iter().nth(service_index).unwrap());
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let n_slices = length.as_secs() / SLICE.as_secs();
        let mut due = Vec::new();
        for index in 0..n_slices {
            let shop_second = index * SLICE.as_secs();
            let slice = Slice {
                start: MIDNIGHT.saturating_add(SLICE * index as u32),
                length: SLICE,
                shop_second,
            };
            source.draw(
                &mut due,
                slice,
                &story.effects(service_index, slice.start),
                &mut random,
            );
        }
        due.len() as f64 / (length.as_secs_f64() / 60.0)
    }

    #[test]
    fn rates_are_those_of_the_catalogue_and_the_story() {
        let auth = catalogue::services()
            .into_iter()
            .find(|service| service.name == "auth")
            .unwrap();
        let of = |template: &Template| match template.rhythm {
            Rhythm::PerMinute(rate) => rate,
            _ => 0.0,
        };
        let total: f64 = auth.templates.iter().map(of).sum();
        let headline = auth
            .templates
            .iter()
            .find(|template| template.headline)
            .unwrap();
        let close = |found: f64, expected: f64| {
            assert!(
                (found / expected - 1.0).abs() < 0.05,
                "{found} instead of {expected}"
            );
        };
        close(rate(Part::CronBurst, 1.0, None, DAY), total);
        close(
            rate(Part::RateSpike, 8.0, Some(headline.body), DAY),
            total + 7.0 * of(headline),
        );
        close(
            rate(Part::RateDrop, 0.1, Some(headline.body), DAY),
            total - 0.9 * of(headline),
        );
        close(
            rate(
                Part::NewTemplate,
                10.0,
                Some(catalogue::faults()[0].body),
                DAY,
            ),
            total + 10.0,
        );
        close(rate(Part::SlowRise, 0.2, None, DAY), total * 1.1);
        assert_eq!(rate(Part::Silence, 0.0, None, DAY), 0.0);
    }

    #[test]
    fn a_deploy_brings_a_new_version_after_its_pause() {
        let mut source = Source::new(catalogue::services().swap_remove(4));
        let (old, mut due) = (source.instances.clone(), Vec::new());
        let slice = Slice {
            start: MIDNIGHT,
            length: SLICE,
            shop_second: 0,
        };
        let calm = Story {
            history_start: MIDNIGHT,
            end: MIDNIGHT,
            scenes: Vec::new(),
        }
        .effects(4, MIDNIGHT);
        let effects = Effects {
            deployed: Some((MIDNIGHT, 12.0)),
            ..calm
        };
        source.draw(&mut due, slice, &effects, &mut ChaCha8Rng::seed_from_u64(1));
        let up = MIDNIGHT.saturating_add(Duration::from_secs(12));
        assert!(due.iter().all(|due| due.time >= up));
        assert_eq!(
            due.iter()
                .filter(|due| source.lanes[due.lane].role == Role::Deployed)
                .count()
                / 3,
            1
        );
        assert_ne!(source.instances, old);
    }
}
