//! How much the engine adds to miner and detectors.
fn main() {}
