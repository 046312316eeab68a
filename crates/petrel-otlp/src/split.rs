//! Requests cut at record boundaries, since a stock Collector refuses more than 4 MiB.
//!
//! Nothing is decoded: each part repeats the resource and the scope of its records byte for byte.

use bytes::Bytes;

use crate::wire::{LENGTH, Malformed, Reader, Span, field_len, put_head, tag};

/// Bytes of a part by default: leaves room below a Collector's 4 MiB.
pub const PART_BYTES_MAX_DEFAULT: usize = 3_670_016;

/// `ExportLogsServiceRequest.resource_logs`.
const RESOURCE_LOGS: u32 = tag(1, LENGTH);
/// `ResourceLogs.scope_logs`.
const SCOPE_LOGS: u32 = tag(2, LENGTH);
/// `ScopeLogs.log_records`.
const LOG_RECORDS: u32 = tag(2, LENGTH);

/// A tag of one byte and a length of at most five.
const HEAD_MAX: usize = 6;

/// Cuts a request into parts of at most `bytes_max` bytes, in the order of its records.
///
/// Decoded and put together the parts are the request. A record that alone, with its resource and
/// scope, is larger goes alone. A request that is small enough is the only part, unlooked at.
///
/// What parts repeat, a resource and a scope, is at most half of `bytes_max`, so that all parts
/// together are at most a few times the request. A `ResourceLogs` whose resource takes more is not
/// cut, nor is a `ScopeLogs` whose scope and resource together do. What is not cut goes as it is,
/// in a part of its own if it is too large; whether to take that is for the next hop to say. Unknown
/// fields of the request itself are repeated too, and count with each resource.
///
/// # Errors
/// [`Malformed`] when the framing around records is broken; after a walk it is not.
pub fn split(request: &Bytes, bytes_max: usize) -> Result<Vec<Bytes>, Malformed> {
    if request.len() <= bytes_max {
        return Ok(vec![request.clone()]);
    }
    let (common, _) = fields(request, whole(request), RESOURCE_LOGS)?;
    let common_len = common.len();
    if common_len > bytes_max / 2 {
        return Ok(vec![request.clone()]);
    }
    let mut parts = Parts {
        request,
        bytes_max,
        common,
        common_len,
        resources: Vec::new(),
        size: common_len,
        done: Vec::new(),
    };
    each_message(
        request,
        whole(request),
        RESOURCE_LOGS,
        |_, resource_logs| parts.resource_logs(resource_logs),
    )?;
    parts.end_part();
    Ok(parts.done)
}

/// Cuts a request in two, or a few more where single records, resources or scopes are large; `None`
/// when it stays whole: it is one record or none, or nearly all of it shares a resource and scope
/// that [`split`] would not repeat, here those of more than five sixteenths of the request.
///
/// # Errors
/// As [`split`].
pub fn halve(request: &Bytes) -> Result<Option<Vec<Bytes>>, Malformed> {
    // Room over a half for resource and scope, which both parts have.
    let parts = split(request, request.len() / 8 * 5)?;
    Ok((parts.len() > 1).then_some(parts))
}

/// Number of log records of a request.
///
/// # Errors
/// As [`split`].
pub fn count_records(request: &[u8]) -> Result<u64, Malformed> {
    let mut n_records = 0;
    each_message(
        request,
        whole(request),
        RESOURCE_LOGS,
        |_, resource_logs| {
            each_message(request, resource_logs, SCOPE_LOGS, |_, scope_logs| {
                each_message(request, scope_logs, LOG_RECORDS, |_, _| {
                    n_records += 1;
                    Ok(())
                })
            })
        },
    )?;
    Ok(n_records)
}

fn whole(request: &[u8]) -> Span {
    Span::new(0, request.len())
}

/// Calls `each` with every field `wanted` of a message: with its tag, and its content alone.
fn each_message(
    request: &[u8],
    message: Span,
    wanted: u32,
    mut each: impl FnMut(Span, Span) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader::of(request, message);
    let mut start = reader.at();
    while let Some(tag) = reader.tag()? {
        if tag == wanted {
            let content = reader.span()?;
            each(Span::new(start, reader.at()), content)?;
        } else {
            reader.skip_value(tag, 0)?;
        }
        start = reader.at();
    }
    Ok(())
}

/// All fields of a message but those with the tag `besides`, and whether there is any of those.
fn fields(request: &[u8], message: Span, besides: u32) -> Result<(Pieces, bool), Malformed> {
    let (mut pieces, mut has_besides) = (Pieces::default(), false);
    let mut reader = Reader::of(request, message);
    let mut start = reader.at();
    while let Some(tag) = reader.tag()? {
        reader.skip_value(tag, 0)?;
        if tag == besides {
            has_besides = true;
        } else {
            pieces.push(Span::new(start, reader.at()));
        }
        start = reader.at();
    }
    Ok((pieces, has_besides))
}

/// Parts of the request that are copied one after the other; neighbours become one.
#[derive(Clone, Default)]
struct Pieces(Vec<Span>);

