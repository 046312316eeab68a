//! Grouping accuracy on labelled lines of eight systems, in one configuration. Reads the folder named
//! by `PETREL_DATA`, by default `../shared/data` beside the workspace.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::PathBuf;

use petrel_batch::EventTime;
use petrel_engine::templates::{StreamMiner, TemplateLimits};

const SYSTEMS: [&str; 8] = [
    "Apache",
    "BGL",
    "HDFS",
    "Hadoop",
    "Linux",
    "OpenSSH",
    "Spark",
    "Zookeeper",
];

/// Orders of the same lines that must give the same templates.
const N_SHUFFLES: u64 = 3;

#[test]
fn groups_as_people_do() {
    let folder = std::env::var_os("PETREL_DATA").map(PathBuf::from);
    let folder = folder
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    let path = folder.join("loghub-2k-8.tar.zst");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("did not run: no recording at {}", path.display());
        return;
    };
    let decoder = zstd::Decoder::new(file).expect("a zstd stream");
    let mut archive = tar::Archive::new(decoder);
    let mut rows_by_system = HashMap::new();
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("a tar entry");
        let name = entry.path().expect("a path").to_string_lossy().into_owned();
        if name.ends_with("log_structured_corrected.csv") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("an entry's bytes");
            let system = name.split('/').nth_back(1).expect("a folder").to_owned();
            rows_by_system.insert(system, labelled_bodies(&String::from_utf8_lossy(&bytes)));
        }
    }
    let mut sum = (0.0, 0.0);
    println!(
        "{:<10} {:>6} {:>6} {:>9} {:>6}",
        "system", "GA", "FGA", "templates", "truth"
    );
    for system in SYSTEMS {
        let rows = &rows_by_system[system];
        let found = mine(rows.iter().map(|(body, _)| body.as_str()));
        let score = score(rows, &found);
        for seed in 1..=N_SHUFFLES {
            let mut shuffled: Vec<_> = rows.iter().map(|(body, _)| body.as_str()).collect();
            shuffle(&mut shuffled, seed);
            assert_eq!(
                distinct(&mine(shuffled.into_iter())),
                distinct(&found),
                "{system} in order {seed}"
            );
        }
        println!(
            "{system:<10} {:>6.3} {:>6.3} {:>9} {:>6}",
            score.ga, score.fga, score.n_found, score.n_truth
        );
        if std::env::var("PETREL_SHOW").is_ok_and(|shown| shown == system) {
            show_errors(rows, &found);
        }
        sum = (sum.0 + score.ga, sum.1 + score.fga);
    }
    let (ga, fga) = (sum.0 / SYSTEMS.len() as f64, sum.1 / SYSTEMS.len() as f64);
    println!("{:<10} {ga:>6.3} {fga:>6.3}", "mean");
    assert!(ga >= 0.97 && fga >= 0.95, "GA {ga:.3}, FGA {fga:.3}");
}

/// The text of each body's template once all bodies were seen.
fn mine<'a>(bodies: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut miner = StreamMiner::new(TemplateLimits::default());
    let mut changes = Vec::new();
    let ids: Vec<_> = bodies
        .map(|body| miner.assign(body, EventTime(0), &mut changes).id)
        .collect();
    ids.iter()
        .map(|id| {
            miner
                .find(*id)
                .expect("nothing is evicted")
                .text
                .to_string()
        })
        .collect()
}

fn distinct(texts: &[String]) -> BTreeSet<&str> {
    texts.iter().map(String::as_str).collect()
}

fn shuffle(bodies: &mut [&str], seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for last in (1..bodies.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bodies.swap(last, (random % (last as u64 + 1)) as usize);
    }
}

struct Score {
    ga: f64,
    fga: f64,
    n_found: usize,
    n_truth: usize,
}

/// GA: share of lines in groups that are exactly right. FGA: the harmonic mean of how many of the
/// groups found, and of those that are there, are exactly right.
fn score(rows: &[(String, String)], found: &[String]) -> Score {
    let mut truth: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, ((_, label), text)) in rows.iter().zip(found).enumerate() {
        truth.entry(label).or_default().push(index);
        groups.entry(text).or_default().push(index);
    }
    let right: Vec<_> = groups
        .values()
        .filter(|lines| truth[rows[lines[0]].1.as_str()] == **lines)
        .collect();
    let n_lines: usize = right.iter().map(|lines| lines.len()).sum();
    Score {
        ga: n_lines as f64 / rows.len() as f64,
        fga: 2.0 * right.len() as f64 / (groups.len() + truth.len()) as f64,
        n_found: groups.len(),
        n_truth: truth.len(),
    }
}

fn show_errors(rows: &[(String, String)], found: &[String]) {
    let mut by_label: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    let mut by_text: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for ((_, label), text) in rows.iter().zip(found) {
        *by_label.entry(label).or_default().entry(text).or_default() += 1;
        *by_text.entry(text).or_default().entry(label).or_default() += 1;
    }
    for (title, groups) in [("split", by_label), ("joined", by_text)] {
        for (one, many) in groups.iter().filter(|(_, many)| many.len() > 1) {
            println!("{title}: {one}");
            many.iter()
                .for_each(|(other, count)| println!("    {count:>5} {other}"));
        }
    }
}

/// Columns `Content` and `EventTemplate` of a CSV file.
fn labelled_bodies(text: &str) -> Vec<(String, String)> {
    let mut rows = csv_rows(text).into_iter();
    let header = rows.next().expect("a header");
    let column = |name: &str| {
        header
            .iter()
            .position(|column| column == name)
            .expect("a column")
    };
    let (body, label) = (column("Content"), column("EventTemplate"));
    rows.map(|row| (row[body].clone(), row[label].clone()))
        .collect()
}

fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let row = rows.last_mut().expect("one row at least");
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                row.last_mut().expect("one cell at least").push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            '\r' if !is_quoted => {}
            other => row.last_mut().expect("one cell at least").push(other),
        }
    }
    rows.retain(|row| row.len() > 1);
    rows
}
