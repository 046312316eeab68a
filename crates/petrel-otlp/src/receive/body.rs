//! A request's body, read with its bytes counted as they come; without copying where one piece holds
//! it all, else copied once into one buffer of its size.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use super::InFlight;
use crate::compress::{Packing, Unpack, unpack};
use crate::status::{Code, Refusal};

/// Bytes before a gRPC message: whether it is packed, and its length.
pub(crate) const GRPC_HEAD: usize = 5;

/// Reads the one message of a unary gRPC call, and whether it is packed.
pub(super) async fn read_grpc_message<B>(
    mut body: B,
    bytes_max: usize,
    in_flight: &mut InFlight,
) -> Result<(Bytes, bool), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (mut head, mut n_head) = ([0; GRPC_HEAD], 0);
    let mut message = Gathered::default();
    let mut length = 0;
    while let Some(mut data) = next_data(&mut body, in_flight).await? {
        if n_head < GRPC_HEAD {
            let n_bytes = data.len().min(GRPC_HEAD - n_head);
            data.copy_to_slice(&mut head[n_head..n_head + n_bytes]);
            n_head += n_bytes;
            if n_head < GRPC_HEAD {
                continue;
            }
            length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if length > bytes_max {
                return Err(Refusal::too_large("a request", bytes_max));
            }
            in_flight.expect(length.saturating_sub(data.len()))?;
        }
        message.push(data, length);
        if message.len() > length {
            return Err(invalid("more than one message in a unary call"));
        }
    }
    if n_head < GRPC_HEAD || message.len() < length {
        return Err(invalid("a gRPC message that is cut off"));
    }
    match head[0] {
        0 => Ok((message.finish(), false)),
        1 => Ok((message.finish(), true)),
        _ => Err(invalid("a gRPC message with an unknown flag")),
    }
}

/// Reads an HTTP body; `announced` is its length as far as it is known before.
pub(super) async fn read_http_body<B>(
    mut body: B,
    announced: usize,
    bytes_max: usize,
    in_flight: &mut InFlight,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if announced > bytes_max {
        return Err(Refusal::too_large("a request", bytes_max));
    }
    in_flight.expect(announced)?;
    let mut whole = Gathered::default();
    while let Some(data) = next_data(&mut body, in_flight).await? {
        if whole.len() + data.len() > bytes_max {
            return Err(Refusal::too_large("a request", bytes_max));
        }
        whole.push(data, announced);
    }
    Ok(whole.finish())
}

/// Unpacks a body; what comes out is counted instead of what went in.
pub(super) fn unpack_counted(
    packing: Packing,
    packed: Bytes,
    bytes_max: usize,
    in_flight: &mut InFlight,
) -> Result<Bytes, Refusal> {
    let unpacked = unpack(packing, &packed, bytes_max, |n_bytes| {
        in_flight.grow(n_bytes)
    })
    .map_err(|error| match error {
        Unpack::Damaged(error) => invalid(format!("malformed {}: {error}", packing.name())),
        Unpack::TooLarge => Refusal::too_large("a request, unpacked,", bytes_max),
        Unpack::Refused(refusal) => refusal,
    })?;
    in_flight.shrink(packed.len());
    Ok(unpacked)
}

async fn next_data<B>(body: &mut B, in_flight: &mut InFlight) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(Code::Cancelled, format!("the request was cut off: {error}"))
        })?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            in_flight.grow(data.len())?;
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// What a sender is told whose request did not come in.
pub(super) fn too_slow(timeout: Duration) -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        format!("the request did not come in within {timeout:?}"),
    )
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidArgument, message)
}

/// Pieces put together.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    rest: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Adds a piece; `expected` is how long all of it may get.
    fn push(&mut self, data: Bytes, expected: usize) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(expected.max(self.len() + data.len()));
            self.rest.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.rest.extend_from_slice(&data);
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            self.rest.freeze()
        }
    }
}
