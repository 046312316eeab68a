//! Calibration: from a detector's own score to how often a score so high comes, for its series.
//!
//! The exceedances of `report_from` (u) are counted and their tail is fitted, per
//! series and direction. A score s becomes s' = -log10(r) + (s - u) * 0.434 / theta, where r is the
//! rate of exceedances a minute of event time and theta their mean excess; so 10^s' minutes is how
//! rarely such a score comes by itself, whatever the detector tests and how often.

use std::collections::BTreeMap;

use petrel_detector::{Direction, Kind, Scale};
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::settings::nanos;

/// Mean excess of an exact surprise: 1 / ln 10.
pub(crate) const UNIT_EXCESS: f64 = 0.434;
/// Exceedances that the prior of theta stands for; more where few come to learn from.
const PRIOR_EXCESSES: f64 = 20.0;
const PRIOR_EXCESSES_DROP: f64 = 40.0;
/// An excess counts at most so many thetas: one incident must not teach that incidents are usual.
const EXCESS_CLIP: f64 = 4.0;
/// The most that theta may be on the drop channel, in units of [`UNIT_EXCESS`].
const DROP_THETA_MAX: f64 = 3.0;
/// What an exceedance counts while its anomaly is open.
pub(crate) const WEIGHT_WHILE_OPEN: f64 = 0.1;
/// Exceedances that may still be replaced or withdrawn.
const REPLACEABLE: usize = 8;
const MINUTE: f64 = 60e9;

/// Spans of calibration, in minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    half_life: f64,
    prior: f64,
}

impl Spans {
    pub(crate) fn new(settings: &Settings) -> Self {
        let minutes = |duration| (nanos(duration) as f64 / MINUTE).max(1.0);
        Self {
            half_life: minutes(settings.half_life),
            prior: minutes(settings.prior_span),
        }
    }

    fn decay(&self, minutes: f64) -> f64 {
        libm::exp2(-minutes / self.half_life)
    }

    /// What `minutes` of life count, decayed as they pass.
    fn lived(&self, minutes: f64) -> f64 {
        (1.0 - self.decay(minutes)) * self.half_life / std::f64::consts::LN_2
    }
}

/// How the scores of a kind are read, in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Channel {
    /// Where exceedances begin.
    from: f64,
    /// Exceedances a minute before anything is known.
    prior_rate: f64,
    /// Mean excess before anything is known, and how many exceedances that counts.
    prior_theta: f64,
    prior_count: f64,
    theta_min: f64,
    theta_max: f64,
}

impl Channel {
    /// The channel of a kind.
    ///
    /// The prior rate of a surprise is what its scale says: 10^-u a minute (0.01 at the usual 2), so
    /// that s' = s until the series teaches otherwise, also where the score is one of expected
    /// events a minute, as silence's. An ordinal scale has no such meaning: 0.01 a minute, and a mean
    /// excess in proportion to u.
    pub(crate) fn of(kind: &Kind, direction: Direction) -> Self {
        let is_drop = matches!(direction, Direction::Below | Direction::Disappeared);
        let (prior_rate, prior_theta, theta_min) = match kind.scale {
            Scale::Surprise => {
                let rate = libm::exp10(-kind.report_from.clamp(1.0, 6.0));
                (rate, UNIT_EXCESS, UNIT_EXCESS)
            }
            Scale::Ordinal => {
                let theta = UNIT_EXCESS * kind.report_from.max(1.0) / 2.0;
                (0.01, theta, theta / 8.0)
            }
        };
        Self {
            from: kind.report_from,
            prior_rate,
            prior_theta,
            prior_count: if is_drop {
                PRIOR_EXCESSES_DROP
            } else {
                PRIOR_EXCESSES
            },
            theta_min,
            theta_max: if is_drop {
                DROP_THETA_MAX * prior_theta
            } else {
                f64::INFINITY
            },
        }
    }
}

/// What shares one notion of rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TailKey {
    /// Hash of the names of detector and kind.
    pub(crate) channel: u64,
    /// The template of the series; none for kinds calibrated by stream.
    pub(crate) template: Option<u64>,
    /// Hash of the keys of the series.
    pub(crate) series: u64,
    /// [`direction_code`].
    pub(crate) direction: u8,
}

/// A stable number for a direction.
pub(crate) fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::Above => 0,
        Direction::Below => 1,
        Direction::Appeared => 2,
        Direction::Disappeared => 3,
        Direction::Changed => 4,
    }
}

/// A score to be calibrated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exceedance {
    /// Tells apart the series that share a tail.
    pub(crate) series: u64,
    pub(crate) score: f64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Event time since which the series has been watched.
    pub(crate) since: u64,
    /// 1.0, or [`WEIGHT_WHILE_OPEN`].
    pub(crate) weight: f64,
}

