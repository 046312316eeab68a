//! A running Petrel: put together from a configuration, and taken apart again without losing what was
//! admitted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use petrel_engine::{Enrichment, Scope, Settings};
use petrel_otlp::receive::{
    Address, Admission, LiveReceive, RETRY_AFTER_DEFAULT, bind, serve_grpc, serve_http,
};
use petrel_otlp::{ResourceCache, WalkPlan, WalkSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::analysis::{Analysis, Start};
use crate::clock::now;
use crate::config::{self, Config};
use crate::detectors::{Desired, Detectors, ModuleInfo, Watch, count};
use crate::inline::Inline;
use crate::next_hop::NextHop;
use crate::outbox::Outbox;
use crate::persist::{self, Knowledge};
use crate::store::Store;
use crate::telemetry::{name, one_line};

/// Share of `state.interval` after which changed streams are written, a part of them each time.
const SNAPSHOT_PARTS: u32 = 6;
/// Streams that one worker writes at most in one part of an interval.
const SNAPSHOT_STREAMS_MAX: usize = 512;

/// Everything that runs, and how to end it.
#[derive(Debug)]
pub struct Running {
    /// Where OTLP/gRPC is served.
    pub grpc: Option<SocketAddr>,
    /// Where OTLP/HTTP is served.
    pub http: Option<SocketAddr>,
    analysis: Arc<Analysis>,
    outbox: Outbox,
    store: Option<Arc<Store>>,
    is_draining: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    events: JoinHandle<()>,
    drain_timeout: Duration,
}

impl Running {
    /// Starts everything that the configuration asks for; requests are taken once this returns.
    ///
    /// # Errors
    /// What cannot be started, with the address, directory or detector that it is about.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let (store, knowledge) = open_state(config)?;
        let next_hop = NextHop::new(config.logs_exporter())?;
        let outbox = Outbox::new(
            config.limits.outbox_bytes_max,
            store.clone(),
            next_hop.encoder(),
        )?;
        let detectors = Detectors::load(config)?;
        let analysis = Arc::new(Analysis::start(Start {
            settings: engine_settings(config),
            roster: detectors.roster(),
            n_workers: config.workers,
            budget: config.detectors.budget,
            knowledge,
            outbox: outbox.clone(),
        })?);
        let module_info = detectors.report_running();
        let plan = walk_plan(config, &analysis).await;
        let resources = ResourceCache::default();
        let inline = Inline::new(plan, resources, Arc::clone(&analysis), next_hop.clone());
        let inline = Arc::new(inline);

        let (is_draining, drain) = watch::channel(false);
        let mut servers = Vec::new();
        let admission = Admission::new(config.limits.in_flight_bytes_max, RETRY_AFTER_DEFAULT);
        let listen = Listen {
            config,
            inline: &inline,
            drain: &drain,
            admission,
        };
        let grpc = listen.grpc(&mut servers).await?;
        let http = listen.http(&mut servers).await?;

        let events = tokio::spawn(next_hop.send_events(outbox.clone()));
        let mut background = vec![tokio::spawn(watch_for_quiet(
            Arc::clone(&inline),
            Arc::clone(&analysis),
            engine_settings(config).quiet_after,
        ))];
        if let (Some(store), Some(state)) = (&store, &config.state) {
            let outbox = outbox.clone();
            background.push(tokio::spawn(async move { outbox.keep_saved().await }));
            let save = save_regularly(Arc::clone(&analysis), Arc::clone(store), state.interval);
            background.push(tokio::spawn(save));
        }
        if let Some(directory) = &config.detectors.directory {
            let watch = Watch::new(directory, config.detectors.rescan_interval);
            let follow = Follow {
                config: config.clone(),
                watch,
                detectors,
                module_info,
                analysis: Arc::clone(&analysis),
                inline,
            };
            background.push(tokio::spawn(follow.run()));
        }
        Ok(Self {
            grpc,
            http,
            analysis,
            outbox,
            store,
            is_draining,
            servers,
            background,
            events,
            drain_timeout: config.drain_timeout,
        })
    }

    /// Takes no more requests, finishes what was admitted, sends the events that wait, saves, ends.
    ///
    /// # Errors
    /// When the last snapshot cannot be written.
    pub async fn drain(self) -> anyhow::Result<()> {
        // Nobody listens any more when all servers have ended by themselves.
        let _ = self.is_draining.send(true);
        for task in self.background {
            task.abort();
            // Ended is what is wanted, however.
            let _ = task.await;
        }
        let servers = async {
            for server in self.servers {
                if let Err(error) = server.await {
                    tracing::error!(%error, "a server did not end in good order");
                }
            }
        };
        if tokio::time::timeout(self.drain_timeout, servers)
            .await
            .is_err()
        {
            tracing::warn!(timeout = ?self.drain_timeout, "requests were still in flight when the time to drain was over");
        }
        // What is still being judged may bring events: the workers answer after it.
        let knowledge = self.analysis.snapshot(Scope::All).await;
        self.outbox.close();
        if tokio::time::timeout(self.drain_timeout, self.events)
            .await
            .is_err()
        {
            let n_events = self.outbox.len();
            let kept = self.store.is_some();
            tracing::warn!(
                n_events,
                kept,
                "anomaly events were not accepted before the end"
            );
        }
        self.outbox.save().await;
        if let Some(store) = self.store {
            persist::write(store, knowledge)
                .await
                .context("the last snapshot")?;
        }
        if let Some(analysis) = Arc::into_inner(self.analysis) {
            tokio::task::spawn_blocking(|| analysis.join())
                .await
                .context("ending the workers")?;
        }
        Ok(())
    }
}

