//! The walk: one scan over an encoded `ExportLogsServiceRequest`, without any protobuf object.
//!
//! It finds where everything stands, refuses what is malformed anywhere, and fills the columns that
//! somebody asked for. Fields may come in any order: the messages of a level are found first, by
//! length, and then read, so a resource that follows its records costs nothing more.

mod columns;
mod json_text;
mod pattern;
mod plan;
mod record;
mod resource;
mod value;

use std::time::Duration;

use bytes::Bytes;
use petrel_batch::{EventTime, LogBatch, StreamKey, names};

pub use self::pattern::StreamPattern;
pub use self::plan::{WalkPlan, WalkSettings};
pub use self::resource::{RESOURCE_TEXT_MAX, RESOURCES_CACHED_DEFAULT, ResourceCache};
pub(crate) use self::value::check_key_value;

use self::columns::Columns;
use self::record::{Marks, put_attribute, put_fields, read_record};
use self::resource::KnownResource;
use self::value::Pieces;
use crate::layout::{Frame, LISTED_MAX, Layout, ResourceSpan, ScopeSpan, digest};
use crate::wire::{Fault, LENGTH, Malformed, Reader, Span, VARINT, tag};

/// How far after its arrival an event time may lie before it is counted as ahead.
pub const AHEAD_OF_ARRIVAL: Duration = Duration::from_secs(300);

const RESOURCE_LOGS: u32 = tag(1, LENGTH);
const REQUEST_FIELDS: u32 = 0b10;

const RESOURCE: u32 = tag(1, LENGTH);
const SCOPE_LOGS: u32 = tag(2, LENGTH);
const SCHEMA_URL: u32 = tag(3, LENGTH);
const RESOURCE_LOGS_FIELDS: u32 = 0b1110;

const SCOPE: u32 = tag(1, LENGTH);
const LOG_RECORDS: u32 = tag(2, LENGTH);
const SCOPE_LOGS_FIELDS: u32 = 0b1110;

const SCOPE_NAME: u32 = tag(1, LENGTH);
const SCOPE_VERSION: u32 = tag(2, LENGTH);
const SCOPE_ATTRIBUTES: u32 = tag(3, LENGTH);
const SCOPE_DROPPED: u32 = tag(4, VARINT);
const SCOPE_FIELDS: u32 = 0b1_1110;

/// What a walk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Log records of the request, listed or not.
    pub records: u64,
    /// Records that have a row.
    pub rows: u64,
    /// Records without a row because they come from a Petrel.
    pub skipped_enriched: u64,
    /// Records without a row because their stream is not to be analysed.
    pub skipped_excluded: u64,
    /// Records without a row because the request has more than [`LISTED_MAX`].
    pub unlisted: u64,
    /// Cells that are null because their text is not UTF-8; the bytes pass through.
    pub invalid_utf8: u64,
    /// Rows without time and observed time: their arrival stands in.
    pub without_time: u64,
    /// Rows more than [`AHEAD_OF_ARRIVAL`] after their arrival.
    pub ahead_of_arrival: u64,
}

/// A request, where everything in it stands, and its rows by worker.
#[derive(Clone, Debug)]
pub struct Walked {
    /// The bytes as received.
    pub request: Bytes,
    /// Where resource logs, scope logs and records stand.
    pub layout: Layout,
    /// For each worker its rows, in request order; `None` where it has none.
    pub batches: Vec<Option<LogBatch>>,
    /// What was counted.
    pub counts: Counts,
}

/// Bytes that a value of a column takes, at most: those of strings are views into the request.
const VALUE_BYTES: usize = 16;

impl Walked {
    /// Bytes that are held beside those of the request, about: columns, and where records stand.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let values = self.batches.iter().flatten().map(LogBatch::n_values);
        values.sum::<usize>() * VALUE_BYTES + self.layout.held_bytes()
    }
}

/// How streams are dealt out to workers: one index below `n_workers` for each stream.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    /// The worker that owns a stream; taken modulo `n_workers`.
    pub worker_of: &'a dyn Fn(&StreamKey) -> usize,
    /// Number of workers, at least 1.
    pub n_workers: usize,
}

impl Workers<'static> {
    /// One worker that owns all streams.
    pub const ONE: Self = Self {
        worker_of: &|_| 0,
        n_workers: 1,
    };
}

