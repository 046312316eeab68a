//! The engine at its edge: records in, edits and events out.
//!
//! `harness` builds requests and drives clock, workers and global stage as a binary would;
//! `detectors` are small native ones. `invariance`: splits, workers, restarts. `time`: frontier, late
//! and wild records, gaps. `life`: opening, folding, updates, endings. `records`: what is added to
//! records. `health`: faults, replacement, snapshots.

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
#[path = "engine/records.rs"]
mod records;
#[path = "engine/time.rs"]
mod time;
