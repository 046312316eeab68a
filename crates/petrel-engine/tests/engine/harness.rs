//! Requests from plain records, and the whole engine as a binary drives it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray, UInt32Array, UInt64Array,
};
use petrel_batch::{
    Attribute, AttributeValue, ColumnSet, DataType, EventRecord, EventTime, LogBatch, Resource,
    ResourceRun, RowEdits, StreamKey, names,
};
use petrel_engine::*;

use crate::detectors::Native;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// 2019-03-01, a full hour.
pub(crate) const START: u64 = 1_551_434_400 * SECOND;

/// A log record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) service: &'static str,
    pub(crate) time: u64,
    pub(crate) body: String,
    /// Attributes that bring a template along.
    pub(crate) template: Option<String>,
}

/// A record `seconds` after the start.
pub(crate) fn record(service: &'static str, seconds: f64, body: &str) -> Record {
    Record {
        service,
        time: START + (seconds * 1e9) as u64,
        body: body.to_owned(),
        template: None,
    }
}

/// Records every `period` seconds in a span of seconds.
pub(crate) fn steady(
    service: &'static str,
    from: f64,
    to: f64,
    period: f64,
    body: &str,
) -> Vec<Record> {
    let n = ((to - from) / period) as usize;
    (0..n)
        .map(|i| record(service, from + i as f64 * period, body))
        .collect()
}

/// Records of several sources in the order of their times.
pub(crate) fn merged(sources: Vec<Vec<Record>>) -> Vec<Record> {
    let mut records: Vec<_> = sources.into_iter().flatten().collect();
    records.sort_by_key(|record| record.time);
    records
}

/// Clock, workers and global stage.
pub(crate) struct Engine {
    pub(crate) clock: FrontierClock,
    pub(crate) workers: Vec<Worker>,
    pub(crate) global: GlobalStage,
    pub(crate) resources: HashMap<(&'static str, &'static str), Arc<Resource>>,
    pub(crate) sequence: u64,
    /// Bound of the frontier for the next requests.
    pub(crate) latest: EventTime,
    pub(crate) events: Vec<EventRecord>,
    pub(crate) tally: Tally,
    pub(crate) changes: Vec<HealthChange>,
    /// Whether runs carry a digest, which here is one of their records.
    pub(crate) digests: bool,
    pub(crate) tenant: &'static str,
    /// `host.name` of all resources.
    pub(crate) secret_host: Option<&'static str>,
    /// Attributes added to each record, in input order.
    pub(crate) added: Vec<Vec<Attribute>>,
}

