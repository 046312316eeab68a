//! Where the parts of a request meet again: in the order of sequence numbers, whichever worker was
//! first, so that what follows does not depend on the number of workers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests whose parts have not all come, and whose turn it is.
///
/// Generic over the part and over what waits, so that the order can be tested by itself.
#[derive(Debug)]
pub struct Junction<Part, Waiting> {
    turns: Mutex<Turns<Part, Waiting>>,
}

#[derive(Debug)]
struct Turns<Part, Waiting> {
    next: u64,
    requests: BTreeMap<u64, Request<Part, Waiting>>,
}

#[derive(Debug)]
struct Request<Part, Waiting> {
    missing: usize,
    parts: Vec<(usize, Part)>,
    waiting: Waiting,
}

impl<Part, Waiting> Default for Junction<Part, Waiting> {
    fn default() -> Self {
        Self {
            turns: Mutex::new(Turns {
                next: 0,
                requests: BTreeMap::new(),
            }),
        }
    }
}

impl<Part, Waiting> Junction<Part, Waiting> {
    /// Announces a request of `n_parts` parts, at least one. Sequence numbers have no gaps.
    pub fn expect(&self, sequence: u64, n_parts: usize, waiting: Waiting) {
        let request = Request {
            missing: n_parts,
            parts: Vec::with_capacity(n_parts),
            waiting,
        };
        self.lock().requests.insert(sequence, request);
    }

    /// Brings the part of a worker, then settles every request whose turn has come, in order. Parts are
    /// handed over sorted by worker. `settle` runs under the junction's lock and must not wait.
    pub fn meet(
        &self,
        sequence: u64,
        worker: usize,
        part: Part,
        mut settle: impl FnMut(u64, Vec<(usize, Part)>, Waiting),
    ) {
        let mut turns = self.lock();
        if let Some(request) = turns.requests.get_mut(&sequence) {
            request.missing -= 1;
            request.parts.push((worker, part));
        }
        loop {
            let next = turns.next;
            if turns
                .requests
                .get(&next)
                .is_none_or(|request| request.missing > 0)
            {
                return;
            }
            // First, so that a panic in `settle` ends this request and not all that follow.
            turns.next += 1;
            if let Some(mut request) = turns.requests.remove(&next) {
                request.parts.sort_by_key(|(worker, _)| *worker);
                settle(next, request.parts, request.waiting);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns<Part, Waiting>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_settle_in_order_and_parts_by_worker() {
        let junction: Junction<&str, char> = Junction::default();
        for (sequence, n_parts, name) in [(0, 2, 'a'), (1, 1, 'b'), (2, 2, 'c')] {
            junction.expect(sequence, n_parts, name);
        }
        let mut settled = Vec::new();
        let mut meet = |sequence, worker, part| {
            junction.meet(sequence, worker, part, |number, parts, name| {
                settled.push((number, parts, name));
            });
        };
        meet(1, 0, "b0");
        meet(2, 1, "c1");
        meet(0, 1, "a1");
        meet(0, 0, "a0");
        meet(2, 0, "c0");
        assert_eq!(
            settled,
            [
                (0, vec![(0, "a0"), (1, "a1")], 'a'),
                (1, vec![(0, "b0")], 'b'),
                (2, vec![(0, "c0"), (1, "c1")], 'c'),
            ]
        );
    }
}
