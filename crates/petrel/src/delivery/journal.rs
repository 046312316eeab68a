//! The file behind a sending queue: requests are on disk, synced, before their senders hear that they
//! were accepted.
//!
//! One thread writes. What has come while it synced goes into the next transaction together, so that
//! many senders share one sync. What was sent is taken out with the next write, or a little later:
//! after a crash some of it may be sent once more, nothing is lost.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use petrel_otlp::Signal;
use redb::{
    Database, Durability, ReadOnlyDatabase, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::outgoing::{Head, StreamSet};
use crate::database::{self, DatabaseError, Plan};
use crate::telemetry::name;

const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const PLAN: Plan = Plan {
    file: "queue.redb",
    layout: "1",
    make_tables: |transaction| {
        transaction.open_table(HEADS)?;
        transaction.open_table(BODIES)?;
        Ok(())
    },
};

/// Writes that wait for the thread at most; a sender beyond is refused, to come again.
const WRITES_MAX: usize = 4096;
/// Bytes of one transaction: more wait for the next.
const TRANSACTION_BYTES_MAX: usize = 32 << 20;
/// How long what was sent may wait to be taken out.
const REMOVE_WITHIN: Duration = Duration::from_millis(200);

/// Hears of each request what became of it: its number and bytes once it is on disk, nothing when it did
/// not come there.
pub(super) type Settled = Box<dyn Fn(Head, Option<(u64, Bytes)>) + Send>;

/// A head as it is kept.
#[derive(Serialize, Deserialize)]
struct SavedHead {
    signal: u8,
    n_items: u64,
    n_bytes: u64,
    streams: StreamSet,
    metadata: Vec<(String, String)>,
}

#[derive(Debug)]
enum Write {
    Put {
        head: Head,
        body: Bytes,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Remove(Vec<u64>),
}

/// The journal of one queue.
#[derive(Debug)]
pub(super) struct Journal {
    thread: Mutex<Option<Thread>>,
    file: Arc<Mutex<File>>,
    /// Requests that the file held when it was opened.
    n_found: usize,
}

#[derive(Debug)]
struct Thread {
    writes: SyncSender<Write>,
    handle: JoinHandle<()>,
}

/// A journal, what it still holds in the order in which it came, and what was set aside.
#[derive(Debug)]
pub(super) struct Opened {
    /// The journal, whose thread does not run yet.
    pub(super) journal: Journal,
    /// Numbers and heads of the requests that were not sent before the last end.
    pub(super) waiting: Vec<(u64, Head)>,
    /// Numbers of requests whose head cannot be read.
    pub(super) unreadable: Vec<u64>,
    /// A file that could not be read, and why.
    pub(super) set_aside: Option<(PathBuf, String)>,
}

/// What a journal that nobody has open holds.
#[derive(Debug)]
pub enum Left {
    /// There is no such journal, nothing in it, or somebody has it open.
    Nothing,
    /// So many requests.
    Requests(usize),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// Looks into the journal of a directory, and changes nothing.
#[must_use]
pub fn left_in(directory: &Path) -> Left {
    let path = directory.join(PLAN.file);
    if !path.exists() {
        return Left::Nothing;
    }
    let read = database::without_panic(|| read_heads(&ReadOnlyDatabase::open(&path)?));
    match read {
        Ok((heads, unreadable)) => match heads.len() + unreadable.len() {
            0 => Left::Nothing,
            n_requests => Left::Requests(n_requests),
        },
        Err(redb::Error::DatabaseAlreadyOpen) => Left::Nothing,
        Err(error) => Left::Unreadable(error.to_string()),
    }
}

impl Journal {
    /// Opens the journal of a directory, which is made if it is not there.
    ///
    /// # Errors
    /// As [`database::open`].
    pub(super) fn open(directory: &Path) -> Result<Opened, DatabaseError> {
        let opened = database::open(directory, PLAN)?;
        let (waiting, unreadable) = read_heads(&opened.database)?;
        Ok(Opened {
            journal: Self {
                thread: Mutex::new(None),
                file: Arc::new(Mutex::new(File {
                    directory: directory.to_owned(),
                    database: Some(opened.database),
                    is_suspect: false,
                })),
                n_found: waiting.len(),
            },
            waiting,
            unreadable,
            set_aside: opened.set_aside,
        })
    }

    /// Starts to write; requests get numbers from `next_number` on, and `settled` hears of each
    /// before its sender does.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(&mut self, next_number: u64, settled: Settled) -> std::io::Result<()> {
        let (writes, waiting) = sync_channel(WRITES_MAX);
        let writer = Writer {
            file: Arc::clone(&self.file),
            next_number,
            settled,
            remove: Vec::new(),
            n_held: self.n_found,
            has_failed: false,
        };
        let handle = std::thread::Builder::new()
            .name("petrel-queue".to_owned())
            .spawn(move || writer.run(&waiting))?;
        self.thread = Mutex::new(Some(Thread { writes, handle }));
        Ok(())
    }

    /// Puts a request on disk; the receiver hears when it is synced, or why it is not.
    ///
    /// # Errors
    /// The head, when the thread is [`WRITES_MAX`] requests behind or gone.
    pub(super) fn put(
        &self,
        head: Head,
        body: Bytes,
    ) -> Result<oneshot::Receiver<Result<(), String>>, Box<Head>> {
        let (reply, answer) = oneshot::channel();
        let Some(writes) = self.writes() else {
            return Err(Box::new(head));
        };
        match writes.try_send(Write::Put { head, body, reply }) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(write) | TrySendError::Disconnected(write)) => match write {
                Write::Put { head, .. } => Err(Box::new(head)),
                Write::Remove(_) => unreachable!("a put was sent"),
            },
        }
    }

    /// Takes requests out that were accepted or given up; waits while the thread is behind.
    pub(super) fn remove(&self, numbers: Vec<u64>) {
        if let Some(writes) = self.writes() {
            // A thread that is gone has said so; what it did not take out is sent again after a restart.
            let _ = writes.send(Write::Remove(numbers));
        }
    }

    /// Writes what waits, and ends the thread. What comes later is refused.
    pub(super) fn end(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Thread { writes, handle }) = thread {
            drop(writes);
            // A panic of the thread has been printed.
            let _ = handle.join();
        }
    }

    fn writes(&self) -> Option<SyncSender<Write>> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().map(|thread| thread.writes.clone())
    }

    /// The bytes of a request; `None` when they are not there.
    ///
    /// # Errors
    /// When the file cannot be read now.
    pub(super) fn body(&self, number: u64) -> Result<Option<Bytes>, DatabaseError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.with(|database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(BODIES)?;
            let body = table.get(number)?;
            Ok(body.map(|body| Bytes::copy_from_slice(body.value())))
        })
    }
}

