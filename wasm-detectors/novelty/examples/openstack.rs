//! Recall and false alarms on the OpenStack fault injections, beside the simple rules.
//!
//! `cargo run --release -p novelty --example openstack [severity]`: reads the recordings in the folder
//! named by `PETREL_DATA`, by default `../shared/data` beside the workspace. Learns the clean rounds of
//! the first half of each campaign's tests, then tells each round of the second half to a fresh copy.
//! A failing round counts as found where something is reported from its trigger on, a clean one as
//! false where anything is. Headers are taken off, and so is what names file and line; the level is
//! hidden unless asked for. Nothing was tuned on what this prints.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use novelty::Novelty;
use petrel_detector::{
    Batch, Column, Detector, EventTime, PerStream, StreamId, Template, TemplateId, TemplateMerge,
    Values, Watermark, names,
};
use petrel_engine::templates::{Change, StreamMiner, TemplateLimits};

const MINUTE: Duration = Duration::from_secs(60);
/// Scores from which an anomaly opens.
const OPENS: f64 = 6.0;
/// Time within which new templates count together, for the simple rules.
const TOGETHER: Duration = Duration::from_secs(300);

type Error = Box<dyn std::error::Error>;

struct Round {
    test: String,
    is_clean: bool,
    start_ms: u64,
    trigger_ms: Option<u64>,
    records: Vec<Record>,
}

struct Record {
    service: String,
    time: EventTime,
    severity: u8,
    body: String,
}

