//! Resources: read once, then known by their bytes.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use petrel_batch::{Resource, StreamKey};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::json_text::put_json;
use super::pattern::{is_excluded, pattern_keys};
use super::plan::{ResourceSource, WalkPlan};
use super::value::{Pieces, Scalar, Value, check_key_value};
use crate::wire::{LENGTH, Malformed, Reader, Span, VARINT, tag};

const ATTRIBUTES: u32 = tag(1, LENGTH);
const DROPPED: u32 = tag(2, VARINT);
const ENTITY_REFS: u32 = tag(3, LENGTH);
const RESOURCE_FIELDS: u32 = 0b1110;
const SERVICE_NAME: &str = "service.name";

/// Bytes of an attribute's text that are kept; longer ones are cut.
pub const RESOURCE_TEXT_MAX: usize = 1024;
/// Resources that a cache holds by default, about 1 KB each.
pub const RESOURCES_CACHED_DEFAULT: usize = 4096;

/// A resource and the cells that it gives to each of its rows.
#[derive(Debug)]
pub(super) struct KnownResource {
    pub(super) resource: Arc<Resource>,
    /// One for each resource column of the plan.
    pub(super) cells: Vec<Option<OwnedCell>>,
    pub(super) invalid_utf8: u64,
    /// Its stream is not to be analysed.
    pub(super) excluded: bool,
}

/// A cell of a column that comes from the resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OwnedCell {
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// The resources seen last, by tenant and bytes; shared by all walks, also of different plans.
///
/// Full, it forgets the one not seen for longest.
#[derive(Debug)]
pub struct ResourceCache {
    known: Mutex<LruCache<u128, Arc<KnownResource>>>,
}

impl Default for ResourceCache {
    fn default() -> Self {
        Self::new(NonZeroUsize::MIN.saturating_add(RESOURCES_CACHED_DEFAULT - 1))
    }
}

impl ResourceCache {
    /// An empty cache of `n_resources` resources at most.
    #[must_use]
    pub fn new(n_resources: NonZeroUsize) -> Self {
        Self {
            known: Mutex::new(LruCache::new(n_resources)),
        }
    }

