//! `petrel validate`: everything that can be checked of a configuration, without running it.

use std::io::IsTerminal;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use petrel_detector::FaultKind;

use crate::cli::{EXIT_INVALID_CONFIG, ValidateArgs};
use crate::config::{Config, Diagnostic, Protocol, render};
use crate::directory::{Change, Directory};
use crate::modules::{Catalogue, LoadedModule, Loader};
use crate::next_hop::NextHop;
use crate::telemetry::one_line;

/// Checks a file and everything that it names; prints all errors.
///
/// # Errors
/// When the file cannot be read.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let file = args.config.display().to_string();
    let source = read(&args.config)?;
    let checked = Config::parse(&source, &|name| std::env::var(name).ok())
        .and_then(|config| check(&config).map(|()| config));
    match checked {
        Ok(config) => {
            println!("{file}: valid");
            if config.exporter.is_none() {
                println!(
                    "note: no exporter is named, so records end here and anomalies are printed"
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(diagnostics) => {
            eprint!("{}", render(&diagnostics, &file, &source, use_color()));
            Ok(ExitCode::from(EXIT_INVALID_CONFIG))
        }
    }
}

/// Reads and parses the configuration of a run; errors are printed as `validate` prints them.
///
/// # Errors
/// When the file cannot be read; `Ok(Err(exit code))` when it is not valid.
pub(crate) fn load(path: &Path) -> anyhow::Result<Result<Config, ExitCode>> {
    let source = read(path)?;
    Ok(
        Config::parse(&source, &|name| std::env::var(name).ok()).map_err(|diagnostics| {
            eprint!(
                "{}",
                render(
                    &diagnostics,
                    &path.display().to_string(),
                    &source,
                    use_color()
                )
            );
            ExitCode::from(EXIT_INVALID_CONFIG)
        }),
    )
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn use_color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// What only this machine can tell: modules, directories, addresses.
fn check(config: &Config) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    check_addresses(config, &mut errors);
    check_exporter(config, &mut errors);
    check_state(config, &mut errors);
    check_detectors(config, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    errors.sort_by_key(|error| error.span.start);
    Err(errors)
}

fn place(config: &Config, path: &str) -> std::ops::Range<usize> {
    config.places.get(path).cloned().unwrap_or(0..0)
}

fn check_addresses(config: &Config, errors: &mut Vec<Diagnostic>) {
    let explicit = |endpoint: &Option<crate::config::Endpoint>| {
        endpoint
            .as_ref()
            .filter(|endpoint| endpoint.explicit)
            .map(|endpoint| endpoint.address.clone())
    };
    let addresses = [
        (
            "receivers.otlp.protocols.grpc.endpoint",
            config.receivers.grpc.clone(),
        ),
        (
            "receivers.otlp.protocols.http.endpoint",
            config.receivers.http.clone(),
        ),
        (
            "telemetry.metrics.endpoint",
            explicit(&config.telemetry.metrics),
        ),
        (
            "telemetry.health.endpoint",
            explicit(&config.telemetry.health),
        ),
    ];
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (path, address) in addresses {
        let Some(address) = address else { continue };
        let fixed = !address.ends_with(":0");
        if let Some((_, other)) = seen.iter().find(|(known, _)| fixed && *known == address) {
            let message = format!("{path} and {other} are both {address}");
            errors.push(
                Diagnostic::new("PTL-C013", place(config, path), message).help("choose two ports"),
            );
            continue;
        }
        if let Err(error) = address.to_socket_addrs() {
            let message = format!("{path}: {address} does not resolve: {error}");
            errors.push(Diagnostic::new("PTL-C014", place(config, path), message));
        } else if let Err(error) = TcpListener::bind(&address)
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            // A port in use is no error of the file: Petrel itself may be running on it.
            let message = format!("{path}: may not listen on {address}: {error}");
            errors.push(Diagnostic::new("PTL-C014", place(config, path), message));
        }
        seen.push((address, path));
    }
}

/// The exporter must be one that can be built, and lead away from here.
fn check_exporter(config: &Config, errors: &mut Vec<Diagnostic>) {
    let Some(exporter) = &config.exporter else {
        return;
    };
    let names = match exporter.protocol {
        Protocol::Grpc => ["exporters.otlp_grpc.endpoint", "exporters.otlp.endpoint"],
        Protocol::Http => [
            "exporters.otlp_http.endpoint",
            "exporters.otlphttp.endpoint",
        ],
    };
    let is_written = |path: &&str| config.places.contains_key(*path);
    let path = names.into_iter().find(is_written).unwrap_or(names[0]);
    // A client wants a runtime around it, though nothing is sent.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let built = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let _inside = runtime.enter();
        NextHop::new(Some(exporter)).map(drop)
    });
    if let Err(error) = built {
        let message = format!("{path}: {error:#}");
        errors.push(
            Diagnostic::new("PTL-C017", place(config, path), message)
                .help("host:port of a Collector or backend"),
        );
    }
    let own = [&config.receivers.grpc, &config.receivers.http];
    let target = exporter.endpoint.split_once("://").map(|(_, rest)| rest);
    let target = target.and_then(|rest| rest.split('/').next());
    if let Some(address) = own
        .into_iter()
        .flatten()
        .find(|own| Some(own.as_str()) == target)
    {
        let message = format!(
            "{path} is {address}, where Petrel itself listens: records would go in circles"
        );
        errors.push(
            Diagnostic::new("PTL-C018", place(config, path), message)
                .help("the address of the next Collector or backend"),
        );
    }
}

