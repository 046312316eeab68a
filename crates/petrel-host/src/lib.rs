//! petrel-host
