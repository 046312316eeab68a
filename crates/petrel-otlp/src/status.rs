//! Answers other than success: `google.rpc.Status` in gRPC's form and in HTTP's, both ways.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use prost::Message;
use serde_json::json;
pub use tonic::Code;

use crate::wire::Malformed;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const DETAILS_HEADER: &str = "grpc-status-details-bin";

/// Bytes of a message that is passed on; OTLP wants responses small, and headers have a limit.
const MESSAGE_MAX: usize = 4096;

/// Why a request was not taken: what its sender is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Refusal {
    /// gRPC's code; over HTTP its counterpart in OTLP.
    pub code: Code,
    /// What is wrong, for a person.
    pub message: String,
    /// When to try again; without it a sender retries by its own rules, or, after
    /// `ResourceExhausted`, not at all.
    pub retry_after: Option<Duration>,
    /// Where the request is malformed.
    pub field: Option<String>,
}

impl Refusal {
    /// An answer with a code and nothing more.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        Self {
            code,
            message,
            retry_after: None,
            field: None,
        }
    }

    /// "Later": the same request is welcome after `retry_after`.
    #[must_use]
    pub fn later(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Code::Unavailable, message)
        }
    }

    /// The request is larger than may be; sending it again is of no use.
    #[must_use]
    pub fn too_large(what: &str, bytes_max: usize) -> Self {
        Self::new(
            Code::ResourceExhausted,
            format!("{what} is larger than {bytes_max} bytes"),
        )
    }

    /// Whether its sender may try again with the same request.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        is_retryable(self.code, self.retry_after)
    }

    /// The HTTP status that OTLP gives for it.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self.code {
            Code::ResourceExhausted if self.retry_after.is_none() => StatusCode::PAYLOAD_TOO_LARGE,
            code => http_status(code),
        }
    }

    /// As gRPC's status, with its details.
    pub(crate) fn to_status(&self) -> tonic::Status {
        let details = self.rpc_status();
        let details = if details.details.is_empty() {
            Bytes::new()
        } else {
            Bytes::from(details.encode_to_vec())
        };
        tonic::Status::with_details(self.code, self.message.clone(), details)
    }

    /// As the body of an HTTP response.
    pub(crate) fn to_protobuf(&self) -> Vec<u8> {
        self.rpc_status().encode_to_vec()
    }

    /// As the body of an HTTP response, in protobuf's JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut details = Vec::new();
        if let Some(delay) = self.retry_after {
            let delay = format!("{}s", delay.as_secs_f64());
            details.push(json!({"@type": RETRY_INFO, "retryDelay": delay}));
        }
        if let Some(field) = &self.field {
            let violation = json!({"field": field, "description": self.message});
            details.push(json!({"@type": BAD_REQUEST, "fieldViolations": [violation]}));
        }
        let (code, message) = (self.code as i32, &self.message);
        let mut status = json!({"code": code, "message": message});
        if !details.is_empty() {
            status["details"] = details.into();
        }
        status.to_string().into_bytes()
    }

    fn rpc_status(&self) -> RpcStatus {
        let mut details = Vec::new();
        if let Some(delay) = self.retry_after {
            let retry_delay = Some(RpcDuration {
                seconds: delay.as_secs().try_into().unwrap_or(i64::MAX),
                nanos: delay.subsec_nanos() as i32,
            });
            details.push(Any {
                type_url: RETRY_INFO.to_owned(),
                value: RetryInfo { retry_delay }.encode_to_vec(),
            });
        }
        if let Some(field) = &self.field {
            let violation = FieldViolation {
                field: field.clone(),
                description: self.message.clone(),
            };
            let field_violations = vec![violation];
            details.push(Any {
                type_url: BAD_REQUEST.to_owned(),
                value: BadRequest { field_violations }.encode_to_vec(),
            });
        }
        RpcStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details,
        }
    }

    /// What gRPC trailers (or headers) say; `None` when they have no status at all.
    ///
    /// Details that cannot be read are left out: an answer is never lost for its decoration.
    pub(crate) fn from_trailers(headers: &HeaderMap) -> Option<Self> {
        let retry_after = headers
            .get(DETAILS_HEADER)
            .and_then(|value| decode_base64(value.as_bytes()))
            .and_then(|details| retry_delay(&details));
        let mut plain = HeaderMap::new();
        for name in ["grpc-status", "grpc-message"] {
            if let Some(value) = headers.get(name) {
                plain.insert(name, value.clone());
            }
        }
        let status = tonic::Status::from_header_map(&plain)?;
        Some(Self {
            retry_after,
            ..Self::new(status.code(), status.message())
        })
    }

    /// What the body of an HTTP response says, as far as it says something.
    pub(crate) fn from_http(status: StatusCode, body: &[u8], is_json: bool) -> Self {
        let (message, retry_after) = if is_json {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            (
                body["message"].as_str().unwrap_or_default().to_owned(),
                None,
            )
        } else {
            let decoded = RpcStatus::decode(body).unwrap_or_default();
            (decoded.message, retry_delay(body))
        };
        let message = match message.as_str() {
            "" => format!("HTTP status {status}"),
            message => format!("{message} (HTTP status {status})"),
        };
        Self {
            retry_after,
            ..Self::new(code_of_http(status), message)
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self {
            field: Some(format!("byte {}", malformed.offset)),
            ..Self::new(Code::InvalidArgument, malformed.to_string())
        }
    }
}

/// OTLP's rule on which gRPC answers a client tries again after.
pub(crate) fn is_retryable(code: Code, retry_after: Option<Duration>) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => retry_after.is_some(),
        _ => false,
    }
}

/// As the Collector maps them.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// As the Collector maps them back.
pub(crate) fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        413 | 429 => Code::ResourceExhausted,
        502..=504 => Code::Unavailable,
        500 => Code::Internal,
        _ => Code::Unknown,
    }
}

/// Base64 as gRPC writes it, with and without padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine;
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b"==").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(text)
        .ok()
}

fn retry_delay(status: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(status).ok()?;
    let detail = status
        .details
        .iter()
        .find(|detail| detail.type_url == RETRY_INFO)?;
    // `RetryInfo` without a delay says: at once.
    let delay = RetryInfo::decode(detail.value.as_slice())
        .ok()?
        .retry_delay
        .unwrap_or_default();
    Some(Duration::new(
        delay.seconds.try_into().unwrap_or(0),
        u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999),
    ))
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_grpc() {
        let check = |refusal: Refusal| {
            let mut headers = HeaderMap::new();
            let added = refusal.to_status().add_header(&mut headers);
            added.expect("headers take any message");
            let read = Refusal::from_trailers(&headers).expect("a status");
            assert_eq!(read, refusal);
        };
        check(Refusal::new(Code::Internal, "größer\nals %"));
        check(Refusal::later("busy", Duration::from_millis(1500)));
        check(Refusal::later("busy", Duration::ZERO));
    }

    #[test]
    fn details_that_are_no_base64_are_left_out() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", "14".parse().expect("a header"));
        headers.insert(DETAILS_HEADER, "*no*".parse().expect("a header"));
        let read = Refusal::from_trailers(&headers).expect("a status");
        assert_eq!(read, Refusal::new(Code::Unavailable, ""));
    }
}
