//! Detectors come, go, fault and are replaced, while their streams' knowledge stays.

use std::sync::Arc;
use std::time::Duration;

use petrel_batch::{ColumnRequest, StreamId};
use petrel_detector::{Fault, Kind};

use crate::advance::next_close;
use crate::instance::{Health, HealthChange, Instance};
use crate::pass::Pass;
use crate::slot::{Missing, Saved, Slot};
use crate::worker::Worker;
use crate::{DetectorSpec, EngineError};

/// A detector as a worker runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorStatus {
    /// Name by its descriptor.
    pub name: Arc<str>,
    /// Version by its descriptor.
    pub version: Arc<str>,
    /// `sha256:` and hex, or `native:` and a name.
    pub module_digest: Arc<str>,
    /// `sha256:` and hex of its settings.
    pub config_digest: Arc<str>,
    /// How it is doing.
    pub health: Health,
    /// What it asks for.
    pub columns: Vec<ColumnRequest>,
    /// What it finds.
    pub kinds: Vec<Kind>,
    /// Its window.
    pub window: Duration,
}

/// A detector that has been built and has taken over what its predecessor knew, ready to be put in
/// its place by [`Worker::commit`] before the worker judges again.
pub struct Prepared {
    instance: Instance,
}

impl Prepared {
    /// The detector as it will run.
    #[must_use]
    pub fn status(&self) -> DetectorStatus {
        status_of(&self.instance)
    }
}

impl Worker {
    /// Adds a detector. It learns each stream from here on.
    ///
    /// # Errors
    /// [`EngineError::Build`] and [`EngineError::Plan`] when it cannot be built,
    /// [`EngineError::Duplicate`] when there is one of its name; nothing has changed then.
    pub fn add(&mut self, spec: DetectorSpec) -> Result<DetectorStatus, EngineError> {
        let mut instance = Instance::build(spec)?;
        if self.position(instance.name()).is_some() {
            return Err(EngineError::Duplicate {
                detector: instance.name().to_string(),
            });
        }
        for id in self.streams.ids() {
            if let Some(stream) = self.streams.get(id) {
                let slot = instance.slot(id);
                slot.retell = true;
                slot.told = stream.clock.watermark;
            }
        }
        let window = instance.window;
        for id in self.streams.ids() {
            let slot = instance.slot(id);
            slot.told = slot.told / window * window;
        }
        let status = status_of(&instance);
        self.instances.push(instance);
        // One order in every worker and after every restart: that of the names.
        self.instances.sort_by(|a, b| a.name().cmp(b.name()));
        self.reset_closings();
        Ok(status)
    }

    /// Takes a detector out, with all it knows; its open anomalies end by themselves.
    ///
    /// # Errors
    /// [`EngineError::Unknown`] when there is none of that name.
    pub fn remove(&mut self, detector: &str) -> Result<(), EngineError> {
        let index = self
            .position(detector)
            .ok_or_else(|| EngineError::Unknown {
                detector: detector.to_owned(),
            })?;
        for id in self.streams.ids() {
            self.drop_saved(index, id);
        }
        self.instances.remove(index);
        self.reset_closings();
        Ok(())
    }

    /// Puts a new module or new settings in the place of the detector of the same name, with all
    /// that the old one knows: [`Worker::prepare`] and [`Worker::commit`].
    ///
    /// # Errors
    /// Those of [`Worker::prepare`]; the old one stays then.
    pub fn replace(&mut self, spec: DetectorSpec) -> Result<DetectorStatus, EngineError> {
        let prepared = self.prepare(spec)?;
        Ok(self.commit(prepared))
    }

    /// Builds a detector and hands the knowledge of the one with its name over, stream by stream.
    /// The old one goes on until [`Worker::commit`], which must come before anything is judged.
    ///
    /// # Errors
    /// [`EngineError::Build`] and [`EngineError::Plan`] when it cannot be built,
    /// [`EngineError::Unknown`] when there is none of its name, [`EngineError::HandOver`] when it
    /// refuses the old one's state. The old one is untouched.
    pub fn prepare(&mut self, spec: DetectorSpec) -> Result<Prepared, EngineError> {
        let mut instance = Instance::build(spec)?;
        let name = Arc::clone(instance.name());
        let index = self.position(&name).ok_or_else(|| EngineError::Unknown {
            detector: name.to_string(),
        })?;
        for id in self.streams.ids() {
            self.hand_over(index, &mut instance, id).map_err(|fault| {
                let stream = self.streams.get(id);
                EngineError::HandOver {
                    detector: name.to_string(),
                    stream: stream.map_or_else(String::new, |stream| stream.facts.key.to_string()),
                    fault,
                }
            })?;
        }
        instance.is_off = self.instances[index].is_off;
        Ok(Prepared { instance })
    }

