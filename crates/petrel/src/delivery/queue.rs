//! A sending queue: requests whose senders have their answer already wait here until the next hop
//! accepts them, in memory or in a file.

mod consumer;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use petrel_otlp::receive::{ExportReply, Refusal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exit::Exit;
use super::journal::{self, Journal};
use super::line::{Capacity, Line, Load, Waiting};
use super::outgoing::{Head, Outgoing};
use crate::config::{Batch, QueueMode};
use crate::telemetry::name;

/// When a sender is asked to come back that found the queue full.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Bytes of requests of a file queue that are kept in memory too, so that they need not be read again.
const HELD_BYTES_MAX: usize = 32 << 20;

/// How a queue works; all but the mode may change while it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// What may wait.
    pub capacity: Capacity,
    /// Batches that are sent at the same time, at most.
    pub consumers: usize,
    /// Whether a sender that finds the queue full waits until its deadline instead of being refused.
    pub block_on_overflow: bool,
    /// How requests are put together; none = each goes alone.
    pub batch: Option<Batch>,
}

impl From<&crate::config::Queue> for QueueSettings {
    fn from(queue: &crate::config::Queue) -> Self {
        Self {
            capacity: Capacity {
                size: queue.capacity,
                sizer: queue.sizer,
            },
            consumers: queue.consumers.max(1),
            block_on_overflow: queue.block_on_overflow,
            batch: queue.batch.clone(),
        }
    }
}

/// What a queue holds, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct QueueStatus {
    /// Where it keeps what waits; none = in memory.
    pub file: Option<PathBuf>,
    /// Requests that wait or are being sent.
    pub requests: usize,
    /// Log records, spans and data points in them.
    pub items: u64,
    /// Their bytes.
    pub bytes: usize,
    /// What may wait, as the configuration counts it.
    pub capacity: usize,
    /// Why the next hop took nothing when it was last asked; none = it did.
    pub trouble: Option<String>,
}

/// A queue and its consumers.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    consumers: Mutex<Consumers>,
    directory: Option<PathBuf>,
}

/// Tasks that send, each with an index; one that is no longer wanted ends with its index.
#[derive(Debug, Default)]
struct Consumers {
    tasks: JoinSet<usize>,
    running: BTreeSet<usize>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something may go that could not before.
    changed: Notify,
    /// There is room that was not there before.
    room: Notify,
    exit: watch::Sender<Exit>,
    journal: Option<Journal>,
    began: Instant,
}

#[derive(Debug)]
struct State {
    line: Line,
    settings: QueueSettings,
    /// Bytes of bodies in memory, of a file queue.
    held: usize,
    next_number: u64,
    is_closing: bool,
}

