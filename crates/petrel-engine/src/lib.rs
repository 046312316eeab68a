//! petrel-engine
