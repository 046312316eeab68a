//! Recorded logs of a real system, read from outside the repository. Their licence keeps them there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

const ARCHIVE: &str = "openstack-fi-dev.tar.zst";

/// Where recordings are: `PETREL_DATA`, else `../shared/data` beside the workspace.
fn directory() -> PathBuf {
    match std::env::var_os("PETREL_DATA") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    }
}

/// The `OpenStack` recordings, or `None` where they are absent.
pub(crate) fn open_stack() -> Option<PathBuf> {
    let path = directory().join(ARCHIVE);
    path.exists().then_some(path)
}

/// Some rounds of the recordings as one log file, in the order asked for.
///
/// A record is `<milliseconds>\t<service>\t<line>`, and its further lines follow as they are.
pub(crate) struct LogFile {
    pub(crate) text: String,
    pub(crate) n_records: usize,
    /// Event time of the last round's first record.
    pub(crate) last_round_starts_ms: u64,
}

impl LogFile {
    /// Takes `rounds`, such as `Cinder/Test_44.r1`, from the archive.
    ///
    /// # Panics
    /// When the archive lacks a round or is not as its description says.
    pub(crate) fn of_rounds(archive: &Path, rounds: &[&str]) -> Self {
        let mut found = read_rounds(archive, rounds);
        let mut log_file = Self {
            text: String::new(),
            n_records: 0,
            last_round_starts_ms: 0,
        };
        for round in rounds {
            let text = found
                .remove(*round)
                .unwrap_or_else(|| panic!("no {round} in {}", archive.display()));
            log_file.append(&text);
        }
        log_file
    }

    fn append(&mut self, round: &str) {
        let start = round
            .split('\t')
            .next()
            .and_then(|start| start.parse().ok());
        self.last_round_starts_ms = start.expect("a round starts with its first record's time");
        for line in round.lines() {
            match line.strip_prefix("+\t") {
                Some(continuation) => self.text.push_str(continuation),
                None => {
                    self.n_records += 1;
                    self.text.push_str(line);
                }
            }
            self.text.push('\n');
        }
    }
}

fn read_rounds(archive: &Path, rounds: &[&str]) -> HashMap<String, String> {
    let file = File::open(archive).expect("the archive was there a moment ago");
    let decoder = zstd::Decoder::new(BufReader::new(file)).expect("a zstd archive");
    let mut archive = tar::Archive::new(decoder);
    let mut found = HashMap::new();
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("a whole archive");
        let path = entry
            .path()
            .expect("a readable name")
            .to_string_lossy()
            .into_owned();
        let name = path.trim_end_matches(".log");
        if !rounds.contains(&name) {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a whole archive");
        found.insert(
            name.to_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        );
        if found.len() == rounds.len() {
            break;
        }
    }
    found
}
