//! The ways out: from the configured exporters and pipelines to what requests are handed to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use petrel_otlp::Signal;
use petrel_otlp::export::Exporter;
use tokio::time::Instant;

use crate::config::{self, Config, QueueMode};
use crate::delivery::{Exit, Left, Losses, Queue, QueueSettings, QueueStatus, Way, left_in};
use crate::telemetry::name;

/// Where each kind of telemetry goes.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    by_signal: BTreeMap<Signal, Way>,
    /// Where anomaly events go; none = they are printed.
    pub anomalies: Option<Exit>,
    queues: BTreeMap<String, Arc<Queue>>,
    exits: BTreeMap<String, Exit>,
    /// By exporter, where each kind of telemetry goes that it sends.
    endpoints: BTreeMap<String, BTreeMap<&'static str, String>>,
    /// Queues that nobody hands anything to any more; they send what they have.
    retired: Arc<Mutex<Vec<Retired>>>,
}

/// A queue of an exporter that has none any more, or another.
#[derive(Debug)]
struct Retired {
    id: String,
    queue: Arc<Queue>,
}

/// An exporter, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ExporterStatus {
    /// Where it sends each kind of telemetry that goes through it.
    pub endpoints: BTreeMap<&'static str, String>,
    /// Why the next hop took nothing when it was last asked; none = it did, or was not asked.
    pub trouble: Option<String>,
    /// What was accepted and that the next hop refused for good.
    pub lost: Losses,
}

impl Ways {
    /// Builds the exporters of a configuration. A queue of `before` that keeps its place is handed on by
    /// [`Ways::take_over`], and not opened here.
    ///
    /// # Errors
    /// What is wrong with an exporter, or with the file of its queue.
    pub fn build(config: &Config, before: Option<&Self>) -> anyhow::Result<Self> {
        let mut ways = Self {
            retired: before.map(|it| Arc::clone(&it.retired)).unwrap_or_default(),
            ..Self::default()
        };
        for (id, exporter) in &config.exporters {
            let built = build_exit(id, exporter).with_context(|| format!("exporters.{id}"))?;
            ways.exits.insert(id.clone(), built);
        }
        let pipelines = &config.pipelines;
        for (signal, id) in pipelines.by_signal() {
            let Some(id) = id else { continue };
            let exit = ways.exits.get(id).cloned();
            let (Some(exit), Some(exporter)) = (exit, config.exporters.get(id)) else {
                anyhow::bail!(
                    "service.pipelines.{}: no exporter is named {id}",
                    signal.name()
                );
            };
            ways.sends(id, signal.name(), exporter.settings.endpoints.of(signal));
            let way = ways.way(id, exporter, &exit, before)?;
            ways.by_signal.insert(signal, way);
        }
        if config.exporters.is_empty() {
            ways.by_signal.insert(Signal::Logs, Way::Nowhere);
        }
        if let Some(id) = &pipelines.anomalies
            && let Some(exporter) = config.exporters.get(id)
        {
            ways.anomalies = ways.exits.get(id).cloned();
            ways.sends(id, "anomalies", &exporter.settings.endpoints.logs);
        }
        Ok(ways)
    }

    fn sends(&mut self, id: &str, what: &'static str, endpoint: &str) {
        let endpoints = self.endpoints.entry(id.to_owned()).or_default();
        endpoints.insert(what, endpoint.to_owned());
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
        let retired = self
            .retired()
            .iter()
            .find(|it| it.id == id && it.queue.is(&mode))
            .map(|it| Arc::clone(&it.queue));
        let standing = before
            .and_then(|before| before.queues.get(id))
            .filter(|queue| queue.is(&mode))
            .cloned();
        let queue = match (self.queues.get(id), standing.or(retired)) {
            (Some(queue), _) => Arc::clone(queue),
            (None, Some(queue)) => queue,
            (None, None) => {
                let settings = QueueSettings::from(&exporter.queue);
                let queue = Queue::start(&mode, settings, exit.clone());
                Arc::new(queue.with_context(|| format!("exporters.{id}.sending_queue"))?)
            }
        };
        self.queues.insert(id.to_owned(), Arc::clone(&queue));
        Ok(Way::Queued(queue))
    }

