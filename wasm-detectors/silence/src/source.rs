//! A source: what is learnt of its rhythm, and the gap that is open. Minute by minute, it walks its
//! seconds in order of event time, learns the gaps that are over and judges the one that is not.

use petrel_detector::{EventTime, Findings, math};
use serde::{Deserialize, Serialize};

use crate::appointments::{Calendar, Missed};
use crate::cells::{Cell, Cells, SECOND_NANOS};
use crate::explain;
use crate::gaps::Gaps;
use crate::readiness::is_judged;
use crate::season::Season;
use crate::settings::Settings;
use crate::tail::Tail;

pub(crate) const MINUTE_NANOS: u64 = 60 * SECOND_NANOS;
const MINUTE_SECONDS: u64 = 60;
const DAY_MINUTES: f64 = 1_440.0;
/// Scores from here on are reported: one silence in seven days by the source's own rhythm. Low enough
/// for calibration to see how often the rhythm is wrong.
pub(crate) const REPORT_FROM: f64 = 4.0;
/// Beyond this, rarity says nothing more.
const SURPRISE_MAX: f64 = 16.0;
/// Operational time below which a gap is usual, whatever the tail.
const TAU_MIN: f64 = 2.5;
/// Surprise of a gap from which it teaches less, and from which it hardly teaches.
const ODD: f64 = 3.0;
const ALARMING: f64 = 5.0;
const ODD_WEIGHT: f64 = 0.4;
const ALARMING_WEIGHT: f64 = 0.1;
/// How often a day a program that said goodbye is expected to take its time to come back.
const PLANNED_PER_DAY: f64 = 1.0;
/// Seconds before the last record in which a goodbye explains the end.
const GOODBYE_SECONDS: u64 = 30;
/// Who was silent for so long is gone rather than silent: nothing is told any more. Beyond the two
/// days after which the engine gives an anomaly up.
const GONE_MINUTES: u64 = 3 * 1_440;
/// Ends of windows that are remembered for withdrawal: over the half hour that records may be late.
const TOLD_MAX: usize = 64;
/// Least share of a second's number of records in their mean.
const RECORDS_RATE_MIN: f64 = 0.002;

/// What is known of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    cells: Cells,
    /// Minute since the epoch below which all is learnt; 0 = nothing yet.
    pub(crate) closed: u64,
    /// Event time of the first record in nanoseconds; 0 = none yet.
    pub(crate) first: u64,
    pub(crate) last: Last,
    pub(crate) open: Open,
    pub(crate) season: Season,
    pub(crate) tail: Tail,
    pub(crate) gaps: Gaps,
    pub(crate) n_gaps: u64,
    pub(crate) n_records: u64,
    /// Records of a second that has any, on average.
    pub(crate) records_a_second: f64,
    hourly: Calendar,
    daily: Calendar,
}

/// The last record of a closed window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// 0 = none.
    pub(crate) template: u64,
    /// Text of that template, cut.
    pub(crate) text: String,
    /// Second of the last record that said goodbye.
    goodbye: u64,
}

impl Last {
    /// Whether it was announced that the program ends.
    pub(crate) fn is_planned(&self) -> bool {
        let second = self.time / SECOND_NANOS;
        self.goodbye > 0 && second.abs_diff(self.goodbye) <= GOODBYE_SECONDS
    }
}

/// The gap since the last record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Since when silence is evidence: the last record, or the end of a span that was not watched.
    pub(crate) from: u64,
    /// Operational time passed, and the seconds with records that the profile expects in it.
    pub(crate) tau: f64,
    expected: f64,
    /// A part of it was not watched: its length teaches nothing.
    torn: bool,
    pub(crate) missed: Option<Missed>,
    /// Ends (minutes) of windows that were reported.
    told: Vec<u64>,
}

impl Open {
    fn since(time: u64) -> Self {
        Self {
            from: time,
            ..Self::default()
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self {
            cells: Cells::default(),
            closed: 0,
            first: 0,
            last: Last::default(),
            open: Open::default(),
            season: Season::default(),
            tail: Tail::default(),
            gaps: Gaps::default(),
            n_gaps: 0,
            n_records: 0,
            records_a_second: 0.0,
            hourly: Calendar::hourly(),
            daily: Calendar::daily(),
        }
    }
}

/// What gives a template's text as it is shown.
pub(crate) type TextOf<'t> = &'t dyn Fn(u64) -> Option<String>;

impl Source {
    /// Takes a record in; one that lies in the open silence ends it.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        time: u64,
        template: u64,
        says_goodbye: bool,
        out: &mut Findings,
    ) {
        if time < self.closed * MINUTE_NANOS {
            self.come_late(time, template, out);
        } else {
            self.cells.add(time, template, says_goodbye);
        }
    }