/// The tail of one series: decayed counts, all as of `at`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    at: u64,
    /// Minutes lived.
    life: f64,
    /// Exceedances, by weight.
    count: f64,
    /// Sum of their clipped excesses, by weight.
    excess: f64,
    recent: Vec<Counted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    series: u64,
    start: u64,
    end: u64,
    count: f64,
    excess: f64,
}

impl Tail {
    /// Calibrates a score against what came before it, then counts it.
    ///
    /// It takes the place of an exceedance with the same start (the same episode, grown) or the same
    /// end (the same window, judged again), so that only the last counts.
    pub(crate) fn calibrate(&mut self, new: Exceedance, channel: &Channel, spans: &Spans) -> f64 {
        self.pass_to(new.end, new.since, spans);
        let earlier = self.take_back(|counted| {
            counted.series == new.series && (counted.start == new.start || counted.end == new.end)
        });
        // An episode that grows while its anomaly is open still counts as the one that it is.
        let weight = new.weight.max(earlier);
        let theta = self.theta(channel);
        let excess = (new.score - channel.from).max(0.0);
        let rate = (channel.prior_rate * spans.prior + self.count) / (spans.prior + self.life);
        let calibrated = -libm::log10(rate) + excess * UNIT_EXCESS / theta;
        self.count_in(Counted {
            series: new.series,
            start: new.start,
            end: new.end,
            count: weight,
            excess: excess.min(EXCESS_CLIP * theta) * weight,
        });
        calibrated
    }

    /// Withdraws what was counted for the window that ends at `end`.
    pub(crate) fn withdraw(&mut self, series: u64, end: u64) {
        let _ = self.take_back(|counted| counted.series == series && counted.end == end);
    }

    fn theta(&self, channel: &Channel) -> f64 {
        let sum = channel.prior_theta * channel.prior_count + self.excess;
        (sum / (channel.prior_count + self.count)).clamp(channel.theta_min, channel.theta_max)
    }

    /// Lets event time pass, from the series' first watched moment when nothing is known of it.
    fn pass_to(&mut self, time: u64, since: u64, spans: &Spans) {
        if self.at == 0 {
            self.at = since.min(time);
        }
        if time <= self.at {
            return;
        }
        let minutes = (time - self.at) as f64 / MINUTE;
        let decay = spans.decay(minutes);
        self.life = self.life * decay + spans.lived(minutes);
        self.count *= decay;
        self.excess *= decay;
        for counted in &mut self.recent {
            counted.count *= decay;
            counted.excess *= decay;
        }
        self.at = time;
    }

    fn count_in(&mut self, counted: Counted) {
        self.count += counted.count;
        self.excess += counted.excess;
        if self.recent.len() == REPLACEABLE {
            self.recent.remove(0);
        }
        self.recent.push(counted);
    }

    /// Takes exceedances out; returns the most that one of them counted.
    fn take_back(&mut self, is_it: impl Fn(&Counted) -> bool) -> f64 {
        let mut largest = 0.0_f64;
        let (count, excess) = (&mut self.count, &mut self.excess);
        self.recent.retain(|counted| {
            let out = is_it(counted);
            if out {
                *count = (*count - counted.count).max(0.0);
                *excess = (*excess - counted.excess).max(0.0);
                largest = largest.max(counted.count);
            }
            !out
        });
        largest
    }

    /// Takes over what is known of a series that turned out to be this one.
    fn absorb(&mut self, other: &Self, spans: &Spans) {
        let at = self.at.max(other.at);
        let mut other = other.clone();
        self.pass_to(at, at, spans);
        other.pass_to(at, at, spans);
        self.life = self.life.max(other.life);
        self.count += other.count;
        self.excess += other.excess;
        self.recent.append(&mut other.recent);
        self.recent.sort_by_key(|counted| counted.end);
        let surplus = self.recent.len().saturating_sub(REPLACEABLE);
        self.recent.drain(..surplus);
    }
}

/// The tails of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tails {
    by_key: BTreeMap<TailKey, Tail>,
}

impl Tails {
    /// The tail of a key, made if it has to be; `evicted` counts those that made room.
    pub(crate) fn tail(&mut self, key: TailKey, max: usize, evicted: &mut u64) -> &mut Tail {
        if self.by_key.len() >= max && !self.by_key.contains_key(&key) {
            let oldest = self.by_key.iter().min_by_key(|(_, tail)| tail.at);
            if let Some(oldest) = oldest.map(|(&key, _)| key) {
                self.by_key.remove(&oldest);
                *evicted += 1;
            }
        }
        self.by_key.entry(key).or_default()
    }