/// The file of a journal, which is opened again after it failed.
#[derive(Debug)]
struct File {
    directory: PathBuf,
    database: Option<Database>,
    /// Whether it failed for something else than the disk: all of it is looked through when it is opened.
    is_suspect: bool,
}

impl File {
    /// Does something with the database; where that fails it is to be opened anew, as it wants to be.
    fn with<T>(
        &mut self,
        deed: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, DatabaseError> {
        let database = self.opened()?;
        let done = database::without_panic(|| deed(database)).map_err(DatabaseError::from);
        if let Err(error) = &done {
            self.is_suspect = error.is_damage();
            self.database = None;
        }
        done
    }

    fn opened(&mut self) -> Result<&Database, DatabaseError> {
        if self.database.is_none() {
            let open = match self.is_suspect {
                true => database::open,
                false => database::open_again,
            };
            let opened = open(&self.directory, PLAN)?;
            if let Some((path, reason)) = &opened.set_aside {
                tracing::error!(path = %path.display(), "the file of the queue cannot be read any more and is set aside: {reason}");
                metrics::counter!(name::QUEUE_ERRORS, "reason" => "set_aside").increment(1);
            }
            self.is_suspect = false;
            self.database = Some(opened.database);
        }
        Ok(self
            .database
            .as_ref()
            .expect("it was there or has been opened"))
    }
}

struct Writer {
    file: Arc<Mutex<File>>,
    next_number: u64,
    settled: Settled,
    remove: Vec<u64>,
    /// Requests in the file, those to be taken out among them.
    n_held: usize,
    /// Whether the last write did.
    has_failed: bool,
}

type Put = (Head, Bytes, oneshot::Sender<Result<(), String>>);

impl Writer {
    fn run(mut self, waiting: &Receiver<Write>) {
        loop {
            let first = if self.remove.is_empty() {
                waiting.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                waiting.recv_timeout(REMOVE_WITHIN)
            };
            let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let is_idle = first.is_err();
            let mut puts: Vec<Put> = Vec::new();
            let mut n_bytes = 0;
            let more = std::iter::from_fn(|| waiting.try_recv().ok());
            for write in first.into_iter().chain(more) {
                match write {
                    Write::Put { head, body, reply } => {
                        n_bytes += body.len();
                        puts.push((head, body, reply));
                    }
                    Write::Remove(numbers) => self.remove.extend(numbers),
                }
                if n_bytes >= TRANSACTION_BYTES_MAX {
                    break;
                }
            }
            if !puts.is_empty() || (is_idle && !self.remove.is_empty()) {
                self.write(puts);
            }
            // A disk that was full has room again once what was sent is out; with new requests in the same
            // transaction it would never be.
            if self.has_failed && !self.remove.is_empty() {
                self.write(Vec::new());
            }
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, puts: Vec<Put>) {
        let first = self.next_number;
        match self.commit(first, &puts) {
            Ok(()) => {
                self.n_held = (self.n_held + puts.len()).saturating_sub(self.remove.len());
                self.remove.clear();
                self.has_failed = false;
                self.next_number += puts.len() as u64;
                for (number, (head, body, reply)) in (first..).zip(puts) {
                    (self.settled)(head, Some((number, body)));
                    // Who has gone away is not told; the request goes on all the same.
                    let _ = reply.send(Ok(()));
                }
            }
            Err(error) => {
                self.has_failed = true;
                if puts.is_empty() {
                    tracing::error!(
                        "the file of the queue does not let go of what was sent, it is tried again: {error}"
                    );
                }
                self.renew_if_all_is_sent();
                // It may have come to disk all the same: no number is given twice.
                self.next_number += puts.len() as u64;
                let error = error.to_string();
                for (head, _, reply) in puts {
                    (self.settled)(head, None);
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Begins a new file in place of one that fails and of which everything was sent: to take that out
    /// needs space, which a file that fills its disk alone would never get again.
    fn renew_if_all_is_sent(&mut self) {
        if self.remove.len() < self.n_held {
            return;
        }
        let mut file = self.lock();
        // Reads that came meanwhile have opened it again.
        file.database = None;
        let path = file.directory.join(PLAN.file);
        let removed = std::fs::remove_file(&path);
        drop(file);
        if removed.is_ok() {
            tracing::warn!(path = %path.display(), "the file of the queue fails and all of it was sent, a new one is begun");
            self.remove.clear();
            self.n_held = 0;
        }
    }

    fn commit(&self, first: u64, puts: &[Put]) -> Result<(), DatabaseError> {
        self.lock().with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            self.fill(&transaction, first, puts)?;
            Ok(transaction.commit()?)
        })
    }

    fn fill(
        &self,
        transaction: &WriteTransaction,
        first: u64,
        puts: &[Put],
    ) -> Result<(), redb::Error> {
        let mut heads = transaction.open_table(HEADS)?;
        let mut bodies = transaction.open_table(BODIES)?;
        for (number, (head, body, _)) in (first..).zip(puts) {
            let head = encode(head).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
            heads.insert(number, head.as_slice())?;
            bodies.insert(number, body.as_ref())?;
        }
        for number in &self.remove {
            heads.remove(number)?;
            bodies.remove(number)?;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heads that can be read, and the numbers of those that cannot.
type Heads = (Vec<(u64, Head)>, Vec<u64>);

fn read_heads(database: &impl ReadableDatabase) -> Result<Heads, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(HEADS)?;
    let (mut heads, mut unreadable) = (Vec::new(), Vec::new());
    for entry in table.iter()? {
        let (number, head) = entry?;
        match decode(head.value()) {
            Some(head) => heads.push((number.value(), head)),
            None => unreadable.push(number.value()),
        }
    }
    Ok((heads, unreadable))
}

fn encode(head: &Head) -> Result<Vec<u8>, postcard::Error> {
    let signal = Signal::ALL.iter().position(|signal| *signal == head.signal);
    postcard::to_stdvec(&SavedHead {
        signal: signal.unwrap_or_default() as u8,
        n_items: head.n_items,
        n_bytes: head.n_bytes as u64,
        streams: head.streams,
        metadata: head.metadata.to_vec(),
    })
}

fn decode(bytes: &[u8]) -> Option<Head> {
    let saved: SavedHead = postcard::from_bytes(bytes).ok()?;
    Some(Head {
        signal: *Signal::ALL.get(usize::from(saved.signal))?,
        n_items: saved.n_items,
        n_bytes: saved.n_bytes.try_into().ok()?,
        streams: saved.streams,
        metadata: saved.metadata.into(),
    })
}

#[cfg(test)]
mod tests;