fn main() -> Result<(), Error> {
    let severity = std::env::args().any(|argument| argument == "severity");
    let folder = std::env::var_os("PETREL_DATA").map(PathBuf::from);
    let folder = folder
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    if !folder.join("openstack-fi-dev.tar.zst").exists() {
        println!(
            "OpenStack did not run: no recording in {}",
            folder.display()
        );
        return Ok(());
    }
    let mut tallies = BTreeMap::new();
    for (campaign, rounds) in open(&folder)? {
        evaluate(&campaign, &rounds, severity, &mut tallies)?;
    }
    println!("{:<34} {:>10} {:>12}", "rule", "found", "false");
    for (rule, tally) in tallies {
        let share = |(n, of): (u32, u32)| format!("{n}/{of} {:.2}", f64::from(n) / f64::from(of));
        println!(
            "{rule:<34} {:>10} {:>12}",
            share(tally.found),
            share(tally.false_alarms)
        );
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    found: (u32, u32),
    false_alarms: (u32, u32),
}

fn evaluate(
    campaign: &str,
    rounds: &[Round],
    severity: bool,
    tallies: &mut BTreeMap<String, Tally>,
) -> Result<(), Error> {
    let mut tests: Vec<&str> = Vec::new();
    for round in rounds {
        if !tests.contains(&round.test.as_str()) {
            tests.push(&round.test);
        }
    }
    let learnt: HashSet<&str> = tests[..tests.len() / 2].iter().copied().collect();
    let is_learnt = |round: &&Round| learnt.contains(round.test.as_str());
    let warm_up: Vec<&Round> = rounds
        .iter()
        .filter(|r| is_learnt(r) && r.is_clean)
        .collect();
    let mut n_false = 0;
    let mut warm = Replay::new(severity)?;
    for round in &warm_up {
        n_false += warm.play(round)?.anomalies.len();
    }
    let warm = warm.save()?;
    println!(
        "{campaign}: {} rounds learnt, {n_false} findings meanwhile, {} services ready",
        warm_up.len(),
        warm.n_ready
    );
    for round in rounds.iter().filter(|round| !is_learnt(round)) {
        if !round.is_clean && round.trigger_ms.is_none() {
            continue;
        }
        let seen = Replay::load(&warm, severity)?.play(round)?;
        for (rule, times) in seen.rules() {
            let from = EventTime(round.trigger_ms.unwrap_or_default() * 1_000_000);
            let raised = times.iter().any(|time| *time >= from);
            let tally = tallies.entry(rule).or_default();
            let cell = if round.is_clean {
                &mut tally.false_alarms
            } else {
                &mut tally.found
            };
            *cell = (cell.0 + u32::from(raised), cell.1 + 1);
        }
        for (time, text) in seen.anomalies {
            let word = if round.is_clean { "FALSE" } else { "found" };
            println!("  {word} {campaign}/{} {time}: {text}", round.test);
        }
    }
    Ok(())
}

/// One miner a service, and one detector.
struct Replay {
    severity: bool,
    services: Vec<String>,
    miners: Vec<StreamMiner>,
    /// Templates known when the replay began; none for a service that was not.
    known: Vec<Option<HashSet<u64>>>,
    detector: PerStream<Novelty>,
    columns: Vec<String>,
    told: HashSet<(u32, u64)>,
    batch: Pending,
    newest: EventTime,
    watermark: EventTime,
}

/// Rows that wait for their batch to end.
#[derive(Default)]
struct Pending {
    rows: Vec<(u32, u64, EventTime, u8)>,
    templates: Vec<Template>,
    merges: Vec<TemplateMerge>,
}

/// What a warm replay knows.
struct Warm {
    /// Service, its miner's state, its detector's state.
    streams: Vec<(String, Vec<u8>, Vec<u8>)>,
    n_ready: usize,
}

/// What a round showed.
#[derive(Default)]
struct Seen {
    anomalies: Vec<(EventTime, String)>,
    /// Templates that the miner had not known, in services that it had.
    new: Vec<(EventTime, bool)>,
    errors: Vec<EventTime>,
}

impl Seen {
    /// The times at which each rule raises.
    fn rules(&self) -> Vec<(String, Vec<EventTime>)> {
        let together = |n: usize, failing: bool| {
            let new: Vec<_> = self
                .new
                .iter()
                .filter(|(_, fails)| *fails || !failing)
                .collect();
            let runs = new
                .windows(n)
                .filter(|run| run[n - 1].0.since(run[0].0) < TOGETHER);
            runs.map(|run| run[n - 1].0).collect::<Vec<_>>()
        };
        let raised = self.anomalies.iter().map(|(time, _)| *time).collect();
        vec![
            ("novelty (this)".to_owned(), raised),
            ("any new template".to_owned(), together(1, false)),
            ("3 new templates in 5 min".to_owned(), together(3, false)),
            ("any new with a failure word".to_owned(), together(1, true)),
            ("2 new with a failure word".to_owned(), together(2, true)),
            (
                "an ERROR line (level visible)".to_owned(),
                self.errors.clone(),
            ),
        ]
    }
}

impl Replay {
    fn new(severity: bool) -> Result<Self, Error> {
        let mut detector = PerStream::default();
        let plan = detector.configure("")?;
        Ok(Self {
            severity,
            services: Vec::new(),
            miners: Vec::new(),
            known: Vec::new(),
            detector,
            columns: plan.columns.into_iter().map(|column| column.name).collect(),
            told: HashSet::new(),
            batch: Pending::default(),
            newest: EventTime::default(),
            watermark: EventTime::default(),
        })
    }

    fn save(mut self) -> Result<Warm, Error> {
        let mut streams = Vec::new();
        let mut n_ready = 0;
        for (index, service) in self.services.iter().enumerate() {
            let stream = StreamId(index as u32);
            let readiness = self.detector.status(stream)?;
            n_ready += usize::from(readiness[0].missing.is_empty());
            streams.push((
                service.clone(),
                self.miners[index].save(),
                self.detector.save(stream)?,
            ));
        }
        Ok(Warm { streams, n_ready })
    }

    fn load(warm: &Warm, severity: bool) -> Result<Self, Error> {
        let mut replay = Self::new(severity)?;
        for (index, (service, miner, state)) in warm.streams.iter().enumerate() {
            let miner = StreamMiner::load(miner, TemplateLimits::default())?;
            let known = miner.templates().map(|template| template.id.0).collect();
            replay.services.push(service.clone());
            replay.known.push(Some(known));
            replay.miners.push(miner);
            replay.detector.load(StreamId(index as u32), 1, state)?;
        }
        Ok(replay)
    }

    fn play(&mut self, round: &Round) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        for record in &round.records {
            self.record(record, &mut seen)?;
        }
        self.advance(self.newest.saturating_add(MINUTE * 2), &mut seen)?;
        Ok(seen)
    }

    fn record(&mut self, record: &Record, seen: &mut Seen) -> Result<(), Error> {
        let stream = match self
            .services
            .iter()
            .position(|known| *known == record.service)
        {
            Some(stream) => stream,
            None => {
                self.services.push(record.service.clone());
                self.miners
                    .push(StreamMiner::new(TemplateLimits::default()));
                self.known.push(None);
                self.services.len() - 1
            }
        };
        self.newest = self.newest.max(record.time);
        let behind = self.newest.saturating_sub(MINUTE).floor_to(MINUTE);
        if behind > self.watermark {
            self.advance(behind, seen)?;
        }
        let mut changes = Vec::new();
        let miner = &mut self.miners[stream];
        let id = miner.assign(&record.body, record.time, &mut changes).id.0;
        let id_stream = StreamId(stream as u32);
        for change in changes {
            if let Change::Merged { source, target } = change {
                // What came before a merge is observed before it.
                if !self.batch.rows.is_empty() {
                    self.observe(seen)?;
                }
                self.tell(stream, target.0);
                let (source, target) = (TemplateId(source.0), TemplateId(target.0));
                self.batch.merges.push(TemplateMerge {
                    stream: id_stream,
                    source,
                    target,
                });
                if let Some(known) = &mut self.known[stream]
                    && known.contains(&source.0)
                {
                    known.insert(target.0);
                }
            }
        }
        self.tell(stream, id);
        if let Some(known) = &mut self.known[stream]
            && known.insert(id)
        {
            let found = self
                .batch
                .templates
                .iter()
                .find(|template| template.id.0 == id);
            seen.new
                .push((record.time, found.is_some_and(|template| template.failure)));
        }
        if record.severity >= 17 {
            seen.errors.push(record.time);
        }
        let severity = if self.severity { record.severity } else { 0 };
        self.batch
            .rows
            .push((stream as u32, id, record.time, severity));
        Ok(())
    }

    fn tell(&mut self, stream: usize, id: u64) {
        let template = self.miners[stream].find(petrel_engine::templates::TemplateId(id));
        if let Some(template) = template
            && self.told.insert((stream as u32, id))
        {
            self.batch.templates.push(Template {
                stream: StreamId(stream as u32),
                id: TemplateId(id),
                text: template.text.to_string(),
                failure: template.failure,
            });
        }
    }

    fn observe(&mut self, seen: &mut Seen) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.batch);
        let rows = &pending.rows;
        let columns = self.columns.iter().map(|name| match name.as_str() {
            names::STREAM => Values::Uint32(rows.iter().map(|row| row.0).collect()),
            names::TEMPLATE => Values::Uint64(rows.iter().map(|row| row.1).collect()),
            names::EVENT_TIME => Values::Uint64(rows.iter().map(|row| row.2.0).collect()),
            names::SEVERITY_NUMBER => {
                Values::Uint32(rows.iter().map(|row| u32::from(row.3)).collect())
            }
            _ => Values::Absent,
        });
        let outcome = self.detector.observe(&Batch {
            rows: rows.len() as u32,
            columns: columns.map(Column::full).collect(),
            templates: pending.templates,
            merges: pending.merges,
        })?;
        for finding in outcome
            .findings
            .iter()
            .filter(|finding| finding.score >= OPENS)
        {
            let row = finding.rows.first().map_or(0, |row| *row as usize);
            let evidence = finding
                .evidence
                .iter()
                .take(2)
                .map(|own| format!("{:?}", own.value));
            let text = evidence.collect::<Vec<_>>().join(" ");
            if !seen.anomalies.iter().any(|(_, known)| *known == text) {
                seen.anomalies.push((rows[row].2, text));
            }
        }
        Ok(())
    }

    fn advance(&mut self, to: EventTime, seen: &mut Seen) -> Result<(), Error> {
        self.observe(seen)?;
        self.watermark = to.floor_to(MINUTE);
        let streams = 0..self.services.len() as u32;
        let watermarks: Vec<_> = streams
            .map(|stream| Watermark {
                stream: StreamId(stream),
                time: self.watermark,
                completeness: 1.0,
            })
            .collect();
        self.detector.advance(&watermarks)?;
        Ok(())
    }
}