impl Pieces {
    fn push(&mut self, span: Span) {
        match self.0.last_mut() {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => self.0.push(span),
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(|span| span.range().len()).sum()
    }

    fn put(&self, request: &[u8], out: &mut Vec<u8>) {
        for span in &self.0 {
            out.extend_from_slice(&request[span.range()]);
        }
    }
}

struct Parts<'a> {
    request: &'a [u8],
    bytes_max: usize,
    /// Fields of the request itself, unknown ones: every part has them.
    common: Pieces,
    common_len: usize,
    /// What the part in the making has.
    resources: Vec<PartResource>,
    /// What it will take at most.
    size: usize,
    done: Vec<Bytes>,
}

struct PartResource {
    frame: Pieces,
    scopes: Vec<PartScope>,
}

struct PartScope {
    frame: Pieces,
    records: Pieces,
}

impl Parts<'_> {
    fn resource_logs(&mut self, resource_logs: Span) -> Result<(), Malformed> {
        let request = self.request;
        let (frame, has_scopes) = fields(request, resource_logs, SCOPE_LOGS)?;
        let mut open = Open {
            resource_len: frame.len() + HEAD_MAX,
            resource: frame,
            in_part: None,
        };
        if !has_scopes || !self.may_repeat(open.resource_len) {
            self.whole_resource_logs(resource_logs);
            return Ok(());
        }
        each_message(request, resource_logs, SCOPE_LOGS, |_, scope_logs| {
            self.scope_logs(scope_logs, &mut open)
        })
    }

    fn scope_logs(&mut self, scope_logs: Span, open: &mut Open) -> Result<(), Malformed> {
        let (scope, has_records) = fields(self.request, scope_logs, LOG_RECORDS)?;
        let scope_len = scope.len() + HEAD_MAX;
        if !has_records || !self.may_repeat(open.resource_len + scope_len) {
            self.whole_scope_logs(scope_logs, open);
            return Ok(());
        }
        let mut in_part = None;
        each_message(self.request, scope_logs, LOG_RECORDS, |record, _| {
            let length = record.range().len();
            if in_part != Some(self.done.len()) {
                self.make_room_in(open, scope_len + length);
                self.open_scope(scope.clone(), scope_len, open);
            } else if self.size + length > self.bytes_max {
                self.end_part();
                self.open_scope(scope.clone(), scope_len, open);
            }
            in_part = Some(self.done.len());
            self.size += length;
            let resource = self.resources.last_mut();
            if let Some(scope) = resource.and_then(|resource| resource.scopes.last_mut()) {
                scope.records.push(record);
            }
            Ok(())
        })
    }

    /// Whether `length` bytes around records, beside the request's own, may stand in several parts.
    fn may_repeat(&self, length: usize) -> bool {
        self.common_len + length <= self.bytes_max / 2
    }

    /// Takes a `ResourceLogs` uncut.
    fn whole_resource_logs(&mut self, resource_logs: Span) {
        let length = resource_logs.range().len() + HEAD_MAX;
        self.make_room(length);
        self.size += length;
        self.resources.push(PartResource {
            frame: Pieces(vec![resource_logs]),
            scopes: Vec::new(),
        });
    }

    /// Takes a `ScopeLogs` uncut.
    fn whole_scope_logs(&mut self, scope_logs: Span, open: &mut Open) {
        let length = scope_logs.range().len() + HEAD_MAX;
        self.make_room_in(open, length);
        self.open_scope(Pieces(vec![scope_logs]), length, open);
    }

    /// Ends the part when it has something already and `length` more would be too much.
    fn make_room(&mut self, length: usize) {
        if !self.resources.is_empty() && self.size + length > self.bytes_max {
            self.end_part();
        }
    }

    /// Makes room for `length` bytes of a resource, and for the resource where the part has it not yet.
    fn make_room_in(&mut self, open: &Open, length: usize) {
        let is_in_part = open.in_part == Some(self.done.len());
        self.make_room(length + if is_in_part { 0 } else { open.resource_len });
    }

    fn open_resource(&mut self, open: &mut Open) {
        if open.in_part != Some(self.done.len()) {
            open.in_part = Some(self.done.len());
            self.size += open.resource_len;
            self.resources.push(PartResource {
                frame: open.resource.clone(),
                scopes: Vec::new(),
            });
        }
    }

    fn open_scope(&mut self, frame: Pieces, length: usize, open: &mut Open) {
        self.open_resource(open);
        self.size += length;
        if let Some(resource) = self.resources.last_mut() {
            resource.scopes.push(PartScope {
                frame,
                records: Pieces::default(),
            });
        }
    }

    fn end_part(&mut self) {
        let resources = std::mem::take(&mut self.resources);
        let mut out = Vec::with_capacity(self.size);
        self.common.put(self.request, &mut out);
        for resource in &resources {
            put_head(&mut out, RESOURCE_LOGS, resource.len());
            resource.frame.put(self.request, &mut out);
            for scope in &resource.scopes {
                put_head(&mut out, SCOPE_LOGS, scope.len());
                scope.frame.put(self.request, &mut out);
                scope.records.put(self.request, &mut out);
            }
        }
        self.done.push(out.into());
        self.size = self.common_len;
    }
}

/// The resource whose scopes are being dealt out.
struct Open {
    resource: Pieces,
    resource_len: usize,
    /// The part that has it already.
    in_part: Option<usize>,
}

impl PartScope {
    fn len(&self) -> usize {
        self.frame.len() + self.records.len()
    }
}

impl PartResource {
    fn len(&self) -> usize {
        let scopes = self.scopes.iter().map(|scope| field_len(scope.len()));
        self.frame.len() + scopes.sum::<usize>()
    }
}
