//! petrel-engine
pub mod templates;
