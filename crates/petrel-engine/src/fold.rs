//! Which anomalies of a stream are one: a whole and its parts, silence and the drop before it, many
//! series at once. "All templates threefold" is one event.

use petrel_detector::Direction;

use crate::anomaly::{Anomaly, Found};
use crate::book::Rules;
use crate::calibration::{TailKey, direction_code};

/// A part that makes up so much of the whole's deviation is the better name for it.
const DOMINANT: f64 = 0.8;

/// Where a finding that could open an anomaly belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under the open anomaly with this index.
    Under(usize),
    /// On its own, over the open anomalies with these indices (ascending), most often none.
    Over(Vec<usize>),
}

/// Finds the place of a finding among the open anomalies.
///
/// Only anomalies of one onset are one: what begins more than `fold_within` after another stands
/// alone, even while the other lasts.
pub(crate) fn place(open: &[Anomaly], found: &Found<'_>, key: TailKey, rules: &Rules) -> Place {
    let within = rules.fold_within;
    if let Some(lead) = open
        .iter()
        .position(|lead| covers_drop(lead, found, key, within))
    {
        return Place::Under(lead);
    }
    let is_total = key.template.is_none() && key.series == 0;
    let kin = |anomaly: &&Anomaly| {
        anomaly.fingerprint.channel == key.channel && anomaly.fingerprint.direction == key.direction
    };
    let start = found.finding.start.0;
    let (mut taken, mut siblings) = (Vec::new(), Vec::new());
    for (index, anomaly) in open.iter().enumerate() {
        if silences(found, key, anomaly, within) {
            taken.push(index);
        }
        if !kin(&anomaly) {
            continue;
        }
        let one_onset = anomaly.start.abs_diff(start) <= within;
        if is_total {
            if one_onset && anomaly.excess >= DOMINANT * found.excess() && found.excess() > 0.0 {
                return Place::Under(index);
            }
            if one_onset {
                taken.push(index);
            }
        } else if anomaly.is_total() {
            // A longer window of the part may begin before the whole's own.
            let overlaps = found.finding.end.0.saturating_add(within) >= anomaly.start;
            if start <= anomaly.start.saturating_add(within) && overlaps {
                return Place::Under(index);
            }
        } else if one_onset {
            siblings.push(index);
        }
    }
    if siblings.len() >= rules.limits.siblings_open {
        return Place::Under(siblings[0]);
    }
    if open.len() >= rules.limits.open_per_stream && taken.is_empty() {
        return Place::Under(oddest(open));
    }
    Place::Over(taken)
}

/// Whether a fall in the number of records is part of an open silence.
fn covers_drop(lead: &Anomaly, found: &Found<'_>, key: TailKey, within: u64) -> bool {
    lead.direction() == Direction::Disappeared
        && key.direction == direction_code(Direction::Below)
        && found.kind.counts_records()
        && (lead.is_total() || lead.fingerprint.template == key.template)
        && found.finding.end.0.saturating_add(within) >= lead.start
}

/// Whether a silence takes an open fall in the number of records with it.
fn silences(found: &Found<'_>, key: TailKey, anomaly: &Anomaly, within: u64) -> bool {
    key.direction == direction_code(Direction::Disappeared)
        && anomaly.direction() == Direction::Below
        && anomaly.counts_records
        && (key.template.is_none() && key.series == 0
            || key.template == anomaly.fingerprint.template)
        && anomaly.end.saturating_add(within) >= found.finding.start.0
}

fn oddest(open: &[Anomaly]) -> usize {
    let by_score = |a: &(usize, &Anomaly), b: &(usize, &Anomaly)| {
        a.1.calibrated
            .total_cmp(&b.1.calibrated)
            .then(b.0.cmp(&a.0))
    };
    open.iter()
        .enumerate()
        .max_by(by_score)
        .map_or(0, |(index, _)| index)
}
