//! Where Petrel's output ends in the demo: counts every record, checks that its bytes are those that
//! were sent, and picks out the anomaly events.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use xxhash_rust::xxh3::xxh3_64;

use super::anomaly::{self, AnomalyEvent};
use super::encode::field;

/// What the name of a scope begins with whose records are Petrel's own.
const OWN_SCOPE_PREFIX: &[u8] = b"petrel/";
/// What the key of an attribute begins with that Petrel adds to a record.
const OWN_ATTRIBUTE_PREFIXES: [&[u8]; 3] = [b"log.record.template", b"petrel.", b"anomaly."];

/// Records and their fingerprint, see [`super::generator::Request`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) n_records: u64,
    pub(super) fingerprint: u64,
}

impl Tally {
    /// Adds another tally.
    pub(super) fn add(&mut self, other: Self) {
        self.n_records += other.n_records;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }
}

/// Tallies requests and passes anomaly events on, in order of arrival.
pub(super) struct Sink {
    tally: Mutex<Tally>,
    on_event: Box<dyn Fn(AnomalyEvent) + Send + Sync>,
}

impl Sink {
    /// A sink that hands anomaly events to `on_event`.
    pub(super) fn new(on_event: impl Fn(AnomalyEvent) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            tally: Mutex::default(),
            on_event: Box::new(on_event),
        })
    }

    /// All that arrived so far, Petrel's own records not counted.
    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request.
    ///
    /// # Errors
    /// Text when it is no OTLP request.
    pub(super) fn receive(&self, request: &Bytes) -> Result<(), String> {
        let (tally, has_own) = examine(request).ok_or("not an OTLP logs request")?;
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(tally);
        if has_own {
            let request = ExportLogsServiceRequest::decode(request.as_ref())
                .map_err(|error| error.to_string())?;
            anomaly::events_of(&request).for_each(|event| (self.on_event)(event));
        }
        Ok(())
    }
}

/// The tally of a request and whether it holds records of Petrel's own; none when it is malformed.
fn examine(request: &[u8]) -> Option<(Tally, bool)> {
    let (mut tally, mut has_own) = (Tally::default(), false);
    let resource_logs = Fields(request).only(field::REQUEST_RESOURCE_LOGS);
    for resource_logs in resource_logs {
        for scope_logs in Fields(resource_logs?).only(field::RESOURCE_LOGS_SCOPE_LOGS) {
            let scope_logs = scope_logs?;
            if is_own_scope(scope_logs)? {
                has_own = true;
                continue;
            }
            for record in Fields(scope_logs).only(field::SCOPE_LOGS_LOG_RECORDS) {
                tally.n_records += 1;
                let original = without_own_attributes(record?)?;
                tally.fingerprint = tally.fingerprint.wrapping_add(xxh3_64(original));
            }
        }
    }
    Some((tally, has_own))
}

fn is_own_scope(scope_logs: &[u8]) -> Option<bool> {
    let Some(scope) = Fields(scope_logs).only(field::SCOPE_LOGS_SCOPE).next() else {
        return Some(false);
    };
    let name = Fields(scope?).only(field::SCOPE_NAME).next();
    name.map_or(Some(false), |name| {
        Some(name?.starts_with(OWN_SCOPE_PREFIX))
    })
}

/// A record up to the first of the attributes that Petrel has appended.
fn without_own_attributes(record: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(record);
    let mut n_original = 0;
    while let Some(field) = fields.next() {
        let (number, content) = field?;
        if number != field::RECORD_ATTRIBUTES || !is_own_attribute(content)? {
            n_original = record.len() - fields.0.len();
        }
    }
    Some(&record[..n_original])
}

fn is_own_attribute(attribute: &[u8]) -> Option<bool> {
    let key = Fields(attribute).only(field::KEY_VALUE_KEY).next();
    key.map_or(Some(false), |key| {
        let key = key?;
        Some(
            OWN_ATTRIBUTE_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix)),
        )
    })
}

/// The fields of a message: number and, where it has a length, content; `None` once, when malformed.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The contents of the fields of one number.
    fn only(self, wanted: u32) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.filter_map(move |field| match field {
            Some((number, content)) => (number == wanted).then_some(Some(content)),
            None => Some(None),
        })
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn read(&mut self) -> Option<(u32, &'a [u8])> {
        let (number, wire_type) = decode_key(&mut self.0).ok()?;
        let content = match wire_type {
            WireType::Varint => decode_varint(&mut self.0).ok().map(|_| &[][..])?,
            WireType::SixtyFourBit => self.split(8)?,
            WireType::ThirtyTwoBit => self.split(4)?,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).ok()?;
                self.split(usize::try_from(length).ok()?)?
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        Some((number, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use petrel_batch::EventTime;

    use super::super::encode::{self, Value};
    use super::super::generator::Generator;
    use super::super::story::Story;
    use super::*;

    fn request() -> super::super::generator::Request {
        let story = Story::new(5, EventTime::from_seconds(1_767_571_200));
        let until = story.end;
        Generator::new(5, story)
            .next_request(until, Duration::from_secs(30))
            .unwrap()
    }

    #[test]
    fn what_was_generated_is_what_is_counted() {
        let request = request();
        let sent = Tally {
            n_records: request.n_records,
            fingerprint: request.fingerprint,
        };
        assert_eq!(examine(&request.body), Some((sent, false)));
        let decoded = ExportLogsServiceRequest::decode(request.body.as_ref()).unwrap();
        let n_decoded: usize = decoded
            .resource_logs
            .iter()
            .flat_map(|resource_logs| &resource_logs.scope_logs)
            .map(|scope_logs| scope_logs.log_records.len())
            .sum();
        assert_eq!(n_decoded as u64, request.n_records);
        assert_eq!(
            decoded.encode_to_vec(),
            request.body,
            "the generator writes what prost would"
        );
    }

    #[test]
    fn a_cut_request_is_refused() {
        let request = request().body;
        assert!(examine(&request[..request.len() - 3]).is_none());
    }

    #[test]
    fn attributes_of_petrel_are_left_out() {
        let mut record = Vec::new();
        encode::fixed64(&mut record, field::RECORD_TIME, 9);
        encode::attribute(
            &mut record,
            field::RECORD_ATTRIBUTES,
            "http.route",
            Value::Text("/"),
        );
        let original = record.clone();
        encode::attribute(
            &mut record,
            field::RECORD_ATTRIBUTES,
            "log.record.template",
            Value::Text("a"),
        );
        encode::attribute(
            &mut record,
            field::RECORD_ATTRIBUTES,
            "petrel.template.id",
            Value::Text("b"),
        );
        assert_eq!(without_own_attributes(&record), Some(&original[..]));
    }
}
