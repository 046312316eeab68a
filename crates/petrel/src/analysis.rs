//! Detection as one thing that requests pass through: intake gives them their turn, workers judge
//! their rows, the junction puts the parts together, and whoever waits gets the edits, in time or not
//! at all.

mod change;
mod kept;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use petrel_batch::{ColumnSet, EventTime, LogBatch, RowEdits, StreamKey};
use petrel_engine::{
    Continuity, DetectorSpec, FrontierClock, GlobalStage, Judgement, Scope, Settings, Tally, Worker,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use self::kept::Kept;
pub use self::status::{AnalysisStatus, DetectorOverall, STREAMS_TOLD_MAX, Totals};
use crate::counting;
use crate::junction::Junction;
use crate::outbox::Outbox;
use crate::persist::Knowledge;
use crate::telemetry::one_line;
use crate::workers::{Part, Report, Workers};

/// Requests in detection at one time; further ones wait for their turn within the budget.
pub const SLOTS: usize = 64;
/// KiB of requests in detection at one time: 128 MiB, also of those that have gone on without an answer.
/// A request of whatever size takes at least its share of a slot.
const SLOTS_KIB: usize = 128 << 10;
/// A record so long after its arrival does not move the frontier: somebody's clock runs ahead.
const AHEAD: Duration = petrel_otlp::AHEAD_OF_ARRIVAL;

/// Edits for the rows of one request: for each part its worker's batch and what is added to it.
pub type Edits = Vec<(Arc<LogBatch>, RowEdits)>;

/// Why a request went on without what detection would have added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Detection did not answer within its budget.
    Budget,
    /// A worker is gone.
    Gone,
}

impl Skipped {
    /// Value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Gone => "worker",
        }
    }
}

type Requests = Junction<Option<Judgement>, Waiting>;

/// The detectors that run, and those of them, or of others to come, that are switched off.
#[derive(Debug, Default)]
struct Roster {
    detectors: BTreeMap<String, DetectorSpec>,
    disabled: BTreeSet<String>,
}

type SharedRoster = Arc<RwLock<Roster>>;

/// Detection, shared by all requests.
#[derive(Debug)]
pub struct Analysis {
    workers: Workers,
    junction: Arc<Requests>,
    global: Arc<Mutex<GlobalStage>>,
    intake: Mutex<Intake>,
    slots: Arc<Semaphore>,
    budget: Duration,
    roster: SharedRoster,
    kept: Arc<Kept>,
    outbox: Outbox,
    counts: Arc<Counts>,
}

/// What was counted since the process began, whatever analysis it was in.
#[derive(Debug, Default)]
pub struct Counts {
    totals: Mutex<Tally>,
    /// Rows whose requests found no turn.
    missed: AtomicU64,
}

#[derive(Debug)]
struct Intake {
    next_sequence: u64,
    frontier: FrontierClock,
}

/// What a request waits with while its parts are judged. Its slot is free once it is settled.
#[derive(Debug)]
struct Waiting {
    /// The frontier after the request: when what it brings about is emitted, in the input's own time.
    frontier: EventTime,
    reply: oneshot::Sender<Vec<(usize, RowEdits)>>,
    _slot: OwnedSemaphorePermit,
}

/// What detection begins with.
#[derive(Debug)]
pub struct Start {
    /// Settings of the engine. The bounds of `limits.retry_digests` and `limits.retry_verdict_bytes`
    /// are for all workers together here, which get equal shares.
    pub settings: Settings,
    /// Detectors by name.
    pub roster: BTreeMap<String, DetectorSpec>,
    /// Number of workers.
    pub n_workers: usize,
    /// How long a request may be held.
    pub budget: Duration,
    /// What was saved, or what the analysis knew whose place this one takes.
    pub knowledge: Knowledge,
    /// Whether requests can have been judged after `knowledge` was taken. Seamless is right when one
    /// analysis takes the place of another that no request reaches any more.
    pub continuity: Continuity,
    /// Where anomaly events go.
    pub outbox: Outbox,
    /// What was counted until now.
    pub counts: Arc<Counts>,
}

