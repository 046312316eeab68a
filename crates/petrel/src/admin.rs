//! The two small HTTP endpoints beside the pipeline: metrics for Prometheus, health for probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{Endpoint, Telemetry};

/// Whether the pipeline takes requests; shared with the health endpoint.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves what is configured until the handles are aborted.
///
/// # Errors
/// When an endpoint that the user asked for cannot be bound; a default one that is taken is a warning.
pub async fn serve(
    telemetry: &Telemetry,
    metrics: PrometheusHandle,
    readiness: Readiness,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut servers = Vec::new();
    let rendered = metrics.clone();
    let routes = Router::new().route("/metrics", get(async move || rendered.render()));
    servers.extend(listen("telemetry.metrics", telemetry.metrics.as_ref(), routes).await?);
    let health = async move || match readiness.get() {
        true => (StatusCode::OK, "{\"status\":\"StatusOK\"}\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "{\"status\":\"StatusStarting\"}\n",
        ),
    };
    let routes = Router::new()
        .route("/", get(health.clone()))
        .route("/status", get(health));
    servers.extend(listen("telemetry.health", telemetry.health.as_ref(), routes).await?);
    // Histograms are folded now and then even when nobody asks for them.
    servers.push(tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            metrics.run_upkeep();
        }
    }));
    Ok(servers)
}

async fn listen(
    key: &str,
    endpoint: Option<&Endpoint>,
    routes: Router,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let listener = match TcpListener::bind(&endpoint.address).await {
        Ok(listener) => listener,
        Err(error) if endpoint.explicit => {
            bail!(
                "{key}.endpoint: cannot listen on {}: {error}",
                endpoint.address
            )
        }
        Err(error) => {
            tracing::warn!(
                endpoint = endpoint.address,
                %error,
                "{key} is off: its default port is taken; set {key}.endpoint to choose another"
            );
            return Ok(None);
        }
    };
    let address = listener
        .local_addr()
        .context("a bound socket has an address")?;
    tracing::info!(%address, "{key} is served");
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "an admin endpoint stopped");
        }
    })))
}
