//! Which values of a record are durations: attributes by name, and variables of a template whose
//! words say so.

use petrel_detector::math;

/// Variables of one template that are watched at most.
pub(crate) const SLOTS_MAX: usize = 2;

/// Words right before a variable that make it a duration, and endings of keys that do.
const DURATION_WORDS: [&str; 9] = [
    "took", "duration", "latency", "elapsed", "time", "spent", "rtt", "waited", "lasted",
];
/// Keys that end like one of those but are none.
const NO_DURATIONS: [&str; 6] = [
    "uptime",
    "datetime",
    "runtime",
    "at time",
    "localtime",
    "lifetime",
];
/// Words before a variable that make it one only where its values have fractions: `in 12ms` is 0.012
/// by the time it gets here, `in 3 files` is 3.
const MAYBE_WORDS: [&str; 3] = ["in", "after", "within"];
/// Units that stay in a template's text behind the number they scale.
const UNIT_WORDS: [&str; 14] = [
    "second",
    "seconds",
    "secs",
    "millisecond",
    "milliseconds",
    "millis",
    "microsecond",
    "microseconds",
    "micros",
    "nanosecond",
    "nanoseconds",
    "minute",
    "minutes",
    "mins",
];

/// An attribute that holds a duration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    /// Its key.
    pub(crate) key: String,
    /// log2 of the seconds that one unit of it is worth.
    pub(crate) unit_log2: f64,
}

impl Attribute {
    /// The unit is read from the key's ending; without one it is seconds, as OpenTelemetry has it.
    pub(crate) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            unit_log2: math::log2(unit_of(key)),
        }
    }

    /// Number of its series within a template: stable over restarts and settings, apart from slots.
    pub(crate) fn field(&self) -> Field {
        // FNV-1a.
        let hash = self.key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Field(hash | Field::ATTRIBUTE)
    }
}

/// Seconds that one unit of an attribute is worth.
fn unit_of(key: &str) -> f64 {
    let key = key.to_ascii_lowercase();
    let units: [(&[&str], f64); 4] = [
        (&["_ms", ".ms", "millis", "milliseconds"], 1e-3),
        (&["_us", ".us", "micros", "microseconds"], 1e-6),
        (&["_ns", ".ns", "nanos", "nanoseconds"], 1e-9),
        (&["_minutes", ".minutes"], 60.0),
    ];
    units
        .iter()
        .find(|(endings, _)| endings.iter().any(|ending| key.ends_with(ending)))
        .map_or(1.0, |(_, seconds)| *seconds)
}

/// What of a record a series holds: an attribute, or a variable of the template.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Field(pub(crate) u32);

impl Field {
    const ATTRIBUTE: u32 = 1 << 31;
    /// Set for slots that a setting names, which are known by their index.
    const CHOSEN: u32 = 1 << 30;

    /// The n-th duration of a template, counted among its durations: a template that becomes more
    /// general gets more variables, and its durations stay in order.
    pub(crate) fn of_text(n: usize) -> Self {
        Self(n as u32)
    }

    /// A variable that a setting names.
    pub(crate) fn chosen(slot: u32) -> Self {
        Self((slot & 0xffff) | Self::CHOSEN)
    }

    pub(crate) fn is_attribute(self) -> bool {
        self.0 & Self::ATTRIBUTE != 0
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 & Self::CHOSEN != 0 {
            write!(f, "<*>[{}]", self.0 & 0xffff)
        } else {
            write!(f, "duration {}", self.0 + 1)
        }
    }
}

/// A variable of a template that holds a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slot {
    /// Which `<*>` of the text, from 0.
    pub(crate) index: usize,
    pub(crate) field: Field,
    /// Whether its values must have fractions to be believed.
    pub(crate) is_maybe: bool,
}

