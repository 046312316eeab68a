//! What a walk looks for, prepared once: columns by where their values come from, keys by length.

use std::sync::Arc;

use petrel_batch::{ColumnSet, names};
use xxhash_rust::xxh3::Xxh3;

use super::pattern::StreamPattern;

/// What to read from a request.
#[derive(Clone, Debug)]
pub struct WalkSettings {
    /// The columns to fill.
    pub column_set: Arc<ColumnSet>,
    /// Resource attributes that make up a stream's key, in order.
    pub stream_key: Vec<String>,
    /// Resource attributes that stand in for `service.name` where it is absent or empty, best first.
    pub stream_fallback: Vec<String>,
    /// Resource attributes to keep as text, for anomaly events.
    pub resource_attributes: Vec<String>,
    /// Whether records that come from a Petrel are analysed too (a second tier).
    pub accept_enriched: bool,
    /// Streams to analyse; empty for all. Records of others have no row and pass as they are.
    pub include: Vec<StreamPattern>,
    /// Streams not to analyse, even where included.
    pub exclude: Vec<StreamPattern>,
    /// Whether runs of rows carry the digest of their `ResourceLogs`, by which retries are known:
    /// about 30 us a MB. Off by default.
    pub digests: bool,
    /// What keys that Petrel writes begin with: a record that has such a key keeps its own value.
    pub reserved_prefixes: Vec<String>,
}

impl WalkSettings {
    /// The default settings for these columns.
    #[must_use]
    pub fn new(column_set: Arc<ColumnSet>) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Self {
            column_set,
            stream_key: texts(&[
                "service.namespace",
                "service.name",
                "deployment.environment.name",
            ]),
            stream_fallback: texts(&[
                "k8s.deployment.name",
                "k8s.statefulset.name",
                "k8s.daemonset.name",
                "container.name",
                "log.file.name",
                "host.name",
            ]),
            resource_attributes: texts(&[
                "service.name",
                "service.namespace",
                "service.instance.id",
                "deployment.environment.name",
                "k8s.cluster.name",
                "k8s.namespace.name",
                "host.name",
            ]),
            accept_enriched: false,
            include: Vec::new(),
            exclude: Vec::new(),
            digests: false,
            reserved_prefixes: texts(&["anomaly.", "petrel.", "log.record."]),
        }
    }
}

/// Settings of a walk in the form in which it uses them; made once, shared by all walks.
#[derive(Debug)]
pub struct WalkPlan {
    pub(super) settings: WalkSettings,
    /// Columns filled from the record's own fields.
    pub(super) record_columns: Vec<(usize, Source)>,
    /// Columns filled from the resource.
    pub(super) resource_columns: Vec<(usize, ResourceSource)>,
    /// Columns filled from the record's attributes.
    pub(super) keys: KeyTable,
    /// Keys of a resource that are kept as text: sorted, each once.
    pub(super) kept_keys: Vec<String>,
    pub(super) reserved: Prefixes,
    /// Tells plans apart in a cache that outlives them.
    pub(super) fingerprint: u64,
}

/// A field of a record that fills a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    EventTime,
    ObservedTime,
    SeverityNumber,
    Body,
    TraceId,
    SpanId,
    Trace,
}

/// A part of a resource that fills a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourceSource {
    ServiceName,
    Attribute(String),
}

