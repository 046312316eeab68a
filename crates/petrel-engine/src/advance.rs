//! How time passes for detectors: rows are shown up to where a window closes, then the watermark is
//! told, and what is found becomes anomalies.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use petrel_batch::{DataType, EventTime, StreamId, names};
use petrel_detector::{Fault, Finding, Outcome, Watermark};

use crate::anomaly::{Found, NamedTemplate};
use crate::event::Emitter;
use crate::instance::Instance;
use crate::pass::Pass;
use crate::slot::Missing;
use crate::worker::Worker;
use crate::{Gap, Step};

/// Anomalies are looked at when a watermark crosses a minute.
const TICK: u64 = 60_000_000_000;
/// A part that makes up so much of the whole's deviation is looked at first.
const DOMINANT: f64 = 0.8;
const TRACES_MAX: usize = 5;
/// What stands for the text of a template that has made room for others.
const TEXT_GONE: &str = "(a template no longer kept)";

impl Worker {
    /// Moves the frontier, before the row at `row`: idle streams follow at their own distance.
    pub(crate) fn step(&mut self, pass: &mut Pass<'_>, step: &Step, row: usize) {
        if let Some(gap) = step.gap {
            self.note_gap(gap);
        }
        pass.frontier = pass.frontier.max(step.time.0);
        let mut due = Vec::new();
        for (id, stream) in self.streams.iter_mut() {
            if stream.clock.follow(pass.frontier, &self.clock) {
                stream.changed = true;
                if stream.clock.watermark >= stream.next_close {
                    due.push(id);
                }
            }
        }
        if !due.is_empty() {
            self.cross(pass, &due, row);
        }
    }

    /// The input as a whole was quiet: absence in it was no evidence.
    fn note_gap(&mut self, gap: Gap) {
        let max = self.settings.limits.incomplete_spans;
        for (id, stream) in self.streams.iter_mut() {
            let distance = stream.clock.distance();
            for instance in &mut self.instances {
                let missing = Missing {
                    from: gap.from.saturating_sub(distance),
                    to: gap.to.saturating_sub(distance),
                    share: 0.0,
                };
                instance.slot(id).miss(missing, max);
            }
        }
    }

    /// Closes the windows that these streams' watermarks have passed, before the row at `row`.
    pub(crate) fn cross(&mut self, pass: &mut Pass<'_>, ids: &[StreamId], row: usize) {
        for &id in ids {
            self.start(id);
        }
        for index in 0..self.instances.len() {
            self.close_windows(pass, index, ids, row);
        }
        for &id in ids {
            self.tick(pass, id);
        }
    }

    /// Sets a stream's clockwork up at its first record.
    fn start(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        if stream.facts.first == 0 {
            stream.facts.first = stream.clock.first;
        }
        let watermark = stream.clock.watermark;
        if watermark == 0 {
            return;
        }
        for instance in &mut self.instances {
            let told = watermark / instance.window * instance.window;
            let slot = instance.slot(id);
            if slot.told == 0 {
                slot.told = told;
            }
        }
        if stream.ticked == 0 {
            stream.ticked = watermark / TICK * TICK;
        }
    }

    fn close_windows(&mut self, pass: &mut Pass<'_>, index: usize, ids: &[StreamId], row: usize) {
        let instance = &mut self.instances[index];
        let window = instance.window;
        let mut due = Vec::new();
        for &id in ids {
            let watermark = self
                .streams
                .get(id)
                .map_or(0, |stream| stream.clock.watermark);
            let to = watermark / window * window;
            if to > instance.slot(id).told && instance.is_live() {
                due.push((id, to));
            }
        }
        if due.is_empty() {
            return;
        }
        let from = instance.pending_from;
        let shows = due.iter().any(|&(id, _)| {
            let stream = self.streams.get(id);
            stream.is_some_and(|stream| stream.has_rows_since(pass.number, from))
        });
        if shows || !instance.merges.is_empty() {
            self.flush(pass, index, row);
        }
        let instance = &mut self.instances[index];
        let mut pieces: Vec<_> = due
            .iter()
            .map(|&(id, to)| (id, instance.slot(id).pieces(to, window).into_iter()))
            .collect();
        loop {
            let next = pieces.iter_mut().filter_map(|(id, pieces)| {
                let (time, completeness) = pieces.next()?;
                Some(Watermark {
                    stream: *id,
                    time: EventTime(time),
                    completeness,
                })
            });
            let watermarks: Vec<_> = next.collect();
            if watermarks.is_empty() {
                return;
            }
            for chunk in watermarks.chunks(Watermark::STREAMS_MAX) {
                if let Err(fault) = self.advance(pass, index, chunk) {
                    return self.fail(pass, index, fault);
                }
            }
        }
    }

