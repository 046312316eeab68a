//! The detectors directory of a running Petrel: modules come, are replaced, and go, in every way in which
//! files do.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::collector::build::announce;
use crate::collector::did_not_run;
use crate::guests::{Module, build};
use crate::process::Scratch;
use crate::records;
use crate::stage::{Stage, records_of};
use crate::{sink, wait};

const FIRST_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// A Petrel that follows a directory, and how many records it was sent.
struct Place {
    stage: Stage,
    directory: PathBuf,
    n_sent: u64,
}

/// What `guest-counter` says on a record: how many it has seen, and which version it is.
type Seen = Option<(i64, String)>;

fn seen(count: i64, version: &str) -> Seen {
    Some((count, version.to_owned()))
}

impl Place {
    /// Detection has all the time it wants: these tests are about what runs, not about how fast.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new("hot-reload");
        let directory = scratch.directory("detectors");
        prepare(&directory);
        let more = format!(
            "detectors: {{ directory: '{}', budget: 60s }}\n",
            directory.display()
        );
        let stage = Stage::set_up(scratch, &more, |address| sink::keep(address, || Ok(())));
        Self {
            stage,
            directory,
            n_sent: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Sends a record; what the counter that runs as `detector` has said on it.
    async fn send(&mut self, detector: &str) -> Seen {
        let record = LogRecord {
            time_unix_nano: FIRST_NS + self.n_sent * SECOND_NS,
            body: Some(records::string_value(format!(
                "order {} accepted",
                self.n_sent
            ))),
            ..LogRecord::default()
        };
        self.n_sent += 1;
        self.stage
            .accepts(&records::request("shop", vec![record]))
            .await;
        let last = self
            .stage
            .arrived()
            .into_iter()
            .flat_map(records_of)
            .rfind(|record| !record.is_event());
        let last = last.expect("what was accepted has arrived");
        let version = last.text(&format!("petrel.{detector}.version"))?;
        let count = last.integer(&format!("petrel.{detector}.seen"))?;
        Some((count, version.to_owned()))
    }

    /// Does `deed`, waits until Petrel says that `module` runs, and says how long that took.
    async fn changes(&self, what: &str, module: &Module, deed: impl FnOnce()) -> Duration {
        let digest = module.digest();
        let (_, lasted) = wait::timed(async {
            deed();
            self.stage.log_line(&["detector changed", &digest])
        })
        .await;
        announce(&format!("hot reload: {what}: {lasted:.0?}"));
        lasted
    }

    fn reloads(&self, outcome: &str) -> f64 {
        let metrics = self.stage.metrics();
        metrics.sum("petrel_module_reloads", &[("outcome", outcome)])
    }

    fn runs(&self, name: &str, version: &str) -> bool {
        let metrics = self.stage.metrics();
        let labels = [("name", name), ("version", version)];
        metrics.sum("petrel_module_info", &labels) == 1.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_comes_is_replaced_and_goes() {
    let mut place = Place::new(|_| ());
    let path = place.path("counter.wasm");
    assert_eq!(place.send("counter").await, None);

    let first = Module::counter("counter", "1.0.0");
    let rename = || first.rename_to(&path);
    place.changes("a Rust module dropped", &first, rename).await;
    assert_eq!(place.send("counter").await, seen(1, "1.0.0"));
    assert_eq!(place.send("counter").await, seen(2, "1.0.0"));
    wait::until("the metric to name the module", wait::SOON, || {
        place.runs("counter", "1.0.0").then_some(())
    });

    let second = Module::counter("counter", "1.1.0");
    let rename = || second.rename_to(&path);
    place
        .changes("replaced by a newer one", &second, rename)
        .await;
    assert_eq!(
        place.send("counter").await,
        seen(3, "1.1.0"),
        "the new version goes on where the old one was"
    );
    wait::until("the metric to name the new module", wait::SOON, || {
        let is_new = place.runs("counter", "1.1.0") && !place.runs("counter", "1.0.0");
        is_new.then_some(())
    });
    assert_eq!(place.reloads("success"), 2.0);

    Module(b"not a module at all".to_vec()).rename_to(&path);
    place.stage.log_line(&["module refused", "counter.wasm"]);
    assert_eq!(place.reloads("refused"), 1.0);
    assert_eq!(place.send("counter").await, seen(4, "1.1.0"));

    std::fs::remove_file(&path).expect("it is there");
    place.stage.log_line(&["module is gone", "counter.wasm"]);
    place
        .stage
        .log_line(&["detector changed", "counter", "none"]);
    assert_eq!(place.send("counter").await, None);
    assert!(!place.runs("counter", "1.1.0"));
    assert!(place.stage.petrel.stop().success());
}

/// Kubernetes mounts a ConfigMap as links to links, and swaps the one in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symlink_is_swapped() {
    let [first, second] = ["1.0.0", "1.1.0"].map(|version| Module::counter("counter", version));
    let mut place = Place::new(|directory| {
        for (version, module) in [("..v1", &first), ("..v2", &second)] {
            std::fs::create_dir(directory.join(version)).expect("the directory is writable");
            module.rename_to(&directory.join(version).join("counter.wasm"));
        }
        symlink("..v1", directory.join("..data")).expect("the directory is writable");
        symlink("..data/counter.wasm", directory.join("counter.wasm"))
            .expect("the directory is writable");
    });
    assert_eq!(place.send("counter").await, seen(1, "1.0.0"));
    let swap = || {
        symlink("..v2", place.path("..data_tmp")).expect("the directory is writable");
        std::fs::rename(place.path("..data_tmp"), place.path("..data")).expect("both are links");
    };
    place
        .changes("a ConfigMap's links swapped", &second, swap)
        .await;
    assert_eq!(place.send("counter").await, seen(2, "1.1.0"));
    assert!(place.stage.petrel.stop().success());
}

/// A slow copy: what is there of it is no module, and until all of it is there the old one runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_written_slowly() {
    let [first, second] = ["1.0.0", "1.1.0"].map(|version| Module::counter("counter", version));
    let mut place = Place::new(|directory| first.rename_to(&directory.join("counter.wasm")));
    let path = place.path("counter.wasm");
    assert_eq!(place.send("counter").await, seen(1, "1.0.0"));

    let half = second.0.len() / 2;
    std::fs::write(&path, &second.0[..half]).expect("the directory is writable");
    place.stage.log_line(&["module refused", "counter.wasm"]);
    assert_eq!(place.send("counter").await, seen(2, "1.0.0"));
    assert_eq!(place.reloads("refused"), 1.0);

    let complete = || std::fs::write(&path, &second.0).expect("the directory is writable");
    place
        .changes("a half-written file completed", &second, complete)
        .await;
    assert_eq!(place.send("counter").await, seen(3, "1.1.0"));
    assert!(place.stage.petrel.stop().success());
}

/// Who brings a built-in's name takes its place, and leaves it when it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_takes_the_place_of_a_built_in_one() {
    let mut place = Place::new(|_| ());
    let path = place.path("my-novelty.wasm");
    let module = Module::counter("novelty", "9.9.9");
    let rename = || module.rename_to(&path);
    place
        .changes("a built-in's place taken", &module, rename)
        .await;
    place
        .stage
        .log_line(&["takes the place of the built-in detector", "novelty"]);
    assert_eq!(place.send("novelty").await, seen(1, "9.9.9"));

