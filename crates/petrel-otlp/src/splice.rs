//! The splice: a request's bytes copied once, attributes added to some of its log records.
//!
//! A repeated field's entries may stand anywhere in their message, so an attribute is appended to its
//! record, and the lengths around it are corrected. Nothing else of the request changes.

use bytes::Bytes;
use petrel_batch::RowEdits;

use crate::buffers::Buffers;
use crate::encode::put_attribute;
use crate::layout::{Frame, Layout};
use crate::walk::check_key_value;
use crate::wire::{LENGTH, Reader, put_varint_wide, tag, varint_len};

/// `LogRecord.attributes`.
const ATTRIBUTES: u32 = tag(6, LENGTH);

/// The request with attributes added to its records; the very same bytes when nothing is added.
///
/// Each entry of `edits` are the places of one worker's rows (`LogBatch::places`) and what is added
/// to them. `layout` is that of `request`. An attribute whose key a record has already is not added
/// to that record, given that its key begins with one of the walk's reserved prefixes. What is named
/// and does not exist (a row, a set, a place) is passed over. The copy is made in one of `buffers`.
#[must_use]
pub fn splice(
    request: &Bytes,
    layout: &Layout,
    edits: &[(&[u32], &RowEdits)],
    buffers: &Buffers,
) -> Bytes {
    if edits.iter().all(|(_, edits)| edits.is_empty()) {
        return request.clone();
    }
    let additions = Additions::new(request, layout, edits);
    let sizes = Sizes::new(layout, &additions);
    if sizes.grown == 0 {
        return request.clone();
    }
    let mut out = buffers.take(request.len() + sizes.grown);
    copy(request, layout, &additions, &sizes, &mut out);
    debug_assert_eq!(out.len(), request.len() + sizes.grown);
    buffers.lend(out)
}

/// What each record gets, encoded.
struct Additions {
    /// Sets of attributes, one after the other.
    encoded: Vec<u8>,
    /// The bytes of the set that most records get one of, by place; empty for none.
    base: Vec<(u32, u32)>,
    /// Further bytes, never none: (place, start, end), ascending by place.
    extra: Vec<(u32, u32, u32)>,
}

impl Additions {
    fn new(request: &[u8], layout: &Layout, edits: &[(&[u32], &RowEdits)]) -> Self {
        let mut additions = Self {
            encoded: Vec::new(),
            base: vec![(0, 0); layout.n_records()],
            extra: Vec::new(),
        };
        for (places, edits) in edits {
            additions.take(places, edits);
        }
        additions.extra.sort_by_key(|&(place, ..)| place);
        additions.leave_out_existing(request, layout, edits);
        additions
    }

    fn take(&mut self, places: &[u32], edits: &RowEdits) {
        let mut sets = Vec::with_capacity(edits.sets.len());
        for set in &edits.sets {
            let start = self.encoded.len() as u32;
            for attribute in set {
                put_attribute(&mut self.encoded, attribute);
            }
            sets.push((start, self.encoded.len() as u32));
        }
        for (&place, &set) in places.iter().zip(&edits.base) {
            if let Some(&set) = sets.get(set as usize)
                && let Some(base) = self.base.get_mut(place as usize)
            {
                *base = set;
            }
        }
        for &(row, set) in &edits.extra {
            if let Some(&place) = places.get(row as usize)
                && let Some(&(start, end)) = sets.get(set as usize)
                && start < end
                && (place as usize) < self.base.len()
            {
                self.extra.push((place, start, end));
            }
        }
    }

    /// Encodes anew what goes to records that might have one of its keys already.
    fn leave_out_existing(
        &mut self,
        request: &[u8],
        layout: &Layout,
        edits: &[(&[u32], &RowEdits)],
    ) {
        for &place in &layout.reserved {
            let first = self.extra.partition_point(|&(other, ..)| other < place);
            let last = self.extra.partition_point(|&(other, ..)| other <= place);
            let (start, end) = self.base[place as usize];
            if start == end && first == last {
                continue;
            }
            let keys = record_keys(request, layout.records[place as usize]);
            let start = self.encoded.len() as u32;
            for attribute in sets_of(place, edits).flatten() {
                if !keys.contains(&attribute.key.as_bytes()) {
                    put_attribute(&mut self.encoded, attribute);
                }
            }
            self.base[place as usize] = (start, self.encoded.len() as u32);
            self.extra[first..last].fill((place, 0, 0));
        }
        self.extra.retain(|(_, start, end)| start < end);
    }

    fn base(&self, place: usize) -> &[u8] {
        let (start, end) = self.base[place];
        &self.encoded[start as usize..end as usize]
    }
}

/// All sets that the record at `place` gets, from its base and then as named.
fn sets_of<'a>(
    place: u32,
    edits: &'a [(&[u32], &RowEdits)],
) -> impl Iterator<Item = &'a Vec<petrel_batch::Attribute>> {
    edits.iter().flat_map(move |(places, edits)| {
        let row = places.binary_search(&place).ok();
        let base = row.and_then(|row| edits.base.get(row)).copied();
        let first = row.map_or(0, |row| {
            let before = |extra: &(u32, u32)| (extra.0 as usize) < row;
            edits.extra.partition_point(before)
        });
        let extra = edits.extra[first..]
            .iter()
            .take_while(move |(other, _)| Some(*other as usize) == row)
            .map(|&(_, set)| set);
        base.into_iter()
            .chain(extra)
            .filter_map(|set| edits.sets.get(set as usize))
    })
}