    fn advance(
        &mut self,
        pass: &mut Pass<'_>,
        index: usize,
        watermarks: &[Watermark],
    ) -> Result<(), Fault> {
        let instance = &mut self.instances[index];
        for watermark in watermarks {
            instance.slot(watermark.stream).completeness = watermark.completeness;
        }
        let outcome = instance.advance(watermarks)?;
        // Findings are read by the readiness of before: it holds until asked again.
        self.absorb(pass, index, outcome, 0);
        let instance = &mut self.instances[index];
        for watermark in watermarks {
            instance.ask_status(watermark.stream)?;
        }
        Ok(())
    }

    /// Looks at the stream's anomalies when a minute has passed, and sets when windows close next.
    fn tick(&mut self, pass: &mut Pass<'_>, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let watermark = stream.clock.watermark;
        if watermark == 0 {
            return;
        }
        let now = watermark / TICK * TICK;
        if now > stream.ticked {
            stream.ticked = now;
            let mut emitter = Emitter {
                stream: &stream.facts,
                settings: &self.settings,
                events: &mut pass.judgement.events,
                tally: &mut pass.judgement.tally,
            };
            stream.book.tick(now, &self.rules, &mut emitter);
        }
        stream.next_close = next_close(watermark, &self.instances);
    }

    /// Shows all instances the rows before `to`.
    pub(crate) fn flush_all(&mut self, pass: &mut Pass<'_>, to: usize) {
        for index in 0..self.instances.len() {
            self.flush(pass, index, to);
        }
    }

    /// Shows an instance the rows before `to` that it has not seen.
    pub(crate) fn flush(&mut self, pass: &mut Pass<'_>, index: usize, to: usize) {
        while self.instances[index].has_news(to) {
            let instance = &mut self.instances[index];
            let from = instance.pending_from;
            if pass.is_spent() {
                self.leave_out(pass, index, to);
                return;
            }
            match instance.observe(&pass.computed, pass.lowered.as_mut(), to) {
                Ok(outcome) => {
                    let n_rows = (instance.pending_from - from) as u64;
                    let name = std::sync::Arc::clone(instance.name());
                    *pass.judgement.tally.shown.entry(name).or_default() += n_rows;
                    self.absorb(pass, index, outcome, from);
                }
                Err(fault) => return self.fail(pass, index, fault),
            }
        }
    }

    /// Rows that an instance does not see, because the request has used its time up.
    fn leave_out(&mut self, pass: &mut Pass<'_>, index: usize, to: usize) {
        let max = self.settings.limits.incomplete_spans;
        let instance = &mut self.instances[index];
        let rows = instance.pending_from..to;
        instance.pending_from = to;
        pass.judgement.tally.over_budget += rows.len() as u64;
        let Some(batch) = pass.batch else { return };
        let mut spans: Vec<(u32, u64, u64)> = Vec::new();
        for row in rows {
            if let Some(stream) = self.streams.get_mut(StreamId(pass.computed.stream[row])) {
                stream.counts.over_budget += 1;
            }
            let (stream, time) = (pass.computed.stream[row], batch.event_times()[row]);
            match spans.iter_mut().find(|span| span.0 == stream) {
                Some(span) => (span.1, span.2) = (span.1.min(time), span.2.max(time + 1)),
                None => spans.push((stream, time, time + 1)),
            }
        }
        for (stream, from, to) in spans {
            let missing = Missing {
                from,
                to,
                share: 0.0,
            };
            instance.slot(StreamId(stream)).miss(missing, max);
        }
    }

