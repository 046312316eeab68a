//! One instance of a detector in a worker: its plan, its health, and what it has been told of each
//! stream.

use std::sync::Arc;

use petrel_batch::{ColumnRequest, ColumnSet, EventTime, StreamId, Values, names};
use petrel_detector::{
    Batch, Descriptor, Detector, Fault, FaultKind, Outcome, Plan, Template, TemplateId,
    TemplateMerge, Watermark,
};

use crate::columns::{Computed, Lowered, Source, column};
use crate::detectors::{DetectorSpec, KindFacts, Provenance};
use crate::settings::nanos;
use crate::slot::Slot;
use crate::{EngineError, Settings};

/// Shortest window of the contract: one second.
const WINDOW_MIN: u64 = 1_000_000_000;
const KINDS_MAX: usize = 32;
const COLUMNS_MAX: usize = 64;

/// How an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is called.
    Live,
    /// It is switched off; records pass without it, and it keeps what it knows.
    Disabled,
    /// It faulted and waits to be rebuilt; records pass without it.
    Quarantined {
        /// Class of the fault.
        kind: FaultKind,
        /// What happened.
        reason: String,
        /// Frontier from which on it is rebuilt.
        until: EventTime,
    },
}

/// An instance changed its health, or a detector came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// Name of the detector.
    pub detector: Arc<str>,
    /// Its health now.
    pub health: Health,
}

/// An instance and all that goes with it.
pub(crate) struct Instance {
    pub(crate) spec: DetectorSpec,
    pub(crate) provenance: Provenance,
    pub(crate) state_version: u32,
    pub(crate) plan: Plan,
    pub(crate) kinds: Vec<KindFacts>,
    pub(crate) window: u64,
    health: Health,
    /// Switched off, in whatever health.
    pub(crate) is_off: bool,
    detector: Option<Box<dyn Detector + Send>>,
    slots: Vec<Slot>,
    column_set: Option<Arc<ColumnSet>>,
    sources: Vec<Source>,
    templates: Vec<Template>,
    pub(crate) merges: Vec<TemplateMerge>,
    /// First row of the pass that it has not seen.
    pub(crate) pending_from: usize,
    backoff: u64,
    last_fault: u64,
}

impl Instance {
    /// A configured instance that knows no stream.
    pub(crate) fn build(spec: DetectorSpec) -> Result<Self, EngineError> {
        let refuse = |detector: &str, fault: Fault| EngineError::Build {
            detector: detector.to_owned(),
            fault,
        };
        let mut detector = spec
            .module
            .instantiate()
            .map_err(|fault| refuse(spec.module.digest(), fault))?;
        let descriptor = detector
            .describe()
            .map_err(|fault| refuse(spec.module.digest(), fault))?;
        let plan = detector
            .configure(&spec.settings)
            .map_err(|fault| refuse(&descriptor.name, fault))?;
        check_plan(&descriptor, &plan)?;
        Ok(Self {
            provenance: Provenance::new(&descriptor, &spec),
            state_version: descriptor.state_version,
            kinds: plan
                .kinds
                .iter()
                .map(|kind| KindFacts::new(&descriptor.name, kind))
                .collect(),
            window: nanos(plan.window),
            plan,
            spec,
            health: Health::Live,
            is_off: false,
            detector: Some(detector),
            slots: Vec::new(),
            column_set: None,
            sources: Vec::new(),
            templates: Vec::new(),
            merges: Vec::new(),
            pending_from: 0,
            backoff: 0,
            last_fault: 0,
        })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.provenance.name
    }

    /// Whether it is shown anything.
    pub(crate) fn is_live(&self) -> bool {
        self.detector.is_some() && !self.is_off
    }

    pub(crate) fn health(&self) -> Health {
        if self.is_off {
            Health::Disabled
        } else {
            self.health.clone()
        }
    }

    fn asks_for(&self, name: &str) -> bool {
        self.plan.columns.iter().any(|column| column.name == name)
    }

