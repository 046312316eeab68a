//! Encoded requests as no SDK writes them and protobuf allows them: fields in any order, singular
//! fields repeated, unknown fields and groups in between, varints longer than needed, empty things.
//!
//! Every decision is read from a string of bytes, so that proptest can shrink it; when it is used up
//! all decisions are 0, which ends whatever is being written.

use proptest::prelude::*;

/// An encoded `ExportLogsServiceRequest` that prost can decode.
pub(crate) fn request() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..3000).prop_map(|choices| {
        let mut writer = Writer {
            choices: choices.into_iter(),
        };
        let mut out = Vec::new();
        let n_fields = writer.below(6);
        writer.message(&mut out, &REQUEST, n_fields, 0);
        out
    })
}

/// A request in which a few bytes were changed, taken out or cut off.
pub(crate) fn damaged_request() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4);
    (request(), damage).prop_map(|(mut bytes, damage)| {
        for (at, byte, kind) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Varint,
    Fixed64,
    Fixed32,
    Text,
    /// Bytes, most often as long as an id.
    Id,
    /// A message, with about that many fields.
    Message(&'static [(u32, Kind)], usize),
}

static REQUEST: [(u32, Kind); 1] = [(1, Kind::Message(&RESOURCE_LOGS, 5))];
static RESOURCE_LOGS: [(u32, Kind); 4] = [
    (1, Kind::Message(&RESOURCE, 5)),
    (2, Kind::Message(&SCOPE_LOGS, 6)),
    (2, Kind::Message(&SCOPE_LOGS, 6)),
    (3, Kind::Text),
];
static RESOURCE: [(u32, Kind); 5] = [
    (1, Kind::Message(&KEY_VALUE, 4)),
    (1, Kind::Message(&KEY_VALUE, 4)),
    (1, Kind::Message(&KEY_VALUE, 4)),
    (2, Kind::Varint),
    (3, Kind::Message(&ENTITY_REF, 3)),
];
static ENTITY_REF: [(u32, Kind); 4] = [
    (1, Kind::Text),
    (2, Kind::Text),
    (3, Kind::Text),
    (4, Kind::Text),
];
static SCOPE_LOGS: [(u32, Kind); 5] = [
    (1, Kind::Message(&SCOPE, 4)),
    (2, Kind::Message(&LOG_RECORD, 9)),
    (2, Kind::Message(&LOG_RECORD, 9)),
    (2, Kind::Message(&LOG_RECORD, 9)),
    (3, Kind::Text),
];
static SCOPE: [(u32, Kind); 4] = [
    (1, Kind::Text),
    (2, Kind::Text),
    (3, Kind::Message(&KEY_VALUE, 3)),
    (4, Kind::Varint),
];
static LOG_RECORD: [(u32, Kind); 13] = [
    (1, Kind::Fixed64),
    (2, Kind::Varint),
    (3, Kind::Text),
    (5, Kind::Message(&ANY_VALUE, 2)),
    (6, Kind::Message(&KEY_VALUE, 4)),
    (6, Kind::Message(&KEY_VALUE, 4)),
    (6, Kind::Message(&KEY_VALUE, 4)),
    (7, Kind::Varint),
    (8, Kind::Fixed32),
    (9, Kind::Id),
    (10, Kind::Id),
    (11, Kind::Fixed64),
    (12, Kind::Text),
];
static KEY_VALUE: [(u32, Kind); 5] = [
    (1, Kind::Text),
    (1, Kind::Text),
    (2, Kind::Message(&ANY_VALUE, 2)),
    (2, Kind::Message(&ANY_VALUE, 2)),
    (3, Kind::Varint),
];
static ANY_VALUE: [(u32, Kind); 12] = [
    (1, Kind::Text),
    (1, Kind::Text),
    (1, Kind::Text),
    (3, Kind::Varint),
    (1, Kind::Text),
    (2, Kind::Varint),
    (3, Kind::Varint),
    (4, Kind::Fixed64),
    (5, Kind::Message(&ARRAY_VALUE, 4)),
    (6, Kind::Message(&KEY_VALUE_LIST, 4)),
    (7, Kind::Id),
    (8, Kind::Varint),
];
static ARRAY_VALUE: [(u32, Kind); 1] = [(1, Kind::Message(&ANY_VALUE, 2))];
static KEY_VALUE_LIST: [(u32, Kind); 1] = [(1, Kind::Message(&KEY_VALUE, 4))];

/// Field numbers that OTLP does not have.
const UNKNOWN: [u32; 4] = [15, 31, 1000, (1 << 29) - 1];

/// Texts that mean something to the walk, and some that do not.
const TEXTS: [&str; 16] = [
    "",
    "http.route",
    "log_count",
    "n",
    "service.name",
    "k8s.deployment.name",
    "service.namespace",
    "petrel.template.id",
    "petrel/detectors/novelty",
    "log.record.template",
    "anomaly.ids",
    "exactly 12 b",
    "a text that no view can hold inline",
    "größe \"quoted\" \\ and\ttabs\u{1}\u{8}\u{c}\n",
    "日本語のログ 🐦",
    "twelve by\u{e9}s",
];

struct Writer {
    choices: std::vec::IntoIter<u8>,
}

impl Writer {
    fn byte(&mut self) -> u8 {
        self.choices.next().unwrap_or(0)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.byte() as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == bound - 1
    }

    fn varint(&mut self, out: &mut Vec<u8>, mut value: u64) {
        let start = out.len();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        // It may take up to ten bytes, whatever its value.
        let padding = if self.one_in(16) { self.below(9) } else { 0 };
        for _ in 0..padding.min(10 - (out.len() - start)) {
            *out.last_mut().expect("a varint has a byte") |= 0x80;
            out.push(0);
        }
    }

    fn tag(&mut self, out: &mut Vec<u8>, number: u32, wire_type: u32) {
        self.varint(out, u64::from(number << 3 | wire_type));
    }

    fn any_u64(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => 1,
            2 => self.byte().into(),
            3 => -i64::from(self.byte()) as u64,
            4 => f64::to_bits(1.5),
            5 => 1_700_000_000_000_000_000 + u64::from(self.byte()),
            6 => f64::NAN.to_bits(),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn message(
        &mut self,
        out: &mut Vec<u8>,
        fields: &[(u32, Kind)],
        n_fields: usize,
        depth: usize,
    ) {
        for _ in 0..n_fields {
            if self.one_in(12) {
                self.unknown(out, 0);
                continue;
            }
            let (number, kind) = fields[self.below(fields.len())];
            self.field(out, number, kind, depth);
        }
    }

    fn field(&mut self, out: &mut Vec<u8>, number: u32, kind: Kind, depth: usize) {
        let content = match kind {
            Kind::Varint => {
                self.tag(out, number, 0);
                let value = self.any_u64();
                return self.varint(out, value);
            }
            Kind::Fixed64 => {
                self.tag(out, number, 1);
                let value = self.any_u64();
                return out.extend(value.to_le_bytes());
            }
            Kind::Fixed32 => {
                self.tag(out, number, 5);
                return out.extend((self.any_u64() as u32).to_le_bytes());
            }
            Kind::Text => TEXTS[self.below(TEXTS.len())].as_bytes().to_vec(),
            Kind::Id => {
                let length = [16, 8, 0, 3][self.below(4)];
                (0..length).map(|_| self.byte()).collect()
            }
            Kind::Message(fields, n_fields) => {
                let mut content = Vec::new();
                if depth < 30 {
                    let n_fields = self.below(2 * n_fields);
                    self.message(&mut content, fields, n_fields, depth + 1);
                }
                content
            }
        };
        self.tag(out, number, 2);
        self.varint(out, content.len() as u64);
        out.extend(content);
    }

    fn unknown(&mut self, out: &mut Vec<u8>, depth: usize) {
        let number = UNKNOWN[self.below(UNKNOWN.len())];
        match self.below(5) {
            4 if depth < 3 => {
                self.tag(out, number, 3);
                for _ in 0..self.below(3) {
                    self.unknown(out, depth + 1);
                }
                self.tag(out, number, 4);
            }
            0 => self.field(out, number, Kind::Varint, 0),
            1 => self.field(out, number, Kind::Fixed64, 0),
            2 => self.field(out, number, Kind::Fixed32, 0),
            _ => self.field(out, number, Kind::Text, 0),
        }
    }
}
