//! The life cycle of a stream's anomalies: which findings open one, keep one open, or belong to one,
//! and when it ends. Driven by event time alone.

use std::collections::VecDeque;
use std::sync::Arc;

use petrel_detector::{CalibrateBy, Level};
use serde::{Deserialize, Serialize};

use crate::anomaly::{Anomaly, Found, Tier, name_series, score_of};
use crate::calibration::{Channel, Exceedance, Spans, TailKey, Tails, WEIGHT_WHILE_OPEN};
use crate::event::{Emitter, Ending, Transition};
use crate::fold::{Place, place};
use crate::settings::nanos;
use crate::{Reason, Settings};

/// The rules of the life cycle, in nanoseconds and calibrated scores.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    threshold: f64,
    provisional_margin: f64,
    close_below: f64,
    close_after: u64,
    cooldown: u64,
    update_every: u64,
    expire_after: u64,
    pub(crate) fold_within: u64,
    pub(crate) spans: Spans,
    pub(crate) limits: crate::Limits,
}

impl Rules {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            threshold: settings.threshold,
            provisional_margin: settings.provisional_margin,
            close_below: settings.close_below,
            close_after: nanos(settings.close_after),
            cooldown: nanos(settings.cooldown),
            update_every: nanos(settings.update_every),
            expire_after: nanos(settings.expire_after),
            fold_within: nanos(settings.fold_within),
            spans: Spans::new(settings),
            limits: settings.limits,
        }
    }

    /// From where on an anomaly opens: higher while the model is young.
    fn threshold_at(&self, level: Level) -> f64 {
        match level {
            Level::Ready => self.threshold,
            Level::Learning | Level::Provisional => self.threshold + self.provisional_margin,
        }
    }
}

/// An anomaly whose last window ended longer ago is about to end: there is nothing to update.
const STILL_GOING: u64 = 60_000_000_000;
/// The older an anomaly, the rarer its updates: at least this part of its age lies between two.
const UPDATE_AGE_PART: u64 = 4;

impl Rules {
    /// Whether an anomaly that has changed is worth an update at `now`.
    fn is_news(&self, anomaly: &Anomaly, now: u64) -> bool {
        let age = now.saturating_sub(anomaly.start);
        let wait = self.update_every.max(age / UPDATE_AGE_PART);
        now >= anomaly.told_at.saturating_add(wait)
            && now <= anomaly.end.saturating_add(STILL_GOING)
    }
}

/// The anomaly that a finding belongs to, for the rows that show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Belongs {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) score: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Closed {
    fingerprint: TailKey,
    id: Arc<str>,
    end: u64,
    tier: Tier,
}

/// The anomalies of one stream and the tails that they are judged by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    open: Vec<Anomaly>,
    closed: VecDeque<Closed>,
    tails: Tails,
}

impl Book {
    /// Number of open anomalies.
    pub(crate) fn n_open(&self) -> usize {
        self.open.len()
    }

    /// Takes a finding; returns the open anomaly that it belongs to, if any.
    pub(crate) fn absorb(
        &mut self,
        found: &Found<'_>,
        rules: &Rules,
        out: &mut Emitter<'_>,
    ) -> Option<Belongs> {
        let fingerprint = found.fingerprint();
        let open = self
            .open
            .iter()
            .position(|anomaly| anomaly.fingerprint == fingerprint);
        if found.finding.score <= 0.0 {
            self.withdraw(found, fingerprint, open, out);
            return None;
        }
        if found.level == Level::Learning {
            out.tally.suppress(Reason::Warmup);
            return None;
        }
        let calibrated = self.calibrate(found, fingerprint, open.is_some(), rules, out);
        if !found.matters() {
            out.tally.suppress(Reason::Effect);
            return None;
        }
        match open {
            Some(index) if calibrated >= rules.close_below => {
                let anomaly = &mut self.open[index];
                if anomaly.extend(found, calibrated) {
                    out.emit(Transition::Updated, anomaly, anomaly.end);
                    (anomaly.told_at, anomaly.changed) = (anomaly.end, false);
                }
                Some(belongs(anomaly))
            }
            Some(_) => None,
            None if calibrated < rules.threshold_at(found.level) => {
                out.tally.suppress(Reason::Threshold);
                None
            }
            None => self.consider(found, fingerprint, calibrated, rules, out),
        }
    }

    fn calibrate(
        &mut self,
        found: &Found<'_>,
        fingerprint: TailKey,
        is_open: bool,
        rules: &Rules,
        out: &mut Emitter<'_>,
    ) -> f64 {
        let kind = &found.kind.kind;
        let (key, series) = tail_key(kind.calibrate_by, fingerprint);
        let exceedance = Exceedance {
            series,
            score: found.finding.score,
            start: found.finding.start.0,
            end: found.finding.end.0,
            since: match kind.calibrate_by {
                CalibrateBy::Series => found.finding.since.0,
                CalibrateBy::Stream => out.stream.first,
            },
            weight: if is_open { WEIGHT_WHILE_OPEN } else { 1.0 },
        };
        let channel = Channel::of(kind, found.finding.direction);
        let evicted = &mut out.tally.tails_evicted;
        let tail = self.tails.tail(key, rules.limits.tails_per_stream, evicted);
        tail.calibrate(exceedance, &channel, &rules.spans)
    }

