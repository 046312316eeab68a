//! Follows the detectors directory: what stands there is what should run.

use std::sync::Arc;

use crate::analysis::Analysis;
use crate::detectors::{Desired, Detectors, ModuleInfo, Watch, count};
use crate::inline::Inline;
use crate::telemetry::one_line;

/// Brings about what the directory says, for as long as it is polled.
pub async fn follow(
    watch: Watch,
    mut detectors: Detectors,
    mut module_info: ModuleInfo,
    inline: Arc<Inline>,
) {
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
        let pipeline = inline.pipeline();
        let is_changed = !desired.is_empty();
        for desired in desired {
            apply(&pipeline.analysis, desired, &mut module_info).await;
        }
        if is_changed {
            pipeline.renew_plan().await;
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
