//! Every bound of the engine with its default, and what happens when it is reached.

/// Bounds of one worker; all are counted when they are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams a worker keeps. Full: the least recently seen leaves as a tombstone and its state is
    /// handed out in [`Judgement::evicted`](crate::Judgement). At most 65,535, by the contract.
    pub streams: usize,
    /// Streams that left and of which first and last event time are kept. Full: oldest forgotten.
    pub tombstones: usize,
    /// Resources whose stream is remembered by address. Full: looked up by key again.
    pub resources: usize,
    /// Calibrated series a stream. Full: the one longest without a finding starts afresh.
    pub tails_per_stream: usize,
    /// Open anomalies a stream. Full: what else opens is folded into the oddest open one.
    pub open_per_stream: usize,
    /// Closed anomalies a stream remembers for their cooldown. Full: oldest forgotten.
    pub closed_per_stream: usize,
    /// Series of one kind and direction that open side by side within five minutes. Full: what
    /// follows is folded into the first.
    pub siblings_open: usize,
    /// Folded series that an anomaly names. Full: the rest is counted.
    pub folds_named: usize,
    /// Merges of templates a stream keeps between two snapshots, for instances that are rebuilt.
    /// Full: oldest forgotten, so that a rebuilt instance learns that template anew.
    pub merges_remembered: usize,
    /// Spans with missing input a stream and instance. Full: the first two become one.
    pub incomplete_spans: usize,
    /// Bytes of saved state a worker keeps for rebuilding instances. Full: a stream whose state does
    /// not fit is learnt anew after a fault (not after a restart).
    pub saved_bytes: usize,
    /// Digests of `ResourceLogs` that a worker remembers, by which retries are known; 0 switches it
    /// off. Full: the one not seen for longest is forgotten, so that its retry would be learnt again.
    pub retry_digests: usize,
    /// Bytes of what the rows of those got, about one a row. Full: the oldest verdicts go, so that a
    /// retry of theirs passes without attributes, still not learnt twice.
    pub retry_verdict_bytes: usize,
    /// Ids of events that the global stage remembers. Full: oldest forgotten, so that a very late
    /// duplicate passes.
    pub event_ids: usize,
    /// Attributes of an anomaly event besides its evidence. Full: the least telling
    /// are left out.
    pub event_attributes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 10_000,
            tombstones: 65_536,
            resources: 1_024,
            tails_per_stream: 1_024,
            open_per_stream: 64,
            closed_per_stream: 128,
            siblings_open: 3,
            folds_named: 5,
            merges_remembered: 1_024,
            incomplete_spans: 8,
            saved_bytes: 64 << 20,
            retry_digests: 65_536,
            retry_verdict_bytes: 16 << 20,
            event_ids: 65_536,
            event_attributes: 20,
        }
    }
}
