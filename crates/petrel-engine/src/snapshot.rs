//! Streams as bytes and back: snapshots, restarts, moves.

use std::sync::Arc;

use petrel_batch::{StreamId, StreamKey};

use crate::advance::next_close;
use crate::book::Book;
use crate::instance::{HealthChange, Instance};
use crate::slot::Missing;
use crate::state::{
    self, PART_ANOMALIES, PART_COUNTS, PART_DETECTOR_PREFIX, PART_MISSING, PART_RETRIES,
    PART_STREAM, PART_TEMPLATES,
};
use crate::state::{Part, SetAside, StateError, StreamState};
use crate::streams::SavedStream;
use crate::templates::StreamMiner;
use crate::worker::Worker;

/// Which streams a snapshot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those that changed since their last snapshot, at most so many, so that the work can be spread.
    Changed {
        /// Streams taken at most.
        at_most: usize,
    },
}

/// Streams at a request boundary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The streams.
    pub streams: Vec<StreamState>,
    /// Instances that faulted while they saved; their last good bytes stand in.
    pub changes: Vec<HealthChange>,
    /// Streams that changed and were not taken, for the bound.
    pub left: usize,
}

/// Whether input can have been lost since the state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The next request is the one after the snapshot.
    Seamless,
    /// Requests may have been judged after the snapshot and are gone: what is missing until input
    /// comes again is no evidence.
    Interrupted,
}

