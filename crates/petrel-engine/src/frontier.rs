//! The frontier: the event time that the input as a whole has reached, stamped on requests at intake.
//!
//! It is told in steps, each with its place in the request, so that every worker applies it between
//! the same two records however the input was split into requests.

use std::collections::{HashMap, VecDeque};

use petrel_batch::{EventTime, LogBatch};
use serde::{Deserialize, Serialize};

use crate::reach::{Offer, Reach};
use crate::settings::nanos;
use crate::{Settings, StateError, state};

/// Streams of which the clock knows that they are active; further ones are not counted, so that
/// fewer need to agree.
const STREAMS_MAX: usize = 4_096;
/// A stream is active for so long after its last record: 10 minutes.
const ACTIVE: u64 = 600_000_000_000;
/// One in so many active streams must agree with a jump.
const AGREEING_SHARE: usize = 4;
/// Digests remembered while times are in doubt. Full: retries of others may agree.
const DOUBTED_MAX: usize = 64;
/// Gaps that are remembered to tell a habit from an accident.
const GAPS_REMEMBERED: usize = 8;
/// So many gaps of at least half the length within a week are a habit, and no gap is reported.
const HABIT: usize = 3;
const WEEK: u64 = 7 * 86_400_000_000_000;

/// A span of event time in which the input as a whole was quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// Last event time before it, ns.
    pub from: u64,
    /// First event time after it, ns.
    pub to: u64,
}

/// A move of the frontier between two records of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Ordinal of the record before which it is told.
    pub place: u32,
    /// The new frontier, a multiple of `frontier_step`.
    pub time: EventTime,
    /// The gap that was jumped over, if it was one.
    pub gap: Option<Gap>,
}

/// The frontier over one request; told to all workers, with or without rows of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Where it stood before the request; zero until three records have come.
    pub before: EventTime,
    /// A time after this speaks only for its own stream, and not at once.
    pub latest: EventTime,
    /// How it moved, ascending by place.
    pub steps: Vec<Step>,
}

impl Frontier {
    /// Where it stands after the request.
    #[must_use]
    pub fn after(&self) -> EventTime {
        self.steps.last().map_or(self.before, |step| step.time)
    }

    /// Whether workers without rows in the request must hear of it.
    #[must_use]
    pub fn moved(&self) -> bool {
        !self.steps.is_empty()
    }
}

/// Computes the frontier at intake, from the requests in the order of their sequence numbers.
///
/// A jump far ahead is believed when three records in a row and a quarter of the active streams
/// agree, and never beyond what the request's arrival allows. Reads no clock: a recording of 2019 is as
/// good as today.
#[derive(Debug)]
pub struct FrontierClock {
    ahead: u64,
    step: u64,
    quiet_after: u64,
    known: Known,
    /// Digests of what brought the times in doubt: their retries agree with nothing. Not saved.
    doubted: Vec<u128>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    reach: Reach,
    told: u64,
    /// Stable hash of a stream and its last believed time.
    active: HashMap<u64, u64>,
    agreeing: Vec<u64>,
    gaps: VecDeque<Gap>,
}

