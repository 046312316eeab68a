//! What belongs to one instance on the host's side: its limits, its deadline, its log.

use std::sync::Arc;

use wasmtime::{Engine, ResourceLimiter, Store};

use crate::bindings::petrel::detector::host;
use crate::deadline::Deadline;
use crate::guest_log::{CallLog, GuestLog};
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::{Limits, Meter};

/// The data of a guest's store.
pub(crate) struct GuestState {
    limits: Limits,
    meter: Meter,
    deadline: Deadline,
    memory: MemoryGuard,
    pub(crate) log: CallLog,
}

/// An empty store under `limits`, not yet armed.
pub(crate) fn new_store(
    engine: &Engine,
    meter: Meter,
    limits: Limits,
    log: Arc<dyn GuestLog>,
    detector: Arc<str>,
) -> Store<GuestState> {
    let guest_state = GuestState {
        limits,
        meter,
        deadline: Deadline::default(),
        memory: MemoryGuard::new(limits.memory_bytes_max),
        log: CallLog::new(log, detector, limits.log_lines_max),
    };
    let mut store = Store::new(engine, guest_state);
    store.limiter(|guest_state| &mut guest_state.memory);
    if meter == Meter::CpuTime {
        store.epoch_deadline_callback(|mut store| {
            let guest_state = store.data_mut();
            Ok(guest_state.deadline.tick(&guest_state.limits))
        });
    }
    store
}

/// Gives the call that comes its time, its reply and its log lines. Before every call.
///
/// # Errors
/// None that the two engines of a sandbox can raise: fuel is set on the one that counts it.
pub(crate) fn arm(store: &mut Store<GuestState>) -> wasmtime::Result<()> {
    let guest_state = store.data_mut();
    guest_state.deadline.arm();
    guest_state.log.arm();
    guest_state.memory.refused = false;
    let (meter, limits) = (guest_state.meter, guest_state.limits);
    store.set_hostcall_fuel(limits.reply_bytes_max);
    match meter {
        Meter::CpuTime => store.set_epoch_deadline(1),
        Meter::Fuel => store.set_fuel(limits.call_fuel_max)?,
    }
    Ok(())
}

impl GuestState {
    /// Whether the guest was refused memory in this call.
    pub(crate) fn memory_was_refused(&self) -> bool {
        self.memory.refused
    }
}

impl host::Host for GuestState {
    fn log(&mut self, message: String) {
        self.log.line(&message);
    }
}

/// Counts the memory of all linear memories and the elements of all tables of an instance.
struct MemoryGuard {
    bytes: usize,
    bytes_max: usize,
    elements: usize,
    refused: bool,
}

impl MemoryGuard {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            elements: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for MemoryGuard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired - current);
        let within = bytes <= self.bytes_max;
        self.refused |= !within;
        let grows = within && maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.bytes = bytes;
        }
        Ok(grows)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired - current);
        let grows = elements <= TABLE_ELEMENTS_MAX && maximum.is_none_or(|max| desired <= max);
        if grows {
            self.elements = elements;
        }
        Ok(grows)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
