//! petrel-detector
