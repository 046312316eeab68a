//! A child process of a test: started, waited for, ended, and never left behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A directory of one test; kept, and named, when the test fails.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::Builder::new()
            .prefix(&format!("{test}-"))
            .tempdir_in(parent);
        Self(directory.expect("the target directory is writable"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the scratch directory is writable");
        path
    }

    /// Makes a directory and returns its path.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("the scratch directory is writable");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            eprintln!(
                "the files of this test are kept in {}",
                self.0.path().display()
            );
        }
    }
}

/// A running child. Its output goes to `<name>.out` and `<name>.err` in the scratch directory.
pub(crate) struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command` and waits until it accepts connections on every port of `ready`.
    ///
    /// # Panics
    /// When it cannot be started, ends early or does not listen in time; the message has its output.
    #[track_caller]
    pub(crate) fn start(
        scratch: &Scratch,
        name: &str,
        mut command: Command,
        ready: &[u16],
    ) -> Self {
        let out = scratch.path(&format!("{name}.out"));
        let err = scratch.path(&format!("{name}.err"));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        command.stdin(Stdio::null());
        command.stdout(append(&out).expect("the scratch directory is writable"));
        command.stderr(append(&err).expect("the scratch directory is writable"));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));

        let mut process = Self {
            child,
            name: name.to_owned(),
            out,
            err,
        };
        let what = format!("{name} to listen on {ready:?}");
        wait::until(&what, wait::SOON, || {
            process.panic_if_ended();
            ready.iter().all(|port| wait::listens(*port)).then_some(())
        });
        process
    }

    fn panic_if_ended(&mut self) {
        if let Some(status) = self.status() {
            panic!("{} ended early ({status}):\n{}", self.name, self.stderr());
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// The operating system's name for it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub(crate) fn stop(self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn ended(mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait::until(&what, wait::SOON, || self.status())
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        // A child that has ended already needs no signal.
        let _ = kill_process(pid.expect("a process id is a positive i32"), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.stderr().is_empty() {
            eprintln!(
                "--- {} wrote to standard error:\n{}",
                self.name,
                self.stderr()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