    /// The resource that stands in `pieces`, read unless it is known.
    ///
    /// Resources are told apart by a 128-bit hash: a sender who makes two of them collide mixes up
    /// streams that it could have named as it liked anyway.
    pub(super) fn get(
        &self,
        bytes: &[u8],
        pieces: &Pieces,
        plan: &WalkPlan,
        tenant: &str,
    ) -> Result<Arc<KnownResource>, Malformed> {
        let seed = xxh3_64_with_seed(tenant.as_bytes(), plan.fingerprint);
        let key = xxh3_128_with_seed(&pieces.joined(bytes), seed);
        if let Some(known) = self.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(read_resource(bytes, pieces, plan, tenant)?);
        self.lock().put(key, Arc::clone(&known));
        Ok(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<u128, Arc<KnownResource>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_resource(
    bytes: &[u8],
    pieces: &Pieces,
    plan: &WalkPlan,
    tenant: &str,
) -> Result<KnownResource, Malformed> {
    let mut attributes = Attributes {
        bytes,
        found: Vec::new(),
        invalid_utf8: 0,
    };
    for piece in pieces.iter() {
        attributes.read(piece, plan)?;
    }
    let settings = &plan.settings;
    let service_name = std::iter::once(SERVICE_NAME)
        .chain(settings.stream_fallback.iter().map(String::as_str))
        .find_map(|key| attributes.text(key).filter(|text| !text.is_empty()))
        .unwrap_or_default();
    let values = settings.stream_key.iter().map(|key| match key.as_str() {
        SERVICE_NAME => service_name.clone(),
        key => attributes.text(key).unwrap_or_default(),
    });
    let resource = Resource {
        stream: StreamKey {
            tenant: tenant.to_owned(),
            values: values.collect(),
        },
        attributes: plan
            .kept_keys
            .iter()
            .filter_map(|key| Some((key.clone(), attributes.text(key)?)))
            .collect(),
        service_name,
    };
    let cells = plan
        .resource_columns
        .iter()
        .map(|(_, source)| match source {
            ResourceSource::ServiceName => {
                let name = &resource.service_name;
                (!name.is_empty()).then(|| OwnedCell::Text(name.clone()))
            }
            ResourceSource::Attribute(key) => attributes.cell(key),
        });
    let excluded = is_excluded(settings, |key| match key {
        SERVICE_NAME => resource.service_name.clone(),
        key => attributes.text(key).unwrap_or_default(),
    });
    Ok(KnownResource {
        excluded,
        cells: cells.collect(),
        resource: Arc::new(resource),
        invalid_utf8: attributes.invalid_utf8,
    })
}

/// The attributes of a resource that somebody asked for, the first of each key.
struct Attributes<'a> {
    bytes: &'a [u8],
    found: Vec<(&'a [u8], Value)>,
    invalid_utf8: u64,
}

impl<'a> Attributes<'a> {
    fn read(&mut self, resource: Span, plan: &WalkPlan) -> Result<(), Malformed> {
        let mut reader = Reader::of(self.bytes, resource);
        while let Some(tag) = reader.tag()? {
            match tag {
                ATTRIBUTES => {
                    let entry = check_key_value(self.bytes, reader.span()?, 0)?;
                    let key = &self.bytes[entry.key.range()];
                    if is_wanted(key, plan) && !self.found.iter().any(|(found, _)| *found == key) {
                        self.keep(key, entry.value(self.bytes)?);
                    }
                }
                DROPPED => {
                    reader.varint()?;
                }
                ENTITY_REFS => check_entity_ref(self.bytes, reader.span()?)?,
                other => reader.skip(other, RESOURCE_FIELDS)?,
            }
        }
        Ok(())
    }

    fn keep(&mut self, key: &'a [u8], value: Value) {
        if let Value::Scalar(Scalar::Text(span)) = value
            && std::str::from_utf8(&self.bytes[span.range()]).is_err()
        {
            self.invalid_utf8 += 1;
            return;
        }
        self.found.push((key, value));
    }

    fn value(&self, key: &str) -> Option<&Value> {
        let mut found = self.found.iter();
        found
            .find(|(found, _)| *found == key.as_bytes())
            .map(|(_, value)| value)
    }

    fn cell(&self, key: &str) -> Option<OwnedCell> {
        Some(match self.value(key)? {
            Value::Scalar(Scalar::Bool(value)) => OwnedCell::Bool(*value),
            Value::Scalar(Scalar::Int(value)) => OwnedCell::Int(*value),
            Value::Scalar(Scalar::Double(value)) => OwnedCell::Double(*value),
            Value::Scalar(Scalar::Text(_)) => OwnedCell::Text(self.text(key)?),
            Value::Empty | Value::List(_) | Value::Map(_) | Value::Bytes => return None,
        })
    }

    /// A value as text, cut at [`RESOURCE_TEXT_MAX`]; `None` for bytes and empty values.
    fn text(&self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = match value {
            Value::Scalar(Scalar::Text(span)) => Cow::Borrowed(&self.bytes[span.range()]),
            Value::Empty | Value::Bytes => return None,
            _ => {
                let mut text = Vec::new();
                put_json(self.bytes, value, RESOURCE_TEXT_MAX, &mut text).then_some(())?;
                Cow::Owned(text)
            }
        };
        let text = std::str::from_utf8(&text).ok()?;
        Some(text[..text.floor_char_boundary(RESOURCE_TEXT_MAX)].to_owned())
    }
}

fn is_wanted(key: &[u8], plan: &WalkPlan) -> bool {
    let settings = &plan.settings;
    key == SERVICE_NAME.as_bytes()
        || [
            &settings.stream_key,
            &settings.stream_fallback,
            &plan.kept_keys,
        ]
        .into_iter()
        .flatten()
        .chain(pattern_keys(settings))
        .any(|wanted| wanted.as_bytes() == key)
}

/// An `EntityRef` is four fields of text.
fn check_entity_ref(bytes: &[u8], span: Span) -> Result<(), Malformed> {
    let mut reader = Reader::of(bytes, span);
    while let Some(found) = reader.tag()? {
        match found {
            _ if found & 7 == LENGTH => {
                reader.span()?;
            }
            other => reader.skip(other, 0b1_1110)?,
        }
    }
    Ok(())
}
