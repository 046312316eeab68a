//! The ways out: from the configured exporters and pipelines to what requests are handed to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use petrel_otlp::Signal;
use petrel_otlp::export::Exporter;
use tokio::time::Instant;

use crate::config::{self, Config, QueueMode};
use crate::delivery::{Exit, Queue, QueueSettings, QueueStatus, Way, left_in};
use crate::telemetry::name;

/// Where each kind of telemetry goes.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    by_signal: BTreeMap<Signal, Way>,
    /// Where anomaly events go; none = they are printed.
    pub anomalies: Option<Exit>,
    queues: BTreeMap<String, Arc<Queue>>,
    exits: BTreeMap<String, Exit>,
    endpoints: BTreeMap<String, String>,
}

/// An exporter, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ExporterStatus {
    /// Where it sends logs.
    pub endpoint: String,
    /// Why the next hop took nothing when it was last asked; none = it did, or was not asked.
    pub trouble: Option<String>,
}

impl Ways {
    /// Builds the exporters of a configuration. A queue of `before` that keeps its place is handed on by
    /// [`Ways::take_over`], and not opened here.
    ///
    /// # Errors
    /// What is wrong with an exporter, or with the file of its queue.
    pub fn build(config: &Config, before: Option<&Self>) -> anyhow::Result<Self> {
        let mut ways = Self::default();
        for (id, exporter) in &config.exporters {
            let built = build_exit(id, exporter).with_context(|| format!("exporters.{id}"))?;
            ways.exits.insert(id.clone(), built);
            let endpoint = exporter.settings.endpoints.logs.clone();
            ways.endpoints.insert(id.clone(), endpoint);
        }
        let pipelines = &config.pipelines;
        let wanted = [
            (Signal::Logs, &pipelines.logs),
            (Signal::Traces, &pipelines.traces),
            (Signal::Metrics, &pipelines.metrics),
        ];
        for (signal, id) in wanted {
            let Some(id) = id else { continue };
            let exit = ways.exits.get(id).cloned();
            let (Some(exit), Some(exporter)) = (exit, config.exporters.get(id)) else {
                anyhow::bail!(
                    "service.pipelines.{}: no exporter is named {id}",
                    signal.name()
                );
            };
            let way = ways.way(id, exporter, &exit, before)?;
            ways.by_signal.insert(signal, way);
        }
        if config.exporters.is_empty() {
            ways.by_signal.insert(Signal::Logs, Way::Nowhere);
        }
        let anomalies = pipelines.anomalies.as_ref();
        ways.anomalies = anomalies.and_then(|id| ways.exits.get(id).cloned());
        Ok(ways)
    }

    fn way(
        &mut self,
        id: &str,
        exporter: &config::Exporter,
        exit: &Exit,
        before: Option<&Self>,
    ) -> anyhow::Result<Way> {
        let mode = in_own_directory(&exporter.queue.mode, id);
        if mode == QueueMode::Wait {
            return Ok(Way::Wait(exit.clone()));
        }
        let standing = before.and_then(|before| before.queues.get(id));
        let queue = match (self.queues.get(id), standing) {
            (Some(queue), _) => Arc::clone(queue),
            (None, Some(queue)) if queue.is(&mode) => Arc::clone(queue),
            (None, _) => {
                let settings = QueueSettings::from(&exporter.queue);
                let queue = Queue::start(&mode, settings, exit.clone());
                Arc::new(queue.with_context(|| format!("exporters.{id}.sending_queue"))?)
            }
        };
        self.queues.insert(id.to_owned(), Arc::clone(&queue));
        Ok(Way::Queued(queue))
    }

