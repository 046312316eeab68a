//! Files that are no detector, or not one for this host: refused with words that help.

use petrel_detector::{Module, StreamId};
use petrel_host::{LoadError, WasmModule};

use crate::build::CONTRACT;
use crate::guests::{load, patient, sandbox, wasm};
use crate::text_guest::TextGuest;

fn refused(bytes: &[u8]) -> LoadError {
    match sandbox().load(bytes, patient()) {
        Ok(module) => panic!("loaded as {module:?}"),
        Err(error) => error,
    }
}

fn check(bytes: &[u8], message: &str) {
    let error = refused(bytes).to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn no_wasm() {
    check(b"", "not a WASM module");
    check(b"\x7fELF\x02\x01\x01\0", "not a WASM module");
    check(b"(module)", "not a WASM module");
    check(&[b'x'; 100], "not a WASM module");
    check(&vec![0; (64 << 20) + 1], "at most 67108864 are read");
}

#[test]
fn wasm_that_is_no_detector() {
    check(
        &wat::parse_str("(module)").unwrap(),
        "exports no petrel:detector/detector@0.1.0",
    );
    check(
        &wat::parse_str("(component)").unwrap(),
        "it exports nothing",
    );
}

#[test]
fn foreign_imports_are_named_and_counted() {
    let guest = TextGuest {
        besides: r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (import "env" "emscripten_notify" (func))"#
            .into(),
        ..TextGuest::default()
    };
    let error = refused(&guest.wasm()).to_string();
    assert!(
        error.starts_with("imports wasi_snapshot_preview1 and 1 more,"),
        "{error}"
    );
    assert!(error.contains("--target wasm32-unknown-unknown"), "{error}");

    let component = r#"(component
        (import "wasi:cli/environment@0.2.6" (instance))
        (import "wasi:io/error@0.2.6" (instance))
        (import "wasi:io/streams@0.2.6" (instance)))"#;
    check(
        &wat::parse_str(component).unwrap(),
        "imports wasi:cli/environment@0.2.6 and 2 more,",
    );
}

/// A guest built for another version of the contract.
fn built_for(version: &str) -> Vec<u8> {
    TextGuest {
        contract: CONTRACT.replace(
            "petrel:detector@0.1.0",
            &format!("petrel:detector@{version}"),
        ),
        besides: format!(
            r#"(import "petrel:detector/host@{version}" "log" (func (param i32 i32)))"#
        ),
        ..TextGuest::default()
    }
    .wasm()
}

#[test]
fn other_versions_of_the_contract() {
    let runs = sandbox().load(&built_for("0.1.7"), patient()).unwrap();
    assert_eq!(runs.descriptor().name, "text");
    for version in ["0.2.0", "1.1.0"] {
        check(
            &built_for(version),
            &format!("petrel:detector/host@{version}, this host keeps 0.1.0"),
        );
    }
    let pure = TextGuest {
        contract: CONTRACT.replace("petrel:detector@0.1.0", "petrel:detector@0.2.0"),
        ..TextGuest::default()
    };
    check(
        &pure.wasm(),
        "petrel:detector/detector@0.2.0, this host keeps 0.1.0",
    );
}

#[test]
fn cut_short() {
    let whole = wasm("honest");
    for part in 1..40 {
        refused(&whole[..whole.len() * part / 40]);
    }
    let text = TextGuest::default().wasm();
    for length in 0..text.len() {
        refused(&text[..length]);
    }
}

/// A flipped bit may make another detector, but never one that can do harm.
#[test]
fn bits_flipped() {
    let whole = TextGuest::default().wasm();
    let mut n_refused = 0;
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 1 << (index % 8);
        match sandbox().load(&flipped, patient()) {
            Ok(module) => call_all(&module),
            Err(_) => n_refused += 1,
        }
    }
    assert!(
        n_refused > whole.len() / 2,
        "{n_refused} of {}",
        whole.len()
    );
    call_all(&load("honest"));
}

/// Any answer will do, as long as there is one.
fn call_all(module: &WasmModule) {
    let Ok(mut detector) = module.instantiate() else {
        return;
    };
    let _ = detector.configure("");
    let _ = detector.advance(&[]);
    let _ = detector.save(StreamId(0));
    let _ = detector.load(StreamId(0), 1, b"state");
    let _ = detector.status(StreamId(0));
}
