//! The shop's traffic as OTLP export requests, a pure function of the seed and the event time.

use std::time::Duration;

use bytes::Bytes;
use petrel_batch::EventTime;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::catalogue;
use super::source::{Due, Slice, Source};
use super::story::Story;

/// A request ends with the slice in which it reaches this many records.
const RECORDS_PER_REQUEST: u64 = 1_500;

/// An export request and what the sink must find of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) body: Bytes,
    pub(super) n_records: u64,
    /// Wrapping sum of the hashes of its records' bytes, so that order does not matter.
    pub(super) fingerprint: u64,
    /// Event time that it reaches.
    pub(super) end: EventTime,
}

/// Makes requests, each continuing where the last one ended.
pub(super) struct Generator {
    story: Story,
    sources: Vec<Source>,
    random: ChaCha8Rng,
    now: EventTime,
    request: Vec<u8>,
    due: Vec<Due>,
}

impl Generator {
    /// A generator that begins where the story does.
    pub(super) fn new(seed: u64, story: Story) -> Self {
        Self {
            sources: catalogue::services().into_iter().map(Source::new).collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
            now: story.history_start,
            request: Vec::new(),
            due: Vec::new(),
            story,
        }
    }

    /// The next request, none when `until` is less than a slice away.
    ///
    /// Each slice gives one `ResourceLogs` for each instance, its records in order of time. `slice`
    /// must divide a minute.
    pub(super) fn next_request(&mut self, until: EventTime, slice: Duration) -> Option<Request> {
        self.request.clear();
        let (mut n_records, mut fingerprint) = (0, 0_u64);
        let start = self.now;
        while n_records < RECORDS_PER_REQUEST && self.now.saturating_add(slice) <= until {
            let slice = Slice {
                start: self.now,
                length: slice,
                shop_second: self.now.since(self.story.history_start).as_secs(),
            };
            for (index, source) in self.sources.iter_mut().enumerate() {
                let effects = self.story.effects(index, slice.start);
                self.due.clear();
                source.draw(&mut self.due, slice, &effects, &mut self.random);
                self.due.sort_unstable();
                source.encode(
                    &mut self.request,
                    &self.due,
                    slice,
                    &effects,
                    &mut self.random,
                    |record| {
                        n_records += 1;
                        fingerprint = fingerprint.wrapping_add(xxh3_64(record));
                    },
                );
            }
            self.now = self.now.saturating_add(slice.length);
        }
        (self.now > start).then(|| Request {
            body: Bytes::copy_from_slice(&self.request),
            n_records,
            fingerprint,
            end: self.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: EventTime = EventTime::from_seconds(1_767_571_200);
    const SLICE: Duration = Duration::from_secs(30);

    fn hours(n_hours: u64) -> Duration {
        Duration::from_secs(n_hours * 3_600)
    }

    fn requests(seed: u64, story: Story, until: EventTime) -> Vec<Request> {
        let mut generator = Generator::new(seed, story);
        std::iter::from_fn(|| generator.next_request(until, SLICE)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_seed_others() {
        let story = || Story::new(1, MIDNIGHT);
        let until = MIDNIGHT.saturating_add(hours(1));
        let requests_of_one = requests(1, story(), until);
        assert!(requests_of_one.len() > 5);
        assert_eq!(requests_of_one, requests(1, story(), until));
        assert_ne!(requests_of_one, requests(2, story(), until));
    }

    #[test]
    fn requests_follow_one_another_and_end_in_time() {
        let until = MIDNIGHT.saturating_add(hours(2));
        let requests = requests(4, Story::new(4, MIDNIGHT), until);
        assert!(requests.is_sorted_by(|a, b| a.end < b.end));
        assert_eq!(requests.last().unwrap().end, until);
        let (_, full) = requests.split_last().unwrap();
        assert!(full.iter().all(|request| {
            (RECORDS_PER_REQUEST..2 * RECORDS_PER_REQUEST).contains(&request.n_records)
        }));
    }
}
