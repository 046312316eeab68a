//! What of the engine can be set, with its defaults and where they come from.

use std::time::Duration;

use crate::Limits;
use crate::Privacy;
use crate::templates::TemplateLimits;

/// How much is added to the records that pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Enrichment {
    /// Nothing; findings are events alone.
    None,
    /// Records that belong to an anomaly get its attributes.
    Anomalies,
    /// That, annotations, and the template's id on every record.
    Id,
    /// That and the template's text.
    #[default]
    Template,
}

/// Settings of the engine; all workers and the global stage of one Petrel have the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Calibrated score from which an anomaly opens; 6.0 = once in 1.9 years
    /// of a series' minutes.
    pub threshold: f64,
    /// What a kind that is provisional must score beyond the threshold; 2.0. There are ten
    /// to thirty times as many false alarms in the first days as later, when rarity is still a guess.
    pub provisional_margin: f64,
    /// Calibrated score below which an open anomaly goes quiet; 2.0.
    pub close_below: f64,
    /// Event time of quiet after which an anomaly is resolved; 10 minutes.
    pub close_after: Duration,
    /// Event time after the end of an anomaly in which the same series opens none, unless two tiers
    /// higher; 30 minutes.
    pub cooldown: Duration,
    /// Least event time between two updates of an anomaly, unless its tier rises; 5 minutes.
    pub update_every: Duration,
    /// Event time after which an anomaly that does not end is given up; 48 hours.
    pub expire_after: Duration,
    /// How near two onsets lie that are taken for one; 5 minutes.
    pub fold_within: Duration,
    /// Half-life of what calibration remembers; 60 hours.
    pub half_life: Duration,
    /// Event time that the prior rate of exceedances stands for; one day. The prior counts as if the
    /// series had lived so long at exactly that rate.
    pub prior_span: Duration,
    /// How far behind its stream's newest record a record may come without being late; 60 seconds.
    pub lateness: Duration,
    /// How late a record is still shown to detectors; 30 minutes.
    pub late_use: Duration,
    /// How far ahead of its stream a record moves the watermark by itself; 5 minutes.
    pub ahead: Duration,
    /// Steps in which the frontier is told; 10 seconds.
    pub frontier_step: Duration,
    /// A jump of the frontier beyond this is a gap of the whole input; 5 minutes.
    pub quiet_after: Duration,
    /// Event time of the frontier in which a `ResourceLogs` that is seen again is a retry, counted from
    /// when it was last seen; 10 minutes.
    pub retry_window: Duration,
    /// First wait before a faulty instance is rebuilt, in event time of the frontier; 10 seconds.
    pub backoff_min: Duration,
    /// The wait doubles up to this; 10 minutes.
    pub backoff_max: Duration,
    /// A time without faults after which the wait begins anew; one hour.
    pub healthy_after: Duration,
    /// What is added to records.
    pub enrichment: Enrichment,
    /// Whether templates are mined at all. Off: no template column, no template attributes.
    pub templates: bool,
    /// Bounds of a stream's template miner.
    pub template_limits: TemplateLimits,
    /// What must not leave in templates, evidence and sentences.
    pub privacy: Privacy,
    /// What the anomaly attributes and event names begin with; `anomaly`.
    pub attribute_prefix: String,
    /// Attribute that repeats the event's name for backends without `event_name`; none switches it
    /// off. Not counted in the attributes of an event.
    pub event_name_attribute: Option<String>,
    /// `service.name` of what Petrel reports about its whole input.
    pub own_service_name: String,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 6.0,
            provisional_margin: 2.0,
            close_below: 2.0,
            close_after: Duration::from_mins(10),
            cooldown: Duration::from_mins(30),
            update_every: Duration::from_mins(5),
            expire_after: Duration::from_hours(48),
            fold_within: Duration::from_mins(5),
            half_life: Duration::from_hours(60),
            prior_span: Duration::from_hours(24),
            lateness: Duration::from_secs(60),
            late_use: Duration::from_mins(30),
            ahead: Duration::from_mins(5),
            frontier_step: Duration::from_secs(10),
            quiet_after: Duration::from_mins(5),
            retry_window: Duration::from_mins(10),
            backoff_min: Duration::from_secs(10),
            backoff_max: Duration::from_mins(10),
            healthy_after: Duration::from_hours(1),
            enrichment: Enrichment::default(),
            templates: true,
            template_limits: TemplateLimits::default(),
            privacy: Privacy::default(),
            attribute_prefix: "anomaly".to_owned(),
            event_name_attribute: Some("otel.event.name".to_owned()),
            own_service_name: "petrel".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// A duration as the nanoseconds that event time is counted in.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
