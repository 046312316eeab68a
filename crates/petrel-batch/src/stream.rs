//! What identifies a stream, the unit that owns all learnt state.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// Number of a stream inside one worker: dense from 0, fixed while its detectors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct StreamId(pub u32);

/// Identity of a stream: the tenant and the values of the resource attributes that make up its key.
///
/// By default these are `service.namespace`, `service.name` and `deployment.environment.name`; an
/// absent attribute is empty text. Equal keys are the same stream on every host and after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// Empty unless tenants are kept apart.
    pub tenant: String,
    /// One value for each key attribute, in the configured order.
    pub values: Vec<String>,
}

impl StreamKey {
    /// A hash that never changes: the same key gives the same number on every host.
    ///
    /// Worker and key group are chosen by it, and `petrel.stream.id` is its hex form.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        let mut hasher = Xxh3::with_seed(0);
        hasher.update(self.tenant.as_bytes());
        for value in &self.values {
            hasher.update(&[0xff]);
            hasher.update(value.as_bytes());
        }
        hasher.digest()
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = std::iter::once(&self.tenant)
            .chain(&self.values)
            .filter(|part| !part.is_empty())
            .peekable();
        if parts.peek().is_none() {
            return f.write_str("(no resource)");
        }
        while let Some(part) = parts.next() {
            f.write_str(part)?;
            if parts.peek().is_some() {
                f.write_str("/")?;
            }
        }
        Ok(())
    }
}

/// What Petrel keeps of an OTLP resource: which stream it belongs to, and the few attributes that an
/// anomaly event repeats or a detector asked for. Shared by all requests that carry the same resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// The stream that its records belong to.
    pub stream: StreamKey,
    /// `service.name`, or what stands in for it; empty when there is nothing.
    pub service_name: String,
    /// The attributes that were asked for and are present, as text, sorted by key.
    pub attributes: Vec<(String, String)>,
}

impl Resource {
    /// Value of an attribute, if it was asked for and is present.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes
            .binary_search_by(|(name, _)| name.as_str().cmp(key))
            .ok()
            .map(|index| self.attributes[index].1.as_str())
    }
}