    pub(crate) fn wants_templates(&self) -> bool {
        self.asks_for(names::TEMPLATE)
    }

    pub(crate) fn wants_numbers(&self) -> bool {
        self.asks_for(names::BODY_NUMBERS)
    }

    /// The same, if it has been told anything.
    pub(crate) fn known_slot(&self, stream: StreamId) -> Option<&Slot> {
        self.slots.get(stream.0 as usize)
    }

    /// What it has been told of a stream.
    pub(crate) fn slot(&mut self, stream: StreamId) -> &mut Slot {
        let index = stream.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        &mut self.slots[index]
    }

    /// Queues a template to be told with the next rows.
    pub(crate) fn tell(&mut self, stream: StreamId, template: &crate::templates::Template) {
        if self.is_live() {
            self.templates.push(Template {
                stream,
                id: TemplateId(template.id.0),
                text: template.text.to_string(),
                failure: template.failure,
            });
        }
    }

    /// Queues a merge to be told with the next rows, or, at most `max`, for when it is on again.
    pub(crate) fn merge(&mut self, stream: StreamId, source: u64, target: u64, max: usize) {
        if self.is_off {
            let merges = &mut self.slot(stream).merges;
            if merges.len() >= max {
                merges.remove(0);
            }
            merges.push((source, target));
        } else if self.is_live() {
            self.merges.push(TemplateMerge {
                stream,
                source: TemplateId(source),
                target: TemplateId(target),
            });
        }
    }

    /// Whether an `observe` is due before row `to`.
    pub(crate) fn has_news(&self, to: usize) -> bool {
        self.is_live() && (self.pending_from < to || !self.merges.is_empty())
    }

    /// Shows it the rows up to `to`, at most as many as one call may have.
    pub(crate) fn observe(
        &mut self,
        computed: &Computed,
        lowered: Option<&mut Lowered<'_>>,
        to: usize,
    ) -> Result<Outcome, Fault> {
        let Some(detector) = &mut self.detector else {
            return Ok(Outcome::default());
        };
        let from = self.pending_from;
        let to = to.max(from).min(from + Batch::ROWS_MAX);
        self.pending_from = to;
        let mut columns = Vec::with_capacity(self.plan.columns.len());
        if let Some(lowered) = lowered {
            prepare(
                &self.plan.columns,
                lowered,
                &mut self.column_set,
                &mut self.sources,
            );
            let sources = self.sources.iter();
            columns.extend(sources.map(|&source| column(source, computed, lowered, from..to)));
        } else {
            columns.resize_with(self.plan.columns.len(), || {
                petrel_batch::Column::full(Values::Absent)
            });
        }
        let is_missing = columns
            .iter()
            .zip(&self.plan.columns)
            .any(|(column, request)| request.required && matches!(column.values, Values::Absent));
        let rows = if is_missing { 0 } else { to - from };
        if rows == 0 {
            if self.templates.is_empty() && self.merges.is_empty() {
                return Ok(Outcome::default());
            }
            for column in &mut columns {
                *column = petrel_batch::Column::full(Values::Absent);
            }
        }
        detector.observe(&Batch {
            rows: rows as u32,
            columns,
            templates: std::mem::take(&mut self.templates),
            merges: std::mem::take(&mut self.merges),
        })
    }

