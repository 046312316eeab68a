//! Builds the real Collector from `builder.yaml`, once per manifest, under the target directory.
//!
//! Needs Go and its module proxy. Go's own caches are kept beside the binary, so nothing is left elsewhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const MANIFEST: &str = include_str!("builder.yaml");
const BINARY: &str = "otelcol-petrel";

/// The Collector's binary, built now if this manifest was not built before; `None` on a machine without Go.
///
/// `PETREL_TEST_COLLECTOR` names a binary that was built from the same manifest elsewhere. Processes that
/// ask at the same time wait for the first one.
///
/// # Errors
/// When a step of the build fails; the message ends with the last lines of its log.
pub(crate) fn binary() -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os("PETREL_TEST_COLLECTOR") {
        return Ok(Some(path.into()));
    }
    let directory = directory()?;
    fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;

    let binary = directory.join(BINARY);
    let stamp = directory.join("built-from.yaml");
    if binary.exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == MANIFEST) {
        return Ok(Some(binary));
    }
    if !go_is_installed() {
        return Ok(None);
    }
    announce(&format!(
        "building the Collector from tests/collector/builder.yaml, about 4 minutes the first time (log: {})",
        directory.join("build.log").display()
    ));
    Build {
        directory: &directory,
    }
    .run()?;
    fs::rename(directory.join("_build").join(BINARY), &binary)?;
    fs::write(stamp, MANIFEST)?;
    Ok(Some(binary))
}

/// Writes a line for a person, past the test runner's capture.
pub(crate) fn announce(line: &str) {
    // Nothing is lost when standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// `collector/` in the target directory in use, whatever `CARGO_TARGET_DIR` says.
fn directory() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    Ok(target
        .context("CARGO_TARGET_TMPDIR has no parent")?
        .join("collector"))
}

fn go_is_installed() -> bool {
    Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// One run of the OpenTelemetry Collector builder.
struct Build<'a> {
    directory: &'a Path,
}

impl Build<'_> {
    fn run(&self) -> Result<()> {
        let version = manifest_version()?;
        fs::write(self.directory.join("builder.yaml"), MANIFEST)?;
        File::create(self.log())?;

        // The builder's own version decides the version of the core service.
        self.step(
            "go",
            &[
                "install",
                &format!("go.opentelemetry.io/collector/cmd/builder@v{version}"),
            ],
            ".",
        )?;
        let builder = self.directory.join("bin/builder");
        let builder = builder
            .to_str()
            .context("the target directory's name is not UTF-8")?;
        // Its `go mod tidy` fails where the proxy lacks a module that only a component's tests import.
        // The next step is the same command going on without such a module, and is the one that counts.
        if self
            .step(
                builder,
                &["--config", "builder.yaml", "--skip-compilation"],
                ".",
            )
            .is_err()
        {
            self.step("go", &["mod", "tidy", "-e"], "_build")?;
        }
        self.step(
            builder,
            &[
                "--config",
                "builder.yaml",
                "--skip-generate",
                "--skip-get-modules",
            ],
            ".",
        )
    }

    fn step(&self, program: &str, arguments: &[&str], directory: &str) -> Result<()> {
        let output = || File::options().append(true).open(self.log());
        let mut flags = std::env::var("GOFLAGS").unwrap_or_default();
        // Without -modcacherw `cargo clean` could not remove the module cache.
        flags.push_str(" -modcacherw -buildvcs=false");
        let status = Command::new(program)
            .args(arguments)
            .current_dir(self.directory.join(directory))
            .env("GOPATH", self.directory.join("go"))
            .env("GOMODCACHE", self.directory.join("go/pkg/mod"))
            .env("GOCACHE", self.directory.join("go-build"))
            .env("GOBIN", self.directory.join("bin"))
            .env("GOFLAGS", flags.trim())
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .status()
            .with_context(|| format!("cannot run {program}"))?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.log())?;
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        bail!(
            "{program} {} failed ({status}):\n{tail}",
            arguments.join(" ")
        )
    }

    fn log(&self) -> PathBuf {
        self.directory.join("build.log")
    }
}

/// `dist.version`, which is also the version of every component.
fn manifest_version() -> Result<&'static str> {
    let version = MANIFEST
        .lines()
        .find_map(|line| line.strip_prefix("  version: "));
    version.context("tests/collector/builder.yaml has no dist.version")
}
