//! Worker threads: each owns the state of its streams and its own instances of the detectors.
//!
//! A worker takes tasks in order from a bounded queue. Whatever goes wrong in one is caught here: the
//! part of the request goes back empty, and the worker starts again from the last snapshot, or, where
//! none was taken, from nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context;
use petrel_batch::{EventTime, LogBatch};
use petrel_engine::{Frontier, Judgement, Worker};
use tokio::sync::oneshot;

use crate::missed::Missed;

/// Tasks that may wait in the queue of a worker: requests are bounded by admission slots below this,
/// what is left is for control.
pub const QUEUE_MAX: usize = 128;

/// The part of a request that a worker owns, or only the news of the frontier.
#[derive(Debug)]
pub struct Part {
    /// Number of the request.
    pub sequence: u64,
    /// Its rows; none when the worker only hears of the frontier.
    pub log_batch: Option<Arc<LogBatch>>,
    /// The frontier over the request.
    pub frontier: Arc<Frontier>,
}

type Control = Box<dyn FnOnce(&mut Worker) + Send>;

enum Task {
    Judge(Part),
    Control(Control),
}

/// The threads.
pub struct Workers {
    queues: Vec<SyncSender<Task>>,
    missed: Vec<Arc<Missed>>,
    threads: Vec<JoinHandle<()>>,
    report: Report,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Called with the number of the request, the worker and what it found; `None` after a panic.
pub type Report = Arc<dyn Fn(u64, usize, Option<Judgement>) + Send + Sync>;

impl Workers {
    /// Starts a thread for each worker. `rebuild` makes a worker anew after a panic in it.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        workers: Vec<Worker>,
        rebuild: Arc<dyn Fn(usize) -> anyhow::Result<Worker> + Send + Sync>,
        report: &Report,
    ) -> anyhow::Result<Self> {
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        let missed: Vec<Arc<Missed>> = workers.iter().map(|_| Arc::default()).collect();
        for (index, worker) in workers.into_iter().enumerate() {
            let (sender, receiver) = sync_channel(QUEUE_MAX);
            let (report, rebuild) = (Arc::clone(report), Arc::clone(&rebuild));
            let missed = Arc::clone(&missed[index]);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run(index, worker, &receiver, &missed, &*rebuild, &report))
                .context("starting a worker thread")?;
            queues.push(sender);
            threads.push(thread);
        }
        Ok(Self {
            queues,
            missed,
            threads,
            report: Arc::clone(report),
        })
    }

    /// Number of workers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queues.len()
    }

    /// Whether there is none, which never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Hands a part to a worker. When it is gone (or its queue full, which the caller's slots rule out)
    /// the part is reported as empty.
    pub fn judge(&self, worker: usize, part: Part) {
        let sequence = part.sequence;
        if self.queues[worker].try_send(Task::Judge(part)).is_err() {
            (self.report)(sequence, worker, None);
        }
    }

    /// Notes rows that a worker will not see; it hears of it before its next part.
    pub fn miss(&self, worker: usize, log_batch: &LogBatch, latest: EventTime) {
        self.missed[worker].note(log_batch, latest);
    }

    /// Runs `f` on a worker after all that it has been handed so far, and returns what it returned;
    /// `None` when the worker is gone.
    pub async fn control<T: Send + 'static>(
        &self,
        worker: usize,
        f: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let control: Control = Box::new(move |worker| {
            // Nobody waits any more: the answer is not missed.
            let _ = reply.send(f(worker));
        });
        let queue = self.queues[worker].clone();
        // A full queue is waited for, on a thread that may wait.
        let sent = tokio::task::spawn_blocking(move || queue.send(Task::Control(control)).is_ok());
        if !sent.await.unwrap_or(false) {
            return None;
        }
        answer.await.ok()
    }

    /// Ends the threads once their queues are empty.
    pub fn join(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
    }
}

fn run(
    index: usize,
    mut worker: Worker,
    queue: &Receiver<Task>,
    missed: &Missed,
    rebuild: &dyn Fn(usize) -> anyhow::Result<Worker>,
    report: &Report,
) {
    for task in queue {
        match task {
            Task::Judge(part) => {
                let judged = catch_unwind(AssertUnwindSafe(|| {
                    for (stream, span) in missed.take() {
                        worker.miss(&stream, span.from, span.to, span.n_records);
                    }
                    worker.judge(part.sequence, part.log_batch.as_deref(), &part.frontier)
                }));
                let judgement = judged.ok();
                if judgement.is_none() {
                    recover(index, &mut worker, rebuild);
                }
                let reported = catch_unwind(AssertUnwindSafe(|| {
                    report(part.sequence, index, judgement);
                }));
                if reported.is_err() {
                    tracing::error!(
                        request = part.sequence,
                        "settling a request panicked; it goes on as it came"
                    );
                }
            }
            Task::Control(control) => {
                if catch_unwind(AssertUnwindSafe(|| control(&mut worker))).is_err() {
                    recover(index, &mut worker, rebuild);
                }
            }
        }
    }
}

/// A panic is a fault of ours: said loudly, and answered with a worker made anew.
fn recover(index: usize, worker: &mut Worker, rebuild: &dyn Fn(usize) -> anyhow::Result<Worker>) {
    tracing::error!(
        worker = index,
        "a worker panicked; records go on, its streams start from the last snapshot"
    );
    match catch_unwind(AssertUnwindSafe(|| rebuild(index))) {
        Ok(Ok(fresh)) => *worker = fresh,
        Ok(Err(error)) => tracing::error!(
            worker = index,
            "the worker could not be made anew: {error:#}"
        ),
        Err(_) => tracing::error!(worker = index, "making the worker anew panicked"),
    }
}
