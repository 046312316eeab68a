//! The detectors that run, and how they change while Petrel runs: the directory is the desired state,
//! every change is built and checked before anything live is touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use petrel_engine::DetectorSpec;
use tokio::sync::Notify;

use crate::config::{BUILT_IN, Config};
use crate::directory::{Change, Directory};
use crate::modules::{Catalogue, LoadedModule, Loader};
use crate::telemetry::{name, one_line};

/// Between two looks at a file that has just changed: long enough for a writer to go on writing.
const SETTLE: Duration = Duration::from_millis(150);

/// All modules at hand and what of them should run.
#[derive(Debug)]
pub struct Detectors {
    loader: Arc<Loader>,
    catalogue: Catalogue,
    directory: Option<Directory>,
    settings: BTreeMap<String, (bool, String)>,
}

/// A detector that should run from now on, or no longer.
#[derive(Clone, Debug)]
pub enum Desired {
    /// Runs under its name, in place of what ran under it.
    Runs {
        /// The name.
        name: String,
        /// Its version.
        version: String,
        /// Its module and settings.
        spec: DetectorSpec,
        /// Whether the module that ran has been taken away, so that it must not go on.
        must: bool,
    },
    /// No longer.
    Ends {
        /// The name.
        name: String,
    },
}

/// What runs, as a metric says it: 1 for each module, with name, version and digest.
#[derive(Debug, Default)]
pub struct ModuleInfo {
    by_name: BTreeMap<String, (String, String)>,
}

impl ModuleInfo {
    /// Says that a module runs under a name, and that no other does.
    pub fn runs(&mut self, name: &str, version: &str, digest: &str) {
        self.ends(name);
        gauge(name, version, digest, 1.0);
        let module = (version.to_owned(), digest.to_owned());
        self.by_name.insert(name.to_owned(), module);
    }

    /// Says that none runs under a name.
    pub fn ends(&mut self, name: &str) {
        if let Some((version, digest)) = self.by_name.remove(name) {
            gauge(name, &version, &digest, 0.0);
        }
    }
}

fn gauge(name: &str, version: &str, digest: &str, value: f64) {
    let labels = [("name", name), ("version", version), ("digest", digest)]
        .map(|(key, value)| metrics::Label::new(key, value.to_owned()));
    metrics::gauge!(crate::telemetry::name::MODULE_INFO, labels.to_vec()).set(value);
}

impl Detectors {
    /// Loads the built-in detectors and what stands in the directory now; what `before` has compiled is not
    /// compiled again.
    ///
    /// # Errors
    /// When the sandbox does not start, or the directory is not there. A module that does not load is
    /// logged and left out.
    pub fn load(config: &Config, before: Option<Arc<Loader>>) -> anyhow::Result<Self> {
        let loader = match before.filter(|loader| loader.serves(&config.detectors)) {
            Some(loader) => loader,
            None => Arc::new(Loader::new(&config.detectors)?),
        };
        let catalogue = Catalogue::new(loader.built_in(config.detectors.native)?);
        let directory = config.detectors.directory.clone();
        if let Some(path) = &directory {
            std::fs::read_dir(path)
                .with_context(|| format!("detectors.directory {}", path.display()))?;
        }
        let settings = &config.detectors.settings;
        let settings = settings
            .iter()
            .map(|(name, settings)| (name.clone(), (settings.enabled, settings.json.clone())));
        let mut detectors = Self {
            loader,
            catalogue,
            directory: directory.map(Directory::new),
            settings: settings.collect(),
        };
        let changes = detectors
            .directory
            .as_mut()
            .map(|directory| directory.look(true));
        for change in changes.unwrap_or_default() {
            detectors.take_in(change);
        }
        for name in detectors.settings.keys() {
            if detectors.catalogue.current(name).is_none() {
                let known = detectors.catalogue.names().join(", ");
                tracing::warn!(
                    detector = name,
                    known,
                    "settings for a detector that is not there (yet)"
                );
            }
        }
        Ok(detectors)
    }

    /// What loads its modules.
    #[must_use]
    pub fn loader(&self) -> Arc<Loader> {
        Arc::clone(&self.loader)
    }

    /// What should run now, by name.
    #[must_use]
    pub fn roster(&self) -> BTreeMap<String, DetectorSpec> {
        let names = self.catalogue.names();
        names
            .into_iter()
            .filter_map(|name| Some((name.clone(), self.spec(&name)?)))
            .collect()
    }