fn open_state(config: &Config) -> anyhow::Result<(Option<Arc<Store>>, Knowledge)> {
    let Some(state) = &config.state else {
        return Ok((None, Knowledge::default()));
    };
    let opened = Store::open(&state.directory)?;
    if let Some((path, reason)) = opened.set_aside {
        tracing::error!(path = %path.display(), "saved state cannot be read, is set aside, and everything is learnt anew: {reason}");
        metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
    }
    let knowledge = persist::read(&opened.store)?;
    tracing::info!(streams = knowledge.streams.len(), "saved state read");
    Ok((Some(Arc::new(opened.store)), knowledge))
}

fn engine_settings(config: &Config) -> Settings {
    let event_name = Settings::default().event_name_attribute;
    Settings {
        threshold: config.detectors.threshold,
        enrichment: match config.enrichment {
            config::Enrichment::None => Enrichment::None,
            config::Enrichment::Anomalies => Enrichment::Anomalies,
            config::Enrichment::Id => Enrichment::Id,
            config::Enrichment::Template => Enrichment::Template,
        },
        templates: config.templates,
        event_name_attribute: event_name.filter(|_| config.event_name_attribute),
        ..Settings::default()
    }
}

async fn walk_plan(config: &Config, analysis: &Analysis) -> WalkPlan {
    let column_set = Arc::new(analysis.column_set().await);
    WalkPlan::new(WalkSettings {
        stream_key: config.streams.key.clone(),
        stream_fallback: config.streams.fallback.clone(),
        accept_enriched: config.accept_enriched,
        ..WalkSettings::new(column_set)
    })
}

/// What both servers are made of.
struct Listen<'a> {
    config: &'a Config,
    inline: &'a Arc<Inline>,
    drain: &'a watch::Receiver<bool>,
    /// Shared, so that the bound holds over both.
    admission: Admission,
}

type Servers = Vec<JoinHandle<()>>;

impl Listen<'_> {
    fn drained(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut drain = self.drain.clone();
        async move {
            // An error means that the sender is gone, which ends us too.
            let _ = drain.wait_for(|is_draining| *is_draining).await;
        }
    }

    async fn grpc(&self, servers: &mut Servers) -> anyhow::Result<Option<SocketAddr>> {
        let Some(receiver) = &self.config.receivers.grpc else {
            return Ok(None);
        };
        let listener = bind(&receiver.endpoint)
            .await
            .context("receivers.otlp.protocols.grpc")?;
        let address = listener.local_addr().clone();
        warn_of_plaintext(&address, receiver.settings.tls.is_some());
        let live = LiveReceive::new(receiver.settings.clone())?;
        let serve = serve_grpc(
            listener,
            Arc::clone(self.inline),
            self.admission.clone(),
            live,
            self.drained(),
        );
        servers.push(tokio::spawn(serve));
        tracing::info!(%address, "OTLP/gRPC is served");
        Ok(port(address))
    }

    async fn http(&self, servers: &mut Servers) -> anyhow::Result<Option<SocketAddr>> {
        let Some(receiver) = &self.config.receivers.http else {
            return Ok(None);
        };
        let listener = bind(&receiver.endpoint)
            .await
            .context("receivers.otlp.protocols.http")?;
        let address = listener.local_addr().clone();
        warn_of_plaintext(&address, receiver.settings.tls.is_some());
        let live = LiveReceive::new(receiver.settings.clone())?;
        let serve = serve_http(
            listener,
            Arc::clone(self.inline),
            self.admission.clone(),
            live,
            self.drained(),
        );
        servers.push(tokio::spawn(serve));
        tracing::info!(%address, "OTLP/HTTP is served");
        Ok(port(address))
    }
}

