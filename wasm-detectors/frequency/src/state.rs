//! What is known of a stream: its series, which minutes are open, how long it has been watched.

use petrel_detector::{
    EventTime, Finding, Findings, Level, Readiness, SeriesTable, TemplateId, Watermark,
};
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::calendar::{DAY, Minute, NANOS};
use crate::ring::MINUTES;
use crate::series::{Closing, OPEN, Series, minute_of};

/// Series of a stream: templates are at most 2,000; saved they stay under 4 MiB.
const SERIES_MAX: usize = 2_048;
const COLD_MAX: usize = 3_000;
/// A series is admitted after so many records in half an hour ...
const ADMIT_RECORDS: f64 = 30.0;
const ADMIT_WITHIN: u64 = 30 * NANOS;
/// ... or after so many in all and a day.
const ADMIT_SLOW_RECORDS: f64 = 200.0;
const ADMIT_SLOW_AFTER: u64 = 1_440 * NANOS;
/// New templates of a minute that are followed one by one; the rest are counted together.
const NEWCOMERS_MAX: u32 = 200;
/// A watermark that jumps further is taken for a gap, so that no call walks for long.
const JUMP_MAX: u32 = DAY;
/// Less of the input than this taken in: a minute is not judged.
const COMPLETE_FROM: f64 = 0.9;
/// A stream that should log so many records in a minute and logs none is silent: not our finding.
const SILENT_FROM: f64 = 3.0;
/// No row stands for more records than this.
const WEIGHT_MAX: f64 = 1e6;
/// To be reported a series must have been there for this share of the hours of learning.
const KNOWN_SHARE: f64 = 0.8;

/// What is known of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The first minute that is not closed; none before the first row.
    open: Option<Minute>,
    /// All records of the stream.
    total: Series,
    /// Records of templates over the quota of new ones.
    other: Series,
    table: SeriesTable<TemplateId, Series>,
    /// Minutes closed and judged.
    watched: u32,
    /// New templates of a minute.
    newcomers: (Minute, u32),
    /// Records too far ahead of the watermark to be counted.
    n_ahead: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            open: None,
            total: Series::default(),
            other: Series::default(),
            table: SeriesTable::new(SERIES_MAX, COLD_MAX),
            watched: 0,
            newcomers: Default::default(),
            n_ahead: 0,
        }
    }
}

impl State {
    /// Counts a row: `records` by weight at a time, of a template if it has one.
    #[inline]
    pub(crate) fn count(&mut self, template: Option<TemplateId>, nanos: u64, records: f64) {
        let minute = Minute::of(nanos);
        let records = if (0.0..=WEIGHT_MAX).contains(&records) {
            records
        } else {
            1.0
        };
        let open = match self.open {
            Some(open) => open,
            None => self.start(minute),
        };
        let ahead = minute.0.wrapping_sub(open.0);
        if ahead >= OPEN as u32 {
            self.count_elsewhere(template, minute, open, records);
            return;
        }
        self.total.add(minute, records);
        let Some(id) = template else { return };
        let now = EventTime(nanos);
        match self.table.get_mut(id, now) {
            Some(series) => series.add(minute, records),
            None => self.count_new(id, minute, now, records),
        }
    }

    fn start(&mut self, minute: Minute) -> Minute {
        self.total = Series::new(minute);
        self.other = Series::new(minute);
        self.open = Some(minute);
        minute
    }

    /// A row outside the open minutes: late, or too far ahead.
    #[cold]
    fn count_elsewhere(
        &mut self,
        template: Option<TemplateId>,
        minute: Minute,
        open: Minute,
        records: f64,
    ) {
        if minute > open {
            self.n_ahead += 1;
        } else if minute.plus(MINUTES as u32 - 1) > open {
            self.total.add_late(minute, records);
            let series = template.and_then(|id| self.table.get_mut(id, minute.start()));
            if let Some(series) = series {
                series.add_late(minute, records);
            }
        }
    }

