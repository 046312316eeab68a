//! What is made to happen, and when: the ground truth. Petrel never sees it.
//!
//! Each service but the one with cron jobs plays one part, drawn from the seed. What is drawn, and
//! from which range, is [`Part::RANGES`] and nothing else.

use std::ops::RangeInclusive;
use std::time::Duration;

use petrel_batch::EventTime;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer};

use super::catalogue::{self, Service};

/// Traffic before the first scene: four days and a half from the shop's midnight on, so that the
/// story plays through an afternoon.
pub(super) const HISTORY: Duration = Duration::from_secs(108 * 3_600);
/// Length of the story.
pub(super) const STORY: Duration = Duration::from_secs(8 * 3_600);
/// Every scene of its own slot begins this far behind the one before, and up to `JITTER` later.
const SLOT: Duration = Duration::from_secs(70 * 60);
/// How many whole minutes a scene may begin after its slot does.
const JITTER_MINUTES: RangeInclusive<u64> = 2..=20;
/// The stream of the generator's random numbers that the story draws from.
const RANDOM_STREAM: u64 = 1;

/// What a scene does; the first five are incidents, the others must stay quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// One template is written `size` times as often.
    RateSpike,
    /// One template is written at the share `size` of its rate.
    RateDrop,
    /// All durations are `size` times as long.
    LatencyShift,
    /// An error never written before, `size` times a minute.
    NewTemplate,
    /// Nothing is written.
    Silence,
    /// The daily export of every day before.
    CronBurst,
    /// A new version: `size` seconds without records, a banner, and a few templates not seen before.
    Deploy,
    /// Traffic grows by the share `size` until the end of the story, on top of the daily cycle.
    SlowRise,
}

impl Part {
    /// Part, minutes that it lasts, and what its size is drawn from.
    const RANGES: [(Self, RangeInclusive<u64>, RangeInclusive<f64>); 8] = [
        (Self::RateSpike, 10..=20, 6.0..=10.0),
        (Self::RateDrop, 20..=30, 0.1..=0.25),
        (Self::LatencyShift, 15..=25, 2.5..=4.0),
        (Self::NewTemplate, 15..=25, 5.0..=12.0),
        (Self::Silence, 20..=30, 0.0..=0.0),
        (
            Self::CronBurst,
            catalogue::REPORT_MINUTES..=catalogue::REPORT_MINUTES,
            1.0..=1.0,
        ),
        (Self::Deploy, 15..=15, 5.0..=20.0),
        (Self::SlowRise, 480..=480, 0.08..=0.2),
    ];

    /// Whether Petrel is expected to report it.
    pub(super) fn is_incident(self) -> bool {
        !matches!(self, Self::CronBurst | Self::Deploy | Self::SlowRise)
    }

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RateSpike => "rate spike",
            Self::RateDrop => "rate drop",
            Self::LatencyShift => "latency shift",
            Self::NewTemplate => "new template",
            Self::Silence => "silence",
            Self::CronBurst => "cron burst",
            Self::Deploy => "deploy",
            Self::SlowRise => "slow rise",
        }
    }
}

/// One thing that happens to one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Scene {
    #[serde(rename = "kind")]
    pub(super) part: Part,
    pub(super) service: &'static str,
    #[serde(serialize_with = "as_text")]
    pub(super) start: EventTime,
    #[serde(serialize_with = "as_text")]
    pub(super) end: EventTime,
    /// What the number means is said by the part.
    pub(super) size: f64,
    /// Body of the template that is singled out.
    #[serde(rename = "template", skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<&'static str>,
    #[serde(skip)]
    pub(super) service_index: usize,
}

impl Scene {
    fn is_on(&self, time: EventTime) -> bool {
        self.start <= time && time < self.end
    }
}

/// All scenes in order of their start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Story {
    /// When traffic begins: the shop's midnight.
    pub(super) history_start: EventTime,
    /// When the last scene is over and all is calm again.
    pub(super) end: EventTime,
    pub(super) scenes: Vec<Scene>,
}