impl WalkPlan {
    /// Prepares `settings`. A column that no part of OTLP fills is null throughout.
    #[must_use]
    pub fn new(settings: WalkSettings) -> Self {
        let mut record_columns = Vec::new();
        let mut resource_columns = Vec::new();
        let mut keys: Vec<WantedKey> = vec![WantedKey {
            key: names::PETREL_TEMPLATE_ID.into(),
            columns: Vec::new(),
        }];
        for (index, request) in settings.column_set.requests().iter().enumerate() {
            let name = request.name.as_str();
            if let Some(source) = record_source(name) {
                record_columns.push((index, source));
            } else if let Some(source) = resource_source(name) {
                resource_columns.push((index, source));
            } else if name == names::WEIGHT {
                want(&mut keys, names::LOG_COUNT, (index, Rule::Weight));
            } else if let Some(key) = name.strip_prefix(names::ATTRIBUTE_PREFIX) {
                want(&mut keys, key, (index, Rule::AsIs));
            }
        }
        let kept_keys = kept_keys(&settings, &resource_columns);
        Self {
            record_columns,
            keys: KeyTable::new(keys),
            reserved: Prefixes::new(&settings.reserved_prefixes),
            fingerprint: fingerprint(&settings, &kept_keys, &resource_columns),
            kept_keys,
            resource_columns,
            settings,
        }
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn settings(&self) -> &WalkSettings {
        &self.settings
    }
}

fn record_source(name: &str) -> Option<Source> {
    Some(match name {
        names::EVENT_TIME => Source::EventTime,
        names::OBSERVED_TIME => Source::ObservedTime,
        names::SEVERITY_NUMBER => Source::SeverityNumber,
        names::BODY => Source::Body,
        names::TRACE_ID => Source::TraceId,
        names::SPAN_ID => Source::SpanId,
        names::TRACE => Source::Trace,
        _ => return None,
    })
}

fn resource_source(name: &str) -> Option<ResourceSource> {
    if name == names::SERVICE_NAME {
        return Some(ResourceSource::ServiceName);
    }
    let key = name.strip_prefix(names::RESOURCE_PREFIX)?;
    Some(ResourceSource::Attribute(key.to_owned()))
}

fn want(keys: &mut Vec<WantedKey>, key: &str, column: (usize, Rule)) {
    match keys.iter_mut().find(|wanted| *wanted.key == *key) {
        Some(wanted) => wanted.columns.push(column),
        None => keys.push(WantedKey {
            key: key.into(),
            columns: vec![column],
        }),
    }
}

fn kept_keys(settings: &WalkSettings, columns: &[(usize, ResourceSource)]) -> Vec<String> {
    let mut keys = settings.resource_attributes.clone();
    keys.extend(columns.iter().filter_map(|(_, source)| match source {
        ResourceSource::Attribute(key) => Some(key.clone()),
        ResourceSource::ServiceName => None,
    }));
    keys.sort();
    keys.dedup();
    keys
}

fn fingerprint(
    settings: &WalkSettings,
    kept_keys: &[String],
    columns: &[(usize, ResourceSource)],
) -> u64 {
    let mut hasher = Xxh3::new();
    for keys in [&settings.stream_key, &settings.stream_fallback, kept_keys] {
        hasher.update(&keys.len().to_le_bytes());
        for key in keys {
            hasher.update(&key.len().to_le_bytes());
            hasher.update(key.as_bytes());
        }
    }
    for patterns in [&settings.include, &settings.exclude] {
        hasher.update(&patterns.len().to_le_bytes());
        for (key, value) in patterns.iter().flatten() {
            for text in [key, value] {
                hasher.update(&text.len().to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        for pattern in patterns {
            hasher.update(&pattern.len().to_le_bytes());
        }
    }
    for (index, source) in columns {
        hasher.update(&index.to_le_bytes());
        if let ResourceSource::Attribute(key) = source {
            hasher.update(key.as_bytes());
        }
    }
    hasher.digest()
}

/// How the value of an attribute goes into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    AsIs,
    /// Only integers from 1: how many records a row stands for.
    Weight,
}

#[derive(Debug)]
pub(super) struct WantedKey {
    key: Box<str>,
    pub(super) columns: Vec<(usize, Rule)>,
}

impl WantedKey {
    /// Whether a record that has it comes from a Petrel.
    pub(super) fn marks_enriched(&self) -> bool {
        *self.key == *names::PETREL_TEMPLATE_ID
    }
}

/// Keys of that many bytes or more share a bucket.
const LONG_KEY: usize = 64;

/// The keys that somebody asked for, found by length and then by their bytes.
#[derive(Debug)]
pub(super) struct KeyTable {
    /// Sorted by bucket.
    keys: Vec<WantedKey>,
    /// The keys of bucket `i` are `keys[starts[i]..starts[i + 1]]`.
    starts: [u16; LONG_KEY + 2],
}

impl KeyTable {
    fn new(mut keys: Vec<WantedKey>) -> Self {
        let bucket = |wanted: &WantedKey| wanted.key.len().min(LONG_KEY);
        keys.sort_by_key(bucket);
        let starts = std::array::from_fn(|index| {
            keys.partition_point(|wanted| bucket(wanted) < index) as u16
        });
        Self { keys, starts }
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<&WantedKey> {
        let bucket = key.len().min(LONG_KEY);
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        // Keys of one length seldom end alike (`http.route`, `code.lines`).
        let last = key.last();
        self.keys[range].iter().find(|wanted| {
            let wanted = wanted.key.as_bytes();
            wanted.last() == last && wanted == key
        })
    }
}

/// A few prefixes, most keys turned away by their first byte.
#[derive(Debug)]
pub(super) struct Prefixes {
    first: [bool; 256],
    all: Vec<Box<[u8]>>,
}

impl Prefixes {
    fn new(prefixes: &[String]) -> Self {
        let mut first = [false; 256];
        for prefix in prefixes {
            match prefix.as_bytes().first() {
                Some(&byte) => first[byte as usize] = true,
                None => first = [true; 256],
            }
        }
        let all = prefixes.iter().map(|prefix| prefix.as_bytes().into());
        Self {
            first,
            all: all.collect(),
        }
    }

    #[inline]
    pub(super) fn begin(&self, key: &[u8]) -> bool {
        key.first().is_some_and(|&byte| self.first[byte as usize])
            && self.all.iter().any(|prefix| key.starts_with(prefix))
    }
}
