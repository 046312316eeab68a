//! One series: the durations of one field of one template, minute by minute.

use petrel_detector::{Direction, EventTime};
use serde::{Deserialize, Serialize};

use crate::judge::{self, ALARMING, Dispersion, Judgement};
use crate::season::{SLOT_MINUTES, Season};
use crate::sketch::{Baseline, Cell, Counts, bin_of};

/// Nanoseconds of a minute.
pub(crate) const MINUTE_NANOS: u64 = 60_000_000_000;
/// Minutes of the middle window, kept one by one.
const RECENT_MINUTES: u64 = 5;
/// Minutes of the longest window, kept in blocks of [`RECENT_MINUTES`].
const BLOCKS_MINUTES: u64 = 30;
/// Open minutes at most; values of further ones are learnt unjudged.
const OPEN_MAX: usize = 32;
/// Minutes of a day.
pub(crate) const DAY_MINUTES: u64 = 1_440;
/// Elevated minutes after which a shift is taken for the new normal and learnt in full: six hours.
const ACCEPTED_MINUTES: u16 = 360;
/// What is so much more surprising than all of an episode before it begins one of its own.
const FAR_ODDER: f64 = 3.0;

/// A value on its way into a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) time: EventTime,
    /// log2 of seconds.
    pub(crate) log2_seconds: f64,
    /// How many records it stands for.
    pub(crate) count: u32,
    /// Low half of the trace id.
    pub(crate) trace: Option<u64>,
    /// Whether the number has no fraction.
    pub(crate) is_whole: bool,
    /// Whether its minute has been judged already.
    pub(crate) is_late: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Event time of the first value.
    pub(crate) since: EventTime,
    pub(crate) n_values: u64,
    n_whole: u64,
    /// Minutes that the watermark has not reached, ascending.
    open: Vec<Cell>,
    /// The last minutes with values.
    pub(crate) recent: Vec<Cell>,
    /// The last blocks with values, the last one still growing.
    pub(crate) blocks: Vec<Cell>,
    /// The half hour that the season will learn from.
    half_hour: Cell,
    pub(crate) baseline: Baseline,
    pub(crate) season: Season,
    pub(crate) dispersion: Dispersion,
    /// Elevated minutes of late.
    elevated: u16,
    /// Slower and faster: minute of onset and last minute of what was reported last.
    episodes: [Option<(u64, u64, f64)>; 2],
}

impl Series {
    pub(crate) fn new(since: EventTime) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Whether saved bytes are those of a series of this build.
    pub(crate) fn is_whole(&self) -> bool {
        let mut cells = self.open.iter().chain(&self.recent).chain(&self.blocks);
        self.baseline.is_whole()
            && self.season.is_whole()
            && self.dispersion.is_whole()
            && self.half_hour.is_whole()
            && cells.all(Cell::is_whole)
    }

    /// Whether nearly all values were whole numbers: then their unit is not known to be seconds.
    pub(crate) fn counts_whole(&self) -> bool {
        self.n_whole * 10 > self.n_values * 9
    }

    /// Minutes since its first value.
    pub(crate) fn age_minutes(&self, minute: u64) -> u64 {
        minute.saturating_sub(self.since.0 / MINUTE_NANOS)
    }

    /// Takes a value in.
    pub(crate) fn add(&mut self, value: Value) {
        let minute = value.time.0 / MINUTE_NANOS;
        let season = self.season.at(value.time.0 as f64 / MINUTE_NANOS as f64);
        let log2_seconds = value.log2_seconds - season;
        let bin = bin_of(log2_seconds);
        self.since = self.since.min(value.time);
        let index = self.open.partition_point(|cell| cell.minute < minute);
        let is_new = self
            .open
            .get(index)
            .is_none_or(|cell| cell.minute != minute);
        if value.is_late || (is_new && self.open.len() >= OPEN_MAX) {
            self.n_values += u64::from(value.count);
            self.baseline.learn_late(bin, value.count);
            return;
        }
        if is_new {
            self.open.insert(index, Cell::new(minute));
        }
        let cell = &mut self.open[index];
        cell.add(bin, value.count);
        cell.n_whole = cell
            .n_whole
            .saturating_add(if value.is_whole { value.count } else { 0 });
        if let Some(trace) = value.trace {
            cell.example(log2_seconds as f32, trace);
        }
    }