    /// A finding odd enough for an anomaly of its own: opens one, unless it belongs to another.
    fn consider(
        &mut self,
        found: &Found<'_>,
        fingerprint: TailKey,
        calibrated: f64,
        rules: &Rules,
        out: &mut Emitter<'_>,
    ) -> Option<Belongs> {
        let taken = match place(&self.open, found, fingerprint, rules) {
            Place::Under(index) => {
                out.tally.suppress(Reason::Folded);
                let lead = &mut self.open[index];
                let name = name_series(found.template.as_ref(), &keys(&found.finding.series));
                add_folded(lead, fingerprint, name, rules);
                return Some(belongs(lead));
            }
            Place::Over(taken) => taken,
        };
        let mut anomaly = Anomaly::open(found, calibrated, out.stream);
        if self.cools_down(&anomaly, score_of(calibrated, found.level), rules) {
            out.tally.suppress(Reason::Cooldown);
            return None;
        }
        for index in taken.into_iter().rev() {
            let part = self.open.remove(index);
            out.emit(
                Transition::Ended(Ending::Suppressed),
                &part,
                found.finding.end.0,
            );
            add_folded(&mut anomaly, part.fingerprint, part.series_name(), rules);
            self.close(&part, found.finding.end.0, rules);
        }
        anomaly.changed = false;
        out.emit(Transition::Detected, &anomaly, anomaly.start);
        let belongs = belongs(&anomaly);
        self.open.push(anomaly);
        Some(belongs)
    }

    /// Whether the same series had an anomaly a short while ago, and not two tiers lower.
    fn cools_down(&self, anomaly: &Anomaly, score: f64, rules: &Rules) -> bool {
        let tier = Tier::of(score);
        self.closed.iter().any(|closed| {
            let same = closed.fingerprint == anomaly.fingerprint;
            let soon = anomaly.start < closed.end.saturating_add(rules.cooldown);
            let grave = closed.tier == Tier::Info && tier == Tier::Critical;
            closed.id == anomaly.id || same && soon && !grave
        })
    }

    fn withdraw(
        &mut self,
        found: &Found<'_>,
        fingerprint: TailKey,
        open: Option<usize>,
        out: &mut Emitter<'_>,
    ) {
        let end = found.finding.end.0;
        let (key, series) = tail_key(found.kind.kind.calibrate_by, fingerprint);
        if let Some(tail) = self.tails.known(&key) {
            tail.withdraw(series, end);
        }
        let Some(index) = open else { return };
        if self.open[index].withdraw(end) {
            let anomaly = self.open.remove(index);
            out.emit(Transition::Ended(Ending::Withdrawn), &anomaly, end);
            // Nothing to cool down from: it was none.
        }
    }

    /// Ends and updates what is due at `now`, the stream's watermark at a full minute.
    pub(crate) fn tick(&mut self, now: u64, rules: &Rules, out: &mut Emitter<'_>) {
        let mut index = 0;
        while index < self.open.len() {
            let anomaly = &mut self.open[index];
            let quiet_at = anomaly.end.saturating_add(rules.close_after);
            let expires_at = anomaly.start.saturating_add(rules.expire_after);
            let (ending, at) = if quiet_at <= expires_at {
                (Ending::Resolved, quiet_at)
            } else {
                (Ending::Expired, expires_at)
            };
            if now >= at {
                let anomaly = self.open.remove(index);
                out.emit(Transition::Ended(ending), &anomaly, at);
                self.close(&anomaly, at, rules);
                continue;
            }
            if anomaly.changed && rules.is_news(anomaly, now) {
                (anomaly.told_at, anomaly.changed) = (now, false);
                out.emit(Transition::Updated, anomaly, anomaly.end);
            }
            index += 1;
        }
        while self.closed.front().is_some_and(|closed| {
            closed
                .end
                .saturating_add(rules.cooldown.max(rules.expire_after))
                < now
        }) {
            self.closed.pop_front();
        }
    }

    fn close(&mut self, anomaly: &Anomaly, at: u64, rules: &Rules) {
        if self.closed.len() >= rules.limits.closed_per_stream {
            self.closed.pop_front();
        }
        self.closed.push_back(Closed {
            fingerprint: anomaly.fingerprint,
            id: Arc::clone(&anomaly.id),
            end: at,
            tier: anomaly.tier,
        });
    }

    /// What is known of series of the source template belongs to the target from here on.
    pub(crate) fn merge_template(&mut self, source: u64, target: u64, rules: &Rules) {
        self.tails.merge_template(source, target, &rules.spans);
        let open = self.open.iter_mut().map(|anomaly| &mut anomaly.fingerprint);
        let closed = self.closed.iter_mut().map(|closed| &mut closed.fingerprint);
        for fingerprint in open.chain(closed) {
            if fingerprint.template == Some(source) {
                fingerprint.template = Some(target);
            }
        }
    }
}

fn belongs(anomaly: &Anomaly) -> Belongs {
    Belongs {
        id: Arc::clone(&anomaly.id),
        kind: Arc::clone(&anomaly.kind),
        score: anomaly.score,
    }
}

/// The tail of a series, and what tells it apart from others that share that tail.
fn tail_key(by: CalibrateBy, fingerprint: TailKey) -> (TailKey, u64) {
    match by {
        CalibrateBy::Series => (fingerprint, 0),
        CalibrateBy::Stream => {
            let shared = TailKey {
                template: None,
                series: 0,
                ..fingerprint
            };
            (
                shared,
                fingerprint.template.unwrap_or(0) ^ fingerprint.series,
            )
        }
    }
}

fn keys(series: &[petrel_detector::SeriesKey]) -> Vec<(String, String)> {
    series
        .iter()
        .map(|key| (key.key.clone(), key.value.clone()))
        .collect()
}

/// Notes that a series belongs to an anomaly; each counts once.
fn add_folded(lead: &mut Anomaly, fingerprint: TailKey, name: String, rules: &Rules) {
    if lead.folded.contains(&fingerprint) || lead.folded.len() >= rules.limits.tails_per_stream {
        return;
    }
    lead.folded.push(fingerprint);
    lead.changed = true;
    if lead.folded_names.len() < rules.limits.folds_named {
        lead.folded_names.push(name);
    }
}