/// What the story does to one service at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effects {
    pub(super) silent: bool,
    /// Factor on the rate of all templates.
    pub(super) rate: f64,
    /// Factor on the rate of one template, by its body.
    pub(super) singled_out: Option<(&'static str, f64)>,
    /// Factor on durations.
    pub(super) latency: f64,
    /// How often a minute the fault of that body is written.
    pub(super) fault: Option<(&'static str, f64)>,
    /// Since when the new version runs, its silence while starting included.
    pub(super) deployed: Option<(EventTime, f64)>,
}

impl Story {
    /// The story of a seed, with `history_start` as the shop's midnight.
    pub(super) fn new(seed: u64, history_start: EventTime) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(RANDOM_STREAM);
        let services = catalogue::services();
        let mut cast: Vec<usize> = (0..catalogue::BATCH).collect();
        cast.shuffle(&mut random);
        let mut slots: Vec<u32> = (0..6).collect();
        slots.shuffle(&mut random);

        let story_start = history_start.saturating_add(HISTORY);
        let mut slots = slots.into_iter();
        let mut cast = cast.into_iter();
        let mut scenes: Vec<Scene> = Part::RANGES
            .iter()
            .map(|(part, minutes, sizes)| {
                let service_index = match part {
                    Part::CronBurst => catalogue::BATCH,
                    _ => cast
                        .next()
                        .expect("a service for each part but the cron burst"),
                };
                let start = match part {
                    Part::CronBurst => next_report(story_start),
                    Part::SlowRise => story_start,
                    _ => {
                        let slot = slots
                            .next()
                            .expect("a slot for each part that has a time of its own");
                        let jitter = random.random_range(JITTER_MINUTES) * 60;
                        story_start.saturating_add(SLOT * slot + Duration::from_secs(jitter))
                    }
                };
                let length = Duration::from_secs(random.random_range(minutes.clone()) * 60);
                Scene {
                    part: *part,
                    service: services[service_index].name,
                    start,
                    end: start.saturating_add(length),
                    size: random.random_range(sizes.clone()),
                    body: body_of(*part, &services[service_index], &mut random),
                    service_index,
                }
            })
            .collect();
        scenes.sort_by_key(|scene| scene.start);
        Self {
            history_start,
            end: story_start.saturating_add(STORY),
            scenes,
        }
    }

    /// When the first scene may begin.
    pub(super) fn start(&self) -> EventTime {
        self.history_start.saturating_add(HISTORY)
    }

    /// The scenes that Petrel is expected to report.
    pub(super) fn incidents(&self) -> impl Iterator<Item = &Scene> {
        self.scenes.iter().filter(|scene| scene.part.is_incident())
    }

    /// What happens to a service at a time.
    pub(super) fn effects(&self, service_index: usize, time: EventTime) -> Effects {
        let mut effects = Effects {
            silent: false,
            rate: 1.0,
            singled_out: None,
            latency: 1.0,
            fault: None,
            deployed: None,
        };
        let scenes = self
            .scenes
            .iter()
            .filter(|scene| scene.service_index == service_index);
        for scene in scenes.filter(|scene| scene.start <= time) {
            match scene.part {
                Part::Deploy => effects.deployed = Some((scene.start, scene.size)),
                Part::SlowRise => {
                    let passed = time.since(scene.start).as_secs_f64();
                    let length = scene.end.since(scene.start).as_secs_f64();
                    effects.rate = 1.0 + scene.size * (passed / length).min(1.0);
                }
                _ if !scene.is_on(time) => {}
                Part::RateSpike | Part::RateDrop => {
                    effects.singled_out = scene.body.map(|body| (body, scene.size));
                }
                Part::LatencyShift => effects.latency = scene.size,
                Part::NewTemplate => effects.fault = scene.body.map(|body| (body, scene.size)),
                Part::Silence => effects.silent = true,
                // The report is written by the catalogue's own rhythm, on this day as on any other.
                Part::CronBurst => {}
            }
        }
        effects
    }
}

/// The first daily report at or after a time that lies on the shop's midnight or noon.
fn next_report(story_start: EventTime) -> EventTime {
    let minute_of_day = HISTORY.as_secs() / 60 % 1_440;
    let wait = (catalogue::REPORT_MINUTE + 1_440 - minute_of_day) % 1_440;
    story_start.saturating_add(Duration::from_secs(wait * 60))
}

fn body_of(part: Part, service: &Service, random: &mut impl Rng) -> Option<&'static str> {
    match part {
        Part::RateSpike | Part::RateDrop => {
            let headlines: Vec<_> = service
                .templates
                .iter()
                .filter(|template| template.headline)
                .collect();
            headlines.choose(random).map(|template| template.body)
        }
        Part::NewTemplate => catalogue::faults()
            .choose(random)
            .map(|template| template.body),
        _ => None,
    }
}

/// Writes an event time as ISO 8601.
pub(super) fn as_text<S: Serializer>(time: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*time))
}

/// An event time as ISO 8601, in UTC.
pub(super) fn text(time: EventTime) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.nanos()))
        .map_or_else(|_| time.to_string(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: EventTime = EventTime::from_seconds(1_767_571_200);

    #[test]
    fn every_part_is_played_once_within_its_range() {
        for seed in 0..200 {
            let story = Story::new(seed, MIDNIGHT);
            assert_eq!(story.scenes.len(), 8);
            for (part, minutes, sizes) in &Part::RANGES {
                let mut played = story.scenes.iter().filter(|scene| scene.part == *part);
                let scene = played.next().unwrap();
                assert!(played.next().is_none());
                let length = scene.end.since(scene.start).as_secs();
                assert!(
                    minutes.contains(&(length / 60)) && length % 60 == 0,
                    "{scene:?}"
                );
                assert!(sizes.contains(&scene.size), "{scene:?}");
                assert!(
                    story.start() <= scene.start && scene.end <= story.end,
                    "{scene:?}"
                );
                assert_eq!(
                    scene.body.is_some(),
                    matches!(part, Part::RateSpike | Part::RateDrop | Part::NewTemplate),
                    "{scene:?}"
                );
            }
        }
    }

    #[test]
    fn no_service_plays_two_parts_and_no_two_incidents_overlap() {
        for seed in 0..200 {
            let story = Story::new(seed, MIDNIGHT);
            let mut services: Vec<_> = story.scenes.iter().map(|scene| scene.service).collect();
            services.sort_unstable();
            services.dedup();
            assert_eq!(services.len(), 8, "seed {seed}");
            let incidents: Vec<_> = story.incidents().collect();
            assert_eq!(incidents.len(), 5);
            assert!(
                incidents.is_sorted_by(|a, b| a.end <= b.start),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn seeds_differ_and_repeat() {
        assert_eq!(Story::new(7, MIDNIGHT), Story::new(7, MIDNIGHT));
        assert_ne!(Story::new(7, MIDNIGHT), Story::new(8, MIDNIGHT));
    }

    #[test]
    fn effects_follow_the_scenes() {
        let story = Story::new(1, MIDNIGHT);
        let before = |scene: &Scene| scene.start.saturating_sub(Duration::from_secs(1));
        for scene in story.incidents() {
            let calm = story.effects(scene.service_index, before(scene));
            let struck = story.effects(scene.service_index, scene.start);
            assert_ne!(calm, struck, "{scene:?}");
            assert_eq!(
                calm,
                story.effects(scene.service_index, scene.end),
                "{scene:?}"
            );
        }
    }
}