/// The worker that owns a stream; the same on every host with as many workers.
#[must_use]
pub fn worker_of(stream: &StreamKey, n_workers: usize) -> usize {
    (stream.stable_hash() % n_workers.max(1) as u64) as usize
}

impl Analysis {
    /// Builds workers, puts back what was saved, and starts the threads.
    ///
    /// # Errors
    /// When a detector cannot be built or a thread not be started.
    pub fn start(start: Start) -> anyhow::Result<Self> {
        let n_workers = start.n_workers.max(1);
        let mut settings = start.settings;
        let limits = &mut settings.limits;
        limits.retry_digests = limits.retry_digests.div_ceil(n_workers);
        limits.retry_verdict_bytes /= n_workers;
        let settings = Arc::new(settings);
        let mut frontier = FrontierClock::new(&settings);
        let mut global = GlobalStage::new(Arc::clone(&settings));
        let Knowledge {
            streams,
            frontier: saved_frontier,
            global_stage,
            gone,
            disabled,
        } = start.knowledge;
        let loads = [
            saved_frontier.map(|bytes| frontier.load(&bytes)),
            global_stage.map(|bytes| global.load(&bytes)),
        ];
        for error in loads.into_iter().flatten().filter_map(Result::err) {
            tracing::warn!(%error, "a part of the saved state is set aside");
        }
        let kept = Kept::new(n_workers * settings.limits.streams);
        kept.put(streams);
        kept.put_gone(gone);
        let kept = Arc::new(kept);
        let roster = Roster {
            detectors: start.roster,
            disabled,
        };
        let roster: SharedRoster = Arc::new(RwLock::new(roster));
        let build = {
            let (roster, kept) = (Arc::clone(&roster), Arc::clone(&kept));
            move |index: usize, continuity| {
                build_worker(index, n_workers, &settings, &roster, &kept, continuity)
            }
        };
        let workers = (0..n_workers)
            .map(|index| build(index, start.continuity))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let rebuild = move |index| build(index, Continuity::Interrupted);
        let junction = Arc::new(Requests::default());
        let global = Arc::new(Mutex::new(global));
        let report = report(
            Arc::clone(&junction),
            Arc::clone(&global),
            Arc::clone(&kept),
            start.outbox.clone(),
            Arc::clone(&start.counts),
        );
        Ok(Self {
            workers: Workers::start(workers, Arc::new(rebuild), &report)?,
            junction,
            global,
            intake: Mutex::new(Intake {
                next_sequence: 0,
                frontier,
            }),
            slots: Arc::new(Semaphore::new(SLOTS_KIB)),
            budget: start.budget,
            roster,
            kept,
            outbox: start.outbox,
            counts: start.counts,
        })
    }

    /// Number of workers.
    #[must_use]
    pub fn n_workers(&self) -> usize {
        self.workers.len()
    }

    /// How long a request is held at most.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Whether any detector is there, switched off or not.
    #[must_use]
    pub fn has_detectors(&self) -> bool {
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        !roster.detectors.is_empty()
    }

    /// The columns that detection wants to see.
    pub async fn column_set(&self) -> ColumnSet {
        ColumnSet::new(
            self.workers
                .control(0, |worker| worker.column_requests())
                .await
                .unwrap_or_default(),
        )
    }

    /// Has a request of `n_bytes` analysed that came in at `arrival`: `parts[i]` are the rows of worker
    /// `i`. Waits for a turn and an answer within the budget.
    ///
    /// # Errors
    /// [`Skipped`]; the request goes on as it is.
    pub async fn analyse(
        &self,
        parts: Vec<Option<LogBatch>>,
        n_bytes: usize,
        arrival: EventTime,
    ) -> Result<Edits, Skipped> {
        let deadline = Instant::now() + self.budget;
        let parts = shared(parts);
        let Some(answer) = self.turn(&parts, n_bytes, arrival, deadline).await? else {
            return Ok(Vec::new());
        };
        let judged = tokio::time::timeout_at(deadline, answer).await;
        let edits = judged
            .map_err(|_| Skipped::Budget)?
            .map_err(|_| Skipped::Gone)?;
        Ok(edits
            .into_iter()
            .filter_map(|(worker, edits)| Some((parts.get(worker)?.clone()?, edits)))
            .collect())
    }

