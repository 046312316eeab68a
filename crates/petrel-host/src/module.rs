//! A compiled guest, of which instances are made.

use std::sync::Arc;

use petrel_detector::{Descriptor, Detector, Fault, Module};

use crate::bindings::PetrelDetectorPre;
use crate::instance::Instance;
use crate::store::GuestState;
use crate::{GuestLog, Limits, Meter};

/// A guest that has been checked, compiled and asked for its descriptor. Cheap to clone.
#[derive(Clone)]
pub struct WasmModule(Arc<Compiled>);

/// What instances of a module share.
pub(crate) struct Compiled {
    pub(crate) pre: PetrelDetectorPre<GuestState>,
    pub(crate) meter: Meter,
    pub(crate) limits: Limits,
    pub(crate) log: Arc<dyn GuestLog>,
    /// How log lines name the guest.
    pub(crate) name: Arc<str>,
    pub(crate) digest: String,
    pub(crate) descriptor: Descriptor,
}

impl WasmModule {
    pub(crate) fn new(compiled: Compiled) -> Self {
        Self(Arc::new(compiled))
    }

    /// What the guest said of itself when it was loaded; keeps the contract's rules.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.0.descriptor
    }

    /// The limits that every instance gets.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

impl Module for WasmModule {
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault> {
        let compiled = &self.0;
        let instance = Instance::new(
            &compiled.pre,
            compiled.meter,
            compiled.limits,
            Arc::clone(&compiled.log),
            Arc::clone(&compiled.name),
        )?;
        Ok(Box::new(instance))
    }

    fn digest(&self) -> &str {
        &self.0.digest
    }
}

impl std::fmt::Debug for WasmModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasmModule")
            .field("name", &self.0.name)
            .field("digest", &self.0.digest)
            .finish_non_exhaustive()
    }
}