/// The keys of a record's attributes; the record was walked, so all of it can be read.
fn record_keys(request: &[u8], record: Frame) -> Vec<&[u8]> {
    let mut keys = Vec::new();
    let mut reader = Reader::of(request, record.span());
    while let Ok(Some(tag)) = reader.tag() {
        if tag != ATTRIBUTES {
            if reader.skip_value(tag, 0).is_err() {
                break;
            }
            continue;
        }
        let Ok(attribute) = reader
            .span()
            .and_then(|entry| check_key_value(request, entry, 0))
        else {
            break;
        };
        keys.push(&request[attribute.key.range()]);
    }
    keys
}

/// New lengths of all that grows; 0 for what stays as it is.
struct Sizes {
    records: Vec<u32>,
    scopes: Vec<u32>,
    resources: Vec<u32>,
    /// Bytes that the request grows by.
    grown: usize,
}

impl Sizes {
    fn new(layout: &Layout, additions: &Additions) -> Self {
        let mut sizes = Self {
            records: additions
                .base
                .iter()
                .map(|&(start, end)| end - start)
                .collect(),
            scopes: vec![0; layout.scopes.len()],
            resources: vec![0; layout.resources.len()],
            grown: 0,
        };
        for &(place, start, end) in &additions.extra {
            sizes.records[place as usize] += end - start;
        }
        for (resource_index, resource) in layout.resources.iter().enumerate() {
            let mut resource_grown = 0;
            for scope_index in resource.scopes.start as usize..resource.scopes.end as usize {
                let scope = &layout.scopes[scope_index];
                let mut scope_grown = 0;
                for place in scope.records.start as usize..scope.records.end as usize {
                    let record = layout.records[place];
                    scope_grown += grow(record, &mut sizes.records[place]);
                }
                sizes.scopes[scope_index] = scope_grown;
                resource_grown += grow(scope.frame, &mut sizes.scopes[scope_index]);
            }
            sizes.resources[resource_index] = resource_grown;
            sizes.grown += grow(resource.frame, &mut sizes.resources[resource_index]) as usize;
        }
        sizes
    }
}

/// Turns what is added to a message into its new length; answers by how much it grows with its length
/// field. A length that was written wider than needed keeps its width, so nothing ever gets shorter.
#[inline]
fn grow(frame: Frame, added: &mut u32) -> u32 {
    if *added == 0 {
        return 0;
    }
    let length = frame.end - frame.start + *added;
    let grown = *added + length_width(frame, length) as u32 - (frame.start - frame.length_at);
    *added = length;
    grown
}

/// Bytes of the length field of a message that gets a new length.
#[inline]
fn length_width(frame: Frame, length: u32) -> usize {
    varint_len(length as usize).max((frame.start - frame.length_at) as usize)
}

/// Copies the request; where a message grows, with its new length and what is added at its end.
fn copy(request: &[u8], layout: &Layout, additions: &Additions, sizes: &Sizes, out: &mut Vec<u8>) {
    let mut copier = Copier {
        request,
        copied: 0,
        out,
    };
    let mut extra = additions.extra.as_slice();
    for (resource, &length) in layout.resources.iter().zip(&sizes.resources) {
        if length == 0 {
            continue;
        }
        copier.head(resource.frame, length);
        for scope_index in resource.scopes.start as usize..resource.scopes.end as usize {
            let (scope, length) = (&layout.scopes[scope_index], sizes.scopes[scope_index]);
            if length == 0 {
                continue;
            }
            copier.head(scope.frame, length);
            for place in scope.records.start as usize..scope.records.end as usize {
                let (record, length) = (layout.records[place], sizes.records[place]);
                if length == 0 {
                    continue;
                }
                copier.head(record, length);
                copier.up_to(record.end);
                copier.out.extend_from_slice(additions.base(place));
                while let Some((&(_, start, end), rest)) = extra
                    .split_first()
                    .filter(|((other, ..), _)| *other as usize == place)
                {
                    let added = &additions.encoded[start as usize..end as usize];
                    copier.out.extend_from_slice(added);
                    extra = rest;
                }
            }
        }
    }
    copier.up_to(request.len() as u32);
}

struct Copier<'a> {
    request: &'a [u8],
    copied: u32,
    out: &'a mut Vec<u8>,
}

impl Copier<'_> {
    #[inline]
    fn up_to(&mut self, end: u32) {
        let bytes = &self.request[self.copied as usize..end as usize];
        self.out.extend_from_slice(bytes);
        self.copied = end;
    }

    /// Copies up to a message's length, writes another, and goes on at its content.
    #[inline]
    fn head(&mut self, frame: Frame, length: u32) {
        self.up_to(frame.length_at);
        let width = length_width(frame, length);
        put_varint_wide(self.out, u64::from(length), width);
        self.copied = frame.start;
    }
}
