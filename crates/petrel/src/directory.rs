//! The detectors directory as the desired state: which modules stand there now, by digest.
//!
//! The digest decides; the file watcher only hurries the next look. So atomic renames, symlink swaps
//! and file systems without notifications all work, and a file that is still being written is left
//! alone until two looks in a row find it the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Largest module that is read.
pub const MODULE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What one look found that the last one had not.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// A file is new or has other bytes.
    Put {
        /// Its path.
        path: PathBuf,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A file is gone.
    Gone {
        /// Its path.
        path: PathBuf,
    },
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What is known of the files of a directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    files: BTreeMap<PathBuf, Known>,
    missing: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// As the last look found it.
    stamp: Option<Stamp>,
    /// Whether what that look found has been read.
    read: bool,
    /// Digest of what was read last.
    digest: Option<[u8; 32]>,
}

/// What changes when a file changes, short of its bytes; of the file that a symlink leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    real_path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Directory {
    /// Nothing is known yet: the first looks report every file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            missing: false,
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file was found changed that the next look will read if it stays as it is.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.files.values().any(|known| !known.read)
    }

    /// Looks at the directory and reports what has changed and has stayed the same since the last look.
    ///
    /// `settled` skips that wait, for a look at start when nothing runs that could be harmed.
    pub fn look(&mut self, settled: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let found = match list(&self.path) {
            Ok(found) => {
                self.missing = false;
                found
            }
            Err(error) => {
                // A directory that cannot be listed for a moment (a swap, a mount) is not an empty one.
                if !self.missing {
                    let reason =
                        format!("cannot be listed: {error}; its detectors stay as they are");
                    changes.push(Change::Unreadable {
                        path: self.path.clone(),
                        reason,
                    });
                }
                self.missing = true;
                return changes;
            }
        };
        let gone: Vec<_> = self
            .files
            .keys()
            .filter(|path| !found.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            self.files.remove(&path);
            changes.push(Change::Gone { path });
        }
        for (path, stamp) in found {
            let known = self.files.entry(path.clone()).or_default();
            if known.stamp.as_ref() == Some(&stamp) {
                if known.read {
                    continue;
                }
            } else {
                let large = stamp.length > MODULE_BYTES_MAX;
                known.stamp = Some(stamp);
                known.read = large;
                if large {
                    let reason = format!("larger than {MODULE_BYTES_MAX} bytes");
                    changes.push(Change::Unreadable { path, reason });
                    continue;
                }
                if !settled {
                    continue;
                }
            }
            changes.extend(read(path, known));
        }
        changes
    }
}

fn list(directory: &Path) -> std::io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // A link that leads nowhere for a moment is a file that is not there.
        let (Ok(metadata), Ok(real_path)) = (fs::metadata(&path), fs::canonicalize(&path)) else {
            continue;
        };
        if metadata.is_file() {
            let modified = metadata.modified().ok();
            found.insert(
                path,
                Stamp {
                    real_path,
                    length: metadata.len(),
                    modified,
                },
            );
        }
    }
    Ok(found)
}

fn read(path: PathBuf, known: &mut Known) -> Option<Change> {
    known.read = true;
    match fs::read(&path) {
        Ok(bytes) => {
            let digest: [u8; 32] = Sha256::digest(&bytes).into();
            if known.digest.replace(digest) == Some(digest) {
                return None;
            }
            Some(Change::Put { path, bytes })
        }
        Err(error) => Some(Change::Unreadable {
            path,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn looks(directory: &mut Directory) -> Vec<String> {
        let mut changes = directory.look(false);
        changes.extend(directory.look(false));
        changes.iter().map(describe).collect()
    }

    fn describe(change: &Change) -> String {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        match change {
            Change::Put { path, bytes } => {
                format!("{}={}", name(path), String::from_utf8_lossy(bytes))
            }
            Change::Gone { path } => format!("-{}", name(path)),
            Change::Unreadable { path, .. } => format!("!{}", name(path)),
        }
    }

    #[test]
    fn files_come_change_and_go() {
        let temp = tempfile::tempdir().unwrap();
        let mut directory = Directory::new(temp.path().to_owned());
        assert_eq!(looks(&mut directory), [""; 0]);
        fs::write(temp.path().join("a.wasm"), "one").unwrap();
        fs::write(temp.path().join("notes.txt"), "no module").unwrap();
        fs::write(temp.path().join(".hidden.wasm"), "half").unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        assert_eq!(looks(&mut directory), [""; 0]);
        fs::write(temp.path().join("new"), "three").unwrap();
        fs::rename(temp.path().join("new"), temp.path().join("a.wasm")).unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=three"]);
        fs::remove_file(temp.path().join("a.wasm")).unwrap();
        assert_eq!(looks(&mut directory), ["-a.wasm"]);
    }

    #[test]
    fn a_file_that_still_grows_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("a.wasm");
        let mut directory = Directory::new(temp.path().to_owned());
        fs::write(&file, "h").unwrap();
        assert_eq!(directory.look(false), []);
        fs::write(&file, "half").unwrap();
        assert_eq!(directory.look(false), []);
        assert!(directory.is_settling());
        assert_eq!(looks(&mut directory), ["a.wasm=half"]);
        assert!(!directory.is_settling());
    }

    #[test]
    fn a_symlink_swap_as_kubernetes_does_it_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        for (version, content) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.wasm"), content).unwrap();
        }
        symlink("v1", root.join("..data")).unwrap();
        symlink("..data/a.wasm", root.join("a.wasm")).unwrap();
        let mut directory = Directory::new(root.to_owned());
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        symlink("v2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=two"]);
    }

    #[test]
    fn a_touched_file_with_the_same_bytes_is_no_change() {
        let temp = tempfile::tempdir().unwrap();
        let mut directory = Directory::new(temp.path().to_owned());
        fs::write(temp.path().join("a.wasm"), "one").unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::write(temp.path().join("b"), "one").unwrap();
        fs::rename(temp.path().join("b"), temp.path().join("a.wasm")).unwrap();
        assert_eq!(looks(&mut directory), [""; 0]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_said_once_and_takes_nothing_away() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("detectors");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.wasm"), "one").unwrap();
        let mut directory = Directory::new(path.clone());
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::rename(&path, temp.path().join("away")).unwrap();
        assert_eq!(looks(&mut directory), ["!detectors"]);
        fs::rename(temp.path().join("away"), &path).unwrap();
        assert_eq!(looks(&mut directory), [""; 0]);
    }
}
