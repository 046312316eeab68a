//! Saved miners: same bytes after a round trip, same answers after a restart, garbage refused.

use petrel_batch::EventTime;
use petrel_engine::templates::{StreamMiner, TemplateLimits, TemplateStateError};
use proptest::prelude::*;

use super::{feed, merges::CORPUS, miner, text_of, texts};

fn full() -> StreamMiner {
    let mut miner = miner();
    feed(&mut miner, CORPUS.lines());
    feed(
        &mut miner,
        [
            r#"{"msg":"hi 5","7":1,"a":2}"#,
            "x....y",
            "\tat",
            "größe 日本",
        ],
    );
    miner.adopt("brought along <*>", EventTime(7), &mut Vec::new());
    let free: Vec<_> = (0..40)
        .map(|n| format!("user wrote this: {}", "ab ".repeat(n + 1)))
        .collect();
    feed(&mut miner, free.iter().map(String::as_str));
    miner
}

fn load(bytes: &[u8]) -> Result<StreamMiner, TemplateStateError> {
    StreamMiner::load(bytes, TemplateLimits::default())
}

#[test]
fn survives_a_round_trip() {
    let before = full();
    let bytes = before.save();
    let mut after = load(&bytes).expect("just saved");
    assert_eq!(after.save(), bytes);
    assert_eq!(texts(&after), texts(&before));
    assert_eq!(after.health().n_records, before.health().n_records);
    let mut before = before;
    for body in CORPUS
        .lines()
        .chain(["user wrote this: something else", "never seen before"])
    {
        let mut changes = (Vec::new(), Vec::new());
        let expected = before.assign(body, EventTime(9), &mut changes.0).id;
        assert_eq!(
            after.assign(body, EventTime(9), &mut changes.1).id,
            expected,
            "{body}"
        );
        assert_eq!(changes.0, changes.1);
    }
    assert_eq!(after.save(), before.save());
}

#[test]
fn aliases_survive() {
    let before = full();
    let merged = miner()
        .assign("login of user ann took 5 ms", EventTime(0), &mut Vec::new())
        .id;
    let after = load(&before.save()).expect("just saved");
    assert_ne!(before.resolve(merged), merged);
    assert_eq!(after.resolve(merged), before.resolve(merged));
}

#[test]
fn refuses_garbage() {
    let bytes = full().save();
    assert_eq!(load(b"").err(), Some(TemplateStateError::Foreign));
    assert_eq!(
        load(b"something else").err(),
        Some(TemplateStateError::Foreign)
    );
    let mut newer = bytes.clone();
    newer[6] = 9;
    assert_eq!(
        load(&newer).err(),
        Some(TemplateStateError::Version { found: 9, known: 1 })
    );
    for length in 0..bytes.len() {
        assert!(load(&bytes[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn a_flipped_bit_is_noticed(bit in 0usize..100_000) {
        let mut bytes = full().save();
        let n_bits = bytes.len() * 8;
        bytes[bit % n_bits / 8] ^= 1 << (bit % 8);
        prop_assert!(load(&bytes).is_err());
    }

    /// Even with a right checksum, content that makes no sense neither panics nor misleads.
    #[test]
    fn forged_content_never_panics(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = b"PTRLTM\x01\x00".to_vec();
        bytes.extend(content);
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        if let Ok(mut miner) = load(&bytes) {
            text_of(&mut miner, "a line 5");
            miner.save();
        }
    }
}
