//! The last snapshot of streams, for a worker that has to be made anew: bounded, the least recently
//! written leave.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use petrel_batch::StreamKey;
use petrel_engine::StreamState;

/// Snapshots of at most so many streams, shared.
#[derive(Debug)]
pub(super) struct Kept {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    streams: LruCache<StreamKey, StreamState>,
    /// Streams that have left and that the store need not keep either.
    gone: Vec<StreamKey>,
}

impl Inner {
    /// Beyond the bound the store keeps what has left: it costs room there and nothing here.
    fn leaves(&mut self, key: StreamKey) {
        if self.gone.len() < self.streams.cap().get() {
            self.gone.push(key);
        }
    }
}

impl Kept {
    /// Room for `n_streams_max` streams, at least one.
    pub(super) fn new(n_streams_max: usize) -> Self {
        let n_streams_max = NonZeroUsize::new(n_streams_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            inner: Mutex::new(Inner {
                streams: LruCache::new(n_streams_max),
                gone: Vec::new(),
            }),
        }
    }

    /// Puts streams in place of what was known of them.
    pub(super) fn put(&self, streams: impl IntoIterator<Item = StreamState>) {
        let mut inner = self.lock();
        for stream in streams {
            let key = stream.key.clone();
            match inner.streams.push(key.clone(), stream) {
                Some((left, _)) if left != key => inner.leaves(left),
                _ => {}
            }
        }
    }

    /// Notes streams that have left elsewhere.
    pub(super) fn put_gone(&self, gone: Vec<StreamKey>) {
        let mut inner = self.lock();
        gone.into_iter().for_each(|key| inner.leaves(key));
    }

    /// Streams for which `is_wanted` holds, by key.
    pub(super) fn streams(&self, is_wanted: impl Fn(&StreamKey) -> bool) -> Vec<StreamState> {
        let inner = self.lock();
        let wanted = inner.streams.iter().filter(|(key, _)| is_wanted(key));
        let mut streams: Vec<_> = wanted.map(|(_, stream)| stream.clone()).collect();
        streams.sort_by(|a, b| a.key.cmp(&b.key));
        streams
    }

    /// Streams that have left since this was last asked.
    pub(super) fn take_gone(&self) -> Vec<StreamKey> {
        let mut inner = self.lock();
        let gone = std::mem::take(&mut inner.gone);
        let is_gone = |key: &StreamKey| !inner.streams.contains(key);
        gone.into_iter().filter(is_gone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamState {
        StreamState {
            key: StreamKey {
                tenant: String::new(),
                values: vec![name.to_owned()],
            },
            parts: Vec::new(),
        }
    }

    #[test]
    fn the_least_recently_written_leave() {
        let kept = Kept::new(2);
        kept.put(["a", "b", "a", "c"].map(stream));
        assert_eq!(kept.streams(|_| true), ["a", "c"].map(stream));
        assert_eq!(kept.take_gone(), [stream("b").key]);
        kept.put(["b", "a", "b"].map(stream));
        assert_eq!(kept.take_gone(), [stream("c").key]);
        assert_eq!(kept.take_gone(), []);
    }
}
