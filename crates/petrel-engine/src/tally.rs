//! What is counted, as plain values; whoever runs the engine turns them into metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a finding became no anomaly event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The detector is still learning this kind in this stream.
    Warmup,
    /// Its calibrated score is below the threshold.
    Threshold,
    /// The difference or the ratio is too small to matter.
    Effect,
    /// The same series had an anomaly a short while ago.
    Cooldown,
    /// It belongs to an anomaly that is open.
    Folded,
}

impl Reason {
    /// Value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warmup => "warmup",
            Self::Threshold => "threshold",
            Self::Effect => "effect",
            Self::Cooldown => "cooldown",
            Self::Folded => "folded",
        }
    }
}

/// Counts over one request; adding tallies up gives totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows judged.
    pub rows: u64,
    /// Rows below their stream's watermark that detectors still saw.
    pub late: u64,
    /// Rows too late for use.
    pub beyond_use: u64,
    /// Rows too far ahead of their stream to be believed.
    pub in_doubt: u64,
    /// Rows that an instance did not see because the request's budget was spent.
    pub over_budget: u64,
    /// Rows of `ResourceLogs` that came before: enriched as before, not learnt.
    pub retries: u64,
    /// Of these, rows that went on as they came, since what they had got was no longer known.
    pub retries_unenriched: u64,
    /// Streams met for the first time.
    pub streams_new: u64,
    /// Streams that left for others.
    pub streams_evicted: u64,
    /// Streams that came back after they had left.
    pub streams_returned: u64,
    /// Templates created.
    pub templates_created: u64,
    /// Templates that merged into others.
    pub templates_merged: u64,
    /// Templates that made room for others.
    pub templates_evicted: u64,
    /// Calibrated series that made room for others.
    pub tails_evicted: u64,
    /// Rows that detectors were shown, by detector.
    pub shown: BTreeMap<Arc<str>, u64>,
    /// Findings by detector.
    pub findings: BTreeMap<Arc<str>, u64>,
    /// Findings that detectors left out for the bound, or that named what does not exist.
    pub omitted: u64,
    /// Anomalies detected, by detector and type.
    pub detected: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// Anomalies that ended, by final state.
    pub ended: BTreeMap<&'static str, u64>,
    /// Findings that became no event of their own, by reason.
    pub suppressed: BTreeMap<Reason, u64>,
    /// Faults by detector and class (`FaultKind::as_str`).
    pub faults: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Events that were there already, left out by the global stage.
    pub duplicates: u64,
}

impl Tally {
    pub(crate) fn suppress(&mut self, reason: Reason) {
        *self.suppressed.entry(reason).or_default() += 1;
    }

    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.rows, other.rows),
            (&mut self.late, other.late),
            (&mut self.beyond_use, other.beyond_use),
            (&mut self.in_doubt, other.in_doubt),
            (&mut self.over_budget, other.over_budget),
            (&mut self.retries, other.retries),
            (&mut self.retries_unenriched, other.retries_unenriched),
            (&mut self.streams_new, other.streams_new),
            (&mut self.streams_evicted, other.streams_evicted),
            (&mut self.streams_returned, other.streams_returned),
            (&mut self.templates_created, other.templates_created),
            (&mut self.templates_merged, other.templates_merged),
            (&mut self.templates_evicted, other.templates_evicted),
            (&mut self.tails_evicted, other.tails_evicted),
            (&mut self.omitted, other.omitted),
            (&mut self.duplicates, other.duplicates),
        ];
        for (sum, count) in sums {
            *sum += count;
        }
        add_all(&mut self.shown, &other.shown);
        add_all(&mut self.findings, &other.findings);
        add_all(&mut self.detected, &other.detected);
        add_all(&mut self.ended, &other.ended);
        add_all(&mut self.suppressed, &other.suppressed);
        add_all(&mut self.faults, &other.faults);
    }
}

fn add_all<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sums.entry(key.clone()).or_default() += count;
    }
}
