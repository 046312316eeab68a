//! Rows that came before: they get what they got, and neither clocks, templates nor detectors hear of
//! them.

use petrel_batch::{LogBatch, ResourceRun, RowEdits, StreamId};

use crate::columns::Computed;
use crate::pass::Pass;
use crate::retries::{Learnt, Sight};
use crate::templates::TemplateId;
use crate::verdict::{Recorder, Verdict};
use crate::worker::Worker;
use crate::{Enrichment, Step};

impl Worker {
    /// Whether a run of a stream is a retry, which is dealt with then. Else it will be remembered.
    pub(crate) fn is_retry(
        &mut self,
        pass: &mut Pass<'_>,
        batch: &LogBatch,
        id: StreamId,
        run: &ResourceRun,
        steps: &mut &[Step],
    ) -> bool {
        let Some(digest) = run.digest else {
            return false;
        };
        let rows = run.rows.clone();
        while let Some((step, rest)) = steps.split_first()
            && step.place <= batch.places()[rows.start]
        {
            *steps = rest;
            self.step(pass, step, rows.start);
        }
        let sight = self
            .retries
            .look(id, digest, pass.frontier, pass.number, rows.start);
        match sight {
            Sight::New => {
                pass.learnt.push(Learnt {
                    stream: id,
                    digest,
                    rows,
                });
                return false;
            }
            Sight::ThisPass(source) if source + rows.len() <= rows.start => {
                self.pass_over(pass, id, run);
                pass.edits.push_copies(rows, source);
            }
            Sight::Before(verdict) => {
                self.pass_over(pass, id, run);
                self.enrich_as_before(pass, id, run, verdict);
            }
            // Two runs of one digest and different lengths: not made by a walk.
            Sight::ThisPass(_) => {
                self.pass_over(pass, id, run);
                self.enrich_as_before(pass, id, run, None);
            }
        }
        true
    }

    /// Shows detectors what comes before these rows, and lets them see nothing of these.
    fn pass_over(&mut self, pass: &mut Pass<'_>, id: StreamId, run: &ResourceRun) {
        self.flush_all(pass, run.rows.start);
        for instance in &mut self.instances {
            instance.pending_from = run.rows.end;
        }
        for _ in run.rows.clone() {
            pass.computed.push(id.0, None);
            if pass.wants_numbers {
                pass.computed.push_numbers(false);
            }
        }
        pass.judgement.tally.retries += run.rows.len() as u64;
        if let Some(stream) = self.streams.get_mut(id) {
            stream.last_row = (pass.number, run.rows.end - 1);
            stream.counts.retries += run.rows.len() as u64;
            stream.changed = true;
        }
    }

    fn enrich_as_before(
        &mut self,
        pass: &mut Pass<'_>,
        id: StreamId,
        run: &ResourceRun,
        verdict: Option<Verdict>,
    ) {
        if verdict.is_none() && self.settings.enrichment > Enrichment::None {
            pass.judgement.tally.retries_unenriched += run.rows.len() as u64;
        }
        let verdict = verdict.unwrap_or_default();
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        for index in 0..run.rows.len() {
            // A template that has merged since is told under its present name.
            let template = verdict.template(index).and_then(|(template, is_alone)| {
                let template = stream.miner.find(TemplateId(template))?;
                Some((template, is_alone))
            });
            let key = template.map(|(template, is_alone)| (template.id.0, is_alone));
            let text = || template.map(|(template, _)| template.text.clone());
            pass.edits
                .push_row(pass.number, &mut self.template_sets, key, text);
        }
        pass.edits.push_kept(&verdict, &run.rows);
    }

    /// Remembers what the runs of a finished pass got.
    pub(crate) fn remember(
        &mut self,
        learnt: Vec<Learnt>,
        batch: Option<&LogBatch>,
        edits: &RowEdits,
        computed: &Computed,
        latest: u64,
    ) {
        let (Some(batch), false) = (batch, learnt.is_empty()) else {
            return;
        };
        let mut recorder = Recorder::new(edits, computed);
        for Learnt {
            stream,
            digest,
            rows,
        } in learnt
        {
            // Before the frontier is known, the rows themselves say what time it is.
            let now = match self.frontier {
                0 => {
                    let times = batch.event_times()[rows.clone()].iter();
                    times.copied().filter(|&time| time <= latest).max()
                }
                frontier => Some(frontier),
            };
            let verdict = recorder.verdict(&rows).encode();
            self.retries.keep(
                stream,
                digest,
                self.passes,
                now.unwrap_or_default(),
                verdict,
            );
        }
    }
}
