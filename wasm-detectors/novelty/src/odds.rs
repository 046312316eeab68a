//! What chance says of new templates in a stream, after Good and Turing: those seen once foretell those
//! not seen yet.

use petrel_detector::{EventTime, math};

use crate::vocabulary::{DAY_SECONDS, SETTLED, Vocabulary};

/// Days after which what was seen counts half.
const HALF_LIFE_DAYS: f64 = 7.0;
/// The most that a single first appearance is worth.
const FIRST_SURPRISE_MAX: f64 = 6.0;

/// What chance says of new templates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Odds {
    /// Templates seen once, faded.
    singles: f64,
    /// Records, faded.
    n_records: f64,
    /// Minutes lived, faded.
    minutes: f64,
    /// Share of templates that tell of a failure.
    failing: f64,
}

impl Odds {
    /// Probability that a record is of a template never seen.
    pub(crate) fn of_a_record(&self) -> f64 {
        (self.singles.max(1.0) / self.n_records).min(1.0)
    }

    /// New templates a minute.
    pub(crate) fn a_minute(&self) -> f64 {
        (self.singles + 1.0) / self.minutes
    }

    /// Surprise of one new template in a minute.
    pub(crate) fn first_surprise(&self) -> f64 {
        (-math::log10(self.a_minute())).clamp(0.0, FIRST_SURPRISE_MAX)
    }

    /// Surprise of a new template telling of a failure.
    pub(crate) fn failing_surprise(&self) -> f64 {
        -math::log10(self.failing)
    }
}

impl Vocabulary {
    /// What chance says of new templates at a time (Good and Turing).
    pub(crate) fn odds(&self, now: EventTime) -> Odds {
        // Whole numbers, so that the order of the table cannot show.
        let (mut singles, mut n_failing, mut n_settled) = (0_u64, 0_u64, 0_u64);
        for (_, known) in self.known.iter() {
            if known.n_records == 0 || known.is_catch_all || now.since(known.first) < SETTLED {
                continue;
            }
            n_settled += 1;
            n_failing += u64::from(known.is_failing());
            if known.n_records == 1 {
                let days = now.since(known.last).as_secs() as f64 / DAY_SECONDS as f64;
                singles += (math::exp2(-days / HALF_LIFE_DAYS) * 65_536.0) as u64;
            }
        }
        let today = now.seconds() / DAY_SECONDS;
        let n_records: f64 = self
            .days
            .iter()
            .map(|&(day, n)| {
                let age = today.saturating_sub(day) as f64;
                n as f64 * math::exp2(-age / HALF_LIFE_DAYS)
            })
            .sum();
        Odds {
            singles: singles as f64 / 65_536.0,
            n_records: n_records.max(1.0),
            minutes: self.minutes(now),
            failing: (n_failing as f64 + 1.0) / (n_settled as f64 + 10.0),
        }
    }

    /// Minutes lived up to a time, faded with a half-life of a week; at least 1.
    pub(crate) fn minutes(&self, now: EventTime) -> f64 {
        let days = self.age(now).as_secs_f64() / DAY_SECONDS as f64;
        let lived = (1.0 - math::exp2(-days / HALF_LIFE_DAYS)) * HALF_LIFE_DAYS;
        (lived / std::f64::consts::LN_2 * 1_440.0).max(1.0)
    }
}
