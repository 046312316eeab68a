//! The frequency detector.
