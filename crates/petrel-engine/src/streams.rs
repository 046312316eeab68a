//! The streams that a worker owns: their numbers, and what is known of each.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use petrel_batch::{Resource, StreamId, StreamKey};
use serde::{Deserialize, Serialize};

use crate::StreamCounts;
use crate::book::Book;
use crate::templates::StreamMiner;
use crate::watermark::StreamClock;
use crate::{Limits, Settings};

/// The most that the contract allows.
const STREAMS_MAX: usize = 65_535;

/// What events say of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StreamFacts {
    pub(crate) key: StreamKey,
    pub(crate) hash: u64,
    pub(crate) id_hex: Arc<str>,
    /// What people call it: `service.name`, or what stands in for it.
    pub(crate) display: String,
    /// Attributes that are equal on all its records, sorted by key.
    pub(crate) resource: Vec<(String, String)>,
    /// Event time of its first record.
    pub(crate) first: u64,
}

/// All that is known of one stream, but for what detectors know.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) facts: StreamFacts,
    pub(crate) clock: StreamClock,
    pub(crate) miner: StreamMiner,
    pub(crate) book: Book,
    /// The next watermark at which a window of some detector, or a minute, ends; 0 = not set.
    pub(crate) next_close: u64,
    /// The last minute at which anomalies were looked at.
    pub(crate) ticked: u64,
    /// Number of the pass and the row at which it was last seen.
    pub(crate) last_row: (u64, usize),
    /// Whether anything changed since the last snapshot.
    pub(crate) changed: bool,
    /// Merges since the last snapshot, for instances that are rebuilt from it.
    pub(crate) merges: Vec<(u64, u64)>,
    /// What became of its records so far.
    pub(crate) counts: StreamCounts,
    /// Templates that are never created but have been told.
    pub(crate) told_fixed: Vec<u64>,
    /// Tells this stream from an earlier one under the same number.
    serial: u64,
}

/// What is saved of a stream's own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedStream {
    pub(crate) clock: StreamClock,
    pub(crate) display: String,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) next_close: u64,
    pub(crate) ticked: u64,
    /// Event time up to which each detector was told, by name.
    pub(crate) told: Vec<(String, u64)>,
}

impl Stream {
    fn new(key: StreamKey, settings: &Settings, serial: u64) -> Self {
        let hash = key.stable_hash();
        Self {
            facts: StreamFacts {
                hash,
                id_hex: format!("{hash:016x}").into(),
                display: key.to_string(),
                key,
                ..StreamFacts::default()
            },
            clock: StreamClock::default(),
            miner: StreamMiner::new(settings.template_limits),
            book: Book::default(),
            next_close: 0,
            ticked: 0,
            last_row: (0, 0),
            changed: true,
            merges: Vec::new(),
            counts: StreamCounts::default(),
            told_fixed: Vec::new(),
            serial,
        }
    }

    /// Whether it has rows from `from` on in the current pass.
    pub(crate) fn has_rows_since(&self, pass: u64, from: usize) -> bool {
        self.last_row.0 == pass && self.last_row.1 >= from
    }

    /// Keeps of the resource what is equal on all records.
    fn meet(&mut self, resource: &Resource, is_new: bool) {
        if is_new {
            self.facts.resource.clone_from(&resource.attributes);
            if !resource.service_name.is_empty() {
                self.facts.display.clone_from(&resource.service_name);
            }
        } else {
            self.facts
                .resource
                .retain(|(key, value)| resource.attribute(key) == Some(value));
        }
    }
}

/// What a stream leaves behind when it makes room.
#[derive(Clone, Copy, Debug)]
struct Tombstone {
    first: u64,
    newest: u64,
    watermark: u64,
}

/// How a look-up of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Known,
    New,
    /// New to the worker, which has a tombstone of it.
    Returned,
}

