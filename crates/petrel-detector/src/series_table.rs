//! What is known of the series of one stream: a bounded table, and a small record of those outside it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use petrel_batch::EventTime;
use rustc_hash::FxHasher;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hasher that is the same on every run and every host. Keys are hashes or small numbers already.
pub type FixedHasher = BuildHasherDefault<FxHasher>;

/// Series of one stream at most.
pub const SERIES_MAX: usize = 3_000;
/// Cold records of one stream at most.
pub const COLD_MAX: usize = 3_000;
/// When full, this share (one in so many) leaves at once, so that a flood of keys costs little each.
const EVICT_SHARE: usize = 16;

/// What is remembered of a series that has no full state: it is not admitted yet, or was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cold {
    /// Event time of the first record.
    pub first: EventTime,
    /// Event time of the last record.
    pub last: EventTime,
    /// Records by weight, in all.
    pub count: f64,
    /// Records by weight since `recent_since`.
    pub recent: f64,
    /// Where the count of recent records began.
    pub recent_since: EventTime,
    /// Of the detector's own: most often the level that an evicted series had, a minute.
    pub level: f64,
}

/// Series of one stream by key, at most so many; the least recently used leave and stay as [`Cold`].
///
/// Everything about it is the same on every run: series stand in the order in which they came, and who
/// leaves is decided by last use (event time) and then by key. `K` is a template id, or whatever `Copy`
/// key a detector makes of it.
#[derive(Clone, Debug)]
pub struct SeriesTable<K, S> {
    index: HashMap<K, u32, FixedHasher>,
    entries: Vec<Entry<K, S>>,
    cold_index: HashMap<K, u32, FixedHasher>,
    cold: Vec<(K, Cold)>,
    n_max: usize,
    cold_max: usize,
    n_evicted: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry<K, S> {
    key: K,
    used: EventTime,
    series: S,
}

impl<K: Copy + Ord + Hash, S> Default for SeriesTable<K, S> {
    fn default() -> Self {
        Self::new(SERIES_MAX, COLD_MAX)
    }
}

impl<K: Copy + Ord + Hash, S> SeriesTable<K, S> {
    /// An empty table of at most `n_max` series and `cold_max` cold records (each at least one).
    #[must_use]
    pub fn new(n_max: usize, cold_max: usize) -> Self {
        Self {
            index: HashMap::default(),
            entries: Vec::new(),
            cold_index: HashMap::default(),
            cold: Vec::new(),
            n_max: n_max.max(1),
            cold_max: cold_max.max(1),
            n_evicted: 0,
        }
    }

    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the next new series makes others leave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.n_max
    }

