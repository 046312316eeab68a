//! What goes on beside requests: snapshots, the watch on silence of the whole input, the detectors
//! directory, the memory limiter.

use std::sync::Arc;
use std::time::Duration;

use petrel_engine::{Scope, Settings};
use tokio::task::JoinHandle;

use super::Running;
use crate::detectors::{Detectors, ModuleInfo, Watch};
use crate::follow::follow;
use crate::inline::Inline;
use crate::limiter::{OWN_FIGURES_EVERY, limit_memory};
use crate::persist;
use crate::store::Store;
use crate::telemetry::name;

/// Share of `state.interval` after which changed streams are written, a part of them each time.
const SNAPSHOT_PARTS: u32 = 6;
/// Streams that one worker writes at most in one part of an interval.
const SNAPSHOT_STREAMS_MAX: usize = 512;
/// How often it is asked whether anything came in.
const QUIET_CHECK_EVERY: Duration = Duration::from_secs(5);

/// Tasks that end with the pipeline.
#[derive(Debug, Default)]
pub(super) struct Background {
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// Ends all of them.
    pub(super) async fn end(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Ended is what is wanted, however.
            let _ = task.await;
        }
    }
}

impl Running {
    /// Starts what the configuration asks for beside requests.
    pub(super) fn start_background(&mut self, detectors: Detectors, module_info: ModuleInfo) {
        let (config, inline) = (&self.config, &self.inline);
        let background = &mut self.background;
        let quiet_after = Settings::default().quiet_after;
        background.spawn(watch_for_quiet(Arc::clone(inline), quiet_after));
        background.spawn(count_streams(Arc::clone(inline)));
        if let (Some(store), Some(state)) = (&self.store, &config.state) {
            let outbox = self.outbox.clone();
            background.spawn(async move { outbox.keep_saved().await });
            let (inline, store) = (Arc::clone(inline), Arc::clone(store));
            background.spawn(save_regularly(inline, store, state.interval));
        }
        if let Some(directory) = &config.detectors.directory {
            let watch = Watch::new(directory, config.detectors.rescan_interval);
            background.spawn(follow(watch, detectors, module_info, Arc::clone(inline)));
        }
        match config.memory_limiter {
            Some(limiter) => {
                let (admission, inline) = (self.admission.clone(), Arc::clone(inline));
                background.spawn(limit_memory(limiter, admission, inline));
            }
            None => self.admission.set_pressure(false),
        }
    }
}

/// Writes what changed, a part of it every sixth of the interval.
async fn save_regularly(inline: Arc<Inline>, store: Arc<Store>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval / SNAPSHOT_PARTS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut all_is_due = false;
    loop {
        ticks.tick().await;
        let scope = if all_is_due {
            Scope::All
        } else {
            Scope::Changed {
                at_most: SNAPSHOT_STREAMS_MAX,
            }
        };
        let pipeline = inline.pipeline();
        let knowledge = pipeline.analysis.snapshot(scope).await;
        drop(pipeline);
        let written = persist::write(Arc::clone(&store), knowledge).await;
        // Streams that were to be written no longer count as changed.
        all_is_due = written.is_err();
        if let Err(error) = written {
            tracing::error!("a snapshot could not be written, the last one stays: {error:#}");
            metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
        }
    }
}

/// Keeps the number of streams up to date.
async fn count_streams(inline: Arc<Inline>) {
    let mut ticks = tokio::time::interval(OWN_FIGURES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let n_streams = inline.pipeline().analysis.n_streams().await;
        metrics::gauge!(name::STREAMS).set(n_streams as f64);
    }
}

/// Notices when nothing comes in at all.
async fn watch_for_quiet(inline: Arc<Inline>, quiet_after: Duration) {
    let mut is_quiet = false;
    let mut ticks = tokio::time::interval(QUIET_CHECK_EVERY);
    loop {
        ticks.tick().await;
        let Some(lasted) = inline.quiet_for() else {
            continue;
        };
        if lasted > quiet_after {
            is_quiet = true;
            inline.pipeline().analysis.quiet(lasted);
        } else if std::mem::take(&mut is_quiet) {
            inline.pipeline().analysis.resumed();
        }
    }
}
