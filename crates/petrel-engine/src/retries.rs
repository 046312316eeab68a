//! `ResourceLogs` that came before: known by their digest, with what their rows got, so that a sender's
//! retry is enriched as before and neither learnt twice nor taken for a burst.
//!
//! A `ResourceLogs` belongs to one stream, so the worker that owns the stream owns its digests.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::ops::Range;

use lru::LruCache;
use petrel_batch::StreamId;
use serde::{Deserialize, Serialize};

use crate::Settings;
use crate::settings::nanos;
use crate::verdict::Verdict;

type Key = (StreamId, u128);

/// What is known of a `ResourceLogs`.
#[derive(Debug)]
struct Seen {
    /// Frontier when it was last seen.
    time: u64,
    /// Pass and row at which it was learnt; pass 0 when that was before a restart.
    learnt: (u64, usize),
    /// Encoded; none when there was no room, or while its pass lasts.
    verdict: Option<Box<[u8]>>,
}

/// The digests of a worker, the least recently seen forgotten first.
#[derive(Debug)]
pub(crate) struct Retries {
    /// None when nothing is to be remembered.
    seen: Option<LruCache<Key, Seen>>,
    by_stream: HashMap<StreamId, HashSet<u128>>,
    /// What has a verdict, oldest first; may name what has none any more.
    with_verdict: VecDeque<Key>,
    bytes: usize,
    bytes_max: usize,
    window: u64,
}

/// What a `ResourceLogs` is.
#[derive(Debug, PartialEq)]
pub(crate) enum Sight {
    /// Not seen within the window: to be learnt.
    New,
    /// Learnt in this very pass, from this row on.
    ThisPass(usize),
    /// Seen before; what its rows got, where that is still known.
    Before(Option<Verdict>),
}

/// A digest as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedSeen {
    digest: u128,
    time: u64,
    verdict: Option<Vec<u8>>,
}

impl Retries {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            seen: NonZeroUsize::new(settings.limits.retry_digests).map(LruCache::new),
            by_stream: HashMap::new(),
            with_verdict: VecDeque::new(),
            bytes: 0,
            bytes_max: settings.limits.retry_verdict_bytes,
            window: nanos(settings.retry_window),
        }
    }

    /// Looks a `ResourceLogs` up at frontier `now`, which is remembered from then on as learnt from
    /// row `row` of pass `pass`, unless it was seen before.
    pub(crate) fn look(
        &mut self,
        stream: StreamId,
        digest: u128,
        now: u64,
        pass: u64,
        row: usize,
    ) -> Sight {
        let Some(seen) = &mut self.seen else {
            return Sight::New;
        };
        let key = (stream, digest);
        if let Some(known) = seen.get_mut(&key)
            && known.time.saturating_add(self.window) >= now
        {
            known.time = known.time.max(now);
            if known.learnt.0 == pass {
                return Sight::ThisPass(known.learnt.1);
            }
            let verdict = known.verdict.as_deref();
            return Sight::Before(verdict.and_then(Verdict::decode));
        }
        self.enter(
            key,
            Seen {
                time: now,
                learnt: (pass, row),
                verdict: None,
            },
        );
        Sight::New
    }

    fn enter(&mut self, key: Key, entry: Seen) {
        let Some(seen) = &mut self.seen else { return };
        self.by_stream.entry(key.0).or_default().insert(key.1);
        if let Some((left, gone)) = seen.push(key, entry) {
            self.bytes -= gone.verdict.map_or(0, |verdict| verdict.len());
            if left != key {
                self.leaves(left);
            }
        }
    }

    fn leaves(&mut self, key: Key) {
        if let Some(digests) = self.by_stream.get_mut(&key.0) {
            digests.remove(&key.1);
            if digests.is_empty() {
                self.by_stream.remove(&key.0);
            }
        }
    }

    /// Remembers what the rows of a `ResourceLogs` got that was learnt in pass `pass`, which ended at
    /// frontier `now`. Where there is no room the oldest verdicts go, their digests stay.
    pub(crate) fn keep(
        &mut self,
        stream: StreamId,
        digest: u128,
        pass: u64,
        now: u64,
        verdict: Vec<u8>,
    ) {
        let key = (stream, digest);
        let seen = self.seen.as_mut().and_then(|seen| seen.peek_mut(&key));
        let Some(seen) = seen.filter(|seen| seen.learnt.0 == pass) else {
            return;
        };
        seen.time = seen.time.max(now);
        self.put_verdict(key, verdict);
    }

    fn put_verdict(&mut self, key: Key, verdict: Vec<u8>) {
        if verdict.len() > self.bytes_max {
            return;
        }
        while self.bytes + verdict.len() > self.bytes_max {
            let Some(oldest) = self.with_verdict.pop_front() else {
                return;
            };
            self.drop_verdict(&oldest);
        }
        let Some(entry) = self.seen.as_mut().and_then(|seen| seen.peek_mut(&key)) else {
            return;
        };
        self.bytes += verdict.len();
        if let Some(old) = entry.verdict.replace(verdict.into()) {
            self.bytes -= old.len();
        }
        self.with_verdict.push_back(key);
        self.tidy();
    }

    fn drop_verdict(&mut self, key: &Key) {
        let entry = self.seen.as_mut().and_then(|seen| seen.peek_mut(key));
        if let Some(gone) = entry.and_then(|entry| entry.verdict.take()) {
            self.bytes -= gone.len();
        }
    }

    /// Takes out of the queue what has no verdict any more, before that is more than half of it.
    fn tidy(&mut self) {
        let Some(seen) = &self.seen else { return };
        if self.with_verdict.len() > 2 * seen.cap().get() {
            let has_verdict = |key: &Key| seen.peek(key).is_some_and(|seen| seen.verdict.is_some());
            let mut named = HashSet::new();
            self.with_verdict
                .retain(|key| has_verdict(key) && named.insert(*key));
        }
    }

    /// Forgets all of a stream.
    pub(crate) fn forget(&mut self, stream: StreamId) {
        let Some(seen) = &mut self.seen else { return };
        for digest in self.by_stream.remove(&stream).into_iter().flatten() {
            if let Some(gone) = seen.pop(&(stream, digest)) {
                self.bytes -= gone.verdict.map_or(0, |verdict| verdict.len());
            }
        }
    }

    /// What of a stream lies within the window before frontier `now`, oldest first.
    pub(crate) fn save(&self, stream: StreamId, now: u64) -> Vec<SavedSeen> {
        let (Some(seen), Some(digests)) = (&self.seen, self.by_stream.get(&stream)) else {
            return Vec::new();
        };
        let mut saved: Vec<_> = digests
            .iter()
            .filter_map(|&digest| {
                let seen = seen.peek(&(stream, digest))?;
                (seen.time.saturating_add(self.window) >= now).then(|| SavedSeen {
                    digest,
                    time: seen.time,
                    verdict: seen.verdict.as_deref().map(<[u8]>::to_vec),
                })
            })
            .collect();
        saved.sort_by_key(|saved| (saved.time, saved.digest));
        saved
    }

    /// Puts back what was saved of a stream, in place of what is known of it.
    pub(crate) fn load(&mut self, stream: StreamId, saved: Vec<SavedSeen>) {
        self.forget(stream);
        for SavedSeen {
            digest,
            time,
            verdict,
        } in saved
        {
            let key = (stream, digest);
            let entry = Seen {
                time,
                learnt: (0, 0),
                verdict: None,
            };
            self.enter(key, entry);
            if let Some(verdict) = verdict {
                self.put_verdict(key, verdict);
            }
        }
    }
}

