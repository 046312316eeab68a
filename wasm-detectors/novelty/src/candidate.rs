//! A template that is new: what is counted of it in its first day, and when that is worth a word.

use std::time::Duration;

use petrel_detector::{EventTime, math};
use serde::{Deserialize, Serialize};

use crate::odds::Odds;
use crate::vocabulary::{ERROR, Known};

/// A new template that stayed unreported for so long is no longer new.
pub(crate) const YOUNG: Duration = Duration::from_secs(86_400);
/// New templates this close together are one event.
pub(crate) const BURST: Duration = Duration::from_secs(300);
/// Time within which a failing template has to come again, and how often in all.
const RECURRENCE: Duration = Duration::from_secs(600);
const RECURRENCES_MIN: u32 = 3;
/// Surprise that the recurrence of a template must have: at its first appearance, and later, when there
/// were more chances.
const RECURRENCE_SURPRISE: f64 = 2.0;
const RECURRENCE_SURPRISE_LATER: f64 = 3.0;
/// What is reported scores at least this: the rules are what was measured, chance
/// only orders what passes them. A decade over where an anomaly opens, since streams differ.
const SCORE_MIN: f64 = 7.0;
const SCORE_MAX: f64 = 12.0;

/// OTLP severity numbers.
const WARN: u8 = 13;
const FATAL: u8 = 21;

/// What new templates weigh: a word of failure as much as three that are merely there, so that two
/// failing or three of unknown level make a burst.
const POINTS_FAILING: u32 = 3;
const POINTS_UNKNOWN: u32 = 2;
const POINTS_INFO: u32 = 1;
/// Points within [`BURST`] that are worth a word.
const POINTS_MIN: u32 = 6;

/// A new template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) id: u64,
    pub(crate) first: EventTime,
    /// When it was last seen before it was forgotten.
    pub(crate) forgotten: Option<EventTime>,
    /// Records by weight.
    pub(crate) records: f64,
    /// Its fatal words.
    is_fatal: bool,
    failure: bool,
    pub(crate) severity: u8,
    /// Rows in all, before and in the present stretch of [`RECURRENCE`].
    rows_before: u32,
    rows: u32,
    stretch: EventTime,
    pub(crate) report: Option<Box<Report>>,
}

/// What was said of a candidate, as it was when it was said first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) rule: Rule,
    pub(crate) score: f64,
    pub(crate) at: EventTime,
    /// First record that shows it: its own, or that of the burst.
    pub(crate) start: EventTime,
    pub(crate) severity: u8,
    /// The known template most like it, and the words that are not in that.
    pub(crate) nearest: Option<(String, String)>,
    /// Other new templates of the same five minutes.
    pub(crate) others: Vec<String>,
    /// The deploy in whose window it came.
    pub(crate) deploy: Option<String>,
    /// Probability that a record is of a template never seen; new templates a day.
    pub(crate) odds: (f64, f64),
    /// Rows named so far.
    pub(crate) n_named: u32,
    /// Minutes in which it came, to be told of when they close: end, and records up to then.
    pub(crate) minutes: Vec<(EventTime, f64)>,
}

/// Why a new template is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rule {
    /// A process died.
    Fatal,
    /// A failure that comes again and again.
    Recurring,
    /// Several new templates at once.
    Burst,
}

impl Rule {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "a fatal message never seen before",
            Self::Recurring => "a failure never seen before that keeps coming",
            Self::Burst => "several messages never seen before within five minutes",
        }
    }
}

impl Candidate {
    pub(crate) fn new(id: u64, known: &Known, forgotten: Option<EventTime>) -> Self {
        Self {
            id,
            first: known.first,
            forgotten,
            records: 0.0,
            is_fatal: crate::words::is_fatal(&known.text),
            failure: known.failure,
            severity: 0,
            rows_before: 0,
            rows: 0,
            stretch: known.first,
            report: None,
        }
    }

    /// Counts a row.
    pub(crate) fn count(&mut self, time: EventTime, severity: u8, weight: f64) {
        self.severity = self.severity.max(severity);
        self.records += weight;
        if time.since(self.stretch) > RECURRENCE {
            self.rows_before = self.rows_before.saturating_add(self.rows);
            (self.rows, self.stretch) = (0, time);
        }
        self.rows = self.rows.saturating_add(1);
    }

