//! Another configuration for what runs: everything that can fail is done first, then all of it is in
//! force or none.

use std::sync::Arc;

use petrel_engine::{Continuity, Scope};

use super::{Running, end_analysis, start_of};
use crate::analysis::{Analysis, Start};
use crate::config::{Config, LogSampling, Telemetry};
use crate::detectors::Detectors;
use crate::pipeline::Pipeline;
use crate::ways::Ways;

impl Running {
    /// Goes on by another configuration. Connections stay, what was learnt stays; requests are held for
    /// a moment while detection changes hands.
    ///
    /// # Errors
    /// What of the configuration cannot be brought about. Nothing has changed then.
    pub async fn reload(&mut self, config: &Config) -> anyhow::Result<()> {
        let fixed = changed_for_good(&self.config, config);
        anyhow::ensure!(
            fixed.is_empty(),
            "{} cannot change while Petrel runs: restart it",
            fixed.join(", ")
        );
        let control = Arc::clone(&self.control);
        let _turn = control.turn().await;
        let before = self.inline.pipeline();
        before.ways.end_retired().await;
        let ways = Ways::build(config, Some(&before.ways))?;
        let planned = self.servers.plan(&config.receivers).await?;
        let (loading, loader) = (config.clone(), Arc::clone(&self.loader));
        let load = move || Detectors::load(&loading, Some(loader));
        let detectors = tokio::task::spawn_blocking(load).await??;

        // Nothing more may follow the directory with the old settings, nor save the old streams.
        self.background.end().await;
        let swapped = self.swap(config, &detectors, ways.clone()).await;
        let config = match &swapped {
            Ok(()) => config.clone(),
            Err(_) => self.config.clone(),
        };
        if let Err(error) = swapped {
            let detectors = Detectors::load(&config, Some(Arc::clone(&self.loader)))?;
            let module_info = detectors.report_running();
            self.start_background(detectors, module_info);
            return Err(error);
        }
        ways.take_over(&config, &before.ways);
        self.admission
            .set_bytes_max(config.limits.in_flight_bytes_max);
        self.servers.apply(planned, &self.inline, &self.admission);
        self.control.set_configured(config.mode);
        // The task that sends events lives as long as this.
        let _ = self.anomalies.send(ways.anomalies.clone());
        ways.warn_of_left(&config);
        self.config = config;
        self.loader = detectors.loader();
        let module_info = detectors.report_running();
        self.start_background(detectors, module_info);
        end_analysis(before).await
    }

    /// Builds detection anew from what the old one knows, and swaps.
    async fn swap(&self, config: &Config, detectors: &Detectors, ways: Ways) -> anyhow::Result<()> {
        let _held = self.inline.hold().await;
        let before = self.inline.pipeline();
        let knowledge = before.analysis.snapshot(Scope::All).await;
        let start = Start {
            // Nothing is judged between the snapshot and the swap.
            continuity: Continuity::Seamless,
            counts: before.analysis.counts(),
            ..start_of(config, detectors, knowledge, self.outbox.clone())?
        };
        let analysis = tokio::task::spawn_blocking(|| Analysis::start(start)).await??;
        let pipeline = Pipeline::new(config, Arc::new(analysis), ways).await;
        self.inline.swap(pipeline);
        Ok(())
    }
}

/// What decides where own log lines go.
fn logs(telemetry: &Telemetry) -> (&str, bool, Option<LogSampling>) {
    (
        &telemetry.log_level,
        telemetry.log_json,
        telemetry.log_sampling,
    )
}

/// Keys that are different and that nothing but a restart can bring about.
fn changed_for_good(before: &Config, after: &Config) -> Vec<&'static str> {
    let directory = |config: &Config| config.state.as_ref().map(|state| state.directory.clone());
    let checks = [
        ("state.directory", directory(before) == directory(after)),
        (
            "exporters (from none to some, or back)",
            before.pipelines.anomalies.is_some() == after.pipelines.anomalies.is_some(),
        ),
        (
            "limits.outbox_mib_max",
            before.limits.outbox_bytes_max == after.limits.outbox_bytes_max,
        ),
        (
            "telemetry.metrics",
            before.telemetry.metrics == after.telemetry.metrics,
        ),
        (
            "telemetry.health",
            before.telemetry.health == after.telemetry.health,
        ),
        (
            "telemetry.admin",
            before.telemetry.admin == after.telemetry.admin,
        ),
        (
            "telemetry.logs",
            logs(&before.telemetry) == logs(&after.telemetry),
        ),
        (
            "telemetry.otlp",
            before.telemetry.otlp == after.telemetry.otlp,
        ),
    ];
    let changed = checks.into_iter().filter(|(_, is_same)| !is_same);
    changed.map(|(key, _)| key).collect()
}