    /// The same for a request that gets nothing added: waits for its turn alone.
    ///
    /// # Errors
    /// [`Skipped`].
    pub async fn observe(
        &self,
        parts: Vec<Option<LogBatch>>,
        n_bytes: usize,
        arrival: EventTime,
    ) -> Result<(), Skipped> {
        let deadline = Instant::now() + self.budget;
        self.turn(&shared(parts), n_bytes, arrival, deadline)
            .await
            .map(drop)
    }

    /// Waits for a turn and hands a request over; `None` when it has no rows. One that finds no turn
    /// before `deadline` is missing input.
    async fn turn(
        &self,
        parts: &[Option<Arc<LogBatch>>],
        n_bytes: usize,
        arrival: EventTime,
        deadline: Instant,
    ) -> Result<Option<Answer>, Skipped> {
        if parts.iter().all(Option::is_none) {
            return Ok(None);
        }
        let latest = arrival.saturating_add(AHEAD);
        let share = (n_bytes / 1024).clamp(SLOTS_KIB / SLOTS, SLOTS_KIB) as u32;
        let slot = Arc::clone(&self.slots).acquire_many_owned(share);
        let Ok(slot) = tokio::time::timeout_at(deadline, slot).await else {
            for (worker, part) in parts.iter().enumerate() {
                if let Some(log_batch) = part {
                    let n_rows = log_batch.n_rows() as u64;
                    self.counts.missed.fetch_add(n_rows, Ordering::Relaxed);
                    self.workers.miss(worker, log_batch, latest);
                }
            }
            return Err(Skipped::Budget);
        };
        let slot = slot.map_err(|_| Skipped::Gone)?;
        Ok(Some(self.admit(parts, latest, slot)))
    }

    /// Gives a request its number and frontier and hands its parts to the workers, in one step: all
    /// workers see requests in the order of their numbers.
    fn admit(
        &self,
        parts: &[Option<Arc<LogBatch>>],
        latest: EventTime,
        slot: OwnedSemaphorePermit,
    ) -> Answer {
        let (reply, answer) = oneshot::channel();
        let mut intake = lock(&self.intake);
        let present: Vec<&LogBatch> = parts.iter().flatten().map(Arc::as_ref).collect();
        let frontier = Arc::new(intake.frontier.admit(&present, latest));
        let sequence = intake.next_sequence;
        intake.next_sequence += 1;
        let concerned: Vec<usize> = (0..parts.len())
            .filter(|&worker| parts[worker].is_some() || frontier.moved())
            .collect();
        let waiting = Waiting {
            frontier: intake.frontier.time(),
            reply,
            _slot: slot,
        };
        self.junction.expect(sequence, concerned.len(), waiting);
        for worker in concerned {
            let log_batch = parts[worker].clone();
            let part = Part {
                sequence,
                log_batch,
                frontier: Arc::clone(&frontier),
            };
            // The others must not wait for a part that never comes: a lost one is reported as empty.
            self.workers.judge(worker, part);
        }
        answer
    }

    /// Nothing has come in for `lasted`, by the wall clock: says so once, if anything ever came.
    pub fn quiet(&self, lasted: Duration) {
        let since = lock(&self.intake).frontier.time();
        let event = lock(&self.global).quiet(since, lasted);
        self.outbox.push(event.as_slice());
    }

    /// Input has come again: takes back what [`Analysis::quiet`] said, where event time shows no gap.
    pub fn resumed(&self) {
        let now = lock(&self.intake).frontier.time();
        let event = lock(&self.global).resumed(now);
        self.outbox.push(event.as_slice());
    }