    /// Takes in a candidate that turned out to be the same template.
    pub(crate) fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.stretch = self.stretch.min(other.stretch);
        self.records += other.records;
        self.rows_before = self.rows_before.saturating_add(other.rows_before);
        self.rows = self.rows.saturating_add(other.rows);
        self.severity = self.severity.max(other.severity);
        self.failure |= other.failure;
        self.is_fatal |= other.is_fatal;
        self.report = self.report.take().or(other.report);
    }

    /// Whether it tells of a failure, by its words whatever its level. Where a deploy makes new messages
    /// likely, words of one that says INFO or less do not count.
    pub(crate) fn is_failing(&self, in_deploy: bool) -> bool {
        let is_credible = !in_deploy || self.severity == 0 || self.severity >= WARN;
        self.severity >= ERROR || (self.failure && is_credible)
    }

    fn is_fatal(&self) -> bool {
        let is_serious = self.severity == 0 || self.severity >= WARN;
        self.severity >= FATAL || (self.is_fatal && is_serious)
    }

    /// What it weighs in a burst.
    pub(crate) fn points(&self) -> u32 {
        match self.severity {
            _ if self.is_failing(false) => POINTS_FAILING,
            1..WARN => POINTS_INFO,
            _ => POINTS_UNKNOWN,
        }
    }

    /// What a burst is named after first: the most serious, then the first.
    pub(crate) fn rank(&self) -> impl Ord {
        (
            self.points(),
            self.severity,
            std::cmp::Reverse((self.first, self.id)),
        )
    }

    /// Whether this is its first row.
    pub(crate) fn is_first_row(&self) -> bool {
        self.rows == 1 && self.rows_before == 0
    }

    /// The rule that it fulfils by itself, and how odd its recurrence is, in a stream that has lived
    /// so many minutes.
    pub(crate) fn alone(&self, minutes: f64, in_deploy: bool) -> Option<(Rule, f64)> {
        if self.is_fatal() {
            return Some((Rule::Fatal, 0.0));
        }
        if !self.is_failing(in_deploy) || self.rows < RECURRENCES_MIN {
            return None;
        }
        let wanted = if self.rows_before == 0 {
            RECURRENCE_SURPRISE
        } else {
            RECURRENCE_SURPRISE_LATER
        };
        let surprise = self.recurrence(minutes);
        (surprise >= wanted).then_some((Rule::Recurring, surprise))
    }

    /// Surprise of coming so often within ten minutes: at the rate of what was never seen in all the
    /// stream's life, or, once seen, at its own so far.
    fn recurrence(&self, minutes: f64) -> f64 {
        let stretch = RECURRENCE.as_secs_f64() / 60.0;
        let (n, rate) = if self.rows_before == 0 {
            (self.rows - 1, 1.0 / minutes)
        } else {
            let age = self.stretch.since(self.first).as_secs_f64() / 60.0;
            (
                self.rows,
                f64::from(self.rows_before + 1) / age.max(stretch),
            )
        };
        math::surprise(ln_poisson_upper(n, rate * stretch))
    }
}

/// Whether new templates of so many points within five minutes are a burst.
pub(crate) fn is_burst(points: u32) -> bool {
    points >= POINTS_MIN
}

// Two failing or three of unknown level make a burst, less does not, nor do five that say INFO.
const _: () = assert!(2 * POINTS_FAILING >= POINTS_MIN && 3 * POINTS_UNKNOWN >= POINTS_MIN);
const _: () = assert!(POINTS_FAILING + POINTS_UNKNOWN < POINTS_MIN && 5 * POINTS_INFO < POINTS_MIN);

/// The score of a rule that was fulfilled: of one template whose recurrence is so odd, or of a burst
/// of `n` templates of which so many fail.
pub(crate) fn score(rule: Rule, recurrence: f64, n: u32, n_failing: u32, odds: &Odds) -> f64 {
    let failing = odds.failing_surprise();
    let surprise = match rule {
        Rule::Fatal => odds.first_surprise() + 2.0 * failing,
        Rule::Recurring => odds.first_surprise() + failing + recurrence,
        Rule::Burst => {
            let minutes = BURST.as_secs_f64() / 60.0;
            let together = ln_poisson_upper(n, odds.a_minute() * minutes);
            math::surprise(together) + failing * f64::from(n_failing)
        }
    };
    surprise.clamp(SCORE_MIN, SCORE_MAX)
}

/// ln P(X >= k) of a Poisson count; 0 from the mean downwards, where nothing is odd.
fn ln_poisson_upper(k: u32, mean: f64) -> f64 {
    let k = f64::from(k);
    if k <= mean {
        return 0.0;
    }
    let ln_mass = k * math::ln(mean) - mean - math::ln_gamma(k + 1.0);
    let (mut term, mut sum, mut j) = (1.0, 0.0, k);
    while term > sum * 1e-17 {
        sum += term;
        j += 1.0;
        term *= mean / j;
    }
    (ln_mass + math::ln(sum)).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_tails_are_exact() {
        for (k, mean, expected) in [
            (1, 0.5, 0.393_469_340),
            (3, 0.5, 0.014_387_677_97),
            (2, 0.01, 4.966_79e-5),
        ] {
            let found = math::exp(ln_poisson_upper(k, mean));
            assert!((found / expected - 1.0).abs() < 1e-5, "{k} {mean}: {found}");
        }
        assert_eq!(ln_poisson_upper(1, 1.0), 0.0);
    }
}