impl Queue {
    /// Starts a queue that sends through `exit`; a file queue begins with what its file still holds.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn start(mode: &QueueMode, settings: QueueSettings, exit: Exit) -> anyhow::Result<Self> {
        let directory = match mode {
            QueueMode::File { directory } => Some(directory.clone()),
            QueueMode::Wait | QueueMode::Memory => None,
        };
        let opened = match &directory {
            Some(directory) => {
                let opened = Journal::open(directory);
                Some(opened.with_context(|| format!("the queue in {}", directory.display()))?)
            }
            None => None,
        };
        let mut state = State {
            line: Line::new(settings.capacity),
            settings,
            held: 0,
            next_number: 0,
            is_closing: false,
        };
        let journal = opened.map(|opened| take_over(&mut state, opened));
        let shared = Arc::new_cyclic(|shared: &std::sync::Weak<Shared>| {
            let journal = journal.map(|mut journal| {
                let started = journal.start(state.next_number, settled(shared.clone()));
                started.map(|()| journal)
            });
            Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
                room: Notify::new(),
                exit: watch::Sender::new(exit),
                journal: journal.transpose().unwrap_or_else(|error| {
                    tracing::error!(%error, "the thread of the queue does not start");
                    None
                }),
                began: Instant::now(),
            }
        });
        anyhow::ensure!(
            directory.is_none() || shared.journal.is_some(),
            "the thread of the queue does not start"
        );
        let queue = Self {
            shared,
            consumers: Mutex::default(),
            directory,
        };
        queue.start_consumers();
        queue.shared.report();
        Ok(queue)
    }

    /// Whether it keeps what waits where `mode` says.
    #[must_use]
    pub fn is(&self, mode: &QueueMode) -> bool {
        match mode {
            QueueMode::Wait => false,
            QueueMode::Memory => self.directory.is_none(),
            QueueMode::File { directory } => self.directory.as_ref() == Some(directory),
        }
    }

    /// Takes requests, again if it was closed, and sends through `exit` from now on, what is being sent
    /// included, by other rules.
    pub fn open(&self, settings: QueueSettings, exit: Exit) {
        {
            let mut state = self.shared.lock();
            state.line.set_capacity(settings.capacity);
            state.settings = settings;
            state.is_closing = false;
        }
        self.send_through(exit);
        self.start_consumers();
        self.shared.changed.notify_waiters();
        self.shared.room.notify_waiters();
        self.shared.report();
    }

    /// Sends through another exit from now on, what is being sent included.
    pub fn send_through(&self, exit: Exit) {
        self.shared.exit.send_replace(exit);
    }

    fn start_consumers(&self) {
        let wanted = self.shared.lock().settings.consumers;
        let mut consumers = self.consumers();
        let Consumers { tasks, running } = &mut *consumers;
        while let Some(ended) = tasks.try_join_next() {
            // One that panicked has no index, and is not started again.
            if let Ok(index) = ended {
                running.remove(&index);
            }
        }
        for index in 0..wanted {
            if running.insert(index) {
                tasks.spawn(consumer::consume(Arc::clone(&self.shared), index));
            }
        }
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in; its sender may be told so once this returns. Full, it refuses, or waits for at
    /// most `timeout` where it is told to.
    ///
    /// # Errors
    /// A retryable [`Refusal`], when there is no room or the disk does not take it.
    pub async fn put(
        &self,
        outgoing: Outgoing,
        timeout: Option<Duration>,
    ) -> Result<ExportReply, Refusal> {
        let Outgoing { head, body } = outgoing;
        let (signal, n_items) = (head.signal, head.n_items);
        let taken = match self.reserve(&head, timeout).await {
            Ok(()) => self.shared.take_in(head, body).await,
            Err(refusal) => Err(refusal),
        };
        self.shared.report();
        match taken {
            Ok(()) => Ok(ExportReply::default()),
            Err(refusal) => {
                let exporter = self.shared.exit.borrow().id.to_string();
                metrics::counter!(name::ENQUEUE_FAILED.of(signal), "exporter" => exporter)
                    .increment(n_items);
                Err(refusal)
            }
        }
    }

    async fn reserve(&self, head: &Head, timeout: Option<Duration>) -> Result<(), Refusal> {
        let waiting = async {
            loop {
                let room = self.shared.room.notified();
                {
                    let mut state = self.shared.lock();
                    if state.is_closing {
                        return Err("the queue is closing".to_owned());
                    }
                    if state.line.reserve(head) {
                        return Ok(());
                    }
                    if !state.settings.block_on_overflow {
                        return Err(state.full());
                    }
                }
                room.await;
            }
        };
        let reserved = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, waiting)
                .await
                .unwrap_or_else(|_| Err(self.shared.lock().full())),
            None => waiting.await,
        };
        reserved.map_err(|message| Refusal::later(message, RETRY_AFTER))
    }

    /// What it holds.
    #[must_use]
    pub fn status(&self) -> QueueStatus {
        let state = self.shared.lock();
        let load = state.line.load();
        QueueStatus {
            file: self.directory.clone(),
            requests: load.requests,
            items: load.items,
            bytes: load.bytes,
            capacity: state.line.capacity().size,
            trouble: self.shared.exit.borrow().exporter.trouble(),
        }
    }

    /// Takes nothing more; its consumers end when it is empty.
    pub fn close(&self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_waiters();
        self.shared.room.notify_waiters();
    }

    /// Takes nothing more, sends what waits until `deadline` at most, ends. What is left then stays in the
    /// file, or, of a queue in memory, is lost: it is returned.
    pub async fn drain(&self, deadline: Instant) -> Load {
        self.close();
        let mut consumers = std::mem::take(&mut *self.consumers()).tasks;
        let sending = async { while consumers.join_next().await.is_some() {} };
        let is_done = tokio::time::timeout_at(deadline, sending).await.is_ok();
        consumers.shutdown().await;
        let left = self.shared.lock().line.load();
        let is_kept = self.directory.is_some();
        if !is_done && left.requests > 0 {
            tracing::warn!(
                requests = left.requests,
                items = left.items,
                kept = is_kept,
                "the queue was not empty when the time to drain was over"
            );
        }
        // The thread of the journal writes what waits, which takes a sync.
        let shared = Arc::clone(&self.shared);
        let _ = tokio::task::spawn_blocking(move || {
            if let Some(journal) = &shared.journal {
                journal.end();
            }
        })
        .await;
        if is_kept { Load::default() } else { left }
    }
}