    /// A row of a template without a series of its own.
    fn count_new(&mut self, id: TemplateId, minute: Minute, now: EventTime, records: f64) {
        if self.table.cold(id).is_none() {
            if self.newcomers.0 != minute {
                self.newcomers = (minute, 0);
            }
            self.newcomers.1 += 1;
            if self.newcomers.1 > NEWCOMERS_MAX {
                self.other.add(minute, records);
                return;
            }
        }
        let cold = self.table.cold_or_new(id, now);
        if now.0.saturating_sub(cold.recent_since.0) > ADMIT_WITHIN {
            (cold.recent, cold.recent_since) = (0.0, now);
        }
        cold.last = cold.last.max(now);
        cold.count += records;
        cold.recent += records;
        let is_slow = cold.count >= ADMIT_SLOW_RECORDS
            && now.0.saturating_sub(cold.first.0) >= ADMIT_SLOW_AFTER;
        if cold.recent >= ADMIT_RECORDS || is_slow {
            self.table.get_or_insert_with(
                id,
                now,
                |cold| Series::admitted(minute_of(now), cold),
                Series::chill,
            );
        }
    }

    /// What is known of a template belongs to another one from now on.
    pub(crate) fn merge(&mut self, source: TemplateId, target: TemplateId) {
        self.table.merge(source, target, Series::join);
    }

    /// Closes the minutes that a watermark has made complete.
    pub(crate) fn advance(
        &mut self,
        settings: &Settings,
        watermark: Watermark,
        out: &mut Findings,
    ) {
        let to = minute_of(watermark.time);
        let Some(open) = self.open.filter(|&open| open < to) else {
            return;
        };
        if watermark.completeness < COMPLETE_FROM || to.0 - open.0 > JUMP_MAX {
            self.skip(settings, open, to);
        } else {
            for minute in open.0..to.0 {
                self.close(settings, Minute(minute), out);
            }
        }
        self.open = Some(to);
    }

    fn skip(&mut self, settings: &Settings, from: Minute, to: Minute) {
        let local = from.local(settings.utc_offset_minutes);
        self.total.skip(from, to, local);
        self.other.skip(from, to, local);
        for (_, series) in self.table.iter_mut() {
            series.skip(from, to, local);
        }
    }

    fn close(&mut self, settings: &Settings, minute: Minute, out: &mut Findings) {
        let local = minute.local(settings.utc_offset_minutes);
        let is_silent = self.total.open_count(minute) == 0.0
            && self.watched > 0
            && self.total.expected(local) >= SILENT_FROM;
        if is_silent {
            self.skip(settings, minute, minute.plus(1));
            return;
        }
        let closing = Closing {
            minute,
            local,
            parent: None,
            accept_minutes: minutes(settings.accept_hours),
            known_before: self.known_before(settings, minute),
        };
        self.total
            .close(&closing, &mut |finding: Finding| out.push(finding));
        self.other.close(&closing, &mut |finding: Finding| {
            out.push(finding.series("template", "__other__"));
        });
        let closing = Closing {
            parent: self.total.rhythm(local),
            ..closing
        };
        for (id, series) in self.table.iter_mut() {
            series.close(&closing, &mut |finding: Finding| {
                out.push(finding.template(id));
            });
        }
        self.watched += 1;
    }

    /// The minute before which a series must have started to be reported: none while learning.
    fn known_before(&self, settings: &Settings, minute: Minute) -> Minute {
        if self.level(settings) == Level::Learning {
            return Minute(0);
        }
        let age = KNOWN_SHARE * f64::from(self.watched.min(minutes(settings.learning_hours)));
        minute.minus(age as u32)
    }

    fn level(&self, settings: &Settings) -> Level {
        if self.watched >= minutes(settings.provisional_hours) {
            Level::Ready
        } else if self.watched >= minutes(settings.learning_hours) {
            Level::Provisional
        } else {
            Level::Learning
        }
    }

    /// How far the stream has been learnt, in hours of records rather than of the clock.
    pub(crate) fn readiness(&self, settings: &Settings) -> Readiness {
        let level = self.level(settings);
        let watched = f64::from(self.watched) / 60.0;
        let of = |hours: f64| format!("{watched:.1} of {hours:.0} hours watched");
        let missing = match level {
            Level::Learning => of(settings.learning_hours),
            Level::Provisional => of(settings.provisional_hours),
            Level::Ready => String::new(),
        };
        Readiness { level, missing }
    }

    pub(crate) fn n_series(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn shed(&mut self, n_series_max: usize) {
        self.table.shed(n_series_max, Series::chill);
    }
}

fn minutes(hours: f64) -> u32 {
    (hours * 60.0) as u32
}
