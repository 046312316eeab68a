//! Where resource logs, scope logs and log records stand in a request: what a splice needs to know.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::wire::Span;

/// Records of one request that are listed, and as many resource logs and scope logs. A request of
/// 64 MiB reaches it with 256 bytes a record; what comes after has no row and is passed on as it is.
pub const LISTED_MAX: usize = 1 << 18;

/// A message inside another: its length, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where the varint of its length starts.
    pub(crate) length_at: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Frame {
    /// Where the content stands.
    pub(crate) const fn span(self) -> Span {
        Span {
            start: self.start,
            end: self.end,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeSpan {
    pub(crate) frame: Frame,
    pub(crate) records: Range<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceSpan {
    pub(crate) frame: Frame,
    pub(crate) scopes: Range<u32>,
    pub(crate) records: Range<u32>,
    /// Some record has a time or an observed time of its own.
    pub(crate) timed: bool,
}

/// The places of all that a request consists of, in the order of its bytes.
///
/// A record's place is its ordinal among all records of the request; at most [`LISTED_MAX`] are
/// known. Costs 12 bytes a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub(crate) resources: Vec<ResourceSpan>,
    pub(crate) scopes: Vec<ScopeSpan>,
    pub(crate) records: Vec<Frame>,
    /// Places of records with an attribute whose key Petrel might write too, ascending.
    pub(crate) reserved: Vec<u32>,
}

impl Layout {
    /// Number of records that are listed.
    #[must_use]
    pub fn n_records(&self) -> usize {
        self.records.len()
    }

    /// Bytes that it takes, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.records.len() * size_of::<Frame>()
    }

    /// Number of `ResourceLogs` that are listed.
    #[must_use]
    pub fn n_resources(&self) -> usize {
        self.resources.len()
    }

    /// The `ResourceLogs` that the record at `place` belongs to; `None` when it is not listed.
    #[must_use]
    pub fn resource_of(&self, place: u32) -> Option<usize> {
        let index = self
            .resources
            .partition_point(|resource| resource.records.end <= place);
        (self.resources.get(index)?.records.contains(&place)).then_some(index)
    }

    /// The places of a `ResourceLogs`; empty when there is no such one.
    #[must_use]
    pub fn records_of(&self, resource: usize) -> Range<u32> {
        self.resources
            .get(resource)
            .map_or(0..0, |resource| resource.records.clone())
    }

    /// Whether some record of a `ResourceLogs` has a time or an observed time: one without any is
    /// never taken for a retry of another.
    #[must_use]
    pub fn is_timed(&self, resource: usize) -> bool {
        self.resources
            .get(resource)
            .is_some_and(|resource| resource.timed)
    }

    /// Digest of the bytes of a `ResourceLogs`, by which a retry is known (xxh3, 128 bits).
    ///
    /// `request` are the bytes that the layout was made from. 0 when there is no such `ResourceLogs`.
    /// Costs about 30 us a MB; nothing is kept.
    #[must_use]
    pub fn digest(&self, request: &[u8], resource: usize) -> u128 {
        self.resources
            .get(resource)
            .map_or(0, |resource| digest(request, resource.frame, 0))
    }
}

/// Digest of a message's content; 0 when it does not stand in `request`.
pub(crate) fn digest(request: &[u8], frame: Frame, seed: u64) -> u128 {
    request
        .get(frame.start as usize..frame.end as usize)
        .map_or(0, |content| xxh3_128_with_seed(content, seed))
}
