//! The finding of a reported candidate.

use petrel_detector::{Direction, EventTime, Finding, TemplateId};

use crate::candidate::Candidate;
use crate::{State, words};

const DAY_SECONDS: f64 = 86_400.0;

/// What is known of a reported candidate at the end of a minute in which it came, with the records up
/// to then. The score, the start and all that judged it stay as they were at the first report.
pub(crate) fn finding(state: &State, index: usize, end: EventTime, records: f64) -> Finding {
    let candidate = &state.candidates[index];
    let text = state.text(candidate.id);
    let Some(report) = &candidate.report else {
        return Finding::new(0, Direction::Appeared, 0.0, candidate.first, end);
    };
    let mut finding = Finding::new(0, Direction::Appeared, report.score, report.start, end)
        .since(state.vocabulary.since.unwrap_or(report.start))
        .template(TemplateId(candidate.id))
        .records(records)
        .evidence("why", report.rule.as_str())
        .evidence("message", text)
        .evidence("level", level(report.severity))
        .evidence("count", records)
        .evidence(
            "seconds_since_first",
            report.at.since(candidate.first).as_secs_f64(),
        );
    if let Some(word) = words::failure_word(text) {
        finding = finding.evidence("failure_word", word);
    }
    if let Some(deploy) = &report.deploy {
        finding = finding.evidence("deploy", deploy.as_str());
    }
    if !report.others.is_empty() {
        finding = finding.evidence("other_new_templates", report.others.join("\n"));
    }
    if let Some((nearest, difference)) = &report.nearest {
        finding = finding
            .evidence("nearest_known", nearest.as_str())
            .evidence("words_not_in_it", difference.as_str());
    }
    finding = finding.evidence("new_templates_a_day", report.odds.1);
    match last_seen_days(candidate) {
        Some(days) => finding.evidence("last_seen_days_ago", days),
        None => finding.evidence("p_new_record", report.odds.0),
    }
}

/// Days since a template that had been forgotten was seen last.
fn last_seen_days(candidate: &Candidate) -> Option<f64> {
    let forgotten = candidate.forgotten?;
    Some(candidate.first.since(forgotten).as_secs_f64() / DAY_SECONDS)
}

/// OTLP's name of a severity number.
fn level(severity: u8) -> &'static str {
    match severity {
        0 => "unknown",
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        _ => "FATAL",
    }
}
