//! Every target over its corpus, and over some thousand changed inputs, on any toolchain: a short run
//! of what libFuzzer does at length. The changes are the same every time.

use std::fs;
use std::path::Path;

use petrel_fuzz::{TARGETS, Target};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Changed inputs of a target.
const N_CHANGED: u64 = 3000;
/// Changes of one input at most.
const CHANGES_MAX: usize = 6;

/// Bytes that mean something to one of the targets: tags, lengths and their bounds, JSON, YAML.
const TELLING: &[u8] =
    b"\x00\x01\x02\x0a\x12\x18\x22\x2a\x32\x59\x7f\x80\xff{}[]\",:$#&*-\n \x1f\x8b";

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = files
        .map(|file| file.expect("can be listed").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("can be read"))
        .collect()
}

/// Shows the input that a target has panicked on.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(name, input) = self;
            eprintln!("the target {name} fails on b\"{}\"", input.escape_ascii());
        }
    }
}

fn run((name, target): (&str, Target), input: &[u8]) {
    let _shown = Shown(name, input);
    target(input);
}

fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    let rest = input.len() - at;
    match random.random_range(0..7) {
        0 if rest > 0 => input[at] ^= 1 << random.random_range(0..8),
        1 if rest > 0 => input[at] = random.random(),
        2 if rest > 0 => drop(input.drain(at..at + random.random_range(1..=rest.min(8)))),
        3 => input.truncate(at),
        4 => input.insert(at, *TELLING.choose(random).expect("there are some")),
        5 if rest > 0 => {
            let repeated = input[at..at + random.random_range(1..=rest.min(32))].to_vec();
            input.splice(at..at, repeated);
        }
        _ => {
            let other = inputs.choose(random).expect("there are some");
            input.truncate(at);
            input.extend(&other[random.random_range(0..=other.len())..]);
        }
    }
}

#[test]
fn every_target_takes_its_corpus_and_changes_of_it() {
    for &(name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in &inputs {
            run((name, target), input);
        }
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..N_CHANGED {
            let mut input = inputs.choose(&mut random).expect("there are some").clone();
            for _ in 0..random.random_range(1..=CHANGES_MAX) {
                change(&mut input, &inputs, &mut random);
            }
            run((name, target), &input);
        }
    }
}

/// The test is worth something only if a broken promise ends it.
#[test]
#[should_panic(expected = "outside")]
fn a_broken_promise_is_seen() {
    run(
        ("broken", |input| assert!(input.len() < 3, "outside")),
        b"abc",
    );
}