/// The streams of a worker under dense numbers.
#[derive(Debug)]
pub(crate) struct StreamTable {
    streams: Vec<Option<Stream>>,
    free: Vec<u32>,
    by_key: HashMap<StreamKey, u32>,
    /// By address of a resource, which is kept so that the address stays its own.
    by_resource: LruCache<usize, (Arc<Resource>, u32, u64)>,
    tombstones: LruCache<u64, Tombstone>,
    streams_max: usize,
    serial: u64,
}

impl StreamTable {
    pub(crate) fn new(limits: &Limits) -> Self {
        let cache = |size: usize| NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        Self {
            streams: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_resource: LruCache::new(cache(limits.resources)),
            tombstones: LruCache::new(cache(limits.tombstones)),
            streams_max: limits.streams.clamp(1, STREAMS_MAX),
            serial: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether the next new stream needs room.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.streams_max
    }

    pub(crate) fn find(&self, key: &StreamKey) -> Option<StreamId> {
        self.by_key.get(key).copied().map(StreamId)
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(id.0 as usize)?.as_mut()
    }

    /// The live streams by number.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Stream)> {
        self.streams
            .iter_mut()
            .enumerate()
            .filter_map(|(index, stream)| Some((StreamId(index as u32), stream.as_mut()?)))
    }

    /// Numbers of the live streams, ascending.
    pub(crate) fn ids(&self) -> Vec<StreamId> {
        let live = |(index, stream): (usize, &Option<Stream>)| {
            stream.as_ref().map(|_| StreamId(index as u32))
        };
        self.streams.iter().enumerate().filter_map(live).collect()
    }

    /// The stream of a resource that was met before by this very address.
    pub(crate) fn by_address(&mut self, resource: &Arc<Resource>) -> Option<StreamId> {
        let &(_, id, serial) = self.by_resource.get(&(Arc::as_ptr(resource) as usize))?;
        let stream = self.get(StreamId(id))?;
        (stream.serial == serial).then_some(StreamId(id))
    }

    /// The stream of a resource, made if it has to be; the caller has seen to room.
    pub(crate) fn meet(
        &mut self,
        resource: &Arc<Resource>,
        settings: &Settings,
    ) -> (StreamId, Met) {
        let (id, met) = match self.find(&resource.stream) {
            Some(id) => (id, Met::Known),
            None => self.insert(resource.stream.clone(), settings),
        };
        let stream = self.streams[id.0 as usize]
            .as_mut()
            .expect("a stream just found or made is there");
        stream.meet(resource, met != Met::Known);
        let entry = (Arc::clone(resource), id.0, stream.serial);
        self.by_resource.put(Arc::as_ptr(resource) as usize, entry);
        (id, met)
    }

    /// A new stream under the lowest free number.
    pub(crate) fn insert(&mut self, key: StreamKey, settings: &Settings) -> (StreamId, Met) {
        self.serial += 1;
        let mut stream = Stream::new(key.clone(), settings, self.serial);
        let mut met = Met::New;
        if let Some(tombstone) = self.tombstones.pop(&stream.facts.hash) {
            let Tombstone {
                first,
                newest,
                watermark,
            } = tombstone;
            stream.clock = StreamClock::returned(first, newest, watermark);
            stream.facts.first = first;
            met = Met::Returned;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            (self.streams.len() - 1) as u32
        });
        self.streams[id as usize] = Some(stream);
        self.by_key.insert(key, id);
        (StreamId(id), met)
    }

    /// The stream that was least recently seen before this pass.
    pub(crate) fn idlest(&mut self) -> Option<StreamId> {
        self.iter_mut()
            .min_by_key(|(_, stream)| stream.last_row)
            .map(|(id, _)| id)
    }

    /// Takes a stream out; its number is free for another.
    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.get_mut(id.0 as usize)?.take()?;
        self.by_key.remove(&stream.facts.key);
        self.free.push(id.0);
        let tombstone = Tombstone {
            first: stream.facts.first,
            newest: stream.clock.newest(),
            watermark: stream.clock.watermark,
        };
        self.tombstones.put(stream.facts.hash, tombstone);
        Some(stream)
    }
}
