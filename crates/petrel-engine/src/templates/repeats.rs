//! Bodies that come again exactly: their templates and numbers without a scan. Nearly half of the
//! records of an OpenStack installation are such. For others a look here costs a hash of the body, so a
//! stream that hardly repeats itself is looked at in one stretch of eight.

use xxhash_rust::xxh3::xxh3_64;

use super::index::Slot;

/// Bodies remembered a stream, each in the place that its hash names.
const BODIES_MAX: usize = 256;
/// Bytes of a body that is remembered; a longer one costs more to hash than to read.
const BODY_BYTES_MAX: usize = 4096;
/// Records of a stream before its table is made: most streams of a large fleet are small.
const RECORDS_MIN: u64 = 256;
/// Looks of a stretch, and how many of them must find something for the next stretches not to be left
/// out.
const STRETCH: u32 = 512;
const FOUND_MIN: u32 = STRETCH / 16;
/// Stretches left out after one that found too little.
const STRETCHES_OUT: u32 = 7;

/// Bodies seen lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    entries: Vec<Entry>,
    /// Of this stretch.
    n_looks: u32,
    n_found: u32,
    /// Bodies that still pass without a look.
    n_out: u32,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    hash: u64,
    slot: Slot,
    /// Of the index when the body was entered; in another its template may be gone.
    epoch: u32,
    is_used: bool,
    /// Its numbers, once somebody asked for them; the vector is used again.
    numbers: Vec<f64>,
    has_numbers: bool,
}

/// Where a body belongs in the table: its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64);

impl Repeats {
    /// The place of a body; none for a long one, as long as the stream is small, and while looks are
    /// not worth it.
    #[inline]
    pub(super) fn place(&mut self, body: &str, n_records: u64) -> Option<Place> {
        if body.len() > BODY_BYTES_MAX || n_records < RECORDS_MIN {
            return None;
        }
        if self.entries.is_empty() {
            self.entries.resize(BODIES_MAX, Entry::default());
        }
        if self.n_out > 0 {
            self.n_out -= 1;
            return None;
        }
        Some(Place(xxh3_64(body.as_bytes())))
    }

    /// The template of a body that was entered in the same epoch of the index.
    #[inline]
    pub(super) fn find(&mut self, place: Place, epoch: u32) -> Option<Slot> {
        let found = self
            .entry(place)
            .filter(|entry| entry.epoch == epoch)
            .map(|entry| entry.slot);
        self.n_looks += 1;
        self.n_found += u32::from(found.is_some());
        if self.n_looks == STRETCH {
            let is_worth_it = self.n_found >= FOUND_MIN;
            self.n_out = if is_worth_it {
                0
            } else {
                STRETCH * STRETCHES_OUT
            };
            (self.n_looks, self.n_found) = (0, 0);
        }
        found
    }

    /// Enters a body in place of another.
    #[inline]
    pub(super) fn enter(&mut self, place: Place, slot: Slot, epoch: u32) {
        if let Some(entry) = self.entries.get_mut(place.index()) {
            (entry.hash, entry.slot, entry.epoch) = (place.0, slot, epoch);
            (entry.is_used, entry.has_numbers) = (true, false);
        }
    }

    /// The numbers kept of a body that was just found or entered.
    pub(super) fn numbers(&self, place: Place) -> Option<&[f64]> {
        self.entry(place)
            .filter(|entry| entry.has_numbers)
            .map(|entry| &entry.numbers[..])
    }

    /// Keeps the numbers of a body that was just found or entered.
    pub(super) fn keep_numbers(&mut self, place: Place, numbers: &[f64]) {
        let entry = self.entries.get_mut(place.index());
        if let Some(entry) = entry.filter(|entry| entry.is_used && entry.hash == place.0) {
            entry.numbers.clear();
            entry.numbers.extend_from_slice(numbers);
            entry.has_numbers = true;
        }
    }

    fn entry(&self, place: Place) -> Option<&Entry> {
        let entry = self.entries.get(place.index())?;
        (entry.is_used && entry.hash == place.0).then_some(entry)
    }
}

impl Place {
    fn index(self) -> usize {
        self.0 as usize % BODIES_MAX
    }
}
