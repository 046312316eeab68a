//! The novelty detector.
