//! The silence detector.
