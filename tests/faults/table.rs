//! What each fault did to the records that were sent through it, as one table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::collector::{Collector, build};
use crate::load::Told;

/// How much of the matrix is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Each fault once or so, for a minute at most.
    Quick,
    /// Each fault in each delivery mode with each sender.
    Full,
}

/// The rows so far.
pub(crate) struct Table {
    pub(crate) collector: Collector,
    pub(crate) extent: Extent,
    /// Only rows whose name has this are run.
    only: Option<String>,
    rows: Vec<Row>,
    failed: Vec<String>,
}

impl Table {
    /// Prints the head.
    pub(crate) fn new(collector: Collector, extent: Extent) -> Self {
        build::announce(&Row::head());
        Self {
            collector,
            extent,
            only: std::env::var("PETREL_TEST_FAULTS").ok(),
            rows: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// `full` of something in the full run, `quick` in the quick one.
    pub(crate) fn choose<T>(&self, quick: T, full: T) -> T {
        match self.extent {
            Extent::Quick => quick,
            Extent::Full => full,
        }
    }

    /// Runs what makes one row and prints it; one that panics fails the table at its end.
    pub(crate) async fn run(
        &mut self,
        fault: &str,
        row: impl Future<Output = Row> + Send + 'static,
    ) {
        if self.only.as_ref().is_some_and(|only| !fault.contains(only)) {
            return;
        }
        match tokio::spawn(row).await {
            Ok(row) => {
                build::announce(&row.to_string());
                if let Err(why) = row.check() {
                    self.failed.push(format!("{}: {why}", row.fault));
                }
                self.rows.push(row);
            }
            Err(error) => {
                build::announce(&format!("{fault}: failed"));
                self.failed.push(format!("{fault}: {error}"));
            }
        }
    }

    /// Prints the sum.
    ///
    /// # Panics
    /// When a row failed.
    pub(crate) fn finish(self) {
        for failed in &self.failed {
            build::announce(&format!("FAILED {failed}"));
        }
        let lost: u64 = self.rows.iter().map(|row| row.lost).sum();
        build::announce(&format!("lost {lost}"));
        assert!(self.failed.is_empty(), "{:#?}", self.failed);
    }
}

/// The balance of one fault.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The fault, its neighbours and the delivery mode.
    pub(crate) fault: String,
    /// Records that senders were told were accepted.
    pub(crate) acknowledged: u64,
    /// Records that senders were told will never be accepted.
    pub(crate) refused: u64,
    /// Different records that arrived.
    pub(crate) arrived: u64,
    /// Arrivals beyond the first of each record.
    pub(crate) duplicates: u64,
    /// Records that Petrel itself says are lost.
    pub(crate) said_lost: u64,
    /// Acknowledged records that did not arrive, which the delivery mode's promise allows.
    pub(crate) allowed: u64,
    /// Acknowledged records that did not arrive, beyond all of those.
    pub(crate) lost: u64,
}

impl Row {
    /// Balances what senders were told with what arrived. `said_lost` is what Petrel's metrics admit,
    /// `allowed` how much more may be missing by the promise of the mode.
    pub(crate) fn balance(
        fault: impl Into<String>,
        told: &Told,
        arrivals: &BTreeMap<u64, u64>,
        said_lost: u64,
        allowed: u64,
    ) -> Self {
        let arrived: BTreeSet<u64> = arrivals.keys().copied().collect();
        let missing = told.acknowledged.difference(&arrived).count() as u64;
        let unsaid = missing
            .saturating_sub(told.rejected)
            .saturating_sub(said_lost);
        Self {
            fault: fault.into(),
            acknowledged: told.acknowledged.len() as u64 - told.rejected.min(missing),
            refused: told.refused.len() as u64 + told.rejected,
            arrived: arrived.len() as u64,
            duplicates: arrivals.values().map(|count| count - 1).sum(),
            said_lost,
            allowed: unsaid.min(allowed),
            lost: unsaid.saturating_sub(allowed),
        }
    }

    /// Whether the count balances.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.lost > 0 {
            return Err(format!("{} records are lost", self.lost));
        }
        // What nobody was answered for may have arrived as well.
        let missing = self.said_lost + self.allowed;
        if self.acknowledged > self.arrived + missing {
            return Err("acknowledged is more than arrived and said to be lost".to_owned());
        }
        Ok(())
    }

    /// The heads of the columns.
    pub(crate) fn head() -> String {
        format!(
            "{:<72} {:>8} {:>8} {:>8} {:>10} {:>9} {:>8} {:>5}",
            "fault", "acked", "refused", "arrived", "duplicates", "said lost", "allowed", "lost"
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<72} {:>8} {:>8} {:>8} {:>10} {:>9} {:>8} {:>5}",
            self.fault,
            self.acknowledged,
            self.refused,
            self.arrived,
            self.duplicates,
            self.said_lost,
            self.allowed,
            self.lost
        )
    }
}
