//! When new templates are worth a word, and what is said of them.

use std::time::Duration;

use petrel_detector::{EventTime, Findings};

use crate::candidate::{self, BURST, Candidate, Report, Rule, is_burst};
use crate::{Record, Settings, State, WINDOW, explain, words};

/// How long a reported template is told of again, each minute in which it comes.
const GOES_ON: Duration = Duration::from_secs(3_600);
/// Rows of a reported template that are named, so that they are marked in flight.
const NAMED_MAX: u32 = 64;
/// Minutes that wait to be told of at most.
const MINUTES_MAX: usize = 64;
/// Other new templates that the evidence names.
const OTHERS_MAX: usize = 5;

/// Judges a record of a candidate.
pub(crate) fn judge(state: &mut State, settings: &Settings, record: Record, out: &mut Findings) {
    let Some(index) = state
        .candidates
        .iter()
        .position(|own| own.id == record.template)
    else {
        return;
    };
    let candidate = &mut state.candidates[index];
    candidate.count(record.time, record.severity, record.weight);
    if candidate.report.is_some() {
        go_on(state, index, record, out);
        return;
    }
    // What is new within five minutes of a report is part of what was reported.
    if state
        .reported
        .is_some_and(|reported| record.time.since(reported) < BURST)
    {
        return;
    }
    let in_deploy = state.deploys.is_on(record.time);
    let minutes = state.vocabulary.minutes(record.time);
    if let Some((rule, recurrence)) = state.candidates[index].alone(minutes, in_deploy) {
        let start = state.candidates[index].first;
        report(
            state,
            index,
            record,
            (rule, recurrence),
            &[index],
            start,
            out,
        );
    } else if settings.bursts && !in_deploy && state.candidates[index].is_first_row() {
        burst(state, record, out);
    }
}

/// Reports the candidates of the last five minutes, if they are a burst.
fn burst(state: &mut State, record: Record, out: &mut Findings) {
    let from = record.time.saturating_sub(BURST);
    let from = state.reported.map_or(from, |reported| from.max(reported));
    let is_member = |own: &Candidate| own.report.is_none() && own.first > from;
    let members: Vec<usize> = (0..state.candidates.len())
        .filter(|index| is_member(&state.candidates[*index]))
        .collect();
    let of = |index: &usize| &state.candidates[*index];
    if !is_burst(members.iter().map(|index| of(index).points()).sum()) {
        return;
    }
    let leader = members.iter().copied().max_by_key(|index| of(index).rank());
    let start = members.iter().map(|index| of(index).first).min();
    if let (Some(leader), Some(start)) = (leader, start) {
        report(
            state,
            leader,
            record,
            (Rule::Burst, 0.0),
            &members,
            start,
            out,
        );
    }
}

fn report(
    state: &mut State,
    index: usize,
    record: Record,
    (rule, recurrence): (Rule, f64),
    members: &[usize],
    start: EventTime,
    out: &mut Findings,
) {
    let time = record.time;
    let odds = state.vocabulary.odds(time);
    let failing = |index: &&usize| state.candidates[**index].is_failing(false);
    let n_failing = members.iter().filter(failing).count() as u32;
    let candidate = &state.candidates[index];
    let text = state.text(candidate.id);
    let nearest = state.vocabulary.nearest(candidate.id, text);
    let report = Report {
        rule,
        score: candidate::score(rule, recurrence, members.len() as u32, n_failing, &odds),
        at: time,
        start,
        severity: candidate.severity,
        nearest: nearest.map(|(known, _)| (known.to_owned(), words::difference(text, known))),
        others: state.others(index, time),
        deploy: state.deploys.text(time),
        odds: (odds.of_a_record(), odds.a_minute() * 1_440.0),
        n_named: 0,
        minutes: Vec::new(),
    };
    state.reported = Some(state.reported.map_or(time, |reported| reported.max(time)));
    state.candidates[index].report = Some(Box::new(report));
    go_on(state, index, record, out);
}

/// Names a row of what is reported, and remembers its minute.
fn go_on(state: &mut State, index: usize, record: Record, out: &mut Findings) {
    let candidate = &mut state.candidates[index];
    let records = candidate.records;
    let Some(report) = &mut candidate.report else {
        return;
    };
    if record.time.since(report.at) > GOES_ON {
        return;
    }
    let end = record.time.floor_to(WINDOW).saturating_add(WINDOW);
    if end <= report.start {
        return;
    }
    match report.minutes.iter().position(|(minute, _)| *minute == end) {
        Some(place) => report.minutes[place].1 = records,
        None if report.minutes.len() < MINUTES_MAX => report.minutes.push((end, records)),
        None => {}
    }
    if report.n_named < NAMED_MAX {
        report.n_named += 1;
        out.push(explain::finding(state, index, end, records).rows(vec![record.row]));
    }
}

/// Tells of reported templates again for each minute that closed and in which they came.
pub(crate) fn tell_what_goes_on(state: &mut State, watermark: EventTime, out: &mut Findings) {
    for index in 0..state.candidates.len() {
        let Some(report) = &mut state.candidates[index].report else {
            continue;
        };
        let mut closed: Vec<_> = report
            .minutes
            .extract_if(.., |(end, _)| *end <= watermark)
            .collect();
        closed.sort_by_key(|(end, _)| *end);
        for (end, records) in closed {
            out.push(explain::finding(state, index, end, records));
        }
    }
}

impl State {
    /// Text of a template as far as it is kept.
    pub(crate) fn text(&self, id: u64) -> &str {
        self.vocabulary
            .known
            .get(id)
            .map_or("", |known| &known.text)
    }

    /// Texts of other candidates within five minutes up to a time, newest first.
    fn others(&self, index: usize, time: EventTime) -> Vec<String> {
        let others = self.candidates.iter().enumerate().rev();
        others
            .filter(|(other, own)| *other != index && time.since(own.first) < BURST)
            .take(OTHERS_MAX)
            .map(|(_, own)| self.text(own.id).to_owned())
            .collect()
    }
}
