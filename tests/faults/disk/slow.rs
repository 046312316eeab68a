//! A disk whose syncs take long: a small library before libc's sleeps in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::collector::Collector;
use crate::load::Shape;
use crate::petrel;
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

const SOURCE: &str = r#"
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_a_little(void) {
    struct timespec time = {0, 200 * 1000 * 1000};
    nanosleep(&time, 0);
}

int fsync(int file) {
    wait_a_little();
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_a_little();
    return syscall(SYS_fdatasync, file);
}
"#;

/// Compiles the library.
///
/// # Errors
/// When there is no C compiler.
pub(super) fn library() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (directory.join("slow.c"), directory.join("libslow.so"));
    std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]);
    let output = command.arg(&library).arg(&source).output();
    let output = output.map_err(|error| format!("cc: {error}"))?;
    match output.status.success() {
        true => Ok(library),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

pub(super) async fn run(collector: Collector, fault: &str, plan: Plan, library: PathBuf) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let library = library.to_str().expect("the target directory is text");
    let command = petrel::command(&[("LD_PRELOAD", library)]);
    scene.petrel = Some(scene.setup.start_as(&scene.scratch, command));
    scene.start_upstream(collector);
    let shape = Shape {
        n_requests: 200,
        n_senders: 16,
        ..Shape::default()
    };
    let sending = async { scene.load(shape).done().await };
    let (told, lasted) = wait::timed(sending).await;
    if scene.plan.upstream == crate::scene::Upstream::Client {
        // Each of at most 16 at a time waits for a sync; without one all of it takes far less.
        let least = 200 / 16 * std::time::Duration::from_millis(200);
        assert!(
            lasted >= least,
            "acknowledged before it was synced: {lasted:?}"
        );
    }
    scene.balance(fault, &told)
}
