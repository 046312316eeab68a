//! What each fault did to the records that were sent through it, as one table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::load::Told;

/// The balance of one fault.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The fault, its neighbours and the delivery mode.
    pub(crate) fault: String,
    /// Records that senders were told were accepted.
    pub(crate) acknowledged: usize,
    /// Records that senders were told will never be accepted.
    pub(crate) refused: u64,
    /// Different records that arrived.
    pub(crate) arrived: usize,
    /// Arrivals beyond the first of each record.
    pub(crate) duplicates: u64,
    /// Acknowledged records that did not arrive and that Petrel itself says are lost.
    pub(crate) said_lost: u64,
    /// Acknowledged records that did not arrive, beyond those.
    pub(crate) lost: u64,
}

impl Row {
    /// Balances what senders were told with what arrived; `said_lost` is what Petrel's metrics admit.
    pub(crate) fn balance(
        fault: impl Into<String>,
        told: &Told,
        arrivals: &BTreeMap<u64, u64>,
        said_lost: u64,
    ) -> Self {
        let arrived: BTreeSet<u64> = arrivals.keys().copied().collect();
        let missing = told.acknowledged.difference(&arrived).count() as u64;
        let rejected = told.rejected.min(missing);
        let missing = missing - rejected;
        Self {
            fault: fault.into(),
            acknowledged: told.acknowledged.len(),
            refused: told.refused.len() as u64 + told.rejected,
            arrived: arrived.len(),
            duplicates: arrivals.values().map(|count| count - 1).sum(),
            said_lost: said_lost.min(missing),
            lost: missing.saturating_sub(said_lost),
        }
    }

    /// The heads of the columns.
    pub(crate) fn head() -> String {
        format!(
            "{:<64} {:>8} {:>8} {:>8} {:>10} {:>9} {:>6}",
            "fault", "acked", "refused", "arrived", "duplicates", "said lost", "lost"
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<64} {:>8} {:>8} {:>8} {:>10} {:>9} {:>6}",
            self.fault,
            self.acknowledged,
            self.refused,
            self.arrived,
            self.duplicates,
            self.said_lost,
            self.lost
        )
    }
}
