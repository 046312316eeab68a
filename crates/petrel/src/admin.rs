//! The small HTTP endpoints beside the pipeline: metrics for Prometheus, health for probes, status and
//! switches for people on this host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwapOption;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::{Endpoint, Mode, Telemetry};
use crate::limiter::OWN_FIGURES_EVERY;
use crate::{status, telemetry};

/// What the endpoints know of the pipeline; nothing before it runs and once it ends.
#[derive(Debug, Default)]
pub struct Shared {
    source: ArcSwapOption<status::Source>,
    is_ending: AtomicBool,
}

impl Shared {
    /// Requests are taken.
    pub fn is_ready(&self, source: status::Source) {
        self.source.store(Some(Arc::new(source)));
    }

    /// Requests are no longer taken.
    pub fn is_ending(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.source.store(None);
    }
}

/// The body of a request that switches the mode; none = the configured one.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwitchMode {
    /// `enrich`, `observe`, `off`.
    pub mode: Option<String>,
}

/// The body of a request that switches a detector.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwitchDetector {
    /// Whether it is to run.
    pub enabled: bool,
}

/// Serves what is configured until the handles are aborted.
///
/// # Errors
/// When an endpoint that the user asked for cannot be bound; a default one that is taken is a warning.
pub async fn serve(
    telemetry: &Telemetry,
    metrics: PrometheusHandle,
    shared: Arc<Shared>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut servers = Vec::new();
    let rendered = metrics.clone();
    let routes = Router::new().route("/metrics", get(async move || rendered.render()));
    servers.extend(listen("telemetry.metrics", telemetry.metrics.as_ref(), routes).await?);
    let routes = Router::new()
        .route("/", get(health))
        .route("/status", get(health))
        .with_state(Arc::clone(&shared));
    servers.extend(listen("telemetry.health", telemetry.health.as_ref(), routes).await?);
    let routes = admin_routes(shared);
    servers.extend(listen("telemetry.admin", telemetry.admin.as_ref(), routes).await?);
    servers.push(tokio::spawn(keep_up(metrics)));
    Ok(servers)
}

/// Histograms are folded, and figures of the process are taken, even when nobody asks for them.
async fn keep_up(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(OWN_FIGURES_EVERY);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
        telemetry::report_process();
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if shared.source.load().is_some() {
        return (StatusCode::OK, "{\"status\":\"StatusOK\"}\n").into_response();
    }
    let body = match shared.is_ending.load(Ordering::Relaxed) {
        true => "{\"status\":\"StatusStopping\"}\n",
        false => "{\"status\":\"StatusStarting\"}\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn admin_routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/status", get(show))
        .route("/api/v1/mode", post(switch_mode))
        .route("/api/v1/detectors/{name}", post(switch_detector))
        .layer(middleware::from_fn(only_from_here))
        .with_state(shared)
}

/// A page in somebody's browser must not reach what listens on localhost only.
async fn only_from_here(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || !names_this_host(headers) {
        return problem(
            StatusCode::FORBIDDEN,
            "only programs on this host are answered, not pages in a browser",
        );
    }
    next.run(request).await
}

fn names_this_host(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<axum::http::uri::Authority>().ok())
    else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    let is_loopback = |host: &str| {
        let address = host.parse::<std::net::IpAddr>();
        address.is_ok_and(|address| address.is_loopback())
    };
    host == "localhost" || is_loopback(host)
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    match shared.source.load_full() {
        Some(source) => Json(source.status().await).into_response(),
        None => not_running(),
    }
}

async fn switch_mode(
    State(shared): State<Arc<Shared>>,
    Json(wanted): Json<SwitchMode>,
) -> Response {
    let Some(source) = shared.source.load_full() else {
        return not_running();
    };
    let mode = match wanted.mode.as_deref().map(Mode::of_name) {
        None => None,
        Some(Some(mode)) => Some(mode),
        Some(None) => {
            let detail = "mode is one of enrich, observe, off, or null for the configured one";
            return problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let is_kept = source.switch_mode(mode).await;
    let (mode, is_switched) = source.mode();
    let mode = mode.name();
    tracing::warn!(mode, switched = is_switched, "the mode was switched");
    Json(json!({"mode": mode, "mode_is_switched": is_switched, "is_kept": is_kept})).into_response()
}

async fn switch_detector(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(wanted): Json<SwitchDetector>,
) -> Response {
    let Some(source) = shared.source.load_full() else {
        return not_running();
    };
    let is_kept = match source.switch_detector(&name, wanted.enabled).await {
        Ok(is_kept) => is_kept,
        Err(reason) => {
            let detail = format!("{reason}; `petrel status` lists those that are");
            return problem(StatusCode::NOT_FOUND, &detail);
        }
    };
    tracing::warn!(
        detector = name,
        enabled = wanted.enabled,
        "a detector was switched"
    );
    Json(json!({"detector": name, "enabled": wanted.enabled, "is_kept": is_kept})).into_response()
}

fn not_running() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "Petrel is starting or stopping",
    )
}

/// An answer that says what is wrong, as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body: Value = json!({"title": title, "status": status.as_u16(), "detail": detail});
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content_type, body.to_string()).into_response()
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

/// How long a program that asks waits for an answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
