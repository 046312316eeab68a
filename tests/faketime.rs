//! A wall clock that a test sets for a process, by Debian's libfaketime.

use std::path::PathBuf;
use std::process::Command;

use crate::process::Scratch;

const FILE: &str = "offset";

/// The clock of one process; its monotonic clock stays as it is.
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// None where the system has no such library.
    pub(crate) fn find() -> Option<Self> {
        let directories = std::fs::read_dir("/usr/lib").ok()?.flatten();
        let mut paths = directories.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
        paths.find(|path| path.exists()).map(Self)
    }

    /// From now on the clocks of this directory are so far off, such as `-3d`.
    pub(crate) fn jump(scratch: &Scratch, offset: &str) -> PathBuf {
        scratch.write(FILE, offset)
    }

    /// Has the process of this command look at the clock of this directory.
    pub(crate) fn give(&self, scratch: &Scratch, command: &mut Command) {
        command.env("LD_PRELOAD", &self.0);
        command.env("FAKETIME_TIMESTAMP_FILE", Self::jump(scratch, "+0"));
        command.env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
