//! Numbers in bodies: what the variable parts of a line are worth, in seconds, bytes or as they are.

use super::body::{Body, Reader, Reading};
use super::template::{Origin, Template};
use super::token::{Kind, Token, VARIABLE};
use super::words::{self, Scale};

/// Digits beyond which a number is an id.
const DIGITS_MAX: usize = 19;

/// Appends one value to `out` for each `<*>` of the template's text, in order; NaN where the body has
/// no number there. Durations are in seconds, sizes in bytes (by 1,024), percentages as they are.
///
/// Returns `false`, and appends nothing, for a template that was not mined: it came with its record,
/// and where its `<*>` lie in a body is unknown.
///
/// Reads the body anew; [`StreamMiner::numbers_of_last`](super::StreamMiner::numbers_of_last) need not.
pub fn numbers(body: &str, template: &Template, out: &mut Vec<f64>) -> bool {
    let mut reader = Reader::default();
    match reader.read(body) {
        Body::Line(reading) => of_reading(&reading, template, out),
        Body::Continued | Body::Empty => template.origin != Origin::Adopted,
    }
}

pub(super) fn of_reading(reading: &Reading<'_>, template: &Template, out: &mut Vec<f64>) -> bool {
    let is_prefix = template.origin == Origin::FreeText;
    let aligned = is_prefix || reading.tokens.len() == template.tokens.len();
    let last = template.tokens.len().saturating_sub(1);
    for (place, slot) in template.tokens.iter().enumerate() {
        match slot.kind {
            Kind::Variable if aligned && !(is_prefix && place == last) => {
                out.push(value_at(reading, place))
            }
            Kind::Variable => out.push(f64::NAN),
            Kind::Keys if template.text[slot.range()].contains(VARIABLE) => out.push(f64::NAN),
            _ => {}
        }
    }
    template.origin != Origin::Adopted
}

fn value_at(reading: &Reading<'_>, place: usize) -> f64 {
    let Some(token) = reading
        .tokens
        .get(place)
        .filter(|token| token.kind == Kind::Variable)
    else {
        return f64::NAN;
    };
    let text = reading.text.as_bytes();
    let Some(number) = text.get(token.range()).and_then(parse) else {
        return f64::NAN;
    };
    match number.scale {
        Some(scale) => scale.apply(number.value),
        None => unit_around(reading, place)
            .unwrap_or(Scale::ONE)
            .apply(number.value),
    }
}

/// The unit that stands beside a bare number: the word after it, or its key's ending.
fn unit_around(reading: &Reading<'_>, place: usize) -> Option<Scale> {
    let text = reading.text.as_bytes();
    let word = |token: &Token| {
        if token.kind == Kind::Word {
            text.get(token.range())
        } else {
            None
        }
    };
    let after = reading
        .tokens
        .get(place + 1)
        .filter(|token| token.space)
        .and_then(word)
        .and_then(words::long_unit);
    if after.is_some() {
        return after;
    }
    let mut before = reading.tokens[..place]
        .iter()
        .rev()
        .skip_while(|token| matches!(token.byte, b'"' | b'\''));
    let is_keyed = before
        .next()
        .is_some_and(|token| matches!(token.byte, b'=' | b':'));
    let key = before.find(|token| !matches!(token.byte, b'"' | b'\''));
    if is_keyed {
        key.and_then(word).and_then(words::key_unit)
    } else {
        None
    }
}

struct Number {
    value: f64,
    /// Of the unit that it carries itself.
    scale: Option<Scale>,
}

/// A number, with or without a unit, or a duration such as `1m30.5s`.
fn parse(text: &[u8]) -> Option<Number> {
    let (value, length) = leading_number(text)?;
    let unit = text[length..].trim_ascii_start();
    if unit.is_empty() {
        return Some(Number { value, scale: None });
    }
    match words::unit(unit) {
        Some(scale) => Some(Number {
            value,
            scale: Some(scale),
        }),
        None => duration(text).map(|value| Number {
            value,
            scale: Some(Scale::ONE),
        }),
    }
}

/// Hours, minutes and seconds, the largest first, seconds last.
fn duration(text: &[u8]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    let mut above = f64::INFINITY;
    loop {
        let (value, length) = leading_number(rest)?;
        let (unit, tail) = rest[length..].split_first()?;
        let worth = match unit {
            b'd' => 86_400.0,
            b'h' => 3_600.0,
            b'm' => 60.0,
            b's' => 1.0,
            _ => return None,
        };
        if worth >= above {
            return None;
        }
        above = worth;
        seconds += value * worth;
        rest = tail;
        if rest.is_empty() {
            return (*unit == b's').then_some(seconds);
        }
    }
}

/// Sign, digits and fraction at the start of a text: their value, and how many bytes they take.
fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    /// Powers of ten, and whole numbers up to this, are exact: one division rounds once.
    const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let mut digits: u64 = 0;
    let mut take = |from: usize| {
        let text = text[from..].iter();
        text.take_while(|byte| byte.is_ascii_digit())
            .inspect(|&&byte| digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
            .count()
    };
    let n_whole = take(sign);
    if n_whole == 0 {
        return None;
    }
    let mut end = sign + n_whole;
    let mut n_fraction = 0;
    if text.get(end) == Some(&b'.') {
        n_fraction = take(end + 1);
        end += if n_fraction > 0 { 1 + n_fraction } else { 0 };
    }
    if n_whole + n_fraction > DIGITS_MAX {
        return None;
    }
    let value = match POWERS.get(n_fraction) {
        Some(power) if digits <= EXACT_MAX && text[0] == b'-' => -(digits as f64) / power,
        Some(power) if digits <= EXACT_MAX => digits as f64 / power,
        _ => std::str::from_utf8(&text[..end]).ok()?.parse().ok()?,
    };
    Some((value, end))
}

/// Whether a text is a number and nothing else.
pub(super) fn is_bare(text: &[u8]) -> bool {
    leading_number(text).is_some_and(|(_, length)| length == text.len())
}

/// Whether a text is a number, with a unit or without.
pub(super) fn is_plain(text: &[u8]) -> bool {
    leading_number(text).is_some_and(|(_, length)| {
        let unit = text[length..].trim_ascii_start();
        unit.is_empty() || words::unit(unit).is_some()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_worth_what_the_standard_library_says(
            number in "[+-]?[0-9]{1,19}(\\.[0-9]{1,18})?",
            rest in "([a-z%][a-z0-9.]{0,3})?",
        ) {
            let n_digits = number.bytes().filter(u8::is_ascii_digit).count();
            let read = leading_number(format!("{number}{rest}").as_bytes());
            let value: f64 = number.parse().unwrap();
            let expected = (n_digits <= DIGITS_MAX).then_some((value.to_bits(), number.len()));
            prop_assert_eq!(read.map(|(value, length)| (value.to_bits(), length)), expected);
        }
    }
}