/// The first [`SLOTS_MAX`] variables of a template that its words make durations; those that are sure
/// come first.
pub(crate) fn durations(text: &str) -> Vec<Slot> {
    let parts: Vec<&str> = text.split("<*>").collect();
    let mut found: Vec<Slot> = Vec::new();
    for index in 0..parts.len() - 1 {
        let is_sure = says_duration(parts[index]) || says_unit(parts[index + 1]);
        let is_maybe = !is_sure && MAYBE_WORDS.contains(&last_word(parts[index]).as_str());
        if is_sure || is_maybe {
            found.push(Slot {
                index,
                field: Field::of_text(0),
                is_maybe,
            });
        }
    }
    found.sort_by_key(|slot| (slot.is_maybe, slot.index));
    found.truncate(SLOTS_MAX);
    found.sort_by_key(|slot| slot.index);
    for (n, slot) in found.iter_mut().enumerate() {
        slot.field = Field::of_text(n);
    }
    found
}

/// The word that ends a text, without marks behind it, in lower case.
fn last_word(before: &str) -> String {
    let is_mark = |c: char| c.is_whitespace() || "=:\"'([".contains(c);
    let trimmed = before.trim_end_matches(is_mark);
    let start = trimmed.rfind(|c: char| c.is_whitespace() || ",;({[\"".contains(c));
    let word = &trimmed[start.map_or(0, |at| at + 1)..];
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_ascii_lowercase()
}

fn says_duration(before: &str) -> bool {
    let word = last_word(before);
    // `elapsed_ms`, `http.latency`, `responseTime`.
    let stem = [
        "_ms", "_us", "_ns", "_seconds", "_secs", "_s", "millis", "ms",
    ]
    .iter()
    .find_map(|ending| word.strip_suffix(ending))
    .unwrap_or(&word);
    let names_one = |word: &str| DURATION_WORDS.iter().any(|known| word.ends_with(known));
    !NO_DURATIONS.iter().any(|none| word.ends_with(none)) && (names_one(stem) || names_one(&word))
}

fn says_unit(after: &str) -> bool {
    let word = after
        .strip_prefix(' ')
        .and_then(|rest| rest.split(|c: char| !c.is_alphabetic()).next());
    word.is_some_and(|word| UNIT_WORDS.contains(&word.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, bool)]) {
        let found: Vec<_> = durations(text)
            .iter()
            .map(|slot| (slot.index, slot.is_maybe))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_make_durations() {
        check("took <*> and <*> of <*>", &[(0, false)]);
        check(
            "POST /checkout answered <*> in <*> for cart <*>",
            &[(1, true)],
        );
        check("order=<*> took=<*> bytes=<*>", &[(1, false)]);
        check("elapsed_ms=<*>", &[(0, false)]);
        check("responseTime: \"<*>\" size: <*>", &[(0, false)]);
        check("request latency (<*>)", &[(0, false)]);
        check("finished <*> jobs, <*> seconds left", &[(1, false)]);
        check("status: <*> len: <*> time: <*>", &[(2, false)]);
        check("uptime <*> of <*>", &[]);
        check("connected to <*> on port <*>", &[]);
        check("in <*> after <*> took <*>", &[(0, true), (2, false)]);
        check("no variable at all", &[]);
    }

    #[test]
    fn units_are_read_from_keys() {
        for (key, seconds) in [
            ("duration_ms", 1e-3),
            ("elapsedMillis", 1e-3),
            ("took_us", 1e-6),
            ("duration_ns", 1e-9),
            ("http.server.request.duration", 1.0),
            ("wait_seconds", 1.0),
            ("forms", 1.0),
        ] {
            assert_eq!(unit_of(key), seconds, "{key}");
        }
    }

    #[test]
    fn fields_do_not_collide() {
        let attribute = Attribute::new("duration_ms").field();
        assert!(attribute.is_attribute());
        assert!(!Field::chosen(3).is_attribute());
        assert_ne!(Field::chosen(0), Field::of_text(0));
    }
}
