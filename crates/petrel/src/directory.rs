//! The detectors directory as the desired state: which modules stand there now, by digest.
//!
//! The digest decides; the file watcher only hurries the next look. What a look finds counts when the
//! next one finds it the same: a file that is still being written, or that is gone for the moment in
//! which it is replaced, is left alone. So renames, unlink-and-create, symlink swaps and file systems
//! without notifications all work. What cannot be read is tried again at every look.

use std::collections::BTreeMap;
use std::fs;
use std::io;
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
    /// As the last look found it; none when it did not.
    stamp: Option<Stamp>,
    state: State,
    /// Digest of what was read last.
    digest: Option<[u8; 32]>,
}

/// How far what was found of a file has been taken in.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// New or changed: read when the next look finds it the same.
    #[default]
    Settling,
    /// Read: left alone until its stamp changes.
    Read,
    /// Could not be read, for this reason: tried again at every look.
    Unreadable(String),
    /// Was not there: gone when the next look does not find it either.
    Missing,
}

/// What changes when a file changes, short of its bytes; of the file that a symlink leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    real_path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
    inode: Option<Inode>,
}

/// What tells a file from one of equal length and time put in its place (`cp -p`, reproducible images).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    /// When it last changed, seconds and nanoseconds; unlike the time of the bytes, nobody can set it.
    changed: (i64, i64),
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

    /// Whether a file was found changed or missing that the next look will take for so if it stays so.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        let mut states = self.files.values().map(|known| &known.state);
        !self.missing && states.any(|state| matches!(state, State::Settling | State::Missing))
    }

    /// Looks at the directory and reports what has changed and has stayed the same since the last look.
    ///
    /// `settled` skips that wait, for a look at start when nothing runs that could be harmed. A file that
    /// cannot be read is reported once for each reason, not at every look.
    pub fn look(&mut self, settled: bool) -> Vec<Change> {
        self.look_with(settled, |path| fs::read(path))
    }

    fn look_with(
        &mut self,
        settled: bool,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let found = match list(&self.path) {
            Ok(found) => {
                self.missing = false;
                found
            }
            Err(error) => {
                changes.extend(self.cannot_be_listed(&error));
                return changes;
            }
        };
        self.files.retain(|path, known| {
            let stays = found.contains_key(path) || !known.is_gone(settled);
            if !stays {
                changes.push(Change::Gone { path: path.clone() });
            }
            stays
        });
        for (path, stamp) in found {
            let length = stamp.length;
            let known = self.files.entry(path.clone()).or_default();
            if known.is_due(stamp, settled) {
                let outcome = match length {
                    0..=MODULE_BYTES_MAX => read(&path).map_err(|error| error.to_string()),
                    _ => Err(format!("larger than {MODULE_BYTES_MAX} bytes")),
                };
                changes.extend(known.take(path, outcome));
            }
        }
        changes
    }

    /// A directory that cannot be listed for a moment (a swap, a mount) is not an empty one.
    fn cannot_be_listed(&mut self, error: &io::Error) -> Option<Change> {
        for known in self.files.values_mut() {
            // A look that saw nothing does not confirm that a file is missing.
            if known.state == State::Missing {
                known.state = State::Settling;
            }
        }
        let is_said = std::mem::replace(&mut self.missing, true);
        (!is_said).then(|| Change::Unreadable {
            path: self.path.clone(),
            reason: format!("cannot be listed: {error}; its detectors stay as they are"),
        })
    }
}

impl Known {
    /// Whether a file that is not there is gone for good.
    fn is_gone(&mut self, settled: bool) -> bool {
        if settled || self.state == State::Missing {
            return true;
        }
        self.stamp = None;
        self.state = State::Missing;
        false
    }

    /// Whether a file found with this stamp should be read now.
    fn is_due(&mut self, stamp: Stamp, settled: bool) -> bool {
        if self.stamp.as_ref() == Some(&stamp) {
            return self.state != State::Read;
        }
        self.stamp = Some(stamp);
        self.state = State::Settling;
        settled
    }

    /// Takes in what reading the file gave: its bytes, or why there are none.
    fn take(&mut self, path: PathBuf, outcome: Result<Vec<u8>, String>) -> Option<Change> {
        match outcome {
            Ok(bytes) => {
                self.state = State::Read;
                let digest: [u8; 32] = Sha256::digest(&bytes).into();
                let is_new = self.digest.replace(digest) != Some(digest);
                is_new.then_some(Change::Put { path, bytes })
            }
            Err(reason) => {
                let state = State::Unreadable(reason.clone());
                let before = std::mem::replace(&mut self.state, state);
                let is_new = before != self.state;
                is_new.then_some(Change::Unreadable { path, reason })
            }
        }
    }
}