    /// Turns what a call found into anomalies; `from` is the batch's row of the call's first.
    fn absorb(&mut self, pass: &mut Pass<'_>, index: usize, outcome: Outcome, from: usize) {
        let instance = &mut self.instances[index];
        let judgement = &mut pass.judgement;
        if !outcome.findings.is_empty() {
            let name = std::sync::Arc::clone(instance.name());
            *judgement.tally.findings.entry(name).or_default() += outcome.findings.len() as u64;
        }
        judgement.tally.omitted += u64::from(outcome.omitted);
        for annotation in &outcome.annotations {
            pass.edits
                .push_annotation(&instance.provenance.name, annotation, from);
        }
        for position in in_order(&outcome.findings) {
            let finding = &outcome.findings[position];
            let stream = self.streams.get_mut(finding.stream);
            let (Some(stream), Some(_)) = (stream, instance.kinds.get(finding.kind as usize))
            else {
                judgement.tally.omitted += 1;
                continue;
            };
            let slot = instance.slot(finding.stream);
            let (level, completeness) = (slot.level(finding.kind as usize), slot.completeness);
            let template = finding.template.map(|template| {
                let known = stream.miner.find(crate::templates::TemplateId(template.0));
                NamedTemplate {
                    id: known.map_or(template.0, |known| known.id.0),
                    text: known.map_or_else(|| TEXT_GONE.into(), |known| known.text.clone()),
                }
            });
            let is_from_rows = !finding.rows.is_empty();
            let found = Found {
                finding,
                kind: &instance.kinds[finding.kind as usize],
                provenance: &instance.provenance,
                level,
                template,
                completeness: if is_from_rows { 1.0 } else { completeness },
                trace_ids: trace_ids(pass.batch, finding, from),
            };
            let mut emitter = Emitter {
                stream: &stream.facts,
                settings: &self.settings,
                events: &mut judgement.events,
                tally: &mut judgement.tally,
            };
            let belongs = stream.book.absorb(&found, &self.rules, &mut emitter);
            stream.changed = true;
            if let Some(belongs) = belongs {
                pass.edits.push_belongs(&finding.rows, from, &belongs);
            }
        }
    }
}

/// The next watermark at which a window or a minute ends.
pub(crate) fn next_close(watermark: u64, instances: &[Instance]) -> u64 {
    let windows = instances
        .iter()
        .map(|instance| instance.window)
        .chain([TICK]);
    let ends = windows.map(|window| (watermark / window + 1).saturating_mul(window));
    ends.min().unwrap_or(u64::MAX)
}

/// The order in which the findings of one call are taken: by stream and time, wholes before their
/// parts unless one part is nearly all of the whole, then the oddest first.
fn in_order(findings: &[Finding]) -> Vec<usize> {
    let mut order: Vec<_> = (0..findings.len()).collect();
    if findings.len() < 2 {
        return order;
    }
    let moment = |finding: &Finding| {
        let first_row = finding.rows.first().copied().unwrap_or(0);
        (finding.stream, first_row, finding.end)
    };
    let excess = |finding: &Finding| match (finding.observed, finding.expected) {
        (Some(observed), Some(expected)) => (observed - expected).abs(),
        _ => 0.0,
    };
    let is_total = |finding: &Finding| finding.template.is_none() && finding.series.is_empty();
    let rank = |finding: &Finding| {
        if !is_total(finding) {
            return 1;
        }
        let is_part = |other: &&Finding| {
            !is_total(other)
                && moment(other) == moment(finding)
                && (other.kind, other.direction) == (finding.kind, finding.direction)
        };
        let largest = findings
            .iter()
            .filter(is_part)
            .map(excess)
            .fold(0.0, f64::max);
        if largest > 0.0 && largest >= DOMINANT * excess(finding) {
            2
        } else {
            0
        }
    };
    let ranks: Vec<_> = findings.iter().map(rank).collect();
    order.sort_by(|&a, &b| {
        let (one, other) = (&findings[a], &findings[b]);
        moment(one)
            .cmp(&moment(other))
            .then(ranks[a].cmp(&ranks[b]))
            .then_with(|| other.score.total_cmp(&one.score))
    });
    order
}

/// Traces of the rows that show a finding, where somebody asked for them.
fn trace_ids(
    batch: Option<&petrel_batch::LogBatch>,
    finding: &Finding,
    from: usize,
) -> Vec<String> {
    let column = batch.and_then(|batch| {
        let types = [DataType::Utf8, DataType::Dictionary];
        types
            .iter()
            .find_map(|&data_type| batch.column(names::TRACE_ID, data_type))
    });
    let Some(texts) = column.and_then(|column| column.as_string_view_opt()) else {
        return Vec::new();
    };
    let mut ids: Vec<String> = Vec::new();
    for row in finding.rows.iter().map(|&row| row as usize + from) {
        if row < texts.len() && texts.is_valid(row) && ids.len() < TRACES_MAX {
            let id = texts.value(row);
            if !id.is_empty() && !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
    ids
}
