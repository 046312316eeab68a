//! What answers a request that was taken: `ExportLogsServiceResponse` and its like of other signals,
//! which are the same in protobuf.

use bytes::Bytes;
use prost::Message;
use serde_json::json;

use crate::proto::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use crate::signal::Signal;

/// A request was taken, wholly or but for some items, which are not to be sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportReply {
    /// Log records, spans or data points that were not taken.
    pub rejected: u64,
    /// Why, or a warning where nothing was rejected.
    pub message: String,
}

impl ExportReply {
    /// Bytes of a message that is passed on: OTLP wants responses below 4 MiB.
    const MESSAGE_MAX: usize = 64 << 10;

    /// Whether all was taken and nothing is to be said.
    #[must_use]
    pub fn is_full_success(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }

    /// Adds what was rejected elsewhere; the messages are listed.
    pub fn merge(&mut self, other: Self) {
        self.rejected += other.rejected;
        if self.message.is_empty() {
            self.message = other.message;
        } else if !other.message.is_empty() && self.message.len() < Self::MESSAGE_MAX {
            self.message = format!("{}; {}", self.message, other.message);
        }
        let end = self.message.floor_char_boundary(Self::MESSAGE_MAX);
        self.message.truncate(end);
    }

    /// As protobuf; empty for a full success, as OTLP demands.
    #[must_use]
    pub fn to_protobuf(&self) -> Bytes {
        if self.is_full_success() {
            return Bytes::new();
        }
        let partial_success = Some(ExportLogsPartialSuccess {
            rejected_log_records: self.rejected.try_into().unwrap_or(i64::MAX),
            error_message: self.message.clone(),
        });
        ExportLogsServiceResponse { partial_success }
            .encode_to_vec()
            .into()
    }

    /// As JSON, where fields have the names of the signal.
    #[must_use]
    pub fn to_json(&self, signal: Signal) -> Bytes {
        if self.is_full_success() {
            return Bytes::from_static(b"{}");
        }
        let partial_success = json!({
            signal.rejected_field(): self.rejected.to_string(),
            "errorMessage": self.message,
        });
        Bytes::from(json!({"partialSuccess": partial_success}).to_string())
    }

    /// Reads a response; `None` when it is none.
    pub(crate) fn from_protobuf(bytes: &[u8]) -> Option<Self> {
        let response = ExportLogsServiceResponse::decode(bytes).ok()?;
        Some(Self::from_response(response))
    }

    /// Reads a response in JSON; `None` when it is none.
    pub(crate) fn from_json(signal: Signal, bytes: &[u8]) -> Option<Self> {
        if bytes.trim_ascii().is_empty() {
            return Some(Self::default());
        }
        let response: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let partial = &response.as_object()?.get("partialSuccess");
        let field = |name| partial.and_then(|partial| partial.get(name));
        let rejected = match field(signal.rejected_field()) {
            Some(serde_json::Value::String(text)) => text.parse().ok()?,
            Some(number) => number.as_u64().unwrap_or(0),
            None => 0,
        };
        let message = field("errorMessage").and_then(serde_json::Value::as_str);
        Some(Self {
            rejected,
            message: message.unwrap_or_default().to_owned(),
        })
    }

    fn from_response(response: ExportLogsServiceResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        Self {
            rejected: partial.rejected_log_records.try_into().unwrap_or(0),
            message: partial.error_message,
        }
    }
}