    /// Series that had to leave so far.
    #[must_use]
    pub fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    /// A series.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&S> {
        let index = *self.index.get(&key)?;
        Some(&self.entries[index as usize].series)
    }

    /// A series, used at `now`.
    #[inline]
    pub fn get_mut(&mut self, key: K, now: EventTime) -> Option<&mut S> {
        let index = *self.index.get(&key)?;
        let entry = &mut self.entries[index as usize];
        entry.used = entry.used.max(now);
        Some(&mut entry.series)
    }

    /// A series, made where there is none, used at `now`. `make` is given its cold record, if any.
    ///
    /// Where the table is full the least recently used leave; `chill` fills in what their cold records
    /// keep of them beside the time of last use.
    pub fn get_or_insert_with(
        &mut self,
        key: K,
        now: EventTime,
        make: impl FnOnce(Option<Cold>) -> S,
        chill: impl Fn(&S, &mut Cold),
    ) -> &mut S {
        if let Some(&index) = self.index.get(&key) {
            let entry = &mut self.entries[index as usize];
            entry.used = entry.used.max(now);
            return &mut entry.series;
        }
        if self.is_full() {
            self.shed(self.n_max - self.n_max.div_ceil(EVICT_SHARE), chill);
        }
        let cold = self.remove_cold(key);
        self.index.insert(key, self.entries.len() as u32);
        self.entries.push(Entry {
            key,
            used: now,
            series: make(cold),
        });
        let last = self.entries.len() - 1;
        &mut self.entries[last].series
    }

    /// Lets go of the least recently used until `n_max` are left; each stays as a cold record.
    pub fn shed(&mut self, n_max: usize, chill: impl Fn(&S, &mut Cold)) {
        let n_gone = self.entries.len().saturating_sub(n_max);
        if n_gone == 0 {
            return;
        }
        let mut order: Vec<_> = self.entries.iter().map(|e| (e.used, e.key)).collect();
        order.sort_unstable();
        let bound = order[n_gone - 1];
        let (gone, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| (entry.used, entry.key) <= bound);
        self.entries = kept;
        self.reindex();
        self.n_evicted += n_gone as u64;
        let gone: Vec<Entry<K, S>> = gone;
        for entry in gone {
            let cold = self.cold_or_new(entry.key, entry.used);
            chill(&entry.series, cold);
        }
    }

    /// Takes a series out, without a cold record.
    pub fn remove(&mut self, key: K) -> Option<S> {
        let index = self.index.remove(&key)? as usize;
        let entry = self.entries.remove(index);
        self.reindex();
        Some(entry.series)
    }

    /// What is known of `source` belongs to `target` from now on: moved where the target is new, else
    /// joined by `join(target, source)`. Cold records are added up.
    pub fn merge(&mut self, source: K, target: K, join: impl FnOnce(&mut S, S)) {
        if source == target {
            return;
        }
        let used = self
            .index
            .get(&source)
            .map(|&index| self.entries[index as usize].used);
        if let Some(used) = used {
            if let Some(&index) = self.index.get(&target) {
                if let Some(series) = self.remove(source) {
                    // Removal moves those behind it.
                    let index = self.index.get(&target).copied().unwrap_or(index);
                    let entry = &mut self.entries[index as usize];
                    entry.used = entry.used.max(used);
                    join(&mut entry.series, series);
                }
            } else if let Some(index) = self.index.remove(&source) {
                self.entries[index as usize].key = target;
                self.index.insert(target, index);
                self.remove_cold(target);
            }
        }
        if let Some(cold) = self.remove_cold(source)
            && !self.index.contains_key(&target)
        {
            let known = self.cold_or_new(target, cold.first);
            known.first = known.first.min(cold.first);
            known.last = known.last.max(cold.last);
            known.count += cold.count;
            known.recent += cold.recent;
            known.recent_since = known.recent_since.min(cold.recent_since);
            known.level += cold.level;
        }
    }

    /// Series in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (K, &S)> {
        self.entries.iter().map(|entry| (entry.key, &entry.series))
    }

    /// Series in the order in which they came; they do not count as used.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut S)> {
        self.entries
            .iter_mut()
            .map(|entry| (entry.key, &mut entry.series))
    }

    /// The cold record of a key, if it has one.
    #[must_use]
    pub fn cold(&self, key: K) -> Option<&Cold> {
        let index = *self.cold_index.get(&key)?;
        Some(&self.cold[index as usize].1)
    }

    /// Cold records, in no order that means anything but the same on every run.
    pub fn iter_cold(&self) -> impl Iterator<Item = (K, &Cold)> {
        self.cold.iter().map(|(key, cold)| (*key, cold))
    }

    /// The cold record of a key, made where there is none; the caller counts. Where there are too many,
    /// those whose last record is oldest are forgotten.
    pub fn cold_or_new(&mut self, key: K, now: EventTime) -> &mut Cold {
        if let Some(&index) = self.cold_index.get(&key) {
            return &mut self.cold[index as usize].1;
        }
        if self.cold.len() >= self.cold_max {
            self.forget_cold();
        }
        self.cold_index.insert(key, self.cold.len() as u32);
        self.cold.push((
            key,
            Cold {
                first: now,
                last: now,
                count: 0.0,
                recent: 0.0,
                recent_since: now,
                level: 0.0,
            },
        ));
        let last = self.cold.len() - 1;
        &mut self.cold[last].1
    }

    fn remove_cold(&mut self, key: K) -> Option<Cold> {
        let index = self.cold_index.remove(&key)? as usize;
        let (_, cold) = self.cold.swap_remove(index);
        if let Some((moved, _)) = self.cold.get(index) {
            self.cold_index.insert(*moved, index as u32);
        }
        Some(cold)
    }

    fn forget_cold(&mut self) {
        let n_gone = self.cold_max.div_ceil(EVICT_SHARE);
        let mut order: Vec<_> = self.cold.iter().map(|(key, c)| (c.last, *key)).collect();
        order.sort_unstable();
        let bound = order[n_gone.min(order.len()) - 1];
        self.cold.retain(|(key, cold)| (cold.last, *key) > bound);
        self.cold_index = positions(self.cold.iter().map(|(key, _)| *key));
    }

    fn reindex(&mut self) {
        self.index = positions(self.entries.iter().map(|entry| entry.key));
    }
}

