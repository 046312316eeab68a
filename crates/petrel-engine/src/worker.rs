//! A worker: owns streams and its own instances of the detectors, and judges the rows of requests in
//! the order of their sequence numbers.

use std::sync::Arc;

use petrel_batch::{ColumnRequest, DataType, EventTime, LogBatch, Resource, ResourceRun};
use petrel_batch::{StreamId, StreamKey, names};

use crate::book::Rules;
use crate::columns::Computed;
use crate::enrichment::TemplateSets;
use crate::instance::Instance;
use crate::mining::{Bodies, fixed_templates};
use crate::pass::{Judgement, Pass};
use crate::retries::Retries;
use crate::slot::Missing;
use crate::streams::{Met, StreamTable};
use crate::templates::Change;
use crate::watermark::{Arrival, ClockSettings};
use crate::{Frontier, Settings, StreamCounts};

/// Owns streams and detectors; pure: same calls, same answers.
pub struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) rules: Rules,
    pub(crate) clock: ClockSettings,
    pub(crate) streams: StreamTable,
    pub(crate) instances: Vec<Instance>,
    pub(crate) saved_bytes: usize,
    /// The frontier as last told.
    pub(crate) frontier: u64,
    /// State was restored after an interruption: what is missing ends where input begins again.
    pub(crate) is_interrupted: bool,
    /// Templates that are never announced as created.
    pub(crate) fixed: [u64; 3],
    pub(crate) passes: u64,
    computed: Computed,
    pub(crate) template_sets: TemplateSets,
    pub(crate) retries: Retries,
    pub(crate) changes: Vec<Change>,
}