fn list(directory: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
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
            let stamp = Stamp {
                real_path,
                length: metadata.len(),
                modified: metadata.modified().ok(),
                inode: inode(&metadata),
            };
            found.insert(path, stamp);
        }
    }
    Ok(found)
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere there are none to compare"
)]
fn inode(metadata: &fs::Metadata) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt as _;

    Some(Inode {
        device: metadata.dev(),
        number: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Option<Inode> {
    None
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
    fn a_file_replaced_by_unlink_and_create_is_not_gone_between() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("a.wasm");
        let mut directory = Directory::new(temp.path().to_owned());
        fs::write(&file, "one").unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::remove_file(&file).unwrap();
        assert_eq!(directory.look(false), []);
        assert!(directory.is_settling());
        fs::write(&file, "two").unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=two"]);
        fs::remove_file(&file).unwrap();
        assert_eq!(directory.look(false), []);
        fs::write(&file, "two").unwrap();
        assert_eq!(looks(&mut directory), [""; 0]);
        assert!(!directory.is_settling());
    }

    #[test]
    fn a_link_that_leads_nowhere_for_a_moment_is_not_gone() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::write(root.join("v1"), "one").unwrap();
        symlink("v1", root.join("a.wasm")).unwrap();
        let mut directory = Directory::new(root.to_owned());
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::rename(root.join("v1"), root.join("v2")).unwrap();
        assert_eq!(directory.look(false), []);
        fs::rename(root.join("v2"), root.join("v1")).unwrap();
        assert_eq!(looks(&mut directory), [""; 0]);
        fs::remove_file(root.join("v1")).unwrap();
        assert_eq!(looks(&mut directory), ["-a.wasm"]);
    }

    #[test]
    fn a_look_that_sees_nothing_does_not_confirm_that_a_file_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("detectors");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.wasm"), "one").unwrap();
        let mut directory = Directory::new(path.clone());
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::remove_file(path.join("a.wasm")).unwrap();
        assert_eq!(directory.look(false), []);
        fs::remove_dir(&path).unwrap();
        assert_eq!(looks(&mut directory), ["!detectors"]);
        assert!(!directory.is_settling());
        fs::create_dir(&path).unwrap();
        assert_eq!(directory.look(false), []);
        assert_eq!(
            directory.look(false),
            [Change::Gone {
                path: path.join("a.wasm")
            }]
        );
    }

    /// Gives a file the time of the bytes that it would have if it had never changed.
    fn set_modified(file: &Path, modified: SystemTime) {
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(modified).unwrap();
    }

    #[test]
    fn a_replacement_of_equal_length_and_time_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let [file, other] = ["a.wasm", "b"].map(|name| temp.path().join(name));
        let mut directory = Directory::new(temp.path().to_owned());
        fs::write(&file, "one").unwrap();
        set_modified(&file, SystemTime::UNIX_EPOCH);
        assert_eq!(looks(&mut directory), ["a.wasm=one"]);
        fs::write(&other, "two").unwrap();
        set_modified(&other, SystemTime::UNIX_EPOCH);
        fs::rename(&other, &file).unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm=two"]);

        // In place only the time of the inode tells, and that in steps of the system's own.
        let found = inode(&fs::metadata(&file).unwrap());
        while inode(&fs::metadata(&file).unwrap()) == found {
            fs::write(&file, "six").unwrap();
            set_modified(&file, SystemTime::UNIX_EPOCH);
        }
        assert_eq!(looks(&mut directory), ["a.wasm=six"]);
    }

    #[test]
    fn what_cannot_be_read_is_said_once_and_tried_again() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a.wasm"), "one").unwrap();
        let mut directory = Directory::new(temp.path().to_owned());
        let mut look = |error: Option<io::ErrorKind>| -> Vec<String> {
            let changes = directory.look_with(false, |path| match error {
                Some(kind) => Err(kind.into()),
                None => fs::read(path),
            });
            changes.iter().map(describe).collect()
        };
        let denied = Some(io::ErrorKind::PermissionDenied);
        assert_eq!(look(denied), [""; 0]);
        assert_eq!(look(denied), ["!a.wasm"]);
        assert_eq!(look(denied), [""; 0]);
        assert_eq!(look(Some(io::ErrorKind::TimedOut)), ["!a.wasm"]);
        assert_eq!(look(None), ["a.wasm=one"]);
        assert_eq!(look(denied), [""; 0]);
        assert!(!directory.is_settling());
    }

    #[test]
    fn a_file_that_is_too_large_is_said_once() {
        let temp = tempfile::tempdir().unwrap();
        let file = fs::File::create(temp.path().join("a.wasm")).unwrap();
        file.set_len(MODULE_BYTES_MAX + 1).unwrap();
        let mut directory = Directory::new(temp.path().to_owned());
        assert_eq!(looks(&mut directory), ["!a.wasm"]);
        assert!(!directory.is_settling());
        assert_eq!(looks(&mut directory), [""; 0]);
        file.set_len(0).unwrap();
        assert_eq!(looks(&mut directory), ["a.wasm="]);
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
