//! Values made from files, made anew when the files change; a bad new file leaves the old value.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::security::SecurityError;

type Load<T> = dyn Fn() -> Result<T, SecurityError> + Send + Sync;

/// A value, the files it comes from, and how they looked when it was made. Looked at when it is asked
/// for, at most once in an interval; whoever comes meanwhile gets the value as it is.
pub(crate) struct Reloading<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    interval: Duration,
    load: Box<Load<T>>,
    value: ArcSwapOption<T>,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    stamps: Vec<Option<Stamp>>,
    is_bad: bool,
}

/// What changes when a file does; a link that is turned to another file changes the inode.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    n_bytes: u64,
    inode: u64,
}

impl<T> Reloading<T> {
    /// A value that must be there from the beginning.
    pub(crate) fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        interval: Duration,
        load: impl Fn() -> Result<T, SecurityError> + Send + Sync + 'static,
    ) -> Result<Self, SecurityError> {
        let reloading = Self::lazy(what, paths, interval, load);
        reloading.get()?;
        Ok(reloading)
    }

    /// A value that may come later: until then each [`get`](Self::get) tries.
    pub(crate) fn lazy(
        what: &'static str,
        paths: Vec<PathBuf>,
        interval: Duration,
        load: impl Fn() -> Result<T, SecurityError> + Send + Sync + 'static,
    ) -> Self {
        let looked = Mutex::new(Looked {
            at: Instant::now(),
            stamps: stamps(&paths),
            is_bad: false,
        });
        Self {
            what,
            paths,
            interval,
            load: Box::new(load),
            value: ArcSwapOption::empty(),
            looked,
        }
    }

    /// The newest good value.
    pub(crate) fn get(&self) -> Result<Arc<T>, SecurityError> {
        if !self.paths.is_empty()
            && let Ok(mut looked) = self.looked.try_lock()
        {
            self.look(&mut looked);
        }
        if let Some(value) = self.value.load_full() {
            return Ok(value);
        }
        let value = Arc::new((self.load)()?);
        self.value.store(Some(Arc::clone(&value)));
        Ok(value)
    }

    fn look(&self, looked: &mut Looked) {
        if looked.at.elapsed() < self.interval || self.value.load().is_none() {
            return;
        }
        looked.at = Instant::now();
        let stamps = stamps(&self.paths);
        if stamps == looked.stamps && !looked.is_bad {
            return;
        }
        looked.stamps = stamps;
        match (self.load)() {
            Ok(value) => {
                self.value.store(Some(Arc::new(value)));
                tracing::info!("the {} was read anew", self.what);
                looked.is_bad = false;
            }
            Err(error) if !looked.is_bad => {
                tracing::error!(%error, "the {} stays as it was", self.what);
                looked.is_bad = true;
            }
            Err(_) => {}
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            modified: metadata.modified().ok(),
            n_bytes: metadata.len(),
            inode: inode(&metadata),
        })
    };
    paths.iter().map(stamp).collect()
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_leaves_the_old_value() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("value");
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        let source = crate::security::Source::File(path.clone());
        let load = move || {
            let bytes = source.read("number")?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.parse::<u32>()
                .map_err(|error| source.invalid("number", error))
        };
        let reloading = Reloading::lazy("number", vec![path.clone()], Duration::ZERO, load);
        let error = reloading.get().expect_err("no file yet").to_string();
        assert!(
            error.contains("cannot read the number") && error.contains("value"),
            "{error}"
        );
        let check = |expected: u32| assert_eq!(*reloading.get().expect("a value"), expected);
        write("1");
        check(1);
        write("22");
        check(22);
        write("no number");
        check(22);
        std::fs::remove_file(&path).expect("removed");
        check(22);
        write("333");
        check(333);
    }
}
