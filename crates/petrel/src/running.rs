//! A running Petrel: put together from a configuration, changed while it runs, and taken apart again
//! without losing what was admitted.

mod background;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use petrel_engine::{Continuity, Enrichment, Privacy, Scope, Settings};
use petrel_otlp::receive::{Address, Admission, RETRY_AFTER_DEFAULT};
use regex::Regex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use self::background::Background;
use crate::analysis::{Analysis, Start};
use crate::config::{self, Config, Mode};
use crate::control::{Control, report_detector};
use crate::delivery::Exit;
use crate::detectors::Detectors;
use crate::events::{self, send_events};
use crate::inline::Inline;
use crate::modules::Loader;
use crate::outbox::Outbox;
use crate::persist::{self, Knowledge, Switches};
use crate::pipeline::Pipeline;
use crate::servers::Servers;
use crate::store::Store;
use crate::telemetry::name;
use crate::ways::{Ways, drain_queue};

/// What anomaly events have to leave at the end, when everything else has used up the time.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Everything that runs, and how to end it.
#[derive(Debug)]
pub struct Running {
    config: Config,
    control: Arc<Control>,
    inline: Arc<Inline>,
    admission: Admission,
    servers: Servers,
    outbox: Outbox,
    store: Option<Arc<Store>>,
    /// Where anomaly events go.
    anomalies: watch::Sender<Option<Exit>>,
    events: JoinHandle<()>,
    background: Background,
    loader: Arc<Loader>,
}

impl Running {
    /// Starts everything that the configuration asks for; requests are taken once this returns.
    ///
    /// # Errors
    /// What cannot be started, with the address, directory or detector that it is about.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let (store, knowledge, switched) = open_state(config)?;
        let ways = Ways::build(config, None)?;
        ways.warn_of_left(config);
        let outbox = Outbox::new(
            config.limits.outbox_bytes_max,
            store.clone(),
            events::encoder(ways.anomalies.is_some()),
        )?;
        let detectors = Detectors::load(config, None)?;
        let analysis = Arc::new(Analysis::start(start_of(
            config,
            &detectors,
            knowledge,
            outbox.clone(),
        )?)?);
        let module_info = detectors.report_running();
        let control = Arc::new(Control::new(config.mode, switched));
        let (anomalies, exit) = watch::channel(ways.anomalies.clone());
        let pipeline = Pipeline::new(config, analysis, ways).await;
        let inline = Inline::new(pipeline, Arc::clone(&control));
        let inline = Arc::new(inline);

        let admission = Admission::new(config.limits.in_flight_bytes_max, RETRY_AFTER_DEFAULT);
        let mut servers = Servers::none();
        // Last: who connects is to be answered.
        let planned = servers.plan(&config.receivers).await?;
        servers.apply(planned, &inline, &admission);
        let events = tokio::spawn(send_events(exit, outbox.clone(), Arc::clone(&inline)));
        let mut running = Self {
            config: config.clone(),
            control,
            inline,
            admission,
            servers,
            outbox,
            store,
            anomalies,
            events,
            background: Background::default(),
            loader: detectors.loader(),
        };
        running.start_background(detectors, module_info);
        Ok(running)
    }

    /// Where OTLP/gRPC is served.
    #[must_use]
    pub fn grpc(&self) -> Option<&Address> {
        self.servers.grpc.as_ref().map(|server| &server.address)
    }

    /// Where OTLP/HTTP is served.
    #[must_use]
    pub fn http(&self) -> Option<&Address> {
        self.servers.http.as_ref().map(|server| &server.address)
    }

    /// Whether own log lines are JSON.
    #[must_use]
    pub fn logs_json(&self) -> bool {
        self.config.telemetry.log_json
    }

    /// What may be switched.
    #[must_use]
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// The path of requests.
    #[must_use]
    pub fn inline(&self) -> Arc<Inline> {
        Arc::clone(&self.inline)
    }

    /// What outlives the process; none = nothing does.
    #[must_use]
    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    /// What is in flight.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }

    /// Takes no more requests, finishes what was admitted, sends what waits, saves, ends: the first three
    /// within `drain_timeout` together.
    ///
    /// # Errors
    /// When the last snapshot cannot be written.
    pub async fn drain(mut self) -> anyhow::Result<()> {
        let timeout = self.config.drain_timeout;
        let deadline = Instant::now() + timeout;
        self.background.end().await;
        if timeout_at(deadline, self.servers.drain()).await.is_err() {
            tracing::warn!(
                ?timeout,
                "requests were still in flight when the time to drain was over"
            );
        }
        let pipeline = self.inline.pipeline();
        let mut queues = JoinSet::new();
        for (id, queue) in pipeline.ways.all_queues() {
            queues.spawn(async move { drain_queue(&id, &queue, deadline).await });
        }
        queues.join_all().await;
        // What is still being judged may bring events: the workers answer after it.
        let knowledge = pipeline.analysis.snapshot(Scope::All).await;
        self.send_last_events(deadline).await;
        if let Some(store) = self.store {
            persist::write(store, knowledge)
                .await
                .context("the last snapshot")?;
        }
        drop(self.inline);
        end_analysis(pipeline).await
    }

    async fn send_last_events(&mut self, deadline: Instant) {
        self.outbox.close();
        // They come last, and are few: a second is theirs in any case.
        let deadline = deadline.max(Instant::now() + LAST_EVENTS);
        if timeout_at(deadline, &mut self.events).await.is_err() {
            let n_events = self.outbox.len();
            let kept = self.store.is_some();
            tracing::warn!(
                n_events,
                kept,
                "anomaly events were not accepted before the end"
            );
        }
        self.outbox.save().await;
    }
}

