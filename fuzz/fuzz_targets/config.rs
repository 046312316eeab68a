//! See `petrel_fuzz`: what must hold, and of what.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| petrel_fuzz::configuration(input));
