//! petrel-batch