impl Engine {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self::with(
            n_workers,
            Settings::default(),
            &["frequency", "novelty", "silence"],
        )
    }

    pub(crate) fn with(n_workers: usize, settings: Settings, detectors: &[&'static str]) -> Self {
        let settings = Arc::new(settings);
        let workers = (0..n_workers).map(|_| {
            let mut worker = Worker::new(Arc::clone(&settings));
            for detector in detectors {
                worker
                    .add(Native::spec(detector))
                    .expect("a test detector is fine");
            }
            worker
        });
        Self {
            clock: FrontierClock::new(&settings),
            workers: workers.collect(),
            global: GlobalStage::new(Arc::clone(&settings)),
            resources: HashMap::new(),
            sequence: 0,
            latest: EventTime(u64::MAX),
            events: Vec::new(),
            tally: Tally::default(),
            changes: Vec::new(),
            digests: false,
            tenant: "",
            secret_host: None,
            added: Vec::new(),
        }
    }

    /// Feeds records in requests of `size`.
    pub(crate) fn feed(&mut self, records: &[Record], size: usize) -> &mut Self {
        for request in records.chunks(size) {
            self.request(request);
        }
        self
    }

    pub(crate) fn request(&mut self, records: &[Record]) {
        self.sequence += 1;
        let batches: Vec<_> = (0..self.workers.len())
            .map(|worker| self.batch(records, worker))
            .collect();
        let parts: Vec<_> = batches.iter().flatten().collect();
        let frontier = self.clock.admit(&parts, self.latest);
        let mut judgements = Vec::new();
        let mut judged = Vec::new();
        for (worker, batch) in self.workers.iter_mut().zip(&batches) {
            if batch.is_some() || frontier.moved() {
                judgements.push(worker.judge(self.sequence, batch.as_ref(), &frontier));
                judged.push(batch);
            }
        }
        let settled = self.global.settle(self.sequence, judgements);
        let mut added = vec![Vec::new(); records.len()];
        for (edits, batch) in settled.edits.iter().zip(judged) {
            let places = batch.as_ref().map_or(&[][..], LogBatch::places);
            apply(edits, places, &mut added);
        }
        self.added.append(&mut added);
        self.events.extend(settled.events);
        self.tally.add(&settled.tally);
        self.changes.extend(settled.changes);
    }

    fn resource(&mut self, service: &'static str) -> Arc<Resource> {
        let tenant = self.tenant;
        let host = self
            .secret_host
            .map(|host| ("host.name".to_owned(), host.to_owned()));
        let resource = self.resources.entry((tenant, service)).or_insert_with(|| {
            Arc::new(Resource {
                stream: StreamKey {
                    tenant: tenant.to_owned(),
                    values: vec![String::new(), service.to_owned(), String::new()],
                },
                service_name: service.to_owned(),
                attributes: host
                    .into_iter()
                    .chain([("service.name".to_owned(), service.to_owned())])
                    .collect(),
            })
        });
        Arc::clone(resource)
    }

    /// The rows of a request that belong to a worker.
    fn batch(&mut self, records: &[Record], worker: usize) -> Option<LogBatch> {
        let n_workers = self.workers.len() as u64;
        let mut rows = Vec::new();
        let mut runs: Vec<ResourceRun> = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let resource = self.resource(record.service);
            if resource.stream.stable_hash() % n_workers != worker as u64 {
                continue;
            }
            let row = rows.len();
            rows.push((place as u32, record));
            match runs.last_mut() {
                Some(run) if Arc::ptr_eq(&run.resource, &resource) => run.rows.end = row + 1,
                _ => runs.push(ResourceRun {
                    resource,
                    rows: row..row + 1,
                    digest: None,
                }),
            }
        }
        if rows.is_empty() {
            return None;
        }
        for run in runs.iter_mut().filter(|_| self.digests) {
            run.digest = Some(digest(&rows[run.rows.clone()]));
        }
        let set = Arc::new(ColumnSet::new(self.workers[worker].column_requests()));
        let columns = set
            .requests()
            .iter()
            .map(|request| column(request, &rows))
            .collect();
        let places = rows.iter().map(|(place, _)| *place).collect();
        Some(LogBatch::try_new(set, columns, runs, places).expect("columns fit"))
    }

    /// Names, times and bodies of all events, one a line.
    pub(crate) fn story(&self) -> String {
        let lines = self.events.iter().map(|event| {
            let minutes = (event.time.0 as f64 - START as f64) / MINUTE as f64;
            let name = event.event_name.trim_start_matches("anomaly.");
            format!("{minutes:.1} {name} {}", event.body)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// All events with all their attributes, in an order that does not depend on requests.
    pub(crate) fn all_events(&self) -> Vec<String> {
        let mut events: Vec<_> = self
            .events
            .iter()
            .map(|event| format!("{event:?}"))
            .collect();
        events.sort();
        events
    }
}

/// Value of an attribute of an event as text.
pub(crate) fn value(event: &EventRecord, key: &str) -> String {
    let attribute = event
        .attributes
        .iter()
        .find(|attribute| attribute.key == key);
    match attribute.map(|attribute| &attribute.value) {
        None => "-".to_owned(),
        Some(AttributeValue::Text(text)) => text.to_string(),
        Some(AttributeValue::Double(value)) => format!("{value:.3}"),
        Some(other) => format!("{other:?}"),
    }
}

/// A digest of what records say, wherever they stand.
fn digest(rows: &[(u32, &Record)]) -> u128 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for (_, record) in rows {
        (record.service, record.time, &record.body, &record.template).hash(&mut hasher);
    }
    hasher.finish().into()
}

fn apply(edits: &RowEdits, places: &[u32], added: &mut [Vec<Attribute>]) {
    for (row, &place) in places.iter().enumerate() {
        let to = &mut added[place as usize];
        if let Some(&set) = edits.base.get(row)
            && set != RowEdits::NO_SET
        {
            to.extend(edits.sets[set as usize].iter().cloned());
        }
        for &(_, set) in edits
            .extra
            .iter()
            .filter(|&&(other, _)| other as usize == row)
        {
            to.extend(edits.sets[set as usize].iter().cloned());
        }
    }
}

fn column(request: &petrel_batch::ColumnRequest, rows: &[(u32, &Record)]) -> ArrayRef {
    let n = rows.len();
    let template = format!("{}{}", names::ATTRIBUTE_PREFIX, names::LOG_RECORD_TEMPLATE);
    match (request.name.as_str(), request.data_type) {
        (names::EVENT_TIME, _) => Arc::new(UInt64Array::from_iter_values(
            rows.iter().map(|row| row.1.time),
        )),
        (names::BODY, DataType::Utf8) => Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|row| &row.1.body),
        )),
        (name, DataType::Utf8) if name == template => Arc::new(StringViewArray::from_iter(
            rows.iter().map(|row| row.1.template.clone()),
        )),
        (_, DataType::Boolean) => Arc::new(BooleanArray::new_null(n)),
        (_, DataType::Uint32) => Arc::new(UInt32Array::new_null(n)),
        (_, DataType::Uint64) => Arc::new(UInt64Array::new_null(n)),
        (_, DataType::Int64) => Arc::new(Int64Array::new_null(n)),
        (_, DataType::Float64) => Arc::new(Float64Array::new_null(n)),
        _ => Arc::new(StringViewArray::new_null(n)),
    }
}
