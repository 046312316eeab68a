//! One request on its way through a worker: its columns, and what comes of it.

use petrel_batch::{LogBatch, RowEdits};

use crate::columns::{Computed, Lowered};
use crate::enrichment::EditBuilder;
use crate::event::StreamEvent;
use crate::retries::Learnt;
use crate::{Gap, HealthChange, Settings, StreamState, Tally};

/// What a worker says of the rows of a request that it owns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Number of the request.
    pub sequence: u64,
    /// What is added to the rows, in the rows of the worker's own batch.
    pub edits: RowEdits,
    /// Events, in the order in which they came about.
    pub events: Vec<StreamEvent>,
    /// Gaps of the whole input, as stamped on the request.
    pub gaps: Vec<Gap>,
    /// What is counted.
    pub tally: Tally,
    /// Instances whose health changed.
    pub changes: Vec<HealthChange>,
    /// Streams that made room for others, to be stored; a returning one may be restored from it.
    pub evicted: Vec<StreamState>,
}

/// A judgement in the making.
pub(crate) struct Pass<'b> {
    /// Number of the pass in this worker, from 1.
    pub(crate) number: u64,
    pub(crate) batch: Option<&'b LogBatch>,
    pub(crate) lowered: Option<Lowered<'b>>,
    pub(crate) computed: Computed,
    pub(crate) edits: EditBuilder<'b>,
    /// The frontier where the pass stands.
    pub(crate) frontier: u64,
    /// The frontier's bound.
    pub(crate) latest: u64,
    pub(crate) judgement: Judgement,
    /// Runs whose verdict is remembered when it is known.
    pub(crate) learnt: Vec<Learnt>,
    /// Whether somebody asked for the numbers in bodies.
    pub(crate) wants_numbers: bool,
    is_spent: &'b mut dyn FnMut() -> bool,
    spent: bool,
}

impl<'b> Pass<'b> {
    pub(crate) fn new(
        number: u64,
        batch: Option<&'b LogBatch>,
        mut computed: Computed,
        settings: &'b Settings,
        is_spent: &'b mut dyn FnMut() -> bool,
    ) -> Self {
        computed.clear();
        let n_rows = batch.map_or(0, LogBatch::n_rows);
        Self {
            number,
            batch,
            lowered: batch.map(Lowered::new),
            computed,
            edits: EditBuilder::new(settings, n_rows),
            frontier: 0,
            latest: 0,
            judgement: Judgement::default(),
            learnt: Vec::new(),
            wants_numbers: false,
            is_spent,
            spent: false,
        }
    }

    /// Whether the time for this request is used up; stays so.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.spent = self.spent || (self.is_spent)();
        self.spent
    }

    pub(crate) fn finish(self) -> (Judgement, Computed) {
        let n_rows = self.computed.stream.len();
        let mut judgement = self.judgement;
        judgement.edits = self.edits.finish(n_rows);
        (judgement, self.computed)
    }
}
