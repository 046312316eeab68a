//! Tenants: senders that a configured set of headers tells apart. A tenant's streams, requests and
//! anomaly events never mix with another's.

use petrel_otlp::receive::Received;

use crate::delivery::Metadata;

/// Between the values of a tenant's headers; no header value may have it.
const SEPARATOR: char = '\u{1f}';

/// Which headers make a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenancy {
    keys: Vec<String>,
}

impl Tenancy {
    /// Tenants by these headers, in lower case; none = everybody is one.
    #[must_use]
    pub fn new(keys: &[String]) -> Self {
        Self {
            keys: keys.iter().map(|key| key.to_ascii_lowercase()).collect(),
        }
    }

    /// The tenant of a request; empty when it brings none of the headers.
    #[must_use]
    pub fn tenant(&self, received: &Received) -> String {
        let value = |key: &String| {
            let metadata = received.metadata.iter();
            let mut values = metadata.filter(|(name, _)| name == key);
            values.next().map_or("", |(_, value)| value.as_str())
        };
        let values: Vec<_> = self.keys.iter().map(value).collect();
        if values.iter().all(|value| value.is_empty()) {
            return String::new();
        }
        values.join(&SEPARATOR.to_string())
    }

    /// The headers of a tenant, which its anomaly events go out with.
    #[must_use]
    pub fn headers(&self, tenant: &str) -> Metadata {
        let values = tenant.split(SEPARATOR);
        let pairs = self.keys.iter().zip(values);
        pairs
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.clone(), value.to_owned()))
            .collect()
    }
}