/// Rounds by campaign, in time order.
fn open(folder: &Path) -> Result<BTreeMap<String, Vec<Round>>, Error> {
    let labels = std::fs::read_to_string(folder.join("openstack-fi-dev.labels.jsonl"))?;
    let mut rounds: BTreeMap<String, (String, Round)> = BTreeMap::new();
    for line in labels.lines() {
        let label: serde_json::Value = serde_json::from_str(line)?;
        let text = |key: &str| label[key].as_str().unwrap_or_default().to_owned();
        let (is_clean, is_failing) = match (text("round").as_str(), text("outcome").as_str()) {
            ("r2", "NO_FAILURE") => (true, false),
            ("r1", "FAILURE") => (false, true),
            _ => (false, false),
        };
        let is_visible = label["visible_failure_ms"]
            .as_array()
            .is_some_and(|own| !own.is_empty());
        let file = format!(
            "{}/{}.{}.log",
            text("campaign"),
            text("test"),
            text("round")
        );
        let round = Round {
            test: text("test"),
            is_clean,
            start_ms: label["workload_start_ms"].as_u64().unwrap_or_default(),
            trigger_ms: label["trigger_first_ms"]
                .as_u64()
                .filter(|_| is_failing && is_visible),
            records: Vec::new(),
        };
        rounds.insert(file, (text("campaign"), round));
    }
    let archive = std::fs::File::open(folder.join("openstack-fi-dev.tar.zst"))?;
    for entry in tar::Archive::new(zstd::Decoder::new(archive)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        if let Some((_, round)) = rounds.get_mut(&name) {
            entry.read_to_end(&mut bytes)?;
            round.records = records(&String::from_utf8_lossy(&bytes), round.start_ms);
        }
    }
    let mut campaigns: BTreeMap<String, Vec<Round>> = BTreeMap::new();
    for (campaign, round) in rounds.into_values() {
        campaigns.entry(campaign).or_default().push(round);
    }
    campaigns
        .values_mut()
        .for_each(|rounds| rounds.sort_by_key(|round| round.start_ms));
    Ok(campaigns)
}

