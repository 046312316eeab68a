//! Which detectors there are: the built-in ones, and those of the directory, which take the place of a
//! built-in one of the same name.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use lru::LruCache;
use petrel_detector::{Descriptor, Detector, Fault, Module, PerStream};
use petrel_host::{Limits, LoadError, Meter, Sandbox, TracingLog, WasmModule};
use sha2::{Digest, Sha256};

use crate::config::{BUILT_IN, Detectors};

/// The built-in modules as the build compiled them.
const BUILT_IN_WASM: [(&str, &[u8]); 4] = [
    ("frequency", include_bytes!(env!("PETREL_WASM_FREQUENCY"))),
    ("latency", include_bytes!(env!("PETREL_WASM_LATENCY"))),
    ("novelty", include_bytes!(env!("PETREL_WASM_NOVELTY"))),
    ("silence", include_bytes!(env!("PETREL_WASM_SILENCE"))),
];

/// A module that can run, and where it comes from.
#[derive(Clone)]
pub struct LoadedModule {
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// Makes instances.
    pub module: Arc<dyn Module>,
    /// The file that it was read from; none = built in.
    pub file: Option<PathBuf>,
}

impl std::fmt::Debug for LoadedModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModule")
            .field("name", &self.descriptor.name)
            .field("digest", &self.module.digest())
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl LoadedModule {
    fn of_wasm(module: WasmModule, file: Option<PathBuf>) -> Self {
        Self {
            descriptor: module.descriptor().clone(),
            module: Arc::new(module),
            file,
        }
    }

    fn of_native<D: Detector + Default + Send + 'static>(
        digest: &'static str,
    ) -> anyhow::Result<Self> {
        let module = Native {
            make: || Box::<D>::default(),
            digest,
        };
        let descriptor = module
            .instantiate()
            .and_then(|mut detector| detector.describe())?;
        Ok(Self {
            descriptor,
            module: Arc::new(module),
            file: None,
        })
    }
}

/// A detector that is compiled in, for measuring what the sandbox costs.
struct Native {
    make: fn() -> Box<dyn Detector + Send>,
    digest: &'static str,
}

impl Module for Native {
    fn instantiate(&self) -> Result<Box<dyn Detector + Send>, Fault> {
        Ok((self.make)())
    }

    fn digest(&self) -> &str {
        self.digest
    }
}

/// Modules that a loader keeps compiled at most; the one not asked for for longest goes.
const COMPILED_MAX: usize = 64;

/// Loads modules into one sandbox, and keeps what it has compiled.
#[derive(Debug)]
pub struct Loader {
    sandbox: Sandbox,
    limits: Limits,
    /// By the bytes of the file.
    compiled: Mutex<LruCache<[u8; 32], WasmModule>>,
}

impl Loader {
    /// A loader with the configured limits.
    ///
    /// # Errors
    /// When the sandbox does not start.
    pub fn new(detectors: &Detectors) -> anyhow::Result<Self> {
        let sandbox = Sandbox::new(Meter::CpuTime, Arc::new(TracingLog)).context("the sandbox")?;
        let compiled_max = NonZeroUsize::new(COMPILED_MAX).expect("it is not zero");
        Ok(Self {
            sandbox,
            limits: limits(detectors),
            compiled: Mutex::new(LruCache::new(compiled_max)),
        })
    }

    /// Whether what it loads is what one with these settings would load.
    #[must_use]
    pub fn serves(&self, detectors: &Detectors) -> bool {
        self.limits == limits(detectors)
    }

    fn compiled(&self, bytes: &[u8]) -> Result<WasmModule, LoadError> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let compiled = || self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = compiled().get(&digest) {
            return Ok(module.clone());
        }
        let module = self.sandbox.load(bytes, self.limits)?;
        compiled().put(digest, module.clone());
        Ok(module)
    }

    /// Checks and compiles the bytes of a file.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with the module and what to do.
    pub fn load(&self, file: &Path, bytes: &[u8]) -> Result<LoadedModule, LoadError> {
        Ok(LoadedModule::of_wasm(
            self.compiled(bytes)?,
            Some(file.to_owned()),
        ))
    }

    /// The four built-in detectors.
    ///
    /// # Errors
    /// When one does not load, which the tests of a release rule out.
    pub fn built_in(&self, native: bool) -> anyhow::Result<Vec<LoadedModule>> {
        if native {
            return Ok(vec![
                LoadedModule::of_native::<PerStream<frequency::Frequency>>("native:frequency")?,
                LoadedModule::of_native::<PerStream<latency::Latency>>("native:latency")?,
                LoadedModule::of_native::<PerStream<novelty::Novelty>>("native:novelty")?,
                LoadedModule::of_native::<PerStream<silence::Silence>>("native:silence")?,
            ]);
        }
        // Each takes a sixth of a second to compile: side by side.
        std::thread::scope(|scope| {
            let loads = BUILT_IN_WASM.map(|(name, bytes)| {
                scope.spawn(move || {
                    let module = self.compiled(bytes);
                    let module = module.with_context(|| format!("the built-in detector {name}"))?;
                    Ok(LoadedModule::of_wasm(module, None))
                })
            });
            let join = |load: std::thread::ScopedJoinHandle<'_, _>| {
                load.join()
                    .map_err(|_| anyhow::anyhow!("loading a built-in detector panicked"))?
            };
            loads.into_iter().map(join).collect()
        })
    }
}

fn limits(detectors: &Detectors) -> Limits {
    Limits {
        memory_bytes_max: detectors.memory_bytes_max,
        call_cpu_max: detectors.call_cpu_max,
        call_wall_max: detectors.call_cpu_max * 10,
        ..Limits::default()
    }
}

/// All modules at hand, and which of them should run.
#[derive(Debug, Default)]
pub struct Catalogue {
    built_in: Vec<LoadedModule>,
    files: BTreeMap<PathBuf, LoadedModule>,
}

impl Catalogue {
    /// A catalogue of built-in modules alone.
    #[must_use]
    pub fn new(built_in: Vec<LoadedModule>) -> Self {
        Self {
            built_in,
            files: BTreeMap::new(),
        }
    }

    /// Takes in the module of a file, in place of what the file held before.
    pub fn put(&mut self, file: &Path, module: LoadedModule) {
        self.files.insert(file.to_owned(), module);
    }

    /// The file is gone, and its module with it, which is returned.
    pub fn remove(&mut self, file: &Path) -> Option<LoadedModule> {
        self.files.remove(file)
    }

    /// The module that a file holds.
    #[must_use]
    pub fn of_file(&self, file: &Path) -> Option<&LoadedModule> {
        self.files.get(file)
    }

    /// The module that should run under a name: of the files that bring it the first by path, else the
    /// built-in one.
    #[must_use]
    pub fn current(&self, name: &str) -> Option<&LoadedModule> {
        self.files
            .values()
            .chain(&self.built_in)
            .find(|module| module.descriptor.name == name)
    }

    /// The names of all detectors, built-in ones first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = BUILT_IN.iter().map(|name| (*name).to_owned()).collect();
        for module in self.files.values() {
            if !names.contains(&module.descriptor.name) {
                names.push(module.descriptor.name.clone());
            }
        }
        names
    }
}
