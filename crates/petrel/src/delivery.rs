//! How a request leaves, and what its sender may be told meanwhile.
//!
//! Three promises, chosen by the exporter's `sending_queue`. Wait: accepted means that the next hop has
//! accepted it. Memory: accepted means that it is in memory, a crash loses it. File: accepted means that
//! it is synced to disk, a crash loses nothing.

mod exit;
mod journal;
mod line;
mod outgoing;
mod queue;

use std::time::Duration;

use petrel_otlp::receive::{ExportReply, Refusal};

pub use self::exit::{Exit, Losses};
pub use self::journal::{Left, left_in};
pub use self::line::{Capacity, Load};
pub use self::outgoing::{Head, Metadata, Outgoing, StreamSet};
pub use self::queue::{Queue, QueueSettings, QueueStatus};

/// A way out for one kind of telemetry.
#[derive(Clone, Debug)]
pub enum Way {
    /// Requests end here, each with success.
    Nowhere,
    /// Sent while the sender waits.
    Wait(Exit),
    /// Sent later, from a queue.
    Queued(std::sync::Arc<Queue>),
}

impl Way {
    /// Takes a request that its sender waits with for at most `timeout`.
    ///
    /// # Errors
    /// What the sender is to be told: the next hop's words, or that the queue is full.
    pub async fn send(
        &self,
        outgoing: Outgoing,
        timeout: Option<Duration>,
    ) -> Result<ExportReply, Refusal> {
        match self {
            Self::Nowhere => Ok(ExportReply::default()),
            Self::Wait(exit) => exit.send(outgoing, timeout).await,
            Self::Queued(queue) => queue.put(outgoing, timeout).await,
        }
    }
}
