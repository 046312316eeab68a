//! Speed and stability of the template miner, on one core: lines a second, and templates created per
//! million clean OpenStack records after a warm-up of half the rounds. Reads the folder named by
//! `PETREL_DATA`, by default `../shared/data` beside the workspace; without it only the generated
//! lines run.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use petrel_batch::EventTime;
use petrel_engine::templates::{Change, StreamMiner, TemplateLimits};

/// Passes over the same lines; the fastest counts.
const N_PASSES: usize = 3;
/// Records before the first look at how many templates there are.
const SHOWN_EVERY: usize = 50_000;

fn main() {
    let folder = std::env::var_os("PETREL_DATA").map(PathBuf::from);
    let folder = folder
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    println!(
        "{:<28} {:>9} {:>7} {:>10} {:>10}",
        "lines", "records", "bytes", "templates", "M lines/s"
    );
    generated();
    match Recording::open(&folder) {
        Some(recordings) => recordings.iter().for_each(openstack),
        None => println!(
            "OpenStack did not run: no recording in {}",
            folder.display()
        ),
    }
}

/// One campaign's clean rounds in time order.
struct Recording {
    campaign: String,
    rounds: Vec<Round>,
}

struct Round {
    start_ms: u64,
    records: Vec<Record>,
}

struct Record {
    service: usize,
    time: EventTime,
    body: String,
}

impl Recording {
    fn open(folder: &Path) -> Option<Vec<Recording>> {
        let labels = std::fs::read_to_string(folder.join("openstack-fi-dev.labels.jsonl")).ok()?;
        let archive = std::fs::File::open(folder.join("openstack-fi-dev.tar.zst")).ok()?;
        let mut starts = HashMap::new();
        for label in labels.lines() {
            let label: serde_json::Value = serde_json::from_str(label).ok()?;
            let name = format!(
                "{}/{}.{}.log",
                label["campaign"].as_str()?,
                label["test"].as_str()?,
                label["round"].as_str()?
            );
            if label["round"] == "r2" && label["outcome"] == "NO_FAILURE" {
                starts.insert(name, label["workload_start_ms"].as_u64()?);
            }
        }
        let mut rounds: HashMap<String, Vec<Round>> = HashMap::new();
        let mut services = HashMap::new();
        let mut archive = tar::Archive::new(zstd::Decoder::new(archive).ok()?);
        for entry in archive.entries().ok()? {
            let mut entry = entry.ok()?;
            let name = entry.path().ok()?.to_string_lossy().into_owned();
            if let Some(start_ms) = starts.get(&name) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).ok()?;
                let records = records(&String::from_utf8_lossy(&bytes), *start_ms, &mut services);
                let campaign = name.split('/').next()?.to_owned();
                rounds.entry(campaign).or_default().push(Round {
                    start_ms: *start_ms,
                    records,
                });
            }
        }
        let mut recordings: Vec<_> = rounds
            .into_iter()
            .map(|(campaign, rounds)| Recording { campaign, rounds })
            .collect();
        recordings.sort_by(|left, right| left.campaign.cmp(&right.campaign));
        for recording in &mut recordings {
            recording.rounds.sort_by_key(|round| round.start_ms);
        }
        Some(recordings)
    }
}