/// Puts what a file still holds in line, and says what of it cannot be read.
fn take_over(state: &mut State, opened: journal::Opened) -> Journal {
    if let Some((path, reason)) = &opened.set_aside {
        tracing::error!(path = %path.display(), "the file of the queue cannot be read and is set aside, what waited in it is not sent: {reason}");
        metrics::counter!(name::QUEUE_ERRORS, "reason" => "set_aside").increment(1);
    }
    if !opened.unreadable.is_empty() {
        let n_requests = opened.unreadable.len();
        tracing::error!(
            n_requests,
            "requests in the file of the queue cannot be read and are lost"
        );
        metrics::counter!(name::QUEUE_ERRORS, "reason" => "unreadable")
            .increment(n_requests as u64);
    }
    let n_waiting = opened.waiting.len();
    for (number, head) in opened.waiting {
        state.next_number = number + 1;
        state.line.take_over(&head);
        state.line.push(Waiting {
            number,
            head,
            body: None,
            arrived: Duration::ZERO,
        });
    }
    if n_waiting > 0 {
        tracing::info!(
            requests = n_waiting,
            "requests from before the restart wait to be sent"
        );
    }
    opened.journal
}

/// What the queue does when the journal is done with a request.
fn settled(shared: std::sync::Weak<Shared>) -> journal::Settled {
    Box::new(move |head, written| {
        // Nobody is left to send it; it is in the file for the next start.
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut state = shared.lock();
        let Some((number, body)) = written else {
            state.line.release(&head);
            return;
        };
        let keep = state.held + body.len() <= HELD_BYTES_MAX;
        if keep {
            state.held += body.len();
        }
        state.line.push(Waiting {
            number,
            head,
            body: keep.then_some(body),
            arrived: shared.began.elapsed(),
        });
        drop(state);
        shared.changed.notify_one();
    })
}

impl State {
    fn full(&self) -> String {
        let load = self.line.load();
        let Capacity { size, sizer } = self.line.capacity();
        format!(
            "sending queue is full: {} of {size} {} wait for the next hop",
            load.size(sizer),
            sizer.name()
        )
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a request for which there is room.
    async fn take_in(&self, head: Head, body: Bytes) -> Result<(), Refusal> {
        let Some(journal) = &self.journal else {
            let mut state = self.lock();
            let number = state.next_number;
            state.next_number += 1;
            state.line.push(Waiting {
                number,
                head,
                body: Some(body),
                arrived: self.began.elapsed(),
            });
            drop(state);
            self.changed.notify_one();
            return Ok(());
        };
        let written = match journal.put(head, body) {
            Ok(answer) => answer
                .await
                .unwrap_or_else(|_| Err("its thread is gone".to_owned())),
            Err(head) => {
                self.lock().line.release(&head);
                Err("too many requests wait for the disk".to_owned())
            }
        };
        written.map_err(|reason| {
            tracing::error!(
                "the file of the queue does not take a request, its sender is told so: {reason}"
            );
            metrics::counter!(name::QUEUE_ERRORS, "reason" => "write").increment(1);
            Refusal::later(
                format!("the file of the sending queue: {reason}"),
                RETRY_AFTER,
            )
        })
    }

    fn report(&self) {
        let state = self.lock();
        let Capacity { size, sizer } = state.line.capacity();
        let load = state.line.load().size(sizer);
        drop(state);
        let exporter = self.exit.borrow().id.to_string();
        metrics::gauge!(name::QUEUE_SIZE, "exporter" => exporter.clone()).set(load as f64);
        metrics::gauge!(name::QUEUE_CAPACITY, "exporter" => exporter).set(size as f64);
    }
}