/// Walks a request that came in at `arrival` for `tenant` (empty where tenants are not kept apart).
///
/// # Errors
/// [`Malformed`] when any message in it is broken, however deep and whether or not it was asked for
/// (down to 64 values within values); nothing is then known of the request. Text that is not UTF-8
/// is no such error.
pub fn walk(
    request: &Bytes,
    plan: &WalkPlan,
    cache: &ResourceCache,
    tenant: &str,
    arrival: EventTime,
    workers: Workers<'_>,
) -> Result<Walked, Malformed> {
    if u32::try_from(request.len()).is_err() {
        return Err(Malformed {
            offset: u32::MAX,
            fault: Fault::RequestLarge,
        });
    }
    let n_workers = workers.n_workers.max(1);
    let mut walk = Walk {
        bytes: request,
        plan,
        cache,
        tenant,
        arrival,
        workers,
        layout: Layout::default(),
        listing: true,
        counts: Counts::default(),
        columns: std::iter::repeat_with(|| None).take(n_workers).collect(),
    };
    walk.request()?;
    let Walk {
        columns,
        layout,
        mut counts,
        ..
    } = walk;
    let batches = columns
        .into_iter()
        .map(|columns| {
            let (batch, invalid_utf8) = columns?.finish(request);
            counts.invalid_utf8 += invalid_utf8;
            batch
        })
        .collect();
    Ok(Walked {
        request: request.clone(),
        layout,
        batches,
        counts,
    })
}

/// What becomes of the records of a scope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admits {
    /// Each gets a row, unless it comes from a Petrel itself.
    Rows,
    /// No row: the scope is one of Petrel's own.
    Enriched,
    /// No row: the stream is not to be analysed.
    Excluded,
}

struct Walk<'a> {
    bytes: &'a [u8],
    plan: &'a WalkPlan,
    cache: &'a ResourceCache,
    tenant: &'a str,
    arrival: EventTime,
    workers: Workers<'a>,
    layout: Layout,
    /// Whether what comes next still gets a place; never again once some list was full.
    listing: bool,
    counts: Counts,
    columns: Vec<Option<Columns>>,
}