/// Records since the workload began: header taken off, continuation lines put back.
fn records(text: &str, start_ms: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.splitn(3, '\t').collect();
        let &[time, service, body] = &cells[..] else {
            continue;
        };
        if time == "+" {
            if let Some(record) = records.last_mut() {
                record.body.push('\n');
                record.body.push_str(body);
            }
            continue;
        }
        let level = body.split(' ').nth(3).unwrap_or_default();
        records.push(Record {
            service: service.to_owned(),
            time: EventTime(time.parse::<u64>().unwrap_or_default() * 1_000_000),
            severity: match level {
                "DEBUG" => 5,
                "INFO" => 9,
                "WARNING" => 13,
                "ERROR" => 17,
                "CRITICAL" => 21,
                _ => 0,
            },
            body: without_place(without_header(body)).to_owned(),
        });
    }
    records.retain(|record| record.time.0 >= start_ms * 1_000_000);
    records
}

/// What follows `date time process LEVEL logger [context] `.
fn without_header(line: &str) -> &str {
    let rest = line.splitn(6, ' ').nth(5).unwrap_or_default();
    if rest.starts_with('[') {
        rest.split_once("] ").map_or("", |(_, body)| body)
    } else {
        rest
    }
}

/// Without the ` function /path/file.py:123` that ends a line of level DEBUG.
fn without_place(body: &str) -> &str {
    let Some((rest, place)) = body.rsplit_once(' ') else {
        return body;
    };
    if place.contains(".py:") {
        rest.rsplit_once(' ').map_or("", |(rest, _)| rest)
    } else {
        body
    }
}