    /// Says by a metric what runs.
    #[must_use]
    pub fn report_running(&self) -> ModuleInfo {
        let mut info = ModuleInfo::default();
        for (name, spec) in self.roster() {
            info.runs(&name, &self.version(&name), spec.module.digest());
        }
        info
    }

    fn version(&self, name: &str) -> String {
        let module = self.catalogue.current(name);
        module
            .map(|module| module.descriptor.version.clone())
            .unwrap_or_default()
    }

    /// The detector that should run under a name.
    fn spec(&self, name: &str) -> Option<DetectorSpec> {
        let (enabled, settings) = self
            .settings
            .get(name)
            .map_or((true, "{}"), |(enabled, json)| (*enabled, json));
        let module = self.catalogue.current(name).filter(|_| enabled)?;
        Some(DetectorSpec {
            module: Arc::clone(&module.module),
            settings: settings.to_owned(),
        })
    }

    /// Looks at the directory; answers what should change, and whether a file has yet to settle.
    pub fn look(&mut self) -> (Vec<Desired>, bool) {
        let Some(directory) = &mut self.directory else {
            return (Vec::new(), false);
        };
        let changes = directory.look(false);
        let is_settling = directory.is_settling();
        // By name, and whether the module that ran has been taken away.
        let mut names: BTreeMap<String, bool> = BTreeMap::new();
        for change in changes {
            let is_gone = matches!(change, Change::Gone { .. });
            for name in self.take_in(change) {
                *names.entry(name).or_default() |= is_gone;
            }
        }
        let desired = names
            .into_iter()
            .map(|(name, must)| match self.spec(&name) {
                Some(spec) => Desired::Runs {
                    version: self.version(&name),
                    name,
                    spec,
                    must,
                },
                None => Desired::Ends { name },
            });
        (desired.collect(), is_settling)
    }

    /// Puts a change into the catalogue; answers the names of detectors that it may concern.
    fn take_in(&mut self, change: Change) -> Vec<String> {
        match change {
            Change::Put { path, bytes } => match self.loader.load(&path, &bytes) {
                Ok(module) => self.put(&path, module),
                Err(error) => {
                    tracing::error!(file = %path.display(), "module refused, what ran goes on: {}", one_line(error));
                    count("refused");
                    Vec::new()
                }
            },
            Change::Gone { path } => {
                let gone = self.catalogue.remove(&path);
                gone.into_iter()
                    .map(|module| {
                        let name = module.descriptor.name;
                        tracing::info!(file = %path.display(), detector = name, "module is gone");
                        name
                    })
                    .collect()
            }
            Change::Unreadable { path, reason } => {
                tracing::error!(file = %path.display(), "module cannot be read, what ran goes on: {reason}");
                count("unreadable");
                Vec::new()
            }
        }
    }

    fn put(&mut self, path: &Path, module: LoadedModule) -> Vec<String> {
        let name = module.descriptor.name.clone();
        tracing::info!(
            file = %path.display(),
            detector = name,
            version = module.descriptor.version,
            digest = module.module.digest(),
            "module loaded"
        );
        if BUILT_IN.contains(&name.as_str()) {
            tracing::warn!(detector = name, "takes the place of the built-in detector");
        }
        let before = self
            .catalogue
            .of_file(path)
            .map(|module| module.descriptor.name.clone());
        self.catalogue.put(path, module);
        if self
            .catalogue
            .current(&name)
            .is_some_and(|current| current.file.as_deref() != Some(path))
        {
            tracing::warn!(
                file = %path.display(),
                detector = name,
                "another file brings a detector of this name and comes first; this one does not run"
            );
        }
        before.into_iter().chain([name]).collect()
    }
}

/// Counts an attempt to change what runs.
pub fn count(outcome: &'static str) {
    metrics::counter!(name::MODULE_RELOADS, "outcome" => outcome).increment(1);
}

/// Tells when to look at a directory: at once after a change, else every `interval`.
#[derive(Debug)]
pub struct Watch {
    changed: Arc<Notify>,
    interval: Duration,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches a directory. Where the system cannot, the interval alone remains.
    #[must_use]
    pub fn new(directory: &Path, interval: Duration) -> Self {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
            notify.notify_one();
        })
        .and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of the detectors directory are found by looking alone");
        }
        Self {
            changed,
            interval,
            _watcher: watcher.ok(),
        }
    }

    /// Waits until it is time for a look.
    pub async fn due(&self, is_settling: bool) {
        if is_settling {
            tokio::time::sleep(SETTLE).await;
            return;
        }
        // Whichever comes first.
        let _ = tokio::time::timeout(self.interval, self.changed.notified()).await;
    }
}