/// Records since the workload began: header taken off, continuation lines put back.
fn records(text: &str, start_ms: u64, services: &mut HashMap<String, usize>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for line in text.lines() {
        let mut cells = line.splitn(3, '\t');
        let (Some(time), Some(service), Some(body)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        if time == "+" {
            if let Some(record) = records.last_mut() {
                record.body.push('\n');
                record.body.push_str(body);
            }
            continue;
        }
        let n_services = services.len();
        let service = *services.entry(service.to_owned()).or_insert(n_services);
        let time: u64 = time.parse().unwrap_or_default();
        records.push(Record {
            service,
            time: EventTime(time * 1_000_000),
            body: without_header(body).to_owned(),
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

fn openstack(recording: &Recording) {
    let mut miners: HashMap<usize, StreamMiner> = HashMap::new();
    let mut changes = Vec::new();
    let mut created_every = vec![0; 1];
    let (mut n_records, mut n_bytes, mut n_warm, mut n_late, mut n_late_merges) = (0, 0, 0, 0, 0);
    let show = std::env::var_os("PETREL_SHOW").is_some();
    for (index, round) in recording.rounds.iter().enumerate() {
        let is_late = index >= recording.rounds.len() / 2;
        for record in &round.records {
            let miner = miners
                .entry(record.service)
                .or_insert_with(|| StreamMiner::new(TemplateLimits::default()));
            changes.clear();
            miner.assign(&record.body, record.time, &mut changes);
            n_records += 1;
            n_bytes += record.body.len();
            created_every.resize(n_records / SHOWN_EVERY + 1, 0);
            for change in &changes {
                match change {
                    Change::Created(id) => {
                        created_every[n_records / SHOWN_EVERY] += 1;
                        n_late += usize::from(is_late);
                        if is_late && show {
                            println!(
                                "    {}",
                                miner.find(*id).map_or("", |template| &template.text)
                            );
                        }
                    }
                    Change::Merged { .. } => n_late_merges += usize::from(is_late),
                    Change::Evicted(_) => {}
                }
            }
        }
        n_warm += if is_late { 0 } else { round.records.len() };
    }
    let n_templates: usize = miners
        .values()
        .map(|miner| miner.health().n_templates)
        .sum();
    let mut numbers = Vec::new();
    let mut pass = |with_numbers: bool| {
        let start = cpu_seconds();
        for record in recording.rounds.iter().flat_map(|round| &round.records) {
            let miner = miners
                .get_mut(&record.service)
                .expect("each service has its miner by now");
            miner.assign(&record.body, record.time, &mut changes);
            if with_numbers {
                numbers.clear();
                miner.numbers_of_last(&record.body, &mut numbers);
            }
        }
        n_records as f64 / (cpu_seconds() - start)
    };
    let lines_per_second = (0..N_PASSES).map(|_| pass(false)).fold(0.0, f64::max);
    let with_numbers = (0..N_PASSES).map(|_| pass(true)).fold(0.0, f64::max);
    let name = format!("OpenStack {}", recording.campaign);
    row(&name, n_records, n_bytes, n_templates, lines_per_second);
    let per_million = n_late as f64 * 1e6 / (n_records - n_warm) as f64;
    println!("    with numbers: {:.2} M lines/s", with_numbers / 1e6);
    println!("    created per {SHOWN_EVERY} records: {created_every:?}");
    println!(
        "    after warm-up: {n_late} created, {n_late_merges} merged, {} records, {per_million:.0} per million",
        n_records - n_warm
    );
}

/// Makes one line of its kind.
type Line = fn(&mut Random) -> String;

/// Lines of kinds that recordings have few of; also what an ill-meant sender could do.
fn generated() {
    const N_LINES: usize = 200_000;
    let kinds: [(&str, Line); 9] = [
        ("ten random words", |random| random.words(10)),
        ("distinct first words", |random| {
            format!("{} connection accepted from peer", random.word())
        }),
        ("prefix and free text", |random| {
            format!("user said something new: {}", random.words(6))
        }),
        ("one free word", |random| {
            format!("session opened for user {} by root", random.word())
        }),
        ("lists of ids", |random| {
            let n_ids = random.below(200) + 1;
            (0..n_ids).fold("deleting".to_owned(), |mut line, _| {
                let _ = write!(line, " id{}", random.below(1 << 30));
                line
            })
        }),
        ("bracketed lists of words", |random| {
            let n_words = random.below(60) as usize + 1;
            format!(
                "tickets [{}] sold",
                random.words(n_words).replace(' ', ", ")
            )
        }),
        ("access log", |random| {
            let (host, size) = (random.below(256), random.below(100_000));
            format!(
                "10.0.0.{host} - - [10/Oct/2020:13:55:36 -0700] \"GET /{} HTTP/1.1\" 200 {size}",
                random.word()
            )
        }),
        ("logfmt", |random| {
            format!(
                "level=info msg=\"request done\" path=/{} took={}ms",
                random.word(),
                random.below(1000)
            )
        }),
        ("JSON", |random| {
            let (user, took) = (random.word(), random.below(1000));
            format!(
                "{{\"level\":\"info\",\"msg\":\"request done in {took}ms\",\"user\":\"{user}\",\"ts\":17.5}}"
            )
        }),
    ];
    for (name, line) in kinds {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let lines: Vec<_> = (0..N_LINES).map(|_| line(&mut random)).collect();
        let mut miner = StreamMiner::new(TemplateLimits::default());
        let mut changes = Vec::new();
        let start = cpu_seconds();
        for line in &lines {
            miner.assign(line, EventTime(0), &mut changes);
        }
        let lines_per_second = N_LINES as f64 / (cpu_seconds() - start);
        let n_bytes = lines.iter().map(String::len).sum();
        row(
            name,
            N_LINES,
            n_bytes,
            miner.health().n_templates,
            lines_per_second,
        );
    }
}

fn row(name: &str, n_records: usize, n_bytes: usize, n_templates: usize, lines_per_second: f64) {
    let bytes = n_bytes / n_records.max(1);
    println!(
        "{name:<28} {n_records:>9} {bytes:>7} {n_templates:>10} {:>10.2}",
        lines_per_second / 1e6
    );
}

/// CPU time of this thread, seconds: a busy machine does not disturb it much.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// xorshift: the same lines each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn word(&mut self) -> String {
        let length = 4 + self.below(6);
        (0..length)
            .map(|_| char::from(b'g' + self.below(20) as u8))
            .collect()
    }

    fn words(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| self.word())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
