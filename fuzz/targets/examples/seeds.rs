//! Writes the first inputs of every target to `fuzz/corpus/`: small requests of every odd shape, the
//! same damaged, as JSON and packed, and configurations that are right, wrong and half there.
//!
//! `cargo run -p petrel-fuzz --example seeds`; the same files every time.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;

#[path = "../../../crates/petrel-otlp/tests/otlp/generate.rs"]
mod generate;

/// Seeds of each kind.
const N_SEEDS: usize = 24;
/// Larger requests are no seeds: libFuzzer makes them longer by itself.
const SEED_BYTES_MAX: usize = 1024;

/// Separates configurations in `seeds.yaml`.
const SEPARATOR: &str = "\n---8<---\n";

fn main() -> io::Result<()> {
    let mut runner = TestRunner::deterministic();
    let requests = sample(&mut runner, generate::request());
    let damaged = sample(&mut runner, generate::damaged_request());
    write("walk", requests.iter().chain(&damaged).cloned())?;
    write(
        "splice",
        requests
            .iter()
            .map(|it| [&[4, 1, 3, 0x81, 0xa4][..], it].concat()),
    )?;
    let with_size = |it: &Vec<u8>| [&(it.len() as u16 / 3).to_le_bytes()[..], it].concat();
    write("split", requests.iter().map(with_size))?;
    let json = requests.iter().map(|request| {
        let decoded = ExportLogsServiceRequest::decode(&request[..]).expect("made for prost");
        serde_json::to_vec(&decoded).expect("any request can be JSON")
    });
    write("json", json.filter(|json| json.len() <= 2 * SEED_BYTES_MAX))?;
    let gzip: io::Result<Vec<_>> = requests.iter().map(|it| packed(it)).collect();
    let zstd = requests
        .iter()
        .map(|it| [vec![128 + 12], zstd(it)].concat());
    write("decompression", gzip?.into_iter().chain(zstd))?;
    let configs = include_str!("seeds.yaml").split(SEPARATOR);
    write("config", configs.map(|config| config.as_bytes().to_vec()))
}

fn sample(runner: &mut TestRunner, strategy: impl Strategy<Value = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seeds = vec![];
    while seeds.len() < N_SEEDS {
        let tree = strategy.new_tree(runner).expect("nothing is filtered out");
        let seed = tree.current();
        if (1..=SEED_BYTES_MAX).contains(&seed.len()) {
            seeds.push(seed);
        }
    }
    seeds
}

fn zstd(request: &[u8]) -> Vec<u8> {
    petrel_otlp::fuzzing::pack_as(1, request.to_vec().into()).to_vec()
}

/// Packed into two members, as a sender may, with a bound that holds it.
fn packed(request: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![12];
    for half in request.chunks(request.len().div_ceil(2)) {
        let mut encoder = GzEncoder::new(&mut out, Compression::new(6));
        encoder.write_all(half)?;
        encoder.finish()?;
    }
    Ok(out)
}

fn write(target: &str, seeds: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    for (index, seed) in seeds.enumerate() {
        fs::write(folder.join(format!("seed-{index:02}")), seed)?;
    }
    Ok(())
}