    /// Closes the minutes below `minute`, oldest first. Where `judges`, each is held against what is
    /// usual, and `found` is told of what it showed before it is learnt.
    pub(crate) fn close(
        &mut self,
        minute: u64,
        judges: Option<&judge::Limits>,
        mut found: impl FnMut(&mut Self, &Judgement),
    ) {
        let n_closed = self.open.partition_point(|cell| cell.minute < minute);
        for cell in self.open.drain(..n_closed).collect::<Vec<_>>() {
            self.take(&cell);
            let judgement = judges.and_then(|limits| judge::judge(self, limits));
            let alarm = match (&judgement, judges) {
                (Some(judgement), Some(limits)) => {
                    found(self, judgement);
                    judgement.alarm(self, limits)
                }
                _ => 0.0,
            };
            let weight = self.weight(alarm);
            if let Some(judgement) = &judgement {
                self.dispersion.learn(judgement, weight);
            }
            if weight >= 1.0 {
                self.half_hour.join(&cell);
            }
            self.baseline.learn(&cell, weight);
        }
    }

    /// The minute from which on a deviation is told: its onset, or that of the episode that it goes on
    /// with. So an episode has one start, and counts once when the engine learns what is rare. What is
    /// far odder than the episode so far begins one of its own: a mild stir before it is not its start.
    pub(crate) fn episode(
        &mut self,
        direction: Direction,
        onset: u64,
        minute: u64,
        surprise: f64,
    ) -> u64 {
        let episode = &mut self.episodes[usize::from(direction == Direction::Below)];
        let (start, peak) = match *episode {
            Some((start, last, peak)) if onset <= last + 1 && surprise < peak + FAR_ODDER => {
                (start, peak.max(surprise))
            }
            _ => (onset, surprise),
        };
        *episode = Some((start, minute, peak));
        start
    }

    /// How much a minute of this surprise is worth as a lesson.
    fn weight(&mut self, alarm: f64) -> f64 {
        self.elevated = if alarm >= ALARMING {
            (self.elevated + 1).min(2 * ACCEPTED_MINUTES)
        } else {
            self.elevated.saturating_sub(2)
        };
        if alarm < ALARMING || self.elevated > ACCEPTED_MINUTES {
            1.0
        } else if alarm <= 5.0 {
            0.4
        } else {
            0.1
        }
    }

    /// Puts a closed minute into the windows.
    fn take(&mut self, cell: &Cell) {
        self.n_values += cell.n() as u64;
        self.n_whole += u64::from(cell.n_whole);
        let half_hour = cell.minute / SLOT_MINUTES;
        if half_hour != self.half_hour.minute / SLOT_MINUTES {
            self.end_half_hour();
            self.half_hour = Cell::new(half_hour * SLOT_MINUTES);
        }
        self.recent
            .retain(|other| other.minute + RECENT_MINUTES > cell.minute);
        self.recent.push(cell.clone());
        let block = cell.minute - cell.minute % RECENT_MINUTES;
        self.blocks
            .retain(|other| other.minute + BLOCKS_MINUTES > block);
        match self.blocks.last_mut() {
            Some(last) if last.minute == block => last.join(cell),
            _ => {
                let mut first = cell.clone();
                first.minute = block;
                self.blocks.push(first);
            }
        }
    }

    fn end_half_hour(&mut self) {
        let counts = Counts::of_cells(std::iter::once(&self.half_hour));
        if counts.n() > 0.0 {
            let middle = (self.half_hour.minute + SLOT_MINUTES / 2) as f64;
            let median = counts.quantile(0.5) + self.season.at(middle);
            let half_hour = self.half_hour.minute / SLOT_MINUTES;
            self.season.learn(half_hour, median, counts.n());
        }
    }

    /// Cells of one of the windows of [`judge::WINDOWS`], the last minute included.
    pub(crate) fn window(&self, window: usize) -> &[Cell] {
        match window {
            0 => &self.recent[self.recent.len().saturating_sub(1)..],
            1 => &self.recent,
            _ => &self.blocks,
        }
    }

    /// Takes in a series whose template turned out to be this one's.
    pub(crate) fn join(&mut self, other: Self) {
        let is_richer = other.n_values > self.n_values;
        self.since = self.since.min(other.since);
        self.n_values += other.n_values;
        self.n_whole += other.n_whole;
        self.baseline.join(&other.baseline);
        if is_richer {
            (self.season, self.dispersion) = (other.season, other.dispersion);
        }
        for cell in other.open {
            match self
                .open
                .binary_search_by_key(&cell.minute, |own| own.minute)
            {
                Ok(index) => self.open[index].join(&cell),
                Err(index) => self.open.insert(index, cell),
            }
        }
    }
}
