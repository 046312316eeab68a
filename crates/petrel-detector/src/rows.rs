//! The rows of one stream within a batch, so that an author writes for one stream at a time.

use petrel_batch::{Column, StreamId};

use crate::Batch;

/// The rows of one stream in a batch, in the order in which they came, and the batch's columns.
///
/// Columns stand in the order of the author's plan and are those of the whole batch: a row of
/// `rows.iter()` is an index into any of them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    batch: &'a Batch<'a>,
    stream: StreamId,
    indices: Indices<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Indices<'a> {
    /// Every row of the batch, which is what most batches are.
    All(u32),
    /// These, ascending.
    Some(&'a [u32]),
}

impl<'a> Rows<'a> {
    pub(crate) fn all(batch: &'a Batch<'a>, stream: StreamId) -> Self {
        Self {
            batch,
            stream,
            indices: Indices::All(batch.rows),
        }
    }

    pub(crate) fn some(batch: &'a Batch<'a>, stream: StreamId, indices: &'a [u32]) -> Self {
        Self {
            batch,
            stream,
            indices: Indices::Some(indices),
        }
    }

    /// The stream that they belong to.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.indices {
            Indices::All(rows) => rows as usize,
            Indices::Some(indices) => indices.len(),
        }
    }

    /// Whether there is none; then the batch brought templates or merges alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices into the columns, ascending.
    #[must_use]
    pub fn iter(&self) -> RowIter<'a> {
        RowIter {
            indices: self.indices,
            next: 0,
        }
    }

    /// Column `index` of the author's plan, for the whole batch; panics where the plan has none.
    #[must_use]
    pub fn column(&self, index: usize) -> &'a Column<'a> {
        &self.batch.columns[index]
    }
}

impl<'a> IntoIterator for &Rows<'a> {
    type Item = usize;
    type IntoIter = RowIter<'a>;

    fn into_iter(self) -> RowIter<'a> {
        self.iter()
    }
}

/// Row indices of one stream, ascending.
#[derive(Clone, Debug)]
pub struct RowIter<'a> {
    indices: Indices<'a>,
    next: usize,
}

impl Iterator for RowIter<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let row = match self.indices {
            Indices::All(rows) if self.next < rows as usize => self.next,
            Indices::All(_) => return None,
            Indices::Some(indices) => *indices.get(self.next)? as usize,
        };
        self.next += 1;
        Some(row)
    }
}

/// Sorts the rows of a batch by stream; keeps its room between batches.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    /// Rows of each stream in order of its first row; lists past `n_streams` are spare room.
    groups: Vec<(StreamId, Vec<u32>)>,
    n_streams: usize,
    /// For each stream id the group it has plus one; 0 = none.
    group_of: Vec<u32>,
}

impl Grouping {
    /// The rows of each stream of a batch, in order of its first row.
    ///
    /// `streams` is the `stream` column. Near free where one stream owns the batch: one comparison a
    /// row. Ids of 65,536 and above are out of contract and are passed over.
    pub(crate) fn split<'b>(
        &'b mut self,
        batch: &'b Batch<'b>,
        streams: &[u32],
    ) -> impl Iterator<Item = Rows<'b>> {
        let only = streams.first().copied();
        let shared = streams.iter().any(|&stream| Some(stream) != only);
        if shared {
            self.group(streams);
        } else {
            self.n_streams = 0;
        }
        let whole = only
            .filter(|_| !shared)
            .map(|stream| Rows::all(batch, StreamId(stream)));
        let groups = &self.groups[..self.n_streams];
        whole.into_iter().chain(
            groups
                .iter()
                .map(|(stream, rows)| Rows::some(batch, *stream, rows)),
        )
    }

    fn group(&mut self, streams: &[u32]) {
        self.n_streams = 0;
        for (row, &stream) in streams.iter().enumerate() {
            let id = stream as usize;
            if id >= STREAM_IDS_MAX {
                continue;
            }
            if id >= self.group_of.len() {
                self.group_of.resize(id + 1, 0);
            }
            if self.group_of[id] == 0 {
                self.open(StreamId(stream));
            }
            self.groups[self.group_of[id] as usize - 1]
                .1
                .push(row as u32);
        }
        for (stream, _) in &self.groups[..self.n_streams] {
            self.group_of[stream.0 as usize] = 0;
        }
    }

    fn open(&mut self, stream: StreamId) {
        if self.n_streams == self.groups.len() {
            self.groups.push((stream, Vec::new()));
        }
        let group = &mut self.groups[self.n_streams];
        group.0 = stream;
        group.1.clear();
        self.n_streams += 1;
        self.group_of[stream.0 as usize] = self.n_streams as u32;
    }
}

/// Stream ids are below this (`detector.wit`, `stream-id`).
pub(crate) const STREAM_IDS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(streams: &[u32], expected: &[(u32, &[usize])]) {
        let batch = Batch {
            rows: streams.len() as u32,
            ..Batch::default()
        };
        let mut grouping = Grouping::default();
        // Twice, since room is kept between batches.
        for _ in 0..2 {
            let groups: Vec<_> = grouping
                .split(&batch, streams)
                .map(|rows| (rows.stream().0, rows.iter().collect::<Vec<_>>()))
                .collect();
            let expected: Vec<_> = expected.iter().map(|(s, r)| (*s, r.to_vec())).collect();
            assert_eq!(groups, expected);
        }
    }

    #[test]
    fn rows_are_grouped_in_order_of_first_sight() {
        check(&[], &[]);
        check(&[7, 7, 7], &[(7, &[0, 1, 2])]);
        check(&[3, 1, 3, 1, 9], &[(3, &[0, 2]), (1, &[1, 3]), (9, &[4])]);
        check(&[70_000, 1], &[(1, &[1])]);
    }
}
