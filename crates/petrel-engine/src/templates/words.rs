//! The few English words that the scanner knows: dates, time zones, units, keys that hold messages,
//! and the words of failure.

/// Three-letter weekday or month.
pub(super) fn is_date(word: &[u8]) -> bool {
    matches!(
        word,
        b"Mon"
            | b"Tue"
            | b"Wed"
            | b"Thu"
            | b"Fri"
            | b"Sat"
            | b"Sun"
            | b"Jan"
            | b"Feb"
            | b"Mar"
            | b"Apr"
            | b"May"
            | b"Jun"
            | b"Jul"
            | b"Aug"
            | b"Sep"
            | b"Oct"
            | b"Nov"
            | b"Dec"
    )
}

/// What may follow a clock.
pub(super) fn is_time_zone(word: &[u8]) -> bool {
    matches!(
        word,
        b"AM"
            | b"PM"
            | b"UTC"
            | b"GMT"
            | b"PST"
            | b"PDT"
            | b"EST"
            | b"EDT"
            | b"CST"
            | b"CDT"
            | b"MST"
            | b"MDT"
            | b"CET"
            | b"CEST"
            | b"EET"
            | b"EEST"
            | b"BST"
            | b"IST"
            | b"JST"
            | b"MSK"
    )
}

/// Keys whose value is a message: its words stay.
pub(super) fn holds_message(key: &[u8]) -> bool {
    matches!(
        key,
        b"msg" | b"message" | b"event" | b"err" | b"error" | b"reason"
    )
}

/// Keys of a structured body whose text is mined, best first.
pub(super) const MESSAGE_KEYS: [&str; 7] =
    ["message", "msg", "event", "log", "body", "text", "error"];

/// How a number is brought to seconds or bytes: multiplied, then divided, each an exact integer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    times: f64,
    per: f64,
}

impl Scale {
    pub(super) const ONE: Scale = Scale {
        times: 1.0,
        per: 1.0,
    };

    const fn times(times: u64) -> Self {
        Scale {
            times: times as f64,
            per: 1.0,
        }
    }

    const fn per(per: u64) -> Self {
        Scale {
            times: 1.0,
            per: per as f64,
        }
    }

    pub(super) fn apply(self, value: f64) -> f64 {
        value * self.times / self.per
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A unit, glued to its number or the next word; it belongs to the variable.
pub(super) fn unit(word: &[u8]) -> Option<Scale> {
    Some(match word {
        b"ns" => Scale::per(1_000_000_000),
        // Micro sign and Greek letter mu.
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => Scale::per(1_000_000),
        b"ms" => Scale::per(1_000),
        b"s" | b"sec" | b"B" | b"%" => Scale::ONE,
        b"K" | b"KB" | b"kB" | b"KiB" => Scale::times(KIB),
        b"M" | b"MB" | b"MiB" => Scale::times(MIB),
        b"G" | b"GB" | b"GiB" => Scale::times(GIB),
        b"TB" | b"TiB" => Scale::times(TIB),
        _ => return None,
    })
}

/// A unit written out: it scales the number before it and stays a word of the text.
pub(super) fn long_unit(word: &[u8]) -> Option<Scale> {
    Some(match word {
        b"nanosecond" | b"nanoseconds" | b"nanos" => Scale::per(1_000_000_000),
        b"microsecond" | b"microseconds" | b"micros" => Scale::per(1_000_000),
        b"millisecond" | b"milliseconds" | b"millis" | b"msec" | b"msecs" => Scale::per(1_000),
        b"second" | b"seconds" | b"secs" | b"byte" | b"bytes" => Scale::ONE,
        b"minute" | b"minutes" | b"min" | b"mins" => Scale::times(60),
        b"hour" | b"hours" => Scale::times(3_600),
        b"day" | b"days" => Scale::times(86_400),
        b"kilobytes" => Scale::times(KIB),
        b"megabytes" => Scale::times(MIB),
        b"gigabytes" => Scale::times(GIB),
        _ => return None,
    })
}

/// The unit that a key's ending gives to a bare number.
pub(super) fn key_unit(key: &[u8]) -> Option<Scale> {
    const ENDINGS: [(&[u8], Scale); 9] = [
        (b"_ms", Scale::per(1_000)),
        (b"Ms", Scale::per(1_000)),
        (b"Millis", Scale::per(1_000)),
        (b"_millis", Scale::per(1_000)),
        (b"_us", Scale::per(1_000_000)),
        (b"_ns", Scale::per(1_000_000_000)),
        (b"_seconds", Scale::ONE),
        (b"_bytes", Scale::ONE),
        (b"_kb", Scale::times(KIB)),
    ];
    ENDINGS
        .iter()
        .find(|(ending, _)| key.ends_with(ending))
        .map(|(_, scale)| *scale)
}

const FAILURE_WORDS: [&str; 22] = [
    "error",
    "fail",
    "exception",
    "traceback",
    "cannot",
    "could not",
    "unable",
    "denied",
    "timed out",
    "timeout",
    "refused",
    "invalid",
    "not found",
    "abort",
    "lost",
    "unreachable",
    "fatal",
    "panic",
    "unexpected",
    "missing",
    "conflict",
    "no such",
];

/// Whether a text holds a word of failure: case folded, at the start of a word or of a hump
/// (`IOException`), so that `closest` holds no `lost`.
pub(super) fn has_failure(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|at| {
        begins_word(bytes, at)
            && FAILURE_WORDS
                .iter()
                .any(|word| starts_with(&bytes[at..], word))
    })
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    let next_is_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    let is_hump = bytes[at].is_ascii_uppercase() && next_is_small;
    at == 0 || is_hump || !bytes[at - 1].is_ascii_alphabetic()
}

/// An underscore or dash in the text stands for the blank of a word pair (`not_found`).
fn starts_with(text: &[u8], word: &str) -> bool {
    let alike = |(have, want): (&u8, u8)| match want {
        b' ' => matches!(have, b' ' | b'_' | b'-'),
        _ => have.eq_ignore_ascii_case(&want),
    };
    text.len() >= word.len() && text.iter().zip(word.bytes()).all(alike)
}