    /// Event time that the input as a whole has reached.
    #[must_use]
    pub fn frontier(&self) -> EventTime {
        lock(&self.intake).frontier.time()
    }

    /// What is known, of all streams (which is what another analysis needs to take the place of this
    /// one, and knows then what this one has to write into the store) or of at most `at_most` a worker that have changed.
    pub async fn snapshot(&self, scope: Scope) -> Knowledge {
        let mut streams = Vec::new();
        for worker in 0..self.n_workers() {
            let taken = self
                .workers
                .control(worker, move |worker| worker.snapshot(scope))
                .await;
            let taken = taken.unwrap_or_default();
            counting::health(&taken.changes);
            streams.extend(taken.streams);
        }
        self.kept.put(streams.iter().cloned());
        Knowledge {
            streams,
            gone: self.kept.take_gone(),
            frontier: Some(lock(&self.intake).frontier.save()),
            global_stage: Some(lock(&self.global).save()),
            disabled: self.disabled_detectors(),
        }
    }

    /// Ends the workers after what they have been handed.
    pub fn join(self) {
        self.workers.join();
    }

    /// Number of streams that have state, in all workers.
    pub async fn n_streams(&self) -> usize {
        let mut n_streams = 0;
        for worker in 0..self.n_workers() {
            let counted = self
                .workers
                .control(worker, |worker| worker.n_streams())
                .await;
            n_streams += counted.unwrap_or_default();
        }
        n_streams
    }
}

/// What comes of a request in detection, by worker.
type Answer = oneshot::Receiver<Vec<(usize, RowEdits)>>;

fn shared(parts: Vec<Option<LogBatch>>) -> Vec<Option<Arc<LogBatch>>> {
    parts.into_iter().map(|part| part.map(Arc::new)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build_worker(
    index: usize,
    n_workers: usize,
    settings: &Arc<Settings>,
    roster: &RwLock<Roster>,
    kept: &Kept,
    continuity: Continuity,
) -> anyhow::Result<Worker> {
    let mut worker = Worker::new(Arc::clone(settings));
    let roster = roster.read().unwrap_or_else(PoisonError::into_inner);
    for spec in roster.detectors.values() {
        worker.add(spec.clone())?;
    }
    for stream in kept.streams(|key| worker_of(key, n_workers) == index) {
        for aside in worker.restore(stream, continuity) {
            tracing::warn!(
                stream = %aside.key,
                part = aside.part.name,
                version = aside.part.version,
                "a part of the saved state is set aside: {}",
                one_line(aside.reason)
            );
        }
    }
    for detector in &roster.disabled {
        // One that does not run yet is switched off when it comes.
        let _ = worker.set_detector_enabled(detector, false);
    }
    Ok(worker)
}

/// What workers call with their parts: settles requests in order, counts, replies.
fn report(
    junction: Arc<Requests>,
    global: Arc<Mutex<GlobalStage>>,
    kept: Arc<Kept>,
    outbox: Outbox,
    counts: Arc<Counts>,
) -> Report {
    Arc::new(move |sequence, worker, judgement| {
        junction.meet(sequence, worker, judgement, |sequence, parts, waiting| {
            let judged = parts
                .into_iter()
                .filter_map(|(worker, part)| Some((worker, part?)));
            let (workers, judgements): (Vec<_>, Vec<_>) = judged.unzip();
            let mut settled = lock(&global).settle(sequence, judgements);
            for event in &mut settled.events {
                if event.observed_time == EventTime::UNKNOWN {
                    event.observed_time = waiting.frontier.max(event.time);
                }
            }
            outbox.push(&settled.events);
            counting::tally(&settled.tally);
            lock(&counts.totals).add(&settled.tally);
            counting::health(&settled.changes);
            kept.put(settled.evicted);
            // Nobody waits any more when the budget is over: the edits are dropped, events are not.
            let _ = waiting
                .reply
                .send(workers.into_iter().zip(settled.edits).collect());
        });
    })
}