impl Worker {
    /// Takes a snapshot; what it takes counts as unchanged from here on.
    pub fn snapshot(&mut self, scope: Scope) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let at_most = match scope {
            Scope::All => usize::MAX,
            Scope::Changed { at_most } => at_most,
        };
        for id in self.streams.ids() {
            let has_changed = self.streams.get(id).is_some_and(|stream| stream.changed);
            if scope != Scope::All && !has_changed {
                continue;
            }
            if snapshot.streams.len() >= at_most {
                snapshot.left += 1;
                continue;
            }
            let (state, changes) = self.state_of(id);
            snapshot.streams.extend(state);
            snapshot.changes.extend(changes);
        }
        snapshot
    }

    /// All that is known of a stream.
    pub(crate) fn state_of(&mut self, id: StreamId) -> (Option<StreamState>, Vec<HealthChange>) {
        let mut changes = Vec::new();
        let mut parts = Vec::new();
        let mut told = Vec::new();
        for index in 0..self.instances.len() {
            let bytes = match self.instances[index].save(id) {
                Ok(bytes) => bytes,
                Err(fault) => {
                    changes.push(self.fail_outside(index, fault));
                    None
                }
            };
            if let Some(bytes) = &bytes {
                self.keep_saved(index, id, bytes);
            }
            let instance = &mut self.instances[index];
            let (version, name) = (instance.state_version, Arc::clone(instance.name()));
            let slot = instance.slot(id);
            let (version, bytes, told_to) = match (bytes, &slot.saved) {
                (Some(bytes), _) => (version, bytes, slot.told),
                (None, Some(saved)) => (saved.version, saved.bytes.to_vec(), saved.told),
                (None, None) => continue,
            };
            told.push((name.to_string(), told_to));
            parts.push(Part {
                name: format!("{PART_DETECTOR_PREFIX}{name}"),
                version,
                bytes,
            });
        }
        let retries = self.retries.save(id, self.frontier);
        let missing = self.missing_of(id);
        let Some(stream) = self.streams.get_mut(id) else {
            return (None, changes);
        };
        stream.changed = false;
        stream.merges.clear();
        let saved = SavedStream {
            clock: stream.clock,
            display: stream.facts.display.clone(),
            resource: stream.facts.resource.clone(),
            next_close: stream.next_close,
            ticked: stream.ticked,
            told,
        };
        let own = [
            (PART_STREAM, state::encode(&saved)),
            (PART_TEMPLATES, stream.miner.save()),
            (PART_ANOMALIES, state::encode(&stream.book)),
            (PART_RETRIES, state::encode(&retries)),
            (PART_MISSING, state::encode(&missing)),
            (PART_COUNTS, state::encode(&stream.counts)),
        ];
        parts.extend(own.map(|(name, bytes)| Part {
            name: name.to_owned(),
            version: state::VERSION,
            bytes,
        }));
        let key = stream.facts.key.clone();
        (Some(StreamState { key, parts }), changes)
    }

    /// Where input is missing, for each detector for which it is.
    fn missing_of(&mut self, id: StreamId) -> Vec<(String, Vec<Missing>)> {
        let instances = self.instances.iter_mut();
        let missing = instances.map(|instance| {
            let missing = instance.slot(id).missing.clone();
            (instance.name().to_string(), missing)
        });
        missing.filter(|(_, missing)| !missing.is_empty()).collect()
    }

    fn restore_missing(&mut self, id: StreamId, all: Vec<(String, Vec<Missing>)>) {
        for (name, missing) in all {
            // What ends when input begins again, still does.
            self.is_interrupted |= missing.iter().any(|missing| missing.to == u64::MAX);
            let named = |instance: &&mut Instance| **instance.name() == *name;
            if let Some(instance) = self.instances.iter_mut().find(named) {
                instance.slot(id).missing = missing;
            }
        }
    }

    /// Puts a stream back, in place of what is known of it. Parts that are damaged, foreign or of a
    /// detector that is not there are returned; the stream goes on without them.
    pub fn restore(&mut self, state: StreamState, continuity: Continuity) -> Vec<SetAside> {
        let mut aside = Aside {
            key: state.key.clone(),
            list: Vec::new(),
        };
        let id = match self.streams.find(&state.key) {
            Some(id) => id,
            None if self.streams.is_full() => {
                for part in state.parts {
                    aside.put(part, "the worker has as many streams as it may");
                }
                return aside.list;
            }
            None => self.streams.insert(state.key.clone(), &self.settings).0,
        };
        let (own, detectors): (Vec<_>, Vec<_>) = state
            .parts
            .into_iter()
            .partition(|part| !part.name.starts_with(PART_DETECTOR_PREFIX));
        let mut told = Vec::new();
        for part in own {
            match self.restore_own(id, &part) {
                Ok(times) => told.extend(times),
                Err(error) => aside.put(part, &error.to_string()),
            }
        }
        for instance in &mut self.instances {
            instance.slot(id).retell = true;
        }
        for part in detectors {
            self.restore_detector(id, part, &told, &mut aside);
        }
        if continuity == Continuity::Interrupted {
            self.interrupt(id);
        }
        if let Some(stream) = self.streams.get_mut(id) {
            // What comes from a worker and not from a store, may not be in the store.
            stream.changed = continuity == Continuity::Seamless;
            // Other detectors, other windows, may be running than when it was saved.
            if stream.clock.watermark > 0 {
                stream.next_close = next_close(stream.clock.watermark, &self.instances);
            }
        }
        aside.list
    }

    /// Puts one of the engine's own parts back; returns the detectors' times if it held them.
    fn restore_own(&mut self, id: StreamId, part: &Part) -> Result<Vec<(String, u64)>, StateError> {
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(Vec::new());
        };
        match part.name.as_str() {
            PART_STREAM => {
                let saved: SavedStream = state::decode(&part.bytes)?;
                stream.facts.first = saved.clock.first;
                stream.clock = saved.clock;
                stream.facts.display = saved.display;
                stream.facts.resource = saved.resource;
                stream.next_close = saved.next_close;
                stream.ticked = saved.ticked;
                return Ok(saved.told);
            }
            PART_TEMPLATES => {
                stream.miner = StreamMiner::load(&part.bytes, self.settings.template_limits)
                    .map_err(|error| StateError::Damaged(error.to_string()))?;
            }
            PART_ANOMALIES => stream.book = state::decode::<Book>(&part.bytes)?,
            PART_MISSING => self.restore_missing(id, state::decode(&part.bytes)?),
            PART_COUNTS => stream.counts = state::decode(&part.bytes)?,
            PART_RETRIES => self.retries.load(id, state::decode(&part.bytes)?),
            name => {
                return Err(StateError::Damaged(format!("no part is called {name:?}")));
            }
        }
        Ok(Vec::new())
    }

    fn restore_detector(
        &mut self,
        id: StreamId,
        part: Part,
        told: &[(String, u64)],
        aside: &mut Aside,
    ) {
        let name = &part.name[PART_DETECTOR_PREFIX.len()..];
        let position = self
            .instances
            .iter()
            .position(|known| &**known.name() == name);
        let Some(index) = position else {
            return aside.put(part, "no detector of this name is running");
        };
        let instance = &mut self.instances[index];
        let told = told.iter().find(|(detector, _)| detector == name);
        let told = told.map_or(0, |&(_, told)| told);
        instance.slot(id).told = told;
        if let Some(stream) = self.streams.get(id) {
            // It was off or set aside when it was saved: what its stream went through is missing.
            let due = stream.clock.watermark / instance.window * instance.window;
            if told > 0 && told < due {
                let missing = Missing {
                    from: told,
                    to: stream.clock.newest().saturating_add(1).max(due),
                    share: 0.0,
                };
                let max = self.settings.limits.incomplete_spans;
                instance.slot(id).miss(missing, max);
            }
        }
        if part.bytes.is_empty() {
            return;
        }
        match instance.load(id, part.version, &part.bytes) {
            Ok(()) => self.keep_saved(index, id, &part.bytes),
            Err(fault) => {
                aside.put(part, &fault.to_string());
                if !fault.kind.survives() {
                    self.fail_outside(index, fault);
                }
            }
        }
    }

    /// From what is saved on, input is missing until more comes.
    fn interrupt(&mut self, id: StreamId) {
        self.is_interrupted = true;
        let max = self.settings.limits.incomplete_spans;
        let from = self
            .streams
            .get(id)
            .map_or(0, |stream| stream.clock.newest());
        for instance in &mut self.instances {
            let missing = Missing {
                from,
                to: u64::MAX,
                share: 0.0,
            };
            instance.slot(id).miss(missing, max);
        }
    }

    /// Input has come again: what was missing ends at the frontier.
    pub(crate) fn end_interruption(&mut self, frontier: u64) {
        if !self.is_interrupted || frontier == 0 {
            return;
        }
        self.is_interrupted = false;
        for id in self.streams.ids() {
            for instance in &mut self.instances {
                let slot = instance.slot(id);
                for missing in slot
                    .missing
                    .iter_mut()
                    .filter(|missing| missing.to == u64::MAX)
                {
                    missing.to = frontier.max(missing.from);
                }
                slot.missing.retain(|missing| missing.to > missing.from);
            }
        }
    }

    /// Takes a stream out, as when it moves to another worker; `None` when it is not here.
    pub fn release(&mut self, key: &StreamKey) -> Option<StreamState> {
        let id = self.streams.find(key)?;
        let (state, _) = self.state_of(id);
        for index in 0..self.instances.len() {
            self.drop_saved(index, id);
            if let Err(fault) = self.instances[index].forget(id) {
                self.fail_outside(index, fault);
            }
        }
        self.retries.forget(id);
        self.streams.remove(id);
        state
    }
}

struct Aside {
    key: StreamKey,
    list: Vec<SetAside>,
}

impl Aside {
    fn put(&mut self, part: Part, reason: &str) {
        self.list.push(SetAside {
            key: self.key.clone(),
            part,
            reason: reason.to_owned(),
        });
    }
}