impl FrontierClock {
    /// A clock that has seen nothing.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            ahead: nanos(settings.ahead),
            step: nanos(settings.frontier_step).max(1),
            quiet_after: nanos(settings.quiet_after),
            known: Known::default(),
            doubted: Vec::new(),
        }
    }

    /// The largest event time that is believed; zero before the first.
    #[must_use]
    pub fn time(&self) -> EventTime {
        EventTime(self.known.reach.newest)
    }

    /// Takes the parts of the next request (one a worker, in any order) and returns its frontier.
    ///
    /// `latest` is some minutes after the request came in: a clock that runs further ahead must not
    /// carry the others along, so later times do not move the frontier. The largest time there is
    /// stands for "whatever they say".
    ///
    /// Well below 1 ns a record while nothing jumps and no step is crossed, about 10 ns otherwise.
    pub fn admit(&mut self, parts: &[&LogBatch], latest: EventTime) -> Frontier {
        let mut frontier = Frontier {
            before: EventTime(self.known.told),
            latest,
            steps: Vec::new(),
        };
        let times = parts
            .iter()
            .filter_map(|part| part.event_times().iter().max());
        let Some(&newest) = times.max() else {
            return frontier;
        };
        let reach = self.known.reach;
        let is_early = newest <= latest.0 && newest < self.known.told.saturating_add(self.step);
        if reach.newest > 0 && !reach.doubts() && is_early {
            for run in parts.iter().flat_map(|part| part.runs()) {
                self.mark_active(run.resource.stream.stable_hash());
            }
            self.known.reach.step_to(newest, self.ahead);
        } else {
            for_each_row(parts, |place, time, head| {
                if time <= latest.0 && !self.is_repeated(head) {
                    self.walk(place, time, head, &mut frontier.steps);
                }
            });
        }
        frontier
    }

    /// Notes that a stream is active, at the frontier as told.
    fn mark_active(&mut self, stream: u64) {
        let active = &mut self.known.active;
        if active.len() >= STREAMS_MAX && !active.contains_key(&stream) {
            let oldest = self.known.told.saturating_sub(ACTIVE);
            active.retain(|_, &mut last| last >= oldest);
            if active.len() >= STREAMS_MAX {
                return;
            }
        }
        active.insert(stream, self.known.told);
    }

    fn walk(&mut self, place: u32, time: u64, head: &mut Head<'_>, steps: &mut Vec<Step>) {
        let before = self.known.reach.newest;
        let offer = self.known.reach.offer(time, self.ahead);
        if self.known.reach.doubts() {
            self.doubt(head);
        } else {
            self.known.agreeing.clear();
            self.doubted.clear();
        }
        match offer {
            Offer::Behind => {}
            Offer::Newest => self.tell(place, before, time, steps),
            Offer::InDoubt => self.agree(head.stream),
            Offer::Agreed => {
                self.agree(head.stream);
                if self.known.agreeing.len() < self.needed() {
                    return;
                }
                self.known.agreeing.clear();
                let (from, to) = self.known.reach.confirm(self.ahead);
                self.tell(place, from, to, steps);
                let before = self.known.reach.newest;
                if self.known.reach.offer(time, self.ahead) == Offer::Newest {
                    self.tell(place, before, time, steps);
                }
            }
        }
        if matches!(offer, Offer::Behind | Offer::Newest) && head.marked != Some(self.known.told) {
            head.marked = Some(self.known.told);
            self.mark_active(head.stream);
        }
    }

    /// Whether the rows of a run have brought the times in doubt before: a sender that repeats itself
    /// does not agree with anybody.
    fn is_repeated(&self, head: &Head<'_>) -> bool {
        let digest = head.digest();
        !head.brings_doubt && digest.is_some_and(|digest| self.doubted.contains(&digest))
    }

    fn doubt(&mut self, head: &mut Head<'_>) {
        let Some(digest) = head.digest().filter(|_| !head.brings_doubt) else {
            return;
        };
        head.brings_doubt = true;
        if self.doubted.len() < DOUBTED_MAX {
            self.doubted.push(digest);
        }
    }

    fn agree(&mut self, stream: u64) {
        if !self.known.agreeing.contains(&stream) && self.known.agreeing.len() < STREAMS_MAX {
            self.known.agreeing.push(stream);
        }
    }

    /// How many streams must agree with a jump.
    fn needed(&self) -> usize {
        let oldest = self.known.told.saturating_sub(ACTIVE);
        let active = self.known.active.values();
        let n_active = active.filter(|&&last| last >= oldest).count();
        n_active.div_ceil(AGREEING_SHARE).max(1)
    }

    /// Adds a step when the frontier crossed one or jumped a gap.
    fn tell(&mut self, place: u32, from: u64, to: u64, steps: &mut Vec<Step>) {
        let gap = (from > 0 && to.saturating_sub(from) > self.quiet_after)
            .then_some(Gap { from, to })
            .filter(|&gap| self.is_accident(gap));
        let time = self.known.reach.newest / self.step * self.step;
        if time > self.known.told || gap.is_some() {
            self.known.told = time;
            steps.push(Step {
                place,
                time: EventTime(time),
                gap,
            });
        }
    }

    /// Whether a gap is out of habit; remembers it either way.
    fn is_accident(&mut self, gap: Gap) -> bool {
        let length = gap.to - gap.from;
        let like =
            self.known.gaps.iter().filter(|known| {
                (known.to - known.from) * 2 >= length && known.to + WEEK >= gap.from
            });
        let is_accident = like.count() < HABIT;
        if self.known.gaps.len() == GAPS_REMEMBERED {
            self.known.gaps.pop_front();
        }
        self.known.gaps.push_back(gap);
        is_accident
    }

    /// All that the clock knows, as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut active: Vec<_> = self.known.active.iter().map(|(&s, &t)| (s, t)).collect();
        active.sort_unstable();
        let known = &self.known;
        state::encode(&(
            known.reach,
            known.told,
            active,
            &known.agreeing,
            &known.gaps,
        ))
    }

    /// Puts back what was saved.
    ///
    /// # Errors
    /// [`StateError`] when the bytes are damaged or of another version; nothing has changed then.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        type Saved = (Reach, u64, Vec<(u64, u64)>, Vec<u64>, VecDeque<Gap>);
        let (reach, told, active, agreeing, gaps): Saved = state::decode(bytes)?;
        self.known = Known {
            reach,
            told,
            active: active.into_iter().collect(),
            agreeing,
            gaps,
        };
        Ok(())
    }
}

/// Visits the rows of all parts in the order of their places, with their event times.
fn for_each_row<'a>(parts: &[&'a LogBatch], mut visit: impl FnMut(u32, u64, &mut Head<'a>)) {
    let mut heads: Vec<_> = parts.iter().copied().map(Head::new).collect();
    let n_rows = parts.iter().map(|part| part.n_rows()).sum::<usize>();
    for _ in 0..n_rows {
        let next = heads
            .iter_mut()
            .filter(|head| head.row < head.part.n_rows());
        let Some(head) = next.min_by_key(|head| head.part.places()[head.row]) else {
            return;
        };
        head.enter_run();
        let row = head.row;
        head.row += 1;
        visit(head.part.places()[row], head.part.event_times()[row], head);
    }
}

/// Where a visit of rows stands in one part.
struct Head<'a> {
    part: &'a LogBatch,
    row: usize,
    run: Option<usize>,
    stream: u64,
    /// The frontier at which the stream was last marked active.
    marked: Option<u64>,
    /// Some row of the run was the first of it to be in doubt.
    brings_doubt: bool,
}

impl<'a> Head<'a> {
    fn new(part: &'a LogBatch) -> Self {
        Self {
            part,
            row: 0,
            run: None,
            stream: 0,
            marked: None,
            brings_doubt: false,
        }
    }

    /// Digest of the run that it stands in.
    fn digest(&self) -> Option<u128> {
        self.part.runs()[self.run?].digest
    }

    /// Moves on to the run of the row, whose stream is hashed once.
    fn enter_run(&mut self) {
        let runs = self.part.runs();
        let next = match self.run {
            None => 0,
            Some(run) if runs[run].rows.end <= self.row => run + 1,
            Some(_) => return,
        };
        self.run = Some(next);
        self.stream = runs[next].resource.stream.stable_hash();
        self.marked = None;
        self.brings_doubt = false;
    }
}
