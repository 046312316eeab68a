//! Modules to drop into a running Petrel: guests built from source, under whatever name and version.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

#[path = "../crates/petrel-host/tests/sandbox/build.rs"]
pub(crate) mod build;

/// What marks the place of name and version in `guest-counter`, and how long that place is.
const MARK: &[u8] = b"identity of the test's detector: ";
const PLACE: usize = 64;

/// A module's bytes.
#[derive(Clone)]
pub(crate) struct Module(pub(crate) Vec<u8>);

impl Module {
    /// The detector of `crates/petrel-host/tests/guests/evil`: its settings say what it does.
    pub(crate) fn evil() -> Self {
        Self(read("evil"))
    }

    /// The detector of `guests/counter` under a name and a version.
    pub(crate) fn counter(name: &str, version: &str) -> Self {
        let mut bytes = read("counter");
        let places: Vec<usize> = bytes
            .windows(MARK.len())
            .enumerate()
            .filter_map(|(at, window)| (window == MARK).then_some(at))
            .collect();
        let [at] = places[..] else {
            panic!("{} places for name and version", places.len());
        };
        let words = format!("{name} {version}");
        let place = &mut bytes[at + MARK.len()..at + PLACE];
        place.fill(b' ');
        place[..words.len()].copy_from_slice(words.as_bytes());
        Self(bytes)
    }

    /// As Petrel calls it: `sha256:` and hex.
    pub(crate) fn digest(&self) -> String {
        let digest = Sha256::digest(&self.0);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Puts it into place whole: written beside it, then renamed.
    pub(crate) fn rename_to(&self, path: &Path) {
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, &self.0).expect("the scratch directory is writable");
        std::fs::rename(&beside, path).expect("the scratch directory is writable");
    }
}

fn read(name: &str) -> Vec<u8> {
    static BUILT: LazyLock<PathBuf> =
        LazyLock::new(|| build::rust(&["guest-evil", "guest-counter"]));
    let path = BUILT.join(format!("guest_{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
