//! Templates at the crate's edge: `loghub` scores them on labelled lines.

#[path = "templates/loghub.rs"]
mod loghub;
