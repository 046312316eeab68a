//! How far a source has been learnt: by gaps first, then by the hours that its rhythm needs.

use petrel_detector::{Level, Readiness};

use crate::source::Source;

/// Seconds of a mean gap up to which a source is dense: its daily rhythm hides no silence.
const DENSE_GAP: f64 = 3.0;
const HOUR_MINUTES: u64 = 60;
/// Hours to watch: before anything is told, before the day of a sparse source is known, before all is.
const HOURS_MIN: u64 = 3;
const HOURS_DAY: u64 = 25;
const HOURS_READY: u64 = 72;

/// How far a source has been learnt that needs so many gaps, and what is missing.
pub(crate) fn readiness(source: &Source, gaps_min: u64) -> Readiness {
    let hours = source.age_minutes() / HOUR_MINUTES;
    let is_dense = source.season.mean() * DENSE_GAP >= 1.0;
    let has_gaps = source.n_gaps >= gaps_min;
    let keeps_appointments = hours >= HOURS_DAY && source.has_appointments();
    let wait = |level, hours_min| (level, format!("{hours} of {hours_min} hours"));
    let (level, missing) = if source.first == 0 {
        (Level::Learning, "no records yet".to_owned())
    } else if !has_gaps && !keeps_appointments {
        let missing = format!("{} of {gaps_min} gaps", source.n_gaps);
        (Level::Learning, missing)
    } else if hours < HOURS_MIN {
        wait(Level::Learning, HOURS_MIN)
    } else if hours < HOURS_DAY && !is_dense {
        wait(Level::Learning, HOURS_DAY)
    } else if hours < HOURS_DAY {
        wait(Level::Provisional, HOURS_DAY)
    } else if hours < HOURS_READY && !(is_dense && source.season.is_always_awake()) {
        wait(Level::Provisional, HOURS_READY)
    } else {
        (Level::Ready, String::new())
    };
    Readiness { level, missing }
}

/// Whether a source is judged: what is odd while it is learnt is learnt in full.
pub(crate) fn is_judged(source: &Source, gaps_min: u64) -> bool {
    source.n_gaps >= gaps_min && readiness(source, gaps_min).level > Level::Learning
}