fn positions<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, u32, FixedHasher> {
    keys.enumerate()
        .map(|(index, key)| (key, index as u32))
        .collect()
}

/// Bounds, series in order, cold records in order, how many were evicted.
impl<K: Serialize, S: Serialize> Serialize for SeriesTable<K, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let bounds = (self.n_max as u32, self.cold_max as u32);
        (bounds, &self.entries, &self.cold, self.n_evicted).serialize(serializer)
    }
}

impl<'de, K, S> Deserialize<'de> for SeriesTable<K, S>
where
    K: DeserializeOwned + Copy + Ord + Hash,
    S: DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Parts<K, S> = ((u32, u32), Vec<Entry<K, S>>, Vec<(K, Cold)>, u64);
        let ((n_max, cold_max), entries, cold, n_evicted) =
            Parts::<K, S>::deserialize(deserializer)?;
        let mut table = Self::new(n_max as usize, cold_max as usize);
        if entries.len() > table.n_max || cold.len() > table.cold_max {
            return Err(D::Error::custom("more series than its bound"));
        }
        table.index = positions(entries.iter().map(|entry| entry.key));
        table.cold_index = positions(cold.iter().map(|(key, _)| *key));
        if table.index.len() != entries.len() || table.cold_index.len() != cold.len() {
            return Err(D::Error::custom("a series stands twice"));
        }
        (table.entries, table.cold, table.n_evicted) = (entries, cold, n_evicted);
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saved;

    fn insert(table: &mut SeriesTable<u64, f64>, key: u64, second: u64) {
        let now = EventTime::from_seconds(second);
        *table.get_or_insert_with(
            key,
            now,
            |cold| cold.map_or(0.0, |cold| cold.level),
            |series, cold| cold.level = *series,
        ) += 1.0;
    }

    #[test]
    fn the_least_recently_used_leave_and_are_remembered() {
        let mut table = SeriesTable::new(16, 4);
        for key in 0..16 {
            insert(&mut table, key, key);
        }
        insert(&mut table, 0, 100);
        insert(&mut table, 99, 101);
        assert_eq!(table.len(), 16);
        assert_eq!((table.get(0), table.get(1)), (Some(&2.0), None));
        assert_eq!(table.cold(1).map(|cold| cold.level), Some(1.0));
        insert(&mut table, 1, 102);
        assert_eq!((table.get(1), table.cold(1)), (Some(&2.0), None));
        assert_eq!(table.n_evicted(), 2);
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_bounds() {
        let mut table = SeriesTable::new(32, 8);
        for key in 0..10_000 {
            insert(&mut table, key, key);
        }
        assert!(table.len() <= 32 && table.iter_cold().count() <= 8);
        assert!(table.get(9_999).is_some());
    }

    #[test]
    fn merges_move_or_join() {
        let mut table = SeriesTable::new(8, 8);
        insert(&mut table, 1, 1);
        insert(&mut table, 2, 2);
        table.merge(1, 2, |target, source| *target += source);
        assert_eq!((table.get(1), table.get(2)), (None, Some(&2.0)));
        table.merge(2, 3, |_, _| unreachable!("the target is new"));
        assert_eq!((table.get(2), table.get(3)), (None, Some(&2.0)));
        table.cold_or_new(5, EventTime(3)).count = 4.0;
        table.merge(5, 6, |_, _| unreachable!("it is cold"));
        assert_eq!(table.cold(6).map(|cold| cold.count), Some(4.0));
    }

    #[test]
    fn saved_and_loaded_it_goes_on_alike() {
        let mut table = SeriesTable::new(16, 8);
        for key in 0..40 {
            insert(&mut table, key % 23, key);
        }
        let bytes = saved::save(&table);
        let mut back: SeriesTable<u64, f64> = saved::load(&bytes).unwrap();
        for key in 40..90 {
            insert(&mut table, key % 29, key);
            insert(&mut back, key % 29, key);
        }
        assert_eq!(saved::save(&table), saved::save(&back));
    }
}
