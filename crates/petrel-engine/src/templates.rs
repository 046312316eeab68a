//! Templates: which bodies are the same but for their variable parts. One [`StreamMiner`] a stream.
//!
//! `scan` types the tokens of a line, `body` says what is read of it, `miner` finds or makes the
//! template, `siblings` says when templates become one. No tree and no search by likeness: a line's
//! key is a hash of its constant words, and what is learnt depends on the set of templates seen.

use std::time::Duration;

mod aliases;
mod body;
mod bytes;
mod index;
mod json;
mod mine;
mod miner;
mod numbers;
mod repeats;
mod scan;
mod siblings;
mod state;
mod template;
mod token;
mod words;

pub use miner::StreamMiner;
pub use numbers::numbers;
pub use template::{CONTINUED, EMPTY, OTHER, Origin, Template, TemplateId};

/// Bounds of one stream's miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateLimits {
    /// Live templates; default 2,000. When full, the sixteenth that is longest unseen goes, those
    /// seen at most three times first.
    pub templates_max: usize,
    /// Templates that may be created at once; default 1,000. Beyond, bodies get `<other>`.
    pub creations_at_once: u64,
    /// Records that earn one more creation; default 100.
    pub records_per_creation: u64,
    /// Keys remembered; default 8,192. When full, all but the templates' own are forgotten.
    pub known_keys_max: usize,
    /// Aliases kept; default 8,192. When full, those too old go, else the oldest.
    pub aliases_max: usize,
    /// Age of an alias in event time; default 30 days.
    pub alias_age_max: Duration,
}

impl Default for TemplateLimits {
    fn default() -> Self {
        TemplateLimits {
            templates_max: 2_000,
            creations_at_once: 1_000,
            records_per_creation: 100,
            known_keys_max: 8_192,
            aliases_max: 8_192,
            alias_age_max: Duration::from_hours(30 * 24),
        }
    }
}

/// The template of one record: its id, and where the miner keeps it. The id lasts; the place holds
/// until the template merges or is evicted, and is none once it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRef {
    /// Id of the template.
    pub id: TemplateId,
    slot: u32,
}

/// What happened to the templates of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A body showed a template never seen, or seen so long ago that it was evicted.
    Created(TemplateId),
    /// `source` turned out to be `target`, which is more general and may have no `Created` of its own.
    Merged {
        /// The template that is gone; its id is an alias now.
        source: TemplateId,
        /// The template that its records belong to from here on.
        target: TemplateId,
    },
    /// The template made room for others.
    Evicted(TemplateId),
}

/// How a stream's templates are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateHealth {
    /// Live templates, those of origin [`Origin::Fixed`] included.
    pub n_templates: usize,
    /// Keys remembered.
    pub n_keys: usize,
    /// Ids of merged templates that still resolve.
    pub n_aliases: usize,
    /// Records seen.
    pub n_records: u64,
    /// Templates ever created, those that merging made not counted.
    pub n_created: u64,
    /// Records answered `<other>` for the bound on creation.
    pub n_refused: u64,
    /// That happened within the last 10,000 records: novelty means nothing now.
    pub degraded: bool,
}

/// Why saved templates were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateStateError {
    /// The bytes were written by something else.
    #[error("these bytes hold no templates")]
    Foreign,
    /// The bytes were written by another version.
    #[error("templates of format {found}, this is format {known}")]
    Version {
        /// Version that wrote the bytes.
        found: u16,
        /// Version that reads.
        known: u16,
    },
    /// The bytes were cut or changed.
    #[error("damaged templates: {0}")]
    Damaged(&'static str),
}
