//! Log bodies with slots, as `order <id> placed by <user>`: parsed once, rendered millions of times.

use petrel_batch::EventTime;
use rand::Rng;

/// What a rendered body says besides what is drawn.
pub(super) struct Facts<'a> {
    pub(super) time: EventTime,
    pub(super) duration_ms: f64,
    pub(super) version: &'a str,
    pub(super) host: &'a str,
    pub(super) trace: [u8; 16],
}

/// A body in parts.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(&'static str),
    Slot(Slot),
}

/// What fills a slot.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Id,
    Small,
    Hex,
    Uuid,
    Address,
    User,
    Sku,
    Money,
    Bytes,
    Milliseconds,
    Seconds,
    AccessTime,
    IsoTime,
    Word(&'static [&'static str]),
    Version,
    Host,
    Trace,
}

const COUNTRIES: &[&str] = &["DE", "FR", "GB", "IN", "US", "BR", "JP"];
const BANKS: &[&str] = &["northbank", "unicredit", "sparda", "meridian"];
const WAREHOUSES: &[&str] = &["ber-1", "lyo-2", "osl-1"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Slot {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "n" => Self::Small,
            "hex" => Self::Hex,
            "uuid" => Self::Uuid,
            "ip" => Self::Address,
            "user" => Self::User,
            "sku" => Self::Sku,
            "money" => Self::Money,
            "bytes" => Self::Bytes,
            "ms" => Self::Milliseconds,
            "seconds" => Self::Seconds,
            "clf" => Self::AccessTime,
            "iso" => Self::IsoTime,
            "country" => Self::Word(COUNTRIES),
            "bank" => Self::Word(BANKS),
            "warehouse" => Self::Word(WAREHOUSES),
            "version" => Self::Version,
            "host" => Self::Host,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

impl Pattern {
    /// The parts of `text`; `<name>` of an unknown name is plain text (`<init>` of a stack trace).
    pub(super) fn parse(text: &'static str) -> Self {
        let mut parts = Vec::new();
        let (mut rest, mut from) = (text, 0);
        while let Some(open) = rest[from..].find('<').map(|at| from + at) {
            let name = rest[open + 1..].split('>').next().unwrap_or_default();
            let Some(slot) = Slot::of(name) else {
                from = open + 1;
                continue;
            };
            parts.extend((open > 0).then_some(Part::Text(&rest[..open])));
            parts.push(Part::Slot(slot));
            (rest, from) = (&rest[open + name.len() + 2..], 0);
        }
        parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
        Self { parts }
    }

    /// Appends the body with every slot filled.
    pub(super) fn render(&self, buffer: &mut Vec<u8>, facts: &Facts<'_>, random: &mut impl Rng) {
        for part in &self.parts {
            match part {
                Part::Text(text) => buffer.extend_from_slice(text.as_bytes()),
                Part::Slot(slot) => slot.render(buffer, facts, random),
            }
        }
    }
}

impl Slot {
    fn render(self, buffer: &mut Vec<u8>, facts: &Facts<'_>, random: &mut impl Rng) {
        match self {
            Self::Id => decimal(buffer, random.random_range(100_000..1_000_000)),
            Self::Small => decimal(buffer, random.random_range(1..=12)),
            Self::Hex => hex(buffer, &random.random::<u32>().to_be_bytes()),
            Self::Uuid => uuid(buffer, random.random::<u128>().to_be_bytes()),
            Self::Address => {
                let [a, b, c, d] = random.random::<u32>().to_be_bytes();
                for (index, byte) in [a % 223 + 1, b, c, d].into_iter().enumerate() {
                    buffer.extend_from_slice(if index == 0 { b"" } else { b"." });
                    decimal(buffer, u64::from(byte));
                }
            }
            Self::User => {
                buffer.extend_from_slice(b"u-");
                decimal(buffer, random.random_range(10_000..100_000));
            }
            Self::Sku => {
                buffer.extend_from_slice(b"SKU-");
                decimal(buffer, random.random_range(10_000..14_000));
            }
            Self::Money => {
                let cents = random.random_range(199..30_000_u64);
                decimal(buffer, cents / 100);
                buffer.push(b'.');
                padded(buffer, cents % 100, 2);
            }
            Self::Bytes => decimal(buffer, random.random_range(180..60_000)),
            Self::Milliseconds => decimal(buffer, facts.duration_ms.round() as u64),
            Self::Seconds => {
                let ms = facts.duration_ms.round() as u64;
                decimal(buffer, ms / 1_000);
                buffer.push(b'.');
                padded(buffer, ms % 1_000, 3);
            }
            Self::AccessTime => access_time(buffer, facts.time),
            Self::IsoTime => iso_time(buffer, facts.time),
            Self::Word(words) => {
                let word = words[random.random_range(0..words.len())];
                buffer.extend_from_slice(word.as_bytes());
            }
            Self::Version => buffer.extend_from_slice(facts.version.as_bytes()),
            Self::Host => buffer.extend_from_slice(facts.host.as_bytes()),
            Self::Trace => hex(buffer, &facts.trace),
        }
    }
}

/// As `21/Nov/2026:14:02:07 +0000`.
fn access_time(buffer: &mut Vec<u8>, time: EventTime) {
    let (year, month, day) = date(time.seconds() / 86_400);
    padded(buffer, day, 2);
    buffer.push(b'/');
    buffer.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
    buffer.push(b'/');
    decimal(buffer, year);
    buffer.push(b':');
    clock(buffer, time);
    buffer.extend_from_slice(b" +0000");
}

/// As `2026-11-21T14:02:07.113Z`.
fn iso_time(buffer: &mut Vec<u8>, time: EventTime) {
    let (year, month, day) = date(time.seconds() / 86_400);
    decimal(buffer, year);
    buffer.push(b'-');
    padded(buffer, month, 2);
    buffer.push(b'-');
    padded(buffer, day, 2);
    buffer.push(b'T');
    clock(buffer, time);
    buffer.push(b'.');
    padded(buffer, time.nanos() / 1_000_000 % 1_000, 3);
    buffer.push(b'Z');
}

fn clock(buffer: &mut Vec<u8>, time: EventTime) {
    let second = time.seconds() % 86_400;
    padded(buffer, second / 3_600, 2);
    buffer.push(b':');
    padded(buffer, second / 60 % 60, 2);
    buffer.push(b':');
    padded(buffer, second % 60, 2);
}

/// Year, month and day of a day counted from 1970-01-01 (H. Hinnant, `civil_from_days`, days >= 0).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn uuid(buffer: &mut Vec<u8>, bytes: [u8; 16]) {
    for (index, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        buffer.extend_from_slice(if index == 0 { b"" } else { b"-" });
        hex(buffer, &bytes[range]);
    }
}

fn hex(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        buffer.push(DIGITS[usize::from(byte >> 4)]);
        buffer.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn decimal(buffer: &mut Vec<u8>, value: u64) {
    padded(buffer, value, 1);
}

/// Appends `value` with zeros in front up to `width` digits.
fn padded(buffer: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 || at > digits.len() - width {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    buffer.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn check(pattern: &'static str, expected: &str) {
        let facts = Facts {
            time: EventTime(1_795_269_727_113_000_000),
            duration_ms: 1_042.4,
            version: "1.2.3",
            host: "auth-7f-1",
            trace: [0xab; 16],
        };
        let mut body = Vec::new();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        Pattern::parse(pattern).render(&mut body, &facts, &mut random);
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn slots_are_filled() {
        check("done in <ms> ms", "done in 1042 ms");
        check("<seconds>|<version>|<host>", "1.042|1.2.3|auth-7f-1");
        check("[<clf>]", "[21/Nov/2026:14:02:07 +0000]");
        check("<iso>", "2026-11-21T14:02:07.113Z");
        check("at Client.<init>(<version>)", "at Client.<init>(1.2.3)");
        check("a < b", "a < b");
        check("<trace>", &"ab".repeat(16));
    }
}