impl Worker {
    /// A worker without streams and without detectors.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            rules: Rules::new(&settings),
            clock: ClockSettings::new(&settings),
            streams: StreamTable::new(&settings.limits),
            retries: Retries::new(&settings),
            settings,
            instances: Vec::new(),
            saved_bytes: 0,
            frontier: 0,
            is_interrupted: false,
            fixed: fixed_templates(),
            passes: 0,
            computed: Computed::default(),
            template_sets: TemplateSets::new(),
            changes: Vec::new(),
        }
    }

    /// The columns that must be read from requests: for the miner and for the detectors' plans.
    /// Changes only when detectors come, go or are replaced.
    #[must_use]
    pub fn column_requests(&self) -> Vec<ColumnRequest> {
        let mut requests = Vec::new();
        if self.settings.templates {
            requests.push(ColumnRequest::new(names::BODY, DataType::Utf8));
            for name in names::TEMPLATE_ATTRIBUTES {
                let name = format!("{}{name}", names::ATTRIBUTE_PREFIX);
                requests.push(ColumnRequest::new(name, DataType::Utf8));
            }
        }
        for instance in &self.instances {
            requests.extend(instance.plan.columns.iter().cloned());
        }
        requests
    }

    /// Number of streams owned.
    #[must_use]
    pub fn n_streams(&self) -> usize {
        self.streams.len()
    }

    /// Judges the next request: the rows of it that are this worker's, none when it only hears of
    /// the frontier.
    pub fn judge(
        &mut self,
        sequence: u64,
        batch: Option<&LogBatch>,
        frontier: &Frontier,
    ) -> Judgement {
        self.judge_within(sequence, batch, frontier, &mut || false)
    }

    /// The same, but asks `is_spent` before each call of a detector: once it says yes, detectors do
    /// not see the rest of the request's rows, which counts as missing input.
    pub fn judge_within(
        &mut self,
        sequence: u64,
        batch: Option<&LogBatch>,
        frontier: &Frontier,
        is_spent: &mut dyn FnMut() -> bool,
    ) -> Judgement {
        self.passes += 1;
        let settings = Arc::clone(&self.settings);
        let computed = std::mem::take(&mut self.computed);
        let mut pass = Pass::new(self.passes, batch, computed, &settings, is_spent);
        pass.judgement.sequence = sequence;
        pass.judgement.gaps = frontier.steps.iter().filter_map(|step| step.gap).collect();
        pass.wants_numbers = self.instances.iter().any(Instance::wants_numbers);
        pass.frontier = frontier.before.0.max(self.frontier);
        pass.latest = frontier.latest.0;
        self.end_interruption(frontier.after().0);
        self.revive_due(&mut pass);
        for instance in &mut self.instances {
            instance.pending_from = 0;
        }
        let mut steps = frontier.steps.as_slice();
        if let Some(batch) = batch {
            let bodies = Bodies::of(batch, settings.templates);
            for run in batch.runs() {
                self.judge_run(&mut pass, batch, run, &bodies, &mut steps);
            }
            pass.judgement.tally.rows = batch.n_rows() as u64;
        }
        let n_rows = pass.computed.stream.len();
        for step in steps {
            self.step(&mut pass, step, n_rows);
        }
        self.flush_all(&mut pass, n_rows);
        self.frontier = pass.frontier;
        let learnt = std::mem::take(&mut pass.learnt);
        let (judgement, computed) = pass.finish();
        self.remember(
            learnt,
            batch,
            &judgement.edits,
            &computed,
            frontier.latest.0,
        );
        self.computed = computed;
        judgement
    }

    /// So many records of a stream between two event times, both included, went on unseen, since there
    /// was no time for them: their absence is no evidence. A stream that is not known has none to miss.
    pub fn miss(&mut self, stream: &StreamKey, from: EventTime, to: EventTime, n_records: u64) {
        let Some(id) = self.streams.find(stream) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.counts.missed += n_records;
            stream.changed = true;
        }
        let missing = Missing {
            from: from.0,
            to: to.0.saturating_add(1),
            share: 0.0,
        };
        let max = self.settings.limits.incomplete_spans;
        for instance in &mut self.instances {
            instance.slot(id).miss(missing, max);
        }
    }

    fn judge_run(
        &mut self,
        pass: &mut Pass<'_>,
        batch: &LogBatch,
        run: &ResourceRun,
        bodies: &Bodies<'_>,
        steps: &mut &[crate::Step],
    ) {
        let id = self.enter(pass, &run.resource);
        if self.is_retry(pass, batch, id, run, steps) {
            return;
        }
        let times = batch.event_times();
        let places = batch.places();
        for row in run.rows.clone() {
            while let Some((step, rest)) = steps.split_first()
                && step.place <= places[row]
            {
                *steps = rest;
                self.step(pass, step, row);
            }
            let time = times[row];
            let stream = self
                .streams
                .get_mut(id)
                .expect("no stream leaves during its run");
            let arrival = stream
                .clock
                .arrive(time, pass.frontier, pass.latest, &self.clock);
            if stream.clock.watermark >= stream.next_close {
                self.cross(pass, &[id], row);
            }
            self.template_row(pass, id, row, time, bodies);
            if arrival != Arrival::InTime {
                self.note_arrival(pass, id, arrival, row);
            }
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.counts.records += run.rows.len() as u64;
            stream.changed = true;
        }
    }

    /// The stream of a run; a new one may need room.
    fn enter(&mut self, pass: &mut Pass<'_>, resource: &Arc<Resource>) -> StreamId {
        let id = match self.streams.by_address(resource) {
            Some(id) => id,
            None => {
                if self.streams.is_full() && self.streams.find(&resource.stream).is_none() {
                    self.make_room(pass);
                }
                let (id, met) = self.streams.meet(resource, &self.settings);
                pass.judgement.tally.streams_new += u64::from(met != Met::Known);
                pass.judgement.tally.streams_returned += u64::from(met == Met::Returned);
                id
            }
        };
        for instance in &mut self.instances {
            if instance.slot(id).retell {
                instance.slot(id).retell = false;
                if let Some(stream) = self.streams.get(id).filter(|_| instance.wants_templates()) {
                    stream
                        .miner
                        .templates()
                        .for_each(|template| instance.tell(id, template));
                }
            }
        }
        id
    }

    /// Hands the least recently seen stream out and forgets it.
    fn make_room(&mut self, pass: &mut Pass<'_>) {
        let Some(id) = self.streams.idlest() else {
            return;
        };
        let n_rows = pass.computed.stream.len();
        if self
            .streams
            .get(id)
            .is_some_and(|stream| stream.has_rows_since(pass.number, 0))
        {
            self.flush_all(pass, n_rows);
        }
        let (state, changes) = self.state_of(id);
        pass.judgement.evicted.extend(state);
        pass.judgement.changes.extend(changes);
        for index in 0..self.instances.len() {
            self.drop_saved(index, id);
            if let Err(fault) = self.instances[index].forget(id) {
                self.fail(pass, index, fault);
            }
        }
        self.retries.forget(id);
        self.streams.remove(id);
        pass.judgement.tally.streams_evicted += 1;
    }

    /// Counts a row that is not in time, and keeps detectors from seeing what nobody can use.
    fn note_arrival(&mut self, pass: &mut Pass<'_>, id: StreamId, arrival: Arrival, row: usize) {
        let tally = &mut pass.judgement.tally;
        let mut nobody = StreamCounts::default();
        let stream = self.streams.get_mut(id);
        let counts = stream.map_or(&mut nobody, |stream| &mut stream.counts);
        let (in_all, of_stream) = match arrival {
            Arrival::InTime => return,
            Arrival::Late => (&mut tally.late, &mut counts.late),
            Arrival::BeyondUse => (&mut tally.beyond_use, &mut counts.too_late),
            Arrival::InDoubt => (&mut tally.in_doubt, &mut counts.too_far_ahead),
        };
        *in_all += 1;
        *of_stream += 1;
        if arrival == Arrival::Late {
            return;
        }
        self.flush_all(pass, row);
        for instance in &mut self.instances {
            instance.pending_from = row + 1;
        }
    }
}
