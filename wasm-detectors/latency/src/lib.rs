//! The latency detector.