    /// The tail of a key, if anything is known of it.
    pub(crate) fn known(&mut self, key: &TailKey) -> Option<&mut Tail> {
        self.by_key.get_mut(key)
    }

    /// What is known of series of the source template belongs to the target from here on.
    pub(crate) fn merge_template(&mut self, source: u64, target: u64, spans: &Spans) {
        let moved: Vec<_> = self
            .by_key
            .extract_if(.., |key, _| key.template == Some(source))
            .collect();
        for (key, tail) in moved {
            let key = TailKey {
                template: Some(target),
                ..key
            };
            match self.by_key.get_mut(&key) {
                Some(known) => known.absorb(&tail, spans),
                None => {
                    self.by_key.insert(key, tail);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use petrel_detector::CalibrateBy;

    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    fn kind(scale: Scale, report_from: f64) -> Kind {
        Kind {
            name: "k".into(),
            unit: "1".into(),
            scale,
            calibrate_by: CalibrateBy::Series,
            report_from,
            floor: 0.0,
            floor_ratio: 1.0,
        }
    }

    /// Calibrates `score` after `earlier` exceedances, one an hour, the last an hour ago, of a series
    /// watched for `age_days`; compares to two digits.
    fn check(
        (scale, from, direction): (Scale, f64, Direction),
        age_days: u64,
        earlier: &[f64],
        score: f64,
        expected: f64,
    ) {
        let channel = Channel::of(&kind(scale, from), direction);
        let spans = Spans::new(&Settings::default());
        let mut tail = Tail::default();
        let now = 100 * DAY;
        let hour = DAY / 24;
        let exceed = |score, end| Exceedance {
            series: 0,
            score,
            start: end - hour / 60,
            end,
            since: now - age_days * DAY,
            weight: 1.0,
        };
        for (index, &score) in earlier.iter().enumerate() {
            let ago = (earlier.len() - index) as u64;
            tail.calibrate(exceed(score, now - ago * hour), &channel, &spans);
        }
        let calibrated = tail.calibrate(exceed(score, now), &channel, &spans);
        assert!(
            (calibrated - expected).abs() < 0.01,
            "{calibrated} is not {expected}"
        );
    }

    const ABOVE: (Scale, f64, Direction) = (Scale::Surprise, 2.0, Direction::Above);
    const BELOW: (Scale, f64, Direction) = (Scale::Surprise, 2.0, Direction::Below);

    #[test]
    fn a_fresh_series_keeps_its_surprise() {
        check(ABOVE, 0, &[], 2.0, 2.0);
        check(ABOVE, 0, &[], 6.0, 6.0);
        check(
            (Scale::Surprise, 4.0, Direction::Disappeared),
            0,
            &[],
            6.5,
            6.5,
        );
    }

    #[test]
    fn a_quiet_life_makes_a_score_rarer() {
        check(ABOVE, 1, &[], 6.0, 6.27);
        check(ABOVE, 7, &[], 6.0, 6.61);
    }

    #[test]
    fn a_habit_makes_it_commoner() {
        check(ABOVE, 7, &[2.5; 48], 6.0, 5.71);
        check(ABOVE, 7, &[12.0; 48], 12.0, 2.84);
    }

    #[test]
    fn drops_forgive_more() {
        check(BELOW, 7, &[12.0; 48], 12.0, 5.4);
    }

    #[test]
    fn ordinal_scores_are_read_by_their_excesses() {
        check((Scale::Ordinal, 3.0, Direction::Above), 0, &[], 6.0, 4.0);
        check(
            (Scale::Ordinal, 3.0, Direction::Above),
            7,
            &[30.0; 24],
            6.0,
            2.46,
        );
    }

    #[test]
    fn only_the_last_of_a_window_or_an_episode_counts() {
        let channel = Channel::of(&kind(Scale::Surprise, 2.0), Direction::Above);
        let spans = Spans::new(&Settings::default());
        let (mut once, mut often) = (Tail::default(), Tail::default());
        let exceed = |score, start, end| Exceedance {
            series: 0,
            score,
            start,
            end,
            since: 1,
            weight: 1.0,
        };
        once.calibrate(exceed(9.0, DAY, DAY + 300), &channel, &spans);
        for (score, start, end) in [
            (3.0, DAY, DAY + 100),
            (5.0, DAY, DAY + 300),
            (9.0, DAY, DAY + 300),
        ] {
            often.calibrate(exceed(score, start, end), &channel, &spans);
        }
        assert!(
            (once.count - often.count).abs() < 1e-9 && (once.excess - often.excess).abs() < 1e-9
        );
        often.withdraw(0, DAY + 300);
        assert!(often.count < 1e-9);
    }
}
