//! A disk without space: a small filesystem in memory, filled and emptied.

use std::path::PathBuf;
use std::process::Command;

use crate::collector::Collector;
use crate::load::Shape;
use crate::process::Scratch;
use crate::relay::Wire;
use crate::scene::{Plan, Scene, Upstream};
use crate::table::Row;

/// Of the filesystem; the file of an empty queue has some 1.5 MiB.
const SIZE: &str = "size=8m";
/// Bytes that each record has beside its id: 100 kB a request.
const PADDING: usize = 5_000;

/// A filesystem that is unmounted in the end.
pub(super) struct Volume {
    directory: PathBuf,
    _scratch: Scratch,
}

impl Volume {
    /// Mounts it.
    ///
    /// # Errors
    /// Why it cannot be: it takes root.
    pub(super) fn mount() -> Result<Self, String> {
        let scratch = Scratch::new("faults-disk");
        let directory = scratch.directory("volume");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
        match command.arg(&directory).output() {
            Ok(output) if output.status.success() => Ok(Self {
                directory,
                _scratch: scratch,
            }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: whoever failed may have files open.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(&self.directory)
            .status();
    }
}

/// The queue's file grows until the disk is full, senders are told to come back, Petrel lives; then the next
/// hop is there again, and the disk has room again if `is_freed`: else only the queue itself can make some.
pub(super) async fn run(
    collector: Collector,
    fault: &str,
    plan: Plan,
    volume: Volume,
    is_freed: bool,
) -> Row {
    let upstream = plan.upstream;
    let plan = Plan {
        storage: Some(volume.directory.clone()),
        ..plan
    };
    let mut scene = Scene::start(collector, plan);
    // Something else takes most of the disk.
    let other = volume.directory.join("other");
    std::fs::write(&other, vec![0; 3 << 20]).expect("there is space for this");
    scene.relay.set(Wire::Down);
    let shape = Shape {
        n_requests: 120,
        padding: PADDING,
        ..Shape::default()
    };
    let load = scene.load(shape);
    let errors = "petrel_queue_file_errors";
    scene.wait_for_metric(errors, &[("reason", "write")], 5.0);
    assert!(scene.queue_file().exists());
    let queued = scene.metrics().sum("otelcol_exporter_queue_size", &[]);
    assert!(queued > 0.0, "some were taken before the disk was full");
    if is_freed {
        std::fs::remove_file(&other).expect("it is ours");
    }
    scene.relay.set(Wire::Whole);
    let told = load.done().await;
    assert_eq!(scene.metrics().sum(errors, &[("reason", "set_aside")]), 0.0);
    if upstream == Upstream::Client {
        let words = "the file of the sending queue: ";
        let is_said = told.messages.iter().any(|message| message.contains(words));
        assert!(is_said, "{:?}", told.messages);
    }
    scene.balance(fault, &told)
}