    // The built-in one cannot read what the other has learnt: it begins anew rather than not at all.
    std::fs::remove_file(&path).expect("it is there");
    place.stage.log_line(&["module is gone", "my-novelty.wasm"]);
    wait::until("the built-in detector to be back", wait::SOON, || {
        (!place.runs("novelty", "9.9.9")).then_some(())
    });
    assert_eq!(place.send("novelty").await, None);
    assert!(place.stage.petrel.stop().success());
}

/// A module whose words a built-in's state is not: what is learnt is worth more than what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_read_the_old_state_is_refused() {
    let mut place = Place::new(|_| ());
    assert_eq!(place.send("novelty").await, None);
    let module = Module::counter("novelty", "9.9.9");
    module.rename_to(&place.path("novelty.wasm"));
    place
        .stage
        .log_line(&["detector not changed, what ran goes on", "novelty"]);
    assert_eq!(place.reloads("refused"), 1.0);
    assert_eq!(place.send("novelty").await, None);
    assert!(place.stage.petrel.stop().success());
}

/// The example in C, from its source to the anomaly that it finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_in_c_finds_a_burst() {
    let module = match build::c_detector() {
        Ok(wasm) => Module(wasm),
        Err(why) => {
            return did_not_run("hot_reload::a_module_in_c_finds_a_burst", &why);
        }
    };
    let place = Place::new(|_| ());
    let rename = || module.rename_to(&place.path("error_burst.wasm"));
    place.changes("a C module dropped", &module, rename).await;
    for minute in 0..46 {
        place.stage.accepts(&minute_of_errors(minute)).await;
    }
    let event = wait::until("an event of the detector in C", wait::SOON, || {
        let events = place.stage.events().into_iter();
        events
            .filter(|event| event.text("anomaly.detector.name") == Some("error-burst"))
            .find(|event| event.record.event_name == "anomaly.detected")
    });
    assert_eq!(
        event.record.time_unix_nano,
        FIRST_NS / MINUTE_NS * MINUTE_NS + 40 * MINUTE_NS
    );
    assert!(place.stage.petrel.stop().success());
}

/// Four errors and sixteen other records; sixty errors more in minute 40.
fn minute_of_errors(minute: u64) -> ExportLogsServiceRequest {
    let n_errors = if minute == 40 { 64 } else { 4 };
    let record = |row: u64| LogRecord {
        time_unix_nano: FIRST_NS / MINUTE_NS * MINUTE_NS + minute * MINUTE_NS + row * 100_000_000,
        severity_number: if row < n_errors { 17 } else { 9 },
        body: Some(records::string_value(format!("payment {row} handled"))),
        ..LogRecord::default()
    };
    records::request("shop", (0..n_errors + 16).map(record).collect())
}
