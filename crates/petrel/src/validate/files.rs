//! Files and directories: those that must be there are, those that are written can be.

use std::path::Path;

use super::error_at;
use crate::config::{BearerAuth, Config, Diagnostic, Identity, QueueMode, Receiver, Source};

/// A token file larger than this is none.
const TOKEN_BYTES_MAX: u64 = 1 << 20;

pub(super) fn check(config: &Config, errors: &mut Vec<Diagnostic>) {
    if let Some(state) = &config.state {
        check_directory(config, "state.directory", &state.directory, errors);
    }
    for (path, receiver) in [
        ("receivers.otlp.protocols.grpc", &config.receivers.grpc),
        ("receivers.otlp.protocols.http", &config.receivers.http),
    ] {
        if let Some(receiver) = receiver {
            check_receiver(config, path, receiver, errors);
        }
    }
    for (id, exporter) in &config.exporters {
        let path = format!("exporters.{id}");
        let settings = &exporter.settings;
        if let Some(tls) = &settings.tls {
            check_pem(
                config,
                &format!("{path}.tls.ca_file"),
                tls.ca.as_ref(),
                errors,
            );
            check_identity(config, &path, tls.identity.as_ref(), errors);
        }
        check_token(config, &path, settings.auth.as_ref(), errors);
        if let QueueMode::File { directory } = &exporter.queue.mode {
            check_storage(config, &path, directory, errors);
        }
    }
}

fn check_receiver(config: &Config, path: &str, receiver: &Receiver, errors: &mut Vec<Diagnostic>) {
    if let Some(tls) = &receiver.settings.tls {
        check_identity(config, path, Some(&tls.identity), errors);
        let ca = format!("{path}.tls.client_ca_file");
        check_pem(config, &ca, tls.client_ca.as_ref(), errors);
    }
    check_token(config, path, receiver.settings.auth.as_ref(), errors);
}

fn check_identity(
    config: &Config,
    path: &str,
    identity: Option<&Identity>,
    errors: &mut Vec<Diagnostic>,
) {
    if let Some(Identity { cert, key }) = identity {
        check_pem(config, &format!("{path}.tls.cert_file"), Some(cert), errors);
        check_pem(config, &format!("{path}.tls.key_file"), Some(key), errors);
    }
}

/// A file of certificates or keys.
fn check_pem(config: &Config, path: &str, source: Option<&Source>, errors: &mut Vec<Diagnostic>) {
    let Some(Source::File(file)) = source else {
        return;
    };
    let fault = match std::fs::read_to_string(file) {
        Ok(text) if text.contains("-----BEGIN ") => return,
        Ok(_) => "it holds no PEM".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("{path} cannot be used: {fault}");
    errors.push(
        error_at(config, path, "PTL-C026", message)
            .help("a file in PEM that Petrel's user may read: -----BEGIN ...-----"),
    );
}

fn check_token(
    config: &Config,
    path: &str,
    auth: Option<&BearerAuth>,
    errors: &mut Vec<Diagnostic>,
) {
    let Some(auth) = auth else { return };
    for source in &auth.tokens {
        let Source::File(file) = source else { continue };
        let fault = match std::fs::metadata(file) {
            Ok(metadata) if metadata.len() > TOKEN_BYTES_MAX => "it is too large".to_owned(),
            Ok(_) => match std::fs::read_to_string(file) {
                Ok(text) if !text.trim().is_empty() => continue,
                Ok(_) => "it is empty".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        // The extension's own place, as far as it can be told from here.
        let own = |(path, _): &(&String, _)| {
            path.starts_with("extensions.") && path.ends_with(".filename")
        };
        let known: Vec<_> = config.places.iter().filter(own).collect();
        let at = match known.as_slice() {
            [(path, _)] => (*path).clone(),
            _ => format!("{path}.auth.authenticator"),
        };
        let message = format!(
            "{at}: the token file {} cannot be used: {fault}",
            file.display()
        );
        if errors.iter().all(|error| error.message != message) {
            errors.push(
                error_at(config, &at, "PTL-C026", message)
                    .help("a file with the token in it, that Petrel's user may read"),
            );
        }
    }
}

fn check_storage(config: &Config, path: &str, directory: &Path, errors: &mut Vec<Diagnostic>) {
    let own = |(path, _): &(&String, _)| {
        path.starts_with("extensions.file_storage") && path.ends_with(".directory")
    };
    let known: Vec<_> = config.places.iter().filter(own).collect();
    let at = match known.as_slice() {
        [(path, _)] => (*path).clone(),
        _ => format!("{path}.sending_queue.storage"),
    };
    check_directory(config, &at, directory, errors);
}

/// A directory that Petrel makes and writes.
fn check_directory(config: &Config, path: &str, directory: &Path, errors: &mut Vec<Diagnostic>) {
    // The last ancestor of a relative path is empty: that is where Petrel stands.
    let here = |path: &&Path| path.as_os_str().is_empty();
    let nearest = directory
        .ancestors()
        .map(|path| if here(&path) { Path::new(".") } else { path })
        .find(|path| path.exists());
    let fault = match nearest {
        Some(path) if !path.is_dir() => format!("{} is no directory", path.display()),
        Some(path) => match std::fs::metadata(path) {
            Ok(metadata) if metadata.permissions().readonly() => {
                format!("{} cannot be written", path.display())
            }
            Ok(_) => return,
            Err(error) => error.to_string(),
        },
        None => "no part of the path exists".to_owned(),
    };
    let message = format!("{path}: {fault}");
    errors.push(
        error_at(config, path, "PTL-C015", message)
            .help("a directory that Petrel may make and write"),
    );
}