fn warn_of_plaintext(address: &Address, has_tls: bool) {
    if !has_tls && !address.is_loopback() {
        tracing::warn!(%address, "logs come in as plaintext, from whoever can reach this address");
    }
}

fn port(address: Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(address),
        Address::Unix(_) => None,
    }
}

/// Writes what changed, a part of it every sixth of the interval.
async fn save_regularly(analysis: Arc<Analysis>, store: Arc<Store>, interval: Duration) {
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
        let knowledge = analysis.snapshot(scope).await;
        metrics::gauge!(name::STREAMS).set(analysis.n_streams().await as f64);
        let written = persist::write(Arc::clone(&store), knowledge).await;
        // Streams that were to be written no longer count as changed.
        all_is_due = written.is_err();
        if let Err(error) = written {
            tracing::error!("a snapshot could not be written, the last one stays: {error:#}");
            metrics::counter!(name::SNAPSHOT_ERRORS).increment(1);
        }
    }
}

/// Notices by the wall clock when nothing comes in at all.
async fn watch_for_quiet(inline: Arc<Inline>, analysis: Arc<Analysis>, quiet_after: Duration) {
    let is_quiet = AtomicBool::new(false);
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        let last = inline.last_arrival();
        if last.nanos() == 0 {
            continue;
        }
        let lasted = now().since(last);
        if lasted > quiet_after {
            is_quiet.store(true, Ordering::Relaxed);
            analysis.quiet(lasted);
        } else if is_quiet.swap(false, Ordering::Relaxed) {
            analysis.resumed();
        }
    }
}

/// Follows the detectors directory.
struct Follow {
    config: Config,
    watch: Watch,
    detectors: Detectors,
    module_info: ModuleInfo,
    analysis: Arc<Analysis>,
    inline: Arc<Inline>,
}

impl Follow {
    async fn run(self) {
        let Self {
            config,
            watch,
            mut detectors,
            mut module_info,
            analysis,
            inline,
        } = self;
        let mut is_settling = false;
        loop {
            watch.due(is_settling).await;
            // Reading and compiling modules must not hold the threads that serve requests.
            let look = tokio::task::spawn_blocking(move || {
                let found = detectors.look();
                (detectors, found)
            });
            let Ok((looked, (desired, settling))) = look.await else {
                tracing::error!(
                    "loading a module panicked; the detectors directory is no longer followed"
                );
                return;
            };
            detectors = looked;
            is_settling = settling;
            let is_changed = !desired.is_empty();
            for desired in desired {
                apply(&analysis, desired, &mut module_info).await;
            }
            if is_changed {
                inline.set_plan(walk_plan(&config, &analysis).await);
            }
        }
    }
}

async fn apply(analysis: &Analysis, desired: Desired, module_info: &mut ModuleInfo) {
    let (name, digest, must) = match &desired {
        Desired::Runs {
            name, spec, must, ..
        } => (name.clone(), spec.module.digest().to_owned(), *must),
        Desired::Ends { name } => (name.clone(), "none".to_owned(), true),
    };
    let mut outcome = analysis.change(desired.clone()).await;
    if let Err(error) = &outcome
        && must
    {
        // A module that was taken away must not go on for the sake of what it has learnt.
        let reason = one_line(error);
        tracing::warn!(detector = name, digest, "begins anew: {reason}");
        let ends = Desired::Ends { name: name.clone() };
        outcome = match analysis.change(ends).await {
            Ok(()) => analysis.change(desired.clone()).await,
            Err(error) => Err(error),
        };
    }
    match outcome {
        Ok(()) => {
            match &desired {
                Desired::Runs { version, .. } => module_info.runs(&name, version, &digest),
                Desired::Ends { .. } => module_info.ends(&name),
            }
            tracing::info!(detector = name, digest, "detector changed");
            count("success");
        }
        Err(error) => {
            tracing::error!(
                detector = name,
                digest,
                "detector not changed, what ran goes on: {}",
                one_line(error)
            );
            count("refused");
        }
    }
}
