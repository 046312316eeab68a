//! Detectors: every module loads, every name is known, every detector takes its settings.

use petrel_detector::FaultKind;

use super::{error_at, place};
use crate::config::{Config, DetectorSettings, Diagnostic, Severity};
use crate::directory::{Change, Directory};
use crate::modules::{Catalogue, LoadedModule, Loader};
use crate::telemetry::one_line;

/// Settings of one detector that are reported at a time.
const FAULTS_MAX: usize = 20;

pub(super) fn check(config: &Config, errors: &mut Vec<Diagnostic>) {
    // Compiling what is built in takes a while, and without settings there is nothing to ask it.
    if config.detectors.directory.is_none() && config.detectors.settings.is_empty() {
        return;
    }
    let loaded = Loader::new(&config.detectors)
        .and_then(|loader| Ok((loader.built_in(config.detectors.native)?, loader)));
    let (built_in, loader) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            errors.push(error_at(
                config,
                "detectors",
                "PTL-C016",
                format!("{error:#}"),
            ));
            return;
        }
    };
    let mut catalogue = Catalogue::new(built_in);
    check_directory(config, &loader, &mut catalogue, errors);
    let names = catalogue.names();
    for (name, settings) in &config.detectors.settings {
        match catalogue.current(name) {
            Some(module) => check_settings(config, name, settings, module, errors),
            None => {
                let is_near = |known: &&String| strsim::jaro_winkler(known, name) > 0.85;
                let help = match names.iter().find(is_near) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known here: {}", names.join(", ")),
                };
                errors.push(Diagnostic {
                    code: "PTL-C003",
                    severity: Severity::Error,
                    span: Some(settings.span.clone()),
                    message: format!("no detector is named {name}"),
                    help: Some(help),
                });
            }
        }
    }
}

fn check_directory(
    config: &Config,
    loader: &Loader,
    catalogue: &mut Catalogue,
    errors: &mut Vec<Diagnostic>,
) {
    const PATH: &str = "detectors.directory";
    let Some(directory) = &config.detectors.directory else {
        return;
    };
    for change in Directory::new(directory.clone()).look(true) {
        let (message, help) = match change {
            Change::Put { path, bytes } => match loader.load(&path, &bytes) {
                Ok(module) => {
                    catalogue.put(&path, module);
                    continue;
                }
                Err(error) => (
                    format!("{}: {}", path.display(), one_line(error)),
                    "take the file out, or build it for the contract of this Petrel",
                ),
            },
            Change::Unreadable { path, reason } => (
                format!("{}: {reason}", path.display()),
                "a directory of .wasm files that Petrel's user may read",
            ),
            Change::Gone { .. } => continue,
        };
        let message = format!("{PATH}: {message}");
        errors.push(error_at(config, PATH, "PTL-C016", message).help(help));
    }
}

/// A detector tells one fault at a time: what it does not know is taken out, and it is asked again.
fn check_settings(
    config: &Config,
    name: &str,
    settings: &DetectorSettings,
    module: &LoadedModule,
    errors: &mut Vec<Diagnostic>,
) {
    let mut object: serde_json::Map<_, _> =
        serde_json::from_str(&settings.json).unwrap_or_default();
    for _ in 0..FAULTS_MAX {
        let json = serde_json::Value::Object(object.clone()).to_string();
        let Err(reason) = try_settings(module, &json) else {
            return;
        };
        // Where it is in JSON that nobody wrote.
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        let culprit = object
            .keys()
            .find(|key| reason.contains(&format!("`{key}`")))
            .cloned();
        let path = culprit
            .as_ref()
            .map(|key| format!("detectors.{name}.{key}"));
        let span = path.as_deref().and_then(|path| place(config, path));
        errors.push(Diagnostic {
            code: "PTL-C017",
            severity: Severity::Error,
            span: Some(span.unwrap_or(settings.span.clone())),
            message: format!("detectors.{name}: {reason}"),
            help: Some("correct it, or take it out for the default".to_owned()),
        });
        if culprit.and_then(|key| object.remove(&key)).is_none() {
            return;
        }
    }
}

/// Configures an instance that is dropped again.
fn try_settings(module: &LoadedModule, settings: &str) -> Result<(), String> {
    let configured = module
        .module
        .instantiate()
        .and_then(|mut detector| detector.configure(settings));
    match configured {
        Ok(_) => Ok(()),
        Err(fault) if fault.kind == FaultKind::Settings => Err(fault.message),
        Err(fault) => Err(one_line(fault)),
    }
}
