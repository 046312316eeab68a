//! From the bytes of a file to a module that can be trusted to keep to its sandbox: what it imports,
//! which contract it was built for, what it says of itself.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use petrel_detector::{Detector, Fault};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};
use wit_component::ComponentEncoder;

use crate::bindings::{PetrelDetector, PetrelDetectorPre};
use crate::instance::Instance;
use crate::limits::MODULE_BYTES_MAX;
use crate::module::Compiled;
use crate::store::GuestState;
use crate::{GuestLog, Limits, Meter, WasmModule};

/// Version of the contract that this host keeps; guests of the same `0.x` run.
pub const CONTRACT_VERSION: &str = "0.1.0";

const HOST_INTERFACE: &str = "petrel:detector/host";
const DETECTOR_INTERFACE: &str = "petrel:detector/detector";

/// Why bytes are not a detector that can be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is larger than any runtime needs.
    #[error("{bytes} bytes, at most {MODULE_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not WASM at all, or not all of it.
    #[error("not a WASM module: {0}")]
    NotWasm(String),
    /// It wants more than the contract offers.
    #[error(
        "imports {first}{others}, which no detector gets: only {HOST_INTERFACE}@{CONTRACT_VERSION} is offered; \
         in Rust build with `cargo build --release --target wasm32-unknown-unknown`, in C with \
         `zig cc --target=wasm32-wasi -mexec-model=reactor` and nothing of libc that touches the system",
        others = others(*n_others)
    )]
    ForeignImport {
        /// The first name that is not the contract's.
        first: String,
        /// How many more there are.
        n_others: usize,
    },
    /// Built for a contract that this host does not keep.
    #[error("built for {interface}@{found}, this host keeps {CONTRACT_VERSION}")]
    Version {
        /// The interface.
        interface: &'static str,
        /// The version that the module names.
        found: String,
    },
    /// WASM, but not a detector.
    #[error("exports no {DETECTOR_INTERFACE}@{CONTRACT_VERSION}: {0}")]
    NoContract(String),
    /// It could not be compiled or linked.
    #[error("does not compile: {0}")]
    Compile(String),
    /// It failed when asked what it is.
    #[error("fails when asked for its descriptor: {0}")]
    Describe(#[from] Fault),
}

fn others(n_others: usize) -> String {
    match n_others {
        0 => String::new(),
        n => format!(" and {n} more"),
    }
}

/// The steps of [`Sandbox::load`](crate::Sandbox::load).
pub(crate) fn load(
    engine: &Engine,
    meter: Meter,
    limits: Limits,
    log: Arc<dyn GuestLog>,
    bytes: &[u8],
) -> Result<WasmModule, LoadError> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    let component = compile(engine, bytes)?;
    check_imports(
        component
            .component_type()
            .imports(engine)
            .map(|(name, _)| name),
    )?;
    check_exports(
        component
            .component_type()
            .exports(engine)
            .map(|(name, _)| name),
    )?;
    let pre = link(engine, &component)?;

    let digest = digest(bytes);
    let nameless: Arc<str> = digest.as_str().into();
    let descriptor = Instance::new(&pre, meter, limits, Arc::clone(&log), nameless)?.describe()?;
    Ok(WasmModule::new(Compiled {
        pre,
        meter,
        limits,
        log,
        name: descriptor.name.as_str().into(),
        digest,
        descriptor,
    }))
}

/// `sha256:` and the hex digest of the bytes as they were read.
fn digest(bytes: &[u8]) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").expect("a String takes all that is written");
    }
    digest
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    match encoding(bytes)? {
        Encoding::Component => Component::new(engine, bytes),
        Encoding::Module => Component::new(engine, wrap(bytes)?),
    }
    .map_err(|error| LoadError::Compile(format!("{error:#}")))
}

fn encoding(bytes: &[u8]) -> Result<Encoding, LoadError> {
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version { encoding, .. })) => Ok(encoding),
        Some(Err(error)) => Err(LoadError::NotWasm(error.to_string())),
        Some(Ok(_)) | None => Err(LoadError::NotWasm("no header".into())),
    }
}

/// Makes a component of a core module, which carries the contract in a section of its own.
fn wrap(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let not_wasm = |error: wasmparser::BinaryReaderError| LoadError::NotWasm(error.to_string());
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ImportSection(section) = payload.map_err(not_wasm)? {
            for import in section.into_imports() {
                imports.push(import.map_err(not_wasm)?.module);
            }
        }
    }
    check_imports(imports)?;
    ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| LoadError::NoContract(format!("{error:#}")))
}

/// Only `petrel:detector/host` of this version may be wanted.
fn check_imports<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), LoadError> {
    let mut first = None;
    // A core module names its import once for each function.
    let mut foreign = HashSet::new();
    for name in names {
        if let Some(version) = version_of(name, HOST_INTERFACE) {
            check_version(HOST_INTERFACE, version)?;
        } else {
            first.get_or_insert(name);
            foreign.insert(name);
        }
    }
    first.map_or(Ok(()), |first| {
        Err(LoadError::ForeignImport {
            first: first.to_owned(),
            n_others: foreign.len() - 1,
        })
    })
}

fn check_exports<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), LoadError> {
    let names: Vec<_> = names.into_iter().collect();
    let version = names
        .iter()
        .find_map(|name| version_of(name, DETECTOR_INTERFACE));
    match version {
        Some(version) => check_version(DETECTOR_INTERFACE, version),
        None if names.is_empty() => Err(LoadError::NoContract("it exports nothing".into())),
        None => Err(LoadError::NoContract(format!(
            "it exports {}",
            names.join(", ")
        ))),
    }
}

/// What stands behind the `@` where `name` is a version of `interface`.
fn version_of<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    name.strip_prefix(interface)?.strip_prefix('@')
}

/// Below 1.0 the second number is the one that breaks.
fn check_version(interface: &'static str, found: &str) -> Result<(), LoadError> {
    let kept = semver::Version::parse(CONTRACT_VERSION).expect("a constant that is tested");
    let runs = semver::Version::parse(found)
        .is_ok_and(|version| (version.major, version.minor) == (kept.major, kept.minor));
    if runs {
        return Ok(());
    }
    Err(LoadError::Version {
        interface,
        found: found.to_owned(),
    })
}

fn link(
    engine: &Engine,
    component: &Component,
) -> Result<PetrelDetectorPre<GuestState>, LoadError> {
    let mut linker = Linker::new(engine);
    PetrelDetector::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest_state| guest_state)
        .and_then(|()| linker.instantiate_pre(component))
        .and_then(PetrelDetectorPre::new)
        .map_err(|error| LoadError::NoContract(format!("{error:#}")))
}