    /// Puts a prepared detector in the place of the one with its name.
    pub fn commit(&mut self, prepared: Prepared) -> DetectorStatus {
        let status = status_of(&prepared.instance);
        match self.position(prepared.instance.name()) {
            Some(index) => self.instances[index] = prepared.instance,
            None => self.instances.push(prepared.instance),
        }
        self.reset_closings();
        status
    }

    /// Switches a detector off, so that it is shown nothing and finds nothing, or on again. It keeps what
    /// it knows, and is still saved; the time it was off counts as missing input, so that nothing is
    /// held to have been absent in it. Returns its health if that changed.
    ///
    /// # Errors
    /// [`EngineError::Unknown`] when there is none of that name.
    pub fn set_detector_enabled(
        &mut self,
        detector: &str,
        is_enabled: bool,
    ) -> Result<Option<HealthChange>, EngineError> {
        let index = self
            .position(detector)
            .ok_or_else(|| EngineError::Unknown {
                detector: detector.to_owned(),
            })?;
        if self.instances[index].is_off != is_enabled {
            return Ok(None);
        }
        self.instances[index].is_off = !is_enabled;
        for id in self.streams.ids() {
            if is_enabled {
                self.end_pause(index, id);
            } else if let Some(stream) = self.streams.get(id) {
                let slot = self.instances[index].slot(id);
                slot.off_from = stream.clock.newest().saturating_add(1);
            }
        }
        Ok(Some(self.instances[index].change()))
    }

    /// A stream's time without a detector is over.
    fn end_pause(&mut self, index: usize, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        stream.changed = true;
        self.is_interrupted |= self.frontier == 0;
        let limits = &self.settings.limits;
        let instance = &mut self.instances[index];
        let slot = instance.slot(id);
        let missing = Missing {
            from: match std::mem::take(&mut slot.off_from) {
                0 => stream.clock.first,
                from => from,
            },
            // Before the first request of this worker nobody knows what time it is.
            to: match self.frontier {
                0 => u64::MAX,
                frontier => stream.clock.newest().saturating_add(1).max(frontier),
            },
            share: 0.0,
        };
        slot.miss(missing, limits.incomplete_spans);
        slot.retell = true;
        for (source, target) in std::mem::take(&mut slot.merges) {
            instance.merge(id, source, target, limits.merges_remembered);
        }
    }

    /// The detectors, by name.
    #[must_use]
    pub fn detectors(&self) -> Vec<DetectorStatus> {
        self.instances.iter().map(status_of).collect()
    }

    fn position(&self, detector: &str) -> Option<usize> {
        self.instances
            .iter()
            .position(|instance| &**instance.name() == detector)
    }

    fn hand_over(&mut self, index: usize, new: &mut Instance, id: StreamId) -> Result<(), Fault> {
        let old = &mut self.instances[index];
        let saved = old.slot(id).saved.clone();
        let version = old.state_version;
        let (version, bytes, told) = match old.save(id) {
            Ok(Some(bytes)) => (version, bytes, old.slot(id).told),
            // A quarantined one, or one that cannot even save, gives what it saved last.
            Ok(None) | Err(_) => match &saved {
                Some(saved) => (saved.version, saved.bytes.to_vec(), saved.told),
                None => (version, Vec::new(), old.slot(id).told),
            },
        };
        let Slot {
            missing,
            off_from,
            merges,
            ..
        } = old.slot(id).clone();
        let slot = new.slot(id);
        (slot.off_from, slot.merges) = (off_from, merges);
        slot.retell = true;
        slot.missing = missing;
        slot.saved = saved;
        let window = new.window;
        new.slot(id).told = told / window * window;
        if bytes.is_empty() {
            return Ok(());
        }
        new.load(id, version, &bytes)
    }