    pub(crate) fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        match &mut self.detector {
            Some(detector) => detector.advance(watermarks),
            None => Ok(Outcome::default()),
        }
    }

    /// Asks how far a stream is learnt and keeps the answer.
    pub(crate) fn ask_status(&mut self, stream: StreamId) -> Result<(), Fault> {
        let Some(detector) = &mut self.detector else {
            return Ok(());
        };
        let readiness = detector.status(stream)?;
        self.slot(stream).readiness = readiness;
        Ok(())
    }

    /// The live detector's bytes of a stream; `None` when it is quarantined.
    pub(crate) fn save(&mut self, stream: StreamId) -> Result<Option<Vec<u8>>, Fault> {
        match &mut self.detector {
            Some(detector) => detector.save(stream).map(Some),
            None => Ok(None),
        }
    }

    /// Puts bytes back and asks how far they go.
    pub(crate) fn load(
        &mut self,
        stream: StreamId,
        version: u32,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        if let Some(detector) = &mut self.detector {
            detector.load(stream, version, bytes)?;
            self.ask_status(stream)?;
        }
        Ok(())
    }

    /// Drops all it knows of a stream.
    pub(crate) fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        *self.slot(stream) = Slot::default();
        self.templates.retain(|template| template.stream != stream);
        self.merges.retain(|merge| merge.stream != stream);
        match &mut self.detector {
            Some(detector) => detector.forget(stream),
            None => Ok(()),
        }
    }

    /// Quarantines it after a fault.
    pub(crate) fn fail(
        &mut self,
        fault: Fault,
        frontier: u64,
        settings: &Settings,
    ) -> HealthChange {
        self.detector = None;
        self.templates.clear();
        self.merges.clear();
        let healthy = frontier.saturating_sub(self.last_fault) >= nanos(settings.healthy_after);
        self.backoff = if self.backoff == 0 || healthy {
            nanos(settings.backoff_min)
        } else {
            (self.backoff * 2).min(nanos(settings.backoff_max))
        };
        self.last_fault = frontier;
        self.health = Health::Quarantined {
            kind: fault.kind,
            reason: fault.to_string(),
            until: EventTime(frontier.saturating_add(self.backoff)),
        };
        self.change()
    }

    /// Whether its time in quarantine is over.
    pub(crate) fn is_due(&self, frontier: u64) -> bool {
        !self.is_off
            && matches!(self.health, Health::Quarantined { until, .. } if frontier >= until.0)
    }

    /// A new detector in place of the one that faulted; it knows no stream yet.
    pub(crate) fn revive(&mut self) -> Result<(), Fault> {
        let mut detector = self.spec.module.instantiate()?;
        detector.configure(&self.spec.settings)?;
        self.detector = Some(detector);
        self.health = Health::Live;
        Ok(())
    }

    pub(crate) fn change(&self) -> HealthChange {
        HealthChange {
            detector: Arc::clone(self.name()),
            health: self.health(),
        }
    }
}

/// Finds the sources of the columns in a batch's set, once for each set, and has them lowered.
fn prepare(
    requests: &[ColumnRequest],
    lowered: &mut Lowered<'_>,
    column_set: &mut Option<Arc<ColumnSet>>,
    sources: &mut Vec<Source>,
) {
    let set = lowered.column_set();
    if !column_set
        .as_ref()
        .is_some_and(|known| Arc::ptr_eq(known, set))
    {
        *sources = requests
            .iter()
            .map(|request| Source::of(request, set))
            .collect();
        *column_set = Some(Arc::clone(set));
    }
    for source in sources {
        if let Source::Batch(index) = *source {
            lowered.ensure(index);
        }
    }
}

fn check_plan(descriptor: &Descriptor, plan: &Plan) -> Result<(), EngineError> {
    let refuse = |rule: String| {
        Err(EngineError::Plan {
            detector: descriptor.name.clone(),
            rule,
        })
    };
    if nanos(plan.window) < WINDOW_MIN {
        return refuse(format!(
            "a window of {:?}, the least is one second",
            plan.window
        ));
    }
    if plan.kinds.is_empty() || plan.kinds.len() > KINDS_MAX {
        return refuse(format!(
            "{} kinds, 1 to {KINDS_MAX} are allowed",
            plan.kinds.len()
        ));
    }
    if plan.columns.len() > COLUMNS_MAX {
        return refuse(format!(
            "{} columns, at most {COLUMNS_MAX} are allowed",
            plan.columns.len()
        ));
    }
    Ok(())
}