/// A run of rows that was learnt in a pass and whose verdict is to be remembered.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    pub(crate) stream: StreamId,
    pub(crate) digest: u128,
    pub(crate) rows: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(0);
    const B: StreamId = StreamId(1);

    fn retries(retry_digests: usize, retry_verdict_bytes: usize) -> Retries {
        let mut settings = Settings::default();
        settings.limits.retry_digests = retry_digests;
        settings.limits.retry_verdict_bytes = retry_verdict_bytes;
        Retries::new(&settings)
    }

    /// Learns digests of a stream, each with the empty verdict's four bytes.
    fn learn(retries: &mut Retries, stream: StreamId, digests: impl IntoIterator<Item = u128>) {
        for digest in digests {
            assert_eq!(retries.look(stream, digest, 0, 1, 0), Sight::New);
            retries.keep(stream, digest, 1, 0, Verdict::default().encode());
        }
    }

    fn is_known(retries: &mut Retries, stream: StreamId, digest: u128) -> bool {
        matches!(retries.look(stream, digest, 0, 2, 0), Sight::Before(_))
    }

    #[test]
    fn the_least_recently_seen_is_forgotten_first() {
        let mut retries = retries(3, 1_000);
        learn(&mut retries, A, [1, 2]);
        learn(&mut retries, B, [1]);
        assert!(is_known(&mut retries, A, 1));
        learn(&mut retries, B, [4]);
        assert!(is_known(&mut retries, A, 1) && is_known(&mut retries, B, 1));
        assert_eq!(retries.save(A, 0).len(), 1);
        retries.forget(A);
        assert_eq!((retries.save(A, 0).len(), retries.save(B, 0).len()), (0, 2));
        assert_eq!(retries.bytes, 8);
    }

    #[test]
    fn without_room_the_oldest_verdicts_go_and_their_digests_stay() {
        let mut retries = retries(100, 10);
        learn(&mut retries, A, 1..=3);
        let before = |retries: &mut Retries, digest| retries.look(A, digest, 0, 2, 0);
        assert_eq!(before(&mut retries, 1), Sight::Before(None));
        assert_eq!(
            before(&mut retries, 3),
            Sight::Before(Some(Verdict::default()))
        );
        assert_eq!(retries.bytes, 8);
        let mut other = self::retries(100, 10);
        other.load(B, retries.save(A, 0));
        assert_eq!(other.bytes, 8);
        assert_eq!(other.look(B, 1, 0, 1, 0), Sight::Before(None));
    }

    #[test]
    fn the_window_and_the_bound_of_none() {
        let mut some = retries(10, 100);
        learn(&mut some, A, [1]);
        let window = some.window;
        assert!(matches!(some.look(A, 1, window, 2, 0), Sight::Before(_)));
        // Seen again, it is known for as long again.
        assert!(matches!(
            some.look(A, 1, 2 * window, 3, 0),
            Sight::Before(_)
        ));
        assert_eq!(some.save(A, 4 * window).len(), 0);
        assert_eq!(some.look(A, 1, 4 * window, 4, 0), Sight::New);
        let mut none = retries(0, 100);
        assert_eq!(none.look(A, 1, 0, 1, 0), Sight::New);
        assert_eq!(none.look(A, 1, 0, 2, 0), Sight::New);
    }

    #[test]
    fn the_queue_of_verdicts_stays_bounded() {
        let mut retries = retries(4, 1_000);
        for digest in 0..1_000 {
            learn(&mut retries, A, [digest]);
        }
        assert!(retries.with_verdict.len() <= 9);
        assert_eq!(retries.bytes, 16);
    }
}