    /// The configuration is in force: queues that went on from before send through the new exporters.
    /// Returns those that nobody hands anything to any more.
    #[must_use]
    pub fn take_over(&self, config: &Config, before: &Self) -> Vec<(String, Arc<Queue>)> {
        let mut retired = Vec::new();
        for (id, queue) in &before.queues {
            let goes_on = self.queues.get(id).filter(|now| Arc::ptr_eq(now, queue));
            match (goes_on, config.exporters.get(id), self.exits.get(id)) {
                (Some(queue), Some(exporter), Some(exit)) => {
                    queue.change(QueueSettings::from(&exporter.queue), exit.clone());
                }
                _ => retired.push((id.clone(), Arc::clone(queue))),
            }
        }
        retired
    }

    /// The way out of a signal; `None` when none is configured.
    #[must_use]
    pub fn of(&self, signal: Signal) -> Option<&Way> {
        self.by_signal.get(&signal)
    }

    /// Whether anything waits in a queue on its way, so that the order of streams is ours to keep.
    #[must_use]
    pub fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Whether anything waits in a queue in memory.
    #[must_use]
    pub fn holds_in_memory(&self) -> bool {
        let mut held = self.queues.values().map(|queue| queue.status());
        held.any(|status| status.file.is_none() && status.requests > 0)
    }

    /// The exporters, by id.
    #[must_use]
    pub fn exporters(&self) -> BTreeMap<String, ExporterStatus> {
        let status = |(id, exit): (&String, &Exit)| {
            let status = ExporterStatus {
                endpoint: self.endpoints.get(id).cloned().unwrap_or_default(),
                trouble: exit.exporter.trouble(),
            };
            (id.clone(), status)
        };
        self.exits.iter().map(status).collect()
    }

    /// Says which files of queues hold requests that no exporter sends any more.
    pub fn warn_of_left(&self, config: &Config) {
        let used: Vec<_> = self
            .queues
            .values()
            .map(|queue| queue.status().file)
            .collect();
        for storage in &config.storages {
            let Ok(entries) = std::fs::read_dir(storage) else {
                continue;
            };
            for directory in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if used.contains(&Some(directory.clone())) {
                    continue;
                }
                let Some(n_requests) = left_in(&directory) else {
                    continue;
                };
                tracing::warn!(
                    directory = %directory.display(),
                    n_requests,
                    "requests that were accepted wait in the file of a queue that no exporter has: \
                     give it to an exporter of that name again, or delete the file"
                );
                metrics::counter!(name::QUEUE_ERRORS, "reason" => "left").increment(1);
            }
        }
    }

    /// What the queues hold, by exporter.
    #[must_use]
    pub fn queues(&self) -> BTreeMap<String, QueueStatus> {
        let status = |(id, queue): (&String, &Arc<Queue>)| (id.clone(), queue.status());
        self.queues.iter().map(status).collect()
    }

    /// The queues, by exporter.
    pub fn all_queues(&self) -> impl Iterator<Item = (String, Arc<Queue>)> {
        let queues = self.queues.iter();
        queues.map(|(id, queue)| (id.clone(), Arc::clone(queue)))
    }
}

/// Ends a queue, and says what is lost with it.
pub async fn drain_queue(id: &str, queue: &Queue, deadline: Instant) {
    let lost = queue.drain(deadline).await;
    if lost.requests > 0 {
        tracing::error!(
            exporter = id,
            lost = lost.items,
            "records that were accepted are lost with the queue in memory"
        );
        metrics::counter!(name::LOST, "reason" => "shutdown").increment(lost.items);
    }
}

fn build_exit(id: &str, exporter: &config::Exporter) -> anyhow::Result<Exit> {
    let retry = exporter.retry_enabled.then_some(exporter.retry);
    Ok(Exit::new(id, Exporter::new(&exporter.settings)?, retry))
}

/// Two exporters may share a `file_storage`: each has a directory of its own in it.
fn in_own_directory(mode: &QueueMode, id: &str) -> QueueMode {
    match mode {
        QueueMode::File { directory } => QueueMode::File {
            directory: directory.join(Path::new(&id.replace(['/', '\\'], "_"))),
        },
        QueueMode::Wait => QueueMode::Wait,
        QueueMode::Memory => QueueMode::Memory,
    }
}
