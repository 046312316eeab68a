//! What any call can do to its host: take time, stack, memory, its log.

use std::hint::black_box;

const MIB: usize = 1 << 20;

/// Does what is named; nothing for a name that is no deed.
pub(crate) fn run(deed: &str) {
    match deed {
        "spin" => spin(),
        "recurse" => drop(black_box(recurse(black_box(0)))),
        "panic" => panic!("the cat sat on the keyboard"),
        "trap" => trap(),
        "bomb" => bomb(),
        "bomb-ignored" => bomb_ignored(),
        "log-flood" => log_for_ever(),
        "log-lines" => (0..100).for_each(|line| log(&format!("line {line}\n\u{1b}[31m"))),
        "log-huge" => log(&"x".repeat(40 * MIB)),
        _ => (),
    }
}

fn spin() {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

#[expect(unconditional_recursion, reason = "the deed")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

/// An abort without a panic's words.
fn trap() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

/// Memory until there is no more, at which Rust aborts.
fn bomb() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; MIB]));
    }
}

/// Memory until there is no more, which is then no reason to stop.
fn bomb_ignored() {
    #[cfg(target_arch = "wasm32")]
    while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
}

fn log_for_ever() {
    let line = "x".repeat(MIB);
    loop {
        log(&line);
    }
}

fn log(line: &str) {
    #[cfg(target_arch = "wasm32")]
    petrel_detector::guest::bindings::petrel::detector::host::log(line);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = black_box(line);
}