    /// A late record: the silence began later than was thought, and what was told of it is taken back.
    fn come_late(&mut self, time: u64, template: u64, out: &mut Findings) {
        if self.first == 0 || time <= self.last.time {
            return;
        }
        let end = self.closed * MINUTE_NANOS;
        let left = (end - time) as f64 / (end - self.open.from.min(time)).max(1) as f64;
        self.hourly.come_late();
        self.daily.come_late();
        self.open.missed = None;
        let told = std::mem::take(&mut self.open.told);
        for minute in told {
            if minute * MINUTE_NANOS > time {
                out.push(explain::withdrawal(self.open.from, minute));
            } else {
                self.open.told.push(minute);
            }
        }
        self.open.from = self.open.from.max(time);
        self.open.tau *= left;
        self.open.expected *= left;
        self.open.torn = true;
        self.last.time = time;
        if template != self.last.template {
            self.last.template = template;
            self.last.text.clear();
        }
    }

    /// Learns and judges all up to a minute; `is_watched` says whether absence is evidence.
    pub(crate) fn close(
        &mut self,
        to: u64,
        is_watched: bool,
        settings: &Settings,
        text_of: TextOf<'_>,
        out: &mut Findings,
    ) {
        if self.closed == 0 {
            let first = self.cells.first().map(|second| second / MINUTE_SECONDS);
            self.closed = first.unwrap_or(to).min(to);
        }
        if is_watched {
            while self.closed < to {
                self.close_minute(settings, text_of, out);
            }
        } else if self.closed < to {
            self.skip(to, text_of);
        }
    }

    /// Passes over a span in which records may be missing for no fault of the source.
    fn skip(&mut self, to: u64, text_of: TextOf<'_>) {
        for cell in self.cells.take_before(to * MINUTE_SECONDS) {
            self.last_is(&cell);
            self.open = Open::since(cell.last);
        }
        self.name_last(text_of);
        self.hourly.tear();
        self.daily.tear();
        self.closed = to;
        self.open.torn = true;
        // What was odd already stays so; anything else begins anew.
        if self.open.told.is_empty() {
            self.open = Open {
                torn: true,
                ..Open::since(to * MINUTE_NANOS)
            };
        }
    }

    fn close_minute(&mut self, settings: &Settings, text_of: TextOf<'_>, out: &mut Findings) {
        let minute = self.closed;
        let (start, end) = (minute * MINUTE_SECONDS, (minute + 1) * MINUTE_SECONDS);
        let (usual, seen) = self.season.usual(minute);
        let rate = (self.season.level() * usual).min(1.0);
        let cells = self.cells.take_before(end);
        let mut at = start;
        self.tail.pass_minute();
        for cell in &cells {
            let passed = (cell.second - at) as f64;
            self.open.tau += rate * passed;
            self.open.expected += usual * passed;
            self.end_gap(cell, seen, settings);
            at = cell.second;
        }
        if self.first > 0 {
            let passed = (end - at) as f64;
            self.open.tau += rate * passed;
            self.open.expected += usual * passed;
        }
        if !cells.is_empty() {
            self.name_last(text_of);
        }
        self.closed = minute + 1;
        let judges = settings.appointments && self.season.knows_day(minute);
        for calendar in [&mut self.hourly, &mut self.daily] {
            let missed = calendar.close_minute(minute, !cells.is_empty(), judges);
            let odder = |known: Option<Missed>, missed: &Missed| {
                known.is_none_or(|known| missed.surprise > known.surprise)
            };
            if let Some(missed) = missed.filter(|missed| odder(self.open.missed, missed)) {
                self.open.missed = Some(missed);
            }
        }
        let surprise = self.judge(settings, out);
        self.season
            .learn_minute(minute, cells.len() as u32, surprise >= ALARMING);
    }

    /// The gap before a second with records is over: learns it.
    fn end_gap(&mut self, cell: &Cell, seen: f64, settings: &Settings) {
        let open = std::mem::replace(&mut self.open, Open::since(cell.last));
        if self.first == 0 {
            self.first = cell.last;
        } else if !open.torn {
            let seconds = cell.second - self.last.time / SECOND_NANOS;
            let weight = self.lesson(&open, seconds as f64, settings);
            self.tail.learn(seconds as f64, open.tau, weight);
            self.season
                .learn_level((seen, open.expected), weight, self.tail.theta());
            self.gaps.learn(seconds as f64, cell.second);
            self.n_gaps += 1;
        }
        self.last_is(cell);
    }

    fn last_is(&mut self, cell: &Cell) {
        if self.first == 0 {
            self.first = cell.last;
        }
        self.n_records += u64::from(cell.records);
        let step = (1.0 / (self.n_gaps + 1) as f64).max(RECORDS_RATE_MIN);
        self.records_a_second += step * (f64::from(cell.records) - self.records_a_second);
        if cell.says_goodbye {
            self.last.goodbye = cell.second;
        }
        if self.last.template != cell.template {
            self.last.template = cell.template;
            self.last.text.clear();
        }
        self.last.time = cell.last;
    }