/// Ends the workers of a pipeline that nothing passes through any more.
async fn end_analysis(pipeline: Arc<Pipeline>) -> anyhow::Result<()> {
    let analysis = Arc::clone(&pipeline.analysis);
    drop(pipeline);
    if let Some(analysis) = Arc::into_inner(analysis) {
        tokio::task::spawn_blocking(|| analysis.join())
            .await
            .context("ending the workers")?;
    }
    Ok(())
}

fn start_of(
    config: &Config,
    detectors: &Detectors,
    knowledge: Knowledge,
    outbox: Outbox,
) -> anyhow::Result<Start> {
    Ok(Start {
        settings: engine_settings(config)?,
        roster: detectors.roster(),
        n_workers: config.workers,
        budget: config.detectors.budget,
        knowledge,
        continuity: Continuity::Interrupted,
        outbox,
        counts: Arc::default(),
    })
}

/// The store, what it knows, and the mode that was switched to.
fn open_state(config: &Config) -> anyhow::Result<(Option<Arc<Store>>, Knowledge, Option<Mode>)> {
    let Some(state) = &config.state else {
        return Ok((None, Knowledge::default(), None));
    };
    let opened = Store::open(&state.directory)?;
    if let Some((path, reason)) = opened.set_aside {
        tracing::error!(path = %path.display(), "saved state cannot be read, is set aside, and everything is learnt anew: {reason}");
        metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
    }
    let mut knowledge = persist::read(&opened.store)?;
    tracing::info!(streams = knowledge.streams.len(), "saved state read");
    let switches = persist::read_switches(&opened.store)?;
    let switched = switches.mode.as_deref().and_then(Mode::of_name);
    if switches != Switches::default() {
        tracing::warn!(
            mode = switches.mode,
            detectors_off = ?switches.detectors_off,
            "switched before the restart, and still is; `petrel status` says how to take it back"
        );
    }
    for detector in &switches.detectors_off {
        report_detector(detector, false);
    }
    knowledge.disabled = switches.detectors_off;
    Ok((Some(Arc::new(opened.store)), knowledge, switched))
}

fn engine_settings(config: &Config) -> anyhow::Result<Settings> {
    let defaults = Settings::default();
    let masks = config.privacy.mask.iter().map(|mask| {
        let regex = Regex::new(&mask.pattern).context("privacy.mask")?;
        anyhow::Ok((regex, mask.replacement.clone()))
    });
    let mut limits = defaults.limits;
    limits.retry_digests = config.limits.retry_digests;
    let event_name = defaults.event_name_attribute;
    Ok(Settings {
        threshold: config.detectors.threshold,
        enrichment: match config.enrichment {
            config::Enrichment::None => Enrichment::None,
            config::Enrichment::Anomalies => Enrichment::Anomalies,
            config::Enrichment::Id => Enrichment::Id,
            config::Enrichment::Template => Enrichment::Template,
        },
        templates: config.templates,
        event_name_attribute: event_name.filter(|_| config.event_name_attribute),
        privacy: Privacy {
            masks: masks.collect::<anyhow::Result<_>>()?,
            denied: config.privacy.deny_attributes.iter().cloned().collect(),
        },
        retry_window: config.limits.retry_window,
        limits,
        ..Settings::default()
    })
}