impl<'a> Walk<'a> {
    fn request(&mut self) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.bytes);
        while let Some(tag) = reader.tag()? {
            match tag {
                RESOURCE_LOGS => {
                    let frame = read_frame(&mut reader)?;
                    self.resource_logs(frame)?;
                }
                other => reader.skip(other, REQUEST_FIELDS)?,
            }
        }
        Ok(())
    }

    fn resource_logs(&mut self, frame: Frame) -> Result<(), Malformed> {
        let first_scope = self.layout.scopes.len();
        let first_record = self.layout.records.len();
        self.listing &= self.layout.resources.len() < LISTED_MAX;
        let mut resource = Pieces::default();
        let mut reader = Reader::of(self.bytes, frame.span());
        while let Some(tag) = reader.tag()? {
            match tag {
                RESOURCE => resource.push(reader.span()?),
                SCOPE_LOGS => {
                    let frame = read_frame(&mut reader)?;
                    self.listing &= self.layout.scopes.len() < LISTED_MAX;
                    if self.listing {
                        let records = 0..0;
                        self.layout.scopes.push(ScopeSpan { frame, records });
                    } else {
                        self.find_records(frame.span())?;
                    }
                }
                SCHEMA_URL => {
                    reader.span()?;
                }
                other => reader.skip(other, RESOURCE_LOGS_FIELDS)?,
            }
        }
        let known = self
            .cache
            .get(self.bytes, &resource, self.plan, self.tenant)?;
        self.counts.invalid_utf8 += known.invalid_utf8;
        let timed = self.rows_of(frame, first_scope, &known)?;
        // A resource without a listed record cannot be edited, so nobody asks where it stands.
        if self.layout.records.len() > first_record {
            self.layout.resources.push(ResourceSpan {
                frame,
                scopes: first_scope as u32..self.layout.scopes.len() as u32,
                records: first_record as u32..self.layout.records.len() as u32,
                timed,
            });
        } else {
            self.layout.scopes.truncate(first_scope);
        }
        Ok(())
    }

    /// Reads all scopes of a resource from `first_scope` on; answers whether a record has a time.
    fn rows_of(
        &mut self,
        resource_logs: Frame,
        first_scope: usize,
        known: &KnownResource,
    ) -> Result<bool, Malformed> {
        let workers = self.workers;
        let worker = (workers.worker_of)(&known.resource.stream) % self.columns.len();
        let mut columns = self.columns[worker]
            .take()
            .unwrap_or_else(|| Columns::new(&self.plan.settings.column_set, self.bytes.len()));
        let first_row = columns.row();
        let first_record = self.layout.records.len();
        let mut timed = false;
        for scope in first_scope..self.layout.scopes.len() {
            let first_record = self.layout.records.len();
            let is_own = self.find_records(self.layout.scopes[scope].frame.span())?;
            let records = first_record..self.layout.records.len();
            self.layout.scopes[scope].records = records.start as u32..records.end as u32;
            let admits = match (known.excluded, is_own) {
                (true, _) => Admits::Excluded,
                (false, true) if !self.plan.settings.accept_enriched => Admits::Enriched,
                _ => Admits::Rows,
            };
            columns.reserve(records.len(), self.plan);
            for place in records {
                timed |= self.record(place, admits, &mut columns)?;
            }
        }
        let wants_digest = timed && self.plan.settings.digests;
        let (bytes, is_whole) = (self.bytes, self.listing);
        columns.end_run(first_row, known, self.plan, || {
            wants_digest.then(|| {
                // Where not all records are listed, the digest is good for just that many rows.
                let n_listed = self.layout.records.len() - first_record;
                let seed = if is_whole { 0 } else { n_listed as u64 };
                digest(bytes, resource_logs, seed)
            })
        });
        self.columns[worker] = Some(columns);
        Ok(timed)
    }

    /// Lists the records of a scope, or checks them where no more are listed; answers whether the
    /// scope is one of Petrel's own.
    fn find_records(&mut self, scope_logs: Span) -> Result<bool, Malformed> {
        let mut reader = Reader::of(self.bytes, scope_logs);
        let mut scope_name = Span::default();
        while let Some(tag) = reader.tag()? {
            match tag {
                LOG_RECORDS => {
                    let frame = read_frame(&mut reader)?;
                    self.counts.records += 1;
                    self.listing &= self.layout.records.len() < LISTED_MAX;
                    if self.listing {
                        self.layout.records.push(frame);
                    } else {
                        self.counts.unlisted += 1;
                        read_record(self.bytes, frame.span(), |_| Ok(()))?;
                    }
                }
                SCOPE => check_scope(self.bytes, reader.span()?, &mut scope_name)?,
                SCHEMA_URL => {
                    reader.span()?;
                }
                other => reader.skip(other, SCOPE_LOGS_FIELDS)?,
            }
        }
        let scope_name = &self.bytes[scope_name.range()];
        Ok(scope_name.starts_with(names::PETREL_SCOPE_PREFIX.as_bytes()))
    }

    /// Reads one record, gives it a row if it is to have one; answers whether it has a time.
    fn record(
        &mut self,
        place: usize,
        admits: Admits,
        columns: &mut Columns,
    ) -> Result<bool, Malformed> {
        let (bytes, plan) = (self.bytes, self.plan);
        let mut marks = Marks::default();
        let fields = read_record(bytes, self.layout.records[place].span(), |attribute| {
            put_attribute(bytes, attribute, plan, columns, &mut marks)
        })?;
        if marks.is_reserved {
            self.layout.reserved.push(place as u32);
        }
        let is_enriched =
            admits == Admits::Enriched || marks.is_enriched && !plan.settings.accept_enriched;
        if is_enriched || admits == Admits::Excluded {
            columns.drop_row();
            self.counts.skipped_enriched += u64::from(is_enriched);
            self.counts.skipped_excluded += u64::from(!is_enriched);
            return Ok(fields.is_timed());
        }
        let event_time = fields.event_time(self.arrival);
        put_fields(bytes, &fields, event_time, plan, columns)?;
        columns.end_row(place as u32);
        self.counts.rows += 1;
        self.counts.without_time += u64::from(!fields.is_timed());
        let ahead = event_time > self.arrival.saturating_add(AHEAD_OF_ARRIVAL);
        self.counts.ahead_of_arrival += u64::from(ahead);
        Ok(fields.is_timed())
    }
}

fn read_frame(reader: &mut Reader<'_>) -> Result<Frame, Malformed> {
    let length_at = reader.at() as u32;
    let Span { start, end } = reader.span()?;
    Ok(Frame {
        length_at,
        start,
        end,
    })
}

fn check_scope(bytes: &[u8], scope: Span, name: &mut Span) -> Result<(), Malformed> {
    let mut reader = Reader::of(bytes, scope);
    while let Some(tag) = reader.tag()? {
        match tag {
            SCOPE_NAME => *name = reader.span()?,
            SCOPE_VERSION => {
                reader.span()?;
            }
            SCOPE_ATTRIBUTES => {
                check_key_value(bytes, reader.span()?, 0)?;
            }
            SCOPE_DROPPED => {
                reader.varint()?;
            }
            other => reader.skip(other, SCOPE_FIELDS)?,
        }
    }
    Ok(())
}