    fn name_last(&mut self, text_of: TextOf<'_>) {
        if self.last.text.is_empty() && self.last.template != 0 {
            self.last.text = text_of(self.last.template).unwrap_or_default();
        }
    }

    /// How much a gap teaches: little where it is odd.
    fn lesson(&self, open: &Open, seconds: f64, settings: &Settings) -> f64 {
        let is_usual = seconds <= settings.floor || open.tau <= TAU_MIN;
        if is_usual || !is_judged(self, settings.gaps_min) {
            return 1.0;
        }
        match surprise(self.expected(open.tau, seconds, settings)) {
            odd if odd >= ALARMING => ALARMING_WEIGHT,
            odd if odd >= ODD => ODD_WEIGHT,
            _ => 1.0,
        }
    }

    /// How many gaps so long are expected a day: of its own rhythm, and pauses that befall any source.
    fn expected(&self, tau: f64, seconds: f64, settings: &Settings) -> f64 {
        let (per_day, pause) = self.pauses(settings);
        self.tail.expected(tau) + per_day * math::exp(-seconds / pause)
    }

    fn pauses(&self, settings: &Settings) -> (f64, f64) {
        if self.last.is_planned() {
            (PLANNED_PER_DAY, settings.planned_pause)
        } else {
            (settings.pauses_per_day, settings.pause)
        }
    }

    /// The shortest silence, in seconds, that would be found now: once in 1,000 days.
    pub(crate) fn min_detectable(&self, rate: f64, settings: &Settings) -> f64 {
        const FOUND_PER_DAY: f64 = 1e-3;
        let (per_day, pause) = self.pauses(settings);
        let by_rhythm = self.tail.reaching(FOUND_PER_DAY).max(TAU_MIN) / rate.max(1e-9);
        let by_pause = pause * math::ln(per_day / FOUND_PER_DAY);
        by_rhythm.max(by_pause).max(settings.floor)
    }

    /// Judges the gap that is open at the end of the last closed minute; returns its surprise.
    fn judge(&mut self, settings: &Settings, out: &mut Findings) -> f64 {
        let end = self.closed * MINUTE_NANOS;
        let gap = end.saturating_sub(self.open.from);
        let seconds = gap as f64 / SECOND_NANOS as f64;
        if self.first == 0 || seconds <= settings.floor || gap > GONE_MINUTES * MINUTE_NANOS {
            return 0.0;
        }
        let is_long = self.open.tau > TAU_MIN && is_judged(self, settings.gaps_min);
        let expected = is_long.then(|| self.expected(self.open.tau, seconds, settings));
        let by_rhythm = expected.map_or(0.0, surprise);
        let by_appointment = self.open.missed.map_or(0.0, |missed| missed.surprise);
        let odd = by_rhythm.max(by_appointment).min(SURPRISE_MAX);
        if odd >= REPORT_FROM {
            let missed = self.open.missed.filter(|_| by_appointment > by_rhythm);
            out.push(explain::finding(self, odd, expected, missed, settings));
            if self.open.told.len() == TOLD_MAX {
                self.open.told.remove(0);
            }
            self.open.told.push(self.closed);
        }
        odd
    }

    /// Templates whose texts may still be wanted.
    pub(crate) fn pending_templates(&self) -> impl Iterator<Item = u64> {
        self.cells.templates()
    }

    /// When it was first seen.
    pub(crate) fn since(&self) -> EventTime {
        EventTime(self.first)
    }

    /// Minutes since it was first seen.
    pub(crate) fn age_minutes(&self) -> u64 {
        self.closed.saturating_sub(self.first / MINUTE_NANOS)
    }

    /// Whether something comes at the same time on each visit.
    pub(crate) fn has_appointments(&self) -> bool {
        self.hourly.has_appointments() || self.daily.has_appointments()
    }

    /// Whether a state that was loaded can be gone on with.
    pub(crate) fn is_whole(&self) -> bool {
        let like = Self::default();
        self.cells.is_whole()
            && self.season.is_whole()
            && self.tail.is_whole()
            && self.gaps.is_whole()
            && self.hourly.is_whole(&like.hourly)
            && self.daily.is_whole(&like.daily)
            && self.open.told.len() <= TOLD_MAX
            && [self.open.tau, self.open.expected, self.records_a_second]
                .iter()
                .all(|value| value.is_finite())
            && self.closed < u64::MAX / MINUTE_NANOS
    }
}

/// -log10 of what is expected a minute.
fn surprise(per_day: f64) -> f64 {
    math::log10(DAY_MINUTES / per_day.max(1e-300)).max(0.0)
}