fn check_state(config: &Config, errors: &mut Vec<Diagnostic>) {
    let Some(state) = &config.state else { return };
    let directory = &state.directory;
    // The last ancestor of a relative path is empty: that is where Petrel stands.
    let here = |path: &&Path| path.as_os_str().is_empty();
    let nearest = directory
        .ancestors()
        .map(|path| if here(&path) { Path::new(".") } else { path })
        .find(|path| path.exists());
    let fault = match nearest {
        Some(path) if !path.is_dir() => Some(format!("{} is no directory", path.display())),
        Some(path) => match std::fs::metadata(path) {
            Ok(metadata) if metadata.permissions().readonly() => {
                Some(format!("{} cannot be written", path.display()))
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        },
        None => Some("no part of the path exists".to_owned()),
    };
    if let Some(fault) = fault {
        let message = format!("state.directory: {fault}");
        errors.push(
            Diagnostic::new("PTL-C015", place(config, "state.directory"), message)
                .help("a directory that Petrel may make and write"),
        );
    }
}

fn check_detectors(config: &Config, errors: &mut Vec<Diagnostic>) {
    let loaded = Loader::new(&config.detectors)
        .and_then(|loader| Ok((loader.built_in(config.detectors.native)?, loader)));
    let (built_in, loader) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            errors.push(Diagnostic::new("PTL-C016", 0..0, format!("{error:#}")));
            return;
        }
    };
    let mut catalogue = Catalogue::new(built_in);
    if let Some(path) = &config.detectors.directory {
        for change in Directory::new(path.clone()).look(true) {
            let message = match change {
                Change::Put { path, bytes } => match loader.load(&path, &bytes) {
                    Ok(module) => {
                        catalogue.put(&path, module);
                        continue;
                    }
                    Err(error) => format!("{}: {}", path.display(), one_line(error)),
                },
                Change::Unreadable { path, reason } => format!("{}: {reason}", path.display()),
                Change::Gone { .. } => continue,
            };
            let message = format!("detectors.directory: {message}");
            errors.push(Diagnostic::new(
                "PTL-C016",
                place(config, "detectors.directory"),
                message,
            ));
        }
    }
    let names = catalogue.names();
    for (name, settings) in &config.detectors.settings {
        let Some(module) = catalogue.current(name) else {
            errors.push(
                Diagnostic::new(
                    "PTL-C003",
                    settings.span.clone(),
                    format!("no detector is named {name}"),
                )
                .help(format!("known here: {}", names.join(", "))),
            );
            continue;
        };
        if let Err(message) = try_settings(module, &settings.json) {
            let message = format!("detectors.{name}: {message}");
            errors.push(Diagnostic::new("PTL-C017", settings.span.clone(), message));
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
