//! What a request passes through, as one value that a reload swaps for another.

use std::sync::{Arc, PoisonError, RwLock};

use petrel_otlp::{WalkPlan, WalkSettings};

use crate::analysis::Analysis;
use crate::config::Config;
use crate::tenancy::Tenancy;
use crate::ways::Ways;

/// Everything between a receiver and the next hop.
#[derive(Debug)]
pub struct Pipeline {
    /// Detection.
    pub analysis: Arc<Analysis>,
    /// The ways out.
    pub ways: Ways,
    /// Who is told apart.
    pub tenancy: Tenancy,
    plan: RwLock<Arc<WalkPlan>>,
    walk: WalkSettings,
}

impl Pipeline {
    /// A pipeline as configured.
    pub async fn new(config: &Config, analysis: Arc<Analysis>, ways: Ways) -> Self {
        let streams = &config.streams;
        let walk = WalkSettings {
            stream_key: streams.key.clone(),
            stream_fallback: streams.fallback.clone(),
            include: streams.include.clone(),
            exclude: streams.exclude.clone(),
            digests: config.templates || analysis.has_detectors(),
            accept_enriched: config.accept_enriched,
            ..WalkSettings::new(Arc::new(analysis.column_set().await))
        };
        Self {
            plan: RwLock::new(Arc::new(WalkPlan::new(walk.clone()))),
            tenancy: Tenancy::new(&streams.metadata_keys),
            analysis,
            ways,
            walk,
        }
    }

    /// How requests are read.
    #[must_use]
    pub fn plan(&self) -> Arc<WalkPlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the columns that detection wants now.
    pub async fn renew_plan(&self) {
        let plan = WalkPlan::new(WalkSettings {
            column_set: Arc::new(self.analysis.column_set().await),
            digests: self.walk.digests || self.analysis.has_detectors(),
            ..self.walk.clone()
        });
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
    }
}
