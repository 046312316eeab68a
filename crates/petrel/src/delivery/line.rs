//! The waiting line of a sending queue: what waits, in which order it may go, and how much of it there
//! is. No clock and no IO: time comes in as an argument, bytes are somebody else's.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::outgoing::{Head, StreamSet};
use crate::config::{Batch, Sizer};

/// Requests that wait at most, whatever their size: what is known of each costs some 300 bytes.
pub(super) const REQUESTS_MAX: usize = 100_000;
/// Requests that are looked at, from the oldest on, for one that may go.
const WINDOW: usize = 256;

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its place in the order.
    pub(super) number: u64,
    /// What is known of it.
    pub(super) head: Head,
    /// Its bytes, unless they are on disk only.
    pub(super) body: Option<Bytes>,
    /// When it came, since the queue began.
    pub(super) arrived: Duration,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests.
    pub requests: usize,
    /// Log records, spans or data points.
    pub items: u64,
    /// Bytes of their protobuf.
    pub bytes: usize,
}

impl Load {
    /// That of one request.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self {
            requests: 1,
            items: head.n_items,
            bytes: head.n_bytes,
        }
    }

    /// As counted by `sizer`.
    #[must_use]
    pub fn size(&self, sizer: Sizer) -> usize {
        match sizer {
            Sizer::Bytes => self.bytes,
            Sizer::Items => usize::try_from(self.items).unwrap_or(usize::MAX),
            Sizer::Requests => self.requests,
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.items += other.items;
        self.bytes += other.bytes;
    }

    fn take(&mut self, other: Self) {
        self.requests -= other.requests;
        self.items -= other.items;
        self.bytes -= other.bytes;
    }
}

/// What may wait at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How much, as `sizer` counts.
    pub size: usize,
    /// What is counted.
    pub sizer: Sizer,
}

/// What a consumer is told that asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// Requests that go out as one; their streams are held until [`Line::finish`].
    Batch(Vec<Waiting>),
    /// A batch that is not full yet, and when it goes at the latest.
    At(Duration),
    /// Nothing may go.
    Nothing,
}

/// Requests that wait or are being sent. Of each stream at most one batch is being sent, the oldest
/// that waits.
#[derive(Debug)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    sending: StreamSet,
    /// Of all that was reserved and not finished.
    load: Load,
    capacity: Capacity,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            waiting: VecDeque::new(),
            sending: StreamSet::default(),
            load: Load::default(),
            capacity,
        }
    }

    /// How much waits or is being sent.
    #[must_use]
    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// What may wait.
    #[must_use]
    pub(super) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Changes what may wait; what waits already stays.
    pub(super) fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    /// Makes room for a request, which is counted from here on; `false` when there is none. A request
    /// that is larger than the line is taken when the line is empty: else nobody could ever send it.
    pub(super) fn reserve(&mut self, head: &Head) -> bool {
        let mut load = self.load;
        load.add(Load::of(head));
        let fits =
            load.size(self.capacity.sizer) <= self.capacity.size && load.requests <= REQUESTS_MAX;
        if fits || self.load.requests == 0 {
            self.load = load;
            return true;
        }
        false
    }

    /// Counts a request that is there already, whether there is room or not.
    pub(super) fn take_over(&mut self, head: &Head) {
        self.load.add(Load::of(head));
    }

    /// Gives the room back of a request that was accepted, given up, or never came to wait.
    pub(super) fn release(&mut self, head: &Head) {
        self.load.take(Load::of(head));
    }

    /// Puts a request for which there is room in its place.
    pub(super) fn push(&mut self, waiting: Waiting) {
        let after = |other: &Waiting| other.number < waiting.number;
        let place = match self.waiting.back() {
            Some(last) if !after(last) => self.waiting.partition_point(after),
            _ => self.waiting.len(),
        };
        self.waiting.insert(place, waiting);
    }

    /// What goes next, at `now`. `is_closing`: nothing more comes, a batch need not wait to be full.
    pub(super) fn next(&mut self, batch: Option<&Batch>, now: Duration, is_closing: bool) -> Next {
        let (chosen, is_full) = self.choose(batch);
        let Some(&first) = chosen.first() else {
            return Next::Nothing;
        };
        if let Some(batch) = batch
            && !is_full
            && !is_closing
        {
            let due = self.waiting[first].arrived + batch.flush_timeout;
            if now < due {
                return Next::At(due);
            }
        }
        // From the back, so that places stay what they are.
        let mut taken: Vec<_> = chosen
            .into_iter()
            .rev()
            .filter_map(|place| self.waiting.remove(place))
            .collect();
        taken.reverse();
        for waiting in &taken {
            self.sending.add(&waiting.head.streams);
        }
        Next::Batch(taken)
    }

    /// Places of the requests that go next, and whether no more belongs to them.
    fn choose(&self, batch: Option<&Batch>) -> (Vec<usize>, bool) {
        // Streams of which something older waits or is being sent.
        let mut held = self.sending;
        let mut chosen: Vec<usize> = Vec::new();
        let mut load = Load::default();
        for (place, waiting) in self.waiting.iter().enumerate().take(WINDOW) {
            let head = &waiting.head;
            let fits = chosen.first().is_none_or(|&first| {
                let first = &self.waiting[first].head;
                (first.signal, &first.metadata) == (head.signal, &head.metadata)
            });
            if !fits || held.meets(&head.streams) {
                held.add(&head.streams);
                continue;
            }
            let Some(batch) = batch else {
                return (vec![place], true);
            };
            let most = Some(batch.max_size).filter(|&size| size > 0);
            let mut more = load;
            more.add(Load::of(head));
            let size = more.size(batch.sizer);
            if !chosen.is_empty() && most.is_some_and(|most| size > most) {
                return (chosen, true);
            }
            chosen.push(place);
            load = more;
            if most.is_some_and(|most| size >= most) {
                return (chosen, true);
            }
        }
        let is_full = batch.is_none_or(|batch| load.size(batch.sizer) >= batch.min_size);
        (chosen, is_full)
    }

    /// A batch was accepted or given up: its streams may go on, its room is free.
    pub(super) fn finish(&mut self, heads: &[Head]) {
        for head in heads {
            self.sending.take(&head.streams);
            self.release(head);
        }
    }
}

#[cfg(test)]
mod tests;
