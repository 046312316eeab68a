//! One running copy of a guest: forwards each call of [`Detector`] over the border.

use std::sync::Arc;

use petrel_detector::{
    Batch, Descriptor, Detector, Fault, FaultKind, Outcome, Plan, Readiness, StreamId, Watermark,
};
use wasmtime::{Store, Trap};

use crate::bindings::PetrelDetectorPre;
use crate::bindings::exports::petrel::detector::detector::Guest;
use crate::check::{self, Bounds, Broken};
use crate::limits::{MESSAGE_BYTES_MAX, contract};
use crate::store::{GuestState, arm, new_store};
use crate::{GuestLog, Limits, Meter, lift, lower};

/// An instance of a guest, its memory and what its answers are held to.
pub(crate) struct Instance {
    /// `None` once a call has failed: half-finished state and leaked memory are never run again.
    live: Option<Live>,
    limits: Limits,
    /// What the plan allows answers to name; `None` before `configure`.
    bounds: Option<Bounds>,
}

struct Live {
    store: Store<GuestState>,
    guest: Guest,
}

impl Instance {
    /// A fresh instance; runs the guest's own initialisation.
    ///
    /// # Errors
    /// [`Fault`] when that traps, takes too long or wants too much.
    pub(crate) fn new(
        pre: &PetrelDetectorPre<GuestState>,
        meter: Meter,
        limits: Limits,
        log: Arc<dyn GuestLog>,
        name: Arc<str>,
    ) -> Result<Self, Fault> {
        let mut store = new_store(pre.engine(), meter, limits, log, name);
        let instantiated = arm(&mut store).and_then(|()| pre.instantiate(&mut store));
        match instantiated {
            Ok(instance) => {
                let guest = instance.petrel_detector_detector().clone();
                Ok(Self {
                    live: Some(Live { store, guest }),
                    limits,
                    bounds: None,
                })
            }
            Err(error) => Err(fault("instantiate", &error, &store)),
        }
    }

    /// Runs one call; whatever goes wrong in it ends the instance.
    fn call<T>(
        &mut self,
        call: &'static str,
        run: impl FnOnce(&mut Store<GuestState>, &Guest) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let live = self.live.as_mut().ok_or_else(|| Fault {
            call,
            kind: FaultKind::Trap,
            message: "the instance has ended by an earlier fault".into(),
        })?;
        let answer = arm(&mut live.store).and_then(|()| run(&mut live.store, &live.guest));
        live.store.data_mut().log.end();
        let held = answer.map_err(|error| fault(call, &error, &live.store));
        if held.is_err() {
            self.live = None;
        }
        held
    }

    /// A reply that breaks the contract ends the instance as a trap does.
    fn hold<T>(&mut self, call: &'static str, held: Result<T, Broken>) -> Result<T, Fault> {
        held.map_err(|broken| {
            self.live = None;
            Fault {
                call,
                kind: FaultKind::Reply,
                message: broken.to_string(),
            }
        })
    }

    /// What the plan allows, with the streams that this call brings.
    fn bounds(&mut self, call: &'static str) -> Result<&mut Bounds, Fault> {
        self.bounds.as_mut().ok_or_else(|| Fault {
            call,
            kind: FaultKind::Settings,
            message: "the instance has not been configured".into(),
        })
    }
}

impl Detector for Instance {
    fn describe(&mut self) -> Result<Descriptor, Fault> {
        let answer = self.call("describe", |store, guest| guest.call_describe(store))?;
        let descriptor = lift::descriptor(answer);
        let held = check::descriptor(&descriptor);
        self.hold("describe", held)?;
        Ok(descriptor)
    }

    fn configure(&mut self, settings: &str) -> Result<Plan, Fault> {
        if settings.len() > contract::SETTINGS_BYTES_MAX {
            let message = format!(
                "{} bytes of settings, at most {} are allowed",
                settings.len(),
                contract::SETTINGS_BYTES_MAX
            );
            return Err(refused("configure", FaultKind::Settings, message));
        }
        let settings = if settings.is_empty() { "{}" } else { settings };
        let answer = self.call("configure", |store, guest| {
            guest.call_configure(store, settings)
        })?;
        let answer = answer.map_err(|why| refused("configure", FaultKind::Settings, why))?;
        let plan = lift::plan(answer);
        let held = check::plan(&plan);
        self.bounds = Some(self.hold("configure", held)?);
        Ok(plan)
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<Outcome, Fault> {
        let bounds = self.bounds("observe")?;
        bounds.meet_batch(batch)?;
        let bounds = *bounds;
        let lowered = lower::batch(batch);
        let answer = self.call("observe", |store, guest| {
            guest.call_observe(store, lowered.as_batch())
        })?;
        let outcome = lift::outcome(answer);
        let held = check::outcome(&outcome, &bounds, batch.rows);
        self.hold("observe", held)?;
        Ok(outcome)
    }

    fn advance(&mut self, watermarks: &[Watermark]) -> Result<Outcome, Fault> {
        let bounds = self.bounds("advance")?;
        bounds.meet_watermarks(watermarks)?;
        let bounds = *bounds;
        let lowered: Vec<_> = watermarks.iter().map(lower::watermark).collect();
        let answer = self.call("advance", |store, guest| {
            guest.call_advance(store, &lowered)
        })?;
        let outcome = lift::outcome(answer);
        let held = check::outcome(&outcome, &bounds, 0);
        self.hold("advance", held)?;
        Ok(outcome)
    }

    fn status(&mut self, stream: StreamId) -> Result<Vec<Readiness>, Fault> {
        let bounds = *self.bounds("status")?;
        let answer = self.call("status", |store, guest| guest.call_status(store, stream.0))?;
        let readiness: Vec<_> = answer.into_iter().map(lift::readiness).collect();
        let held = check::readiness(&readiness, &bounds);
        self.hold("status", held)?;
        Ok(readiness)
    }

    fn save(&mut self, stream: StreamId) -> Result<Vec<u8>, Fault> {
        let state = self.call("save", |store, guest| guest.call_save(store, stream.0))?;
        let held = check::state(&state, self.limits.state_bytes_max);
        self.hold("save", held)?;
        Ok(state)
    }

    fn load(&mut self, stream: StreamId, version: u32, state: &[u8]) -> Result<(), Fault> {
        let bounds = self.bounds("load")?;
        bounds.meet_stream("load", stream)?;
        let answer = self.call("load", |store, guest| {
            guest.call_load(store, stream.0, version, state)
        })?;
        answer.map_err(|why| refused("load", FaultKind::State, why))
    }

    fn forget(&mut self, stream: StreamId) -> Result<(), Fault> {
        self.call("forget", |store, guest| guest.call_forget(store, stream.0))
    }
}

/// What a guest refused in so many words; the instance lives on.
fn refused(call: &'static str, kind: FaultKind, why: String) -> Fault {
    Fault {
        call,
        kind,
        message: cut(why),
    }
}

/// Says what ended a call: the guest's last words, the error, the guest's backtrace.
fn fault(call: &'static str, error: &wasmtime::Error, store: &Store<GuestState>) -> Fault {
    let guest_state = store.data();
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt | Trap::OutOfFuel) => FaultKind::Deadline,
        _ if guest_state.memory_was_refused() => FaultKind::Memory,
        Some(_) => FaultKind::Trap,
        None if call == "instantiate" => FaultKind::Trap,
        None => FaultKind::Reply,
    };
    let last = guest_state.log.last();
    let message = if last.is_empty() {
        format!("{error:?}")
    } else {
        format!("{last}\n{error:?}")
    };
    Fault {
        call,
        kind,
        message: cut(message),
    }
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}
