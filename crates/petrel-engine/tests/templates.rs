//! Templates at the crate's edge: lines in, template texts out.
//!
//! `lines` holds a table for each rule of the scanner, `merges` what siblings and free text make of
//! many lines, `bounds` what hostile input cannot do, `saved` state, `numbers` the values of variable
//! parts, `loghub` the score on labelled lines.

use petrel_batch::EventTime;
use petrel_engine::templates::{Change, StreamMiner, TemplateLimits};

#[path = "templates/bounds.rs"]
mod bounds;
#[path = "templates/lines.rs"]
mod lines;
#[path = "templates/loghub.rs"]
mod loghub;
#[path = "templates/merges.rs"]
mod merges;
#[path = "templates/numbers.rs"]
mod numbers;
#[path = "templates/saved.rs"]
mod saved;

fn miner() -> StreamMiner {
    StreamMiner::new(TemplateLimits::default())
}

/// Feeds bodies a second apart; returns what changed.
fn feed<'a>(miner: &mut StreamMiner, bodies: impl IntoIterator<Item = &'a str>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (second, body) in bodies.into_iter().enumerate() {
        miner.assign(body, EventTime::from_seconds(second as u64), &mut changes);
    }
    changes
}

/// The text of the template that one body gets.
fn text_of(miner: &mut StreamMiner, body: &str) -> String {
    let template = miner.assign(body, EventTime::UNKNOWN, &mut Vec::new());
    miner
        .template(template)
        .expect("just assigned")
        .text
        .to_string()
}

/// Texts of all templates, sorted.
fn texts(miner: &StreamMiner) -> Vec<String> {
    let mut texts: Vec<_> = miner
        .templates()
        .map(|template| template.text.to_string())
        .collect();
    texts.sort();
    texts
}