    /// The configuration is in force: queues that went on from before, or come back, send through the new
    /// exporters, and so do those that nobody hands anything to any more.
    pub fn take_over(&self, config: &Config, before: &Self) {
        let mut retired = self.retired();
        for (id, queue) in &self.queues {
            if let (Some(exporter), Some(exit)) = (config.exporters.get(id), self.exits.get(id)) {
                queue.open(QueueSettings::from(&exporter.queue), exit.clone());
            }
            retired.retain(|it| !Arc::ptr_eq(&it.queue, queue));
        }
        for (id, queue) in &before.queues {
            let mut kept = self.queues.values();
            if kept.any(|now| Arc::ptr_eq(now, queue)) {
                continue;
            }
            tracing::info!(
                exporter = id,
                requests = queue.status().requests,
                "its queue is handed nothing more and sends what it has"
            );
            queue.close();
            retired.push(Retired {
                id: id.clone(),
                queue: Arc::clone(queue),
            });
        }
        for Retired { id, queue } in retired.iter() {
            if let Some(exit) = self.exits.get(id) {
                queue.send_through(exit.clone());
            }
        }
    }

    /// Ends retired queues that have sent all they had, so that their files are free.
    pub async fn end_retired(&self) {
        let is_empty = |it: &mut Retired| it.queue.status().requests == 0;
        let empty: Vec<Retired> = self.retired().extract_if(.., is_empty).collect();
        for Retired { queue, .. } in empty {
            queue.drain(Instant::now()).await;
        }
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Retired>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
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
                endpoints: self.endpoints.get(id).cloned().unwrap_or_default(),
                trouble: exit.exporter.trouble(),
                lost: exit.losses(),
            };
            (id.clone(), status)
        };
        self.exits.iter().map(status).collect()
    }

    /// Says which files of queues hold requests that no exporter sends any more. It only looks.
    pub fn warn_of_left(&self, config: &Config) {
        let all = self.all_queues();
        let used: Vec<_> = all.map(|(_, queue)| queue.status().file).collect();
        for storage in &config.storages {
            let Ok(entries) = std::fs::read_dir(storage) else {
                continue;
            };
            for directory in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if !used.contains(&Some(directory.clone())) {
                    warn_of_left_in(&directory);
                }
            }
        }
    }

    /// What the queues hold, by exporter.
    #[must_use]
    pub fn queues(&self) -> BTreeMap<String, QueueStatus> {
        let status = |(id, queue): (String, Arc<Queue>)| (id, queue.status());
        self.all_queues().map(status).collect()
    }

    /// The queues, by exporter; those that nobody hands anything to any more are called so.
    pub fn all_queues(&self) -> impl Iterator<Item = (String, Arc<Queue>)> {
        let queues = self.queues.iter();
        let retired: Vec<_> = self
            .retired()
            .iter()
            .map(|it| (format!("{} (retired)", it.id), Arc::clone(&it.queue)))
            .collect();
        queues
            .map(|(id, queue)| (id.clone(), Arc::clone(queue)))
            .chain(retired)
    }
}

fn warn_of_left_in(directory: &Path) {
    const WHAT_TO_DO: &str = "give it to the exporter of its name again, or delete the file";
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let found = match left_in(directory) {
        Left::Nothing => return,
        Left::Requests(n_requests) => format!("{n_requests} requests that were accepted wait"),
        Left::Unreadable(reason) => format!("what waits cannot be read ({reason})"),
    };
    tracing::warn!(
        directory = %directory.display(),
        "{found} in the file of a queue that no exporter has: {WHAT_TO_DO} ({name})"
    );
    metrics::counter!(name::QUEUE_ERRORS, "reason" => "left").increment(1);
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