    /// After windows have changed, all streams look anew when the next one closes.
    fn reset_closings(&mut self) {
        for (_, stream) in self.streams.iter_mut() {
            if stream.next_close > 0 {
                stream.next_close = next_close(stream.clock.watermark, &self.instances);
            }
        }
    }

    /// Quarantines an instance after a fault; the others and the records are not touched.
    pub(crate) fn fail(&mut self, pass: &mut Pass<'_>, index: usize, fault: Fault) {
        let instance = &mut self.instances[index];
        let key = (Arc::clone(instance.name()), fault.kind.as_str());
        *pass.judgement.tally.faults.entry(key).or_default() += 1;
        let change = instance.fail(fault, pass.frontier, &self.settings);
        pass.judgement.changes.push(change);
    }

    /// Rebuilds the instances whose time in quarantine is over.
    pub(crate) fn revive_due(&mut self, pass: &mut Pass<'_>) {
        for index in 0..self.instances.len() {
            if !self.instances[index].is_due(pass.frontier) {
                continue;
            }
            match self.revive(index) {
                Ok(()) => pass.judgement.changes.push(self.instances[index].change()),
                Err(fault) => self.fail(pass, index, fault),
            }
        }
    }

    /// A new instance from what the old one saved last; what came since counts as missing.
    fn revive(&mut self, index: usize) -> Result<(), Fault> {
        let max = self.settings.limits.incomplete_spans;
        let merges_max = self.settings.limits.merges_remembered;
        let instance = &mut self.instances[index];
        instance.revive()?;
        let window = instance.window;
        for id in self.streams.ids() {
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            let saved = instance.slot(id).saved.clone();
            let watermark = stream.clock.watermark / window * window;
            let mut told = watermark;
            if let Some(Saved {
                version,
                bytes,
                told: at,
            }) = &saved
            {
                match instance.load(id, *version, bytes) {
                    Ok(()) => {
                        told = *at;
                        let merges = stream.merges.iter();
                        merges.for_each(|&(source, target)| {
                            instance.merge(id, source, target, merges_max);
                        });
                    }
                    Err(fault) if fault.kind.survives() => {}
                    Err(fault) => return Err(fault),
                }
            }
            let slot = instance.slot(id);
            slot.retell = true;
            slot.told = told;
            let to = stream.clock.newest();
            slot.miss(
                Missing {
                    from: told,
                    to,
                    share: 0.0,
                },
                max,
            );
        }
        Ok(())
    }

    /// Forgets the bytes kept for rebuilding one stream of an instance.
    pub(crate) fn drop_saved(&mut self, index: usize, id: StreamId) {
        if let Some(saved) = self.instances[index].slot(id).saved.take() {
            self.saved_bytes = self.saved_bytes.saturating_sub(saved.bytes.len());
        }
    }

    /// Keeps bytes for rebuilding, if they fit.
    pub(crate) fn keep_saved(&mut self, index: usize, id: StreamId, bytes: &[u8]) {
        self.drop_saved(index, id);
        if self.saved_bytes + bytes.len() > self.settings.limits.saved_bytes {
            return;
        }
        self.saved_bytes += bytes.len();
        let instance = &mut self.instances[index];
        let version = instance.state_version;
        let slot = instance.slot(id);
        slot.saved = Some(Saved {
            version,
            bytes: bytes.into(),
            told: slot.told,
        });
    }

    /// Changes of health that are due to a fault outside of a request.
    pub(crate) fn fail_outside(&mut self, index: usize, fault: Fault) -> HealthChange {
        let frontier = self.frontier;
        self.instances[index].fail(fault, frontier, &self.settings)
    }
}

fn status_of(instance: &Instance) -> DetectorStatus {
    DetectorStatus {
        name: Arc::clone(&instance.provenance.name),
        version: Arc::clone(&instance.provenance.version),
        module_digest: Arc::clone(&instance.provenance.module_digest),
        config_digest: Arc::clone(&instance.provenance.config_digest),
        health: instance.health(),
        columns: instance.plan.columns.clone(),
        kinds: instance.plan.kinds.clone(),
        window: instance.plan.window,
    }
}
