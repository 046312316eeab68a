//! The engine at its edge: records in, edits and events out.
//!
//! `harness` builds requests and drives clock, workers and global stage as a binary would;
//! `detectors` are small native ones. `invariance`: splits, workers, restarts. `time`: frontier, late
//! and wild records, gaps. `life`: opening, folding, updates, endings. `records`: what is added to
//! records. `health`: faults, replacement, snapshots. `retries`: what comes again. `tenants`: one name,
//! two streams. `private`: what must not leave. `control`: switching detectors off and on, status.

#[path = "engine/control.rs"]
mod control;
#[path = "engine/detectors.rs"]
mod detectors;
#[path = "engine/harness.rs"]
mod harness;
#[path = "engine/health.rs"]
mod health;
#[path = "engine/invariance.rs"]
mod invariance;
#[path = "engine/life.rs"]
mod life;
#[path = "engine/private.rs"]
mod private;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/retries.rs"]
mod retries;
#[path = "engine/tenants.rs"]
mod tenants;
#[path = "engine/time.rs"]
mod time;
