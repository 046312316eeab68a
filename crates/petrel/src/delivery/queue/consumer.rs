//! Consumers of a sending queue: each takes a batch, sends it until it is accepted or given up, and makes
//! room.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::super::line::{Next, Waiting};
use super::super::outgoing::Head;
use super::{Shared, State};
use crate::telemetry::name;

/// A batch that is not gone after so long is asked why, again and again.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// Between two tries to read a file that cannot be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A batch as it is sent.
struct Gathered {
    head: Head,
    body: Bytes,
    numbers: Vec<u64>,
    heads: Vec<Head>,
}

/// Sends batches until it is no longer wanted; its index then.
pub(super) async fn consume(shared: Arc<Shared>, index: usize) -> usize {
    while let Some(batch) = shared.next_batch(index).await {
        shared.deliver(batch).await;
    }
    index
}

impl Shared {
    /// The next batch for the consumer of this index; `None` when it is no longer wanted.
    async fn next_batch(&self, index: usize) -> Option<Vec<Waiting>> {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut state = self.lock();
                if index >= state.settings.consumers {
                    return None;
                }
                let now = self.began.elapsed();
                let State {
                    line,
                    settings,
                    is_closing,
                    ..
                } = &mut *state;
                if *is_closing && line.load().requests == 0 {
                    return None;
                }
                line.next(settings.batch.as_ref(), now, *is_closing)
            };
            match next {
                Next::Batch(batch) => return Some(batch),
                Next::At(due) => {
                    // Whichever comes first, there is another look.
                    let _ = tokio::time::timeout_at(self.began + due, changed).await;
                }
                Next::Nothing => changed.await,
            }
        }
    }

    /// Sends a batch until it is accepted or given up, and makes room.
    async fn deliver(self: &Arc<Self>, batch: Vec<Waiting>) {
        let Some(gathered) = self.gather(batch).await else {
            return;
        };
        let (head, body) = (&gathered.head, &gathered.body);
        let mut exit = self.exit.subscribe();
        let (outcome, current) = loop {
            let current = exit.borrow_and_update().clone();
            let mut looks = tokio::time::interval_at(Instant::now() + LOOK_AFTER, LOOK_AFTER);
            let looking = async {
                loop {
                    looks.tick().await;
                    current.complain();
                }
            };
            tokio::select! {
                outcome = current.deliver(head, body.clone(), current.retry) => break (outcome, current),
                // A reload: the new exporter may be the one that works.
                changed = exit.changed() => if changed.is_err() { return },
                _ = looking => {}
            }
        };
        current.count(head, &outcome);
        let lost = head.n_items.saturating_sub(outcome.accepted);
        if lost > 0 {
            let why = outcome.reason();
            tracing::error!(
                exporter = &*current.id,
                lost,
                "{} that were accepted are lost, the next hop refuses them: {why}",
                head.signal.name()
            );
            current.lose(lost, &why);
        }
        self.finish(gathered.numbers, &gathered.heads);
    }

    /// Puts the requests of a batch together; `None` when none of them can be read.
    async fn gather(self: &Arc<Self>, batch: Vec<Waiting>) -> Option<Gathered> {
        let (mut bodies, mut numbers, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in batch {
            let body = match waiting.body {
                Some(body) => {
                    if self.journal.is_some() {
                        self.lock().held -= body.len();
                    }
                    Some(body)
                }
                None => self.read(waiting.number).await?,
            };
            if let Some(body) = body {
                bodies.push(body);
                numbers.push(waiting.number);
                heads.push(waiting.head);
            } else {
                let lost = waiting.head.n_items;
                tracing::error!(lost, "a request is missing in the file of the queue");
                metrics::counter!(name::LOST, "reason" => "unreadable").increment(lost);
                self.finish(vec![waiting.number], std::slice::from_ref(&waiting.head));
            }
        }
        let mut head = heads.first()?.clone();
        head.n_items = heads.iter().map(|head| head.n_items).sum();
        head.n_bytes = heads.iter().map(|head| head.n_bytes).sum();
        let body = match bodies.len() {
            1 => bodies.swap_remove(0),
            _ => {
                let mut whole = BytesMut::with_capacity(head.n_bytes);
                bodies.iter().for_each(|body| whole.extend_from_slice(body));
                whole.freeze()
            }
        };
        Some(Gathered {
            head,
            body,
            numbers,
            heads,
        })
    }

    /// Reads a body from the file, again and again while that fails; the outer `None` when the queue ends
    /// before: the request stays in the file.
    async fn read(self: &Arc<Self>, number: u64) -> Option<Option<Bytes>> {
        loop {
            let shared = Arc::clone(self);
            let read = tokio::task::spawn_blocking(move || {
                let journal = shared.journal.as_ref();
                journal.map_or(Ok(None), |journal| journal.body(number))
            });
            match read.await {
                Ok(Ok(body)) => return Some(body),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the file of the queue cannot be read, it is tried again")
                }
                Err(error) => {
                    tracing::error!(%error, "reading the file of the queue was interrupted")
                }
            }
            metrics::counter!(name::QUEUE_ERRORS, "reason" => "read").increment(1);
            if self.lock().is_closing {
                return None;
            }
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
    }

    fn finish(&self, numbers: Vec<u64>, heads: &[Head]) {
        if let Some(journal) = &self.journal {
            journal.remove(numbers);
        }
        self.lock().line.finish(heads);
        self.report();
        self.changed.notify_waiters();
        self.room.notify_waiters();
    }
}
