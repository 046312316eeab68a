//! OTLP/JSON: read once into objects, then encoded, so that it joins the path of protobuf.
//!
//! Read leniently, as OTLP and protobuf's JSON allow: `null` for absent, integers as numbers or
//! strings, doubles also as `"NaN"` and `"Infinity"`, base64 in either alphabet, unknown fields
//! ignored. What is not understood of a known field refuses the request.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::proto::{AnyValue, ExportLogsServiceRequest, Value};
use crate::status::{Code, Refusal};

/// A request in JSON as the same request in protobuf. Unknown fields are dropped, as OTLP allows.
///
/// # Errors
/// A [`Refusal`] with `InvalidArgument` that says what is wrong and at which byte.
pub fn json_to_protobuf(json: &[u8]) -> Result<Bytes, Refusal> {
    let request: ExportLogsServiceRequest = serde_json::from_slice(json).map_err(|error| {
        let offset = offset_of(json, error.line(), error.column());
        Refusal {
            field: Some(format!("byte {offset}")),
            ..Refusal::new(
                Code::InvalidArgument,
                format!("malformed OTLP/JSON at byte {offset}: {error}"),
            )
        }
    })?;
    Ok(request.encode_to_vec().into())
}

/// The byte at a line and column, both counted from 1.
fn offset_of(json: &[u8], line: usize, column: usize) -> usize {
    let before: usize = json
        .split_inclusive(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(json.len())
}

/// A value, or its default for `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A number as number or string.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned + FromStr + Default,
{
    #[derive(Deserialize)]
    #[serde(untagged, bound = "T: DeserializeOwned")]
    enum Number<T> {
        Value(T),
        Text(String),
        Null,
    }
    match Number::<T>::deserialize(deserializer)
        .map_err(|_| D::Error::custom("expected a number that fits, or one in a string"))?
    {
        Number::Value(number) => Ok(number),
        Number::Text(text) => text
            .parse()
            .map_err(|_| D::Error::custom(format!("{text:?} is no number that fits"))),
        Number::Null => Ok(T::default()),
    }
}

/// An id in hex, upper or lower case.
pub(crate) fn hex_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let hex: String = nullable(deserializer)?;
    let digits = hex.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| D::Error::custom(format!("{hex:?} is no id in hex")))
}

/// Base64, standard or for URLs, padded or not.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    [&alphabet::STANDARD, &alphabet::URL_SAFE]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyValueVisitor)
    }
}

struct AnyValueVisitor;

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = AnyValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with one of OTLP's values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut value = None;
        while let Some(key) = map.next_key::<String>()? {
            let found = match key.as_str() {
                "stringValue" => map.next_value::<Option<String>>()?.map(Value::String),
                "boolValue" => map.next_value::<Option<bool>>()?.map(Value::Bool),
                "intValue" => map
                    .next_value::<Option<Lenient<i64>>>()?
                    .map(|it| Value::Int(it.0)),
                "doubleValue" => map
                    .next_value::<Option<Lenient<f64>>>()?
                    .map(|it| Value::Double(it.0)),
                "arrayValue" => map.next_value::<Option<_>>()?.map(Value::Array),
                "kvlistValue" => map.next_value::<Option<_>>()?.map(Value::Kvlist),
                "bytesValue" => match map.next_value::<Option<String>>()? {
                    None => None,
                    Some(text) => Some(Value::Bytes(
                        base64_bytes(&text).ok_or_else(|| A::Error::custom("no base64"))?,
                    )),
                },
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            value = found.or(value);
        }
        Ok(AnyValue { value })
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned + FromStr + Default")]
struct Lenient<T: DeserializeOwned + FromStr + Default>(#[serde(deserialize_with = "lenient")] T);
