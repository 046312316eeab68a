//! Addresses: each listener has one of its own that may be had, and nothing leads back to here.

use std::net::{TcpListener, ToSocketAddrs};

use petrel_otlp::Signal;

use super::{error_at, place};
use crate::config::{Config, Diagnostic, Endpoint, Exporter};

/// What listeners there are, and where.
struct Listener {
    path: &'static str,
    address: String,
    is_receiver: bool,
}

pub(super) fn check(config: &Config, errors: &mut Vec<Diagnostic>) {
    let listeners = listeners(config);
    for (index, listener) in listeners.iter().enumerate() {
        let before = listeners.iter().take(index);
        check_listener(config, listener, before, errors);
    }
    for (id, exporter) in &config.exporters {
        for signal in Signal::ALL {
            if config.pipelines.of(signal) == Some(id) {
                check_circle(config, id, exporter, signal, &listeners, errors);
            }
        }
    }
}

fn listeners(config: &Config) -> Vec<Listener> {
    let receivers = [
        (
            "receivers.otlp.protocols.grpc.endpoint",
            &config.receivers.grpc,
        ),
        (
            "receivers.otlp.protocols.http.endpoint",
            &config.receivers.http,
        ),
    ];
    let receivers = receivers.into_iter().filter_map(|(path, receiver)| {
        Some(Listener {
            path,
            address: receiver.as_ref()?.endpoint.clone(),
            is_receiver: true,
        })
    });
    // A default one that is taken is a warning of the run.
    let explicit = |endpoint: &Option<Endpoint>| {
        let endpoint = endpoint.as_ref().filter(|endpoint| endpoint.explicit);
        endpoint.map(|endpoint| endpoint.address.clone())
    };
    let own = [
        (
            "telemetry.metrics.endpoint",
            explicit(&config.telemetry.metrics),
        ),
        (
            "telemetry.health.endpoint",
            explicit(&config.telemetry.health),
        ),
    ];
    let own = own.into_iter().filter_map(|(path, address)| {
        Some(Listener {
            path,
            address: address?,
            is_receiver: false,
        })
    });
    receivers.chain(own).collect()
}

fn check_listener<'a>(
    config: &Config,
    listener: &Listener,
    mut before: impl Iterator<Item = &'a Listener>,
    errors: &mut Vec<Diagnostic>,
) {
    let Listener { path, address, .. } = listener;
    let is_fixed = !address.ends_with(":0");
    if let Some(other) = before.find(|other| is_fixed && is_same(&other.address, address)) {
        let message = format!("{path} and {} listen on the same address", other.path);
        // One of the two may be a default, which has no place.
        let at = place(config, path).map_or(other.path, |_| path);
        errors.push(error_at(config, at, "PTL-C013", message).help("choose two ports"));
        return;
    }
    if address.starts_with("unix:") {
        return;
    }
    if let Err(error) = address.to_socket_addrs() {
        // The system's words may be of many lines and depend on it.
        tracing::debug!(%error, address, "does not resolve");
        let message = format!("{path} does not resolve to an address");
        errors.push(
            error_at(config, path, "PTL-C014", message)
                .help("a name or address of this machine, as localhost:4317 or 0.0.0.0:4317"),
        );
    } else if let Err(error) = TcpListener::bind(address) {
        // A port in use is no error of the file: Petrel itself may be running on it.
        let help = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "a port above 1023, or the right to bind it",
            std::io::ErrorKind::AddrNotAvailable => {
                "an address of this machine; 0.0.0.0 is all of them"
            }
            _ => return,
        };
        let message = format!("{path} cannot be listened on: {error}");
        errors.push(error_at(config, path, "PTL-C014", message).help(help));
    }
}

/// Whether two addresses take each other's port.
fn is_same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (Some((host_a, port_a)), Some((host_b, port_b))) = (a.rsplit_once(':'), b.rsplit_once(':'))
    else {
        return false;
    };
    let is_any = |host: &str| ["0.0.0.0", "[::]"].contains(&host);
    let is_local = |host: &str| ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let overlap = is_any(host_a) || is_any(host_b) || (is_local(host_a) && is_local(host_b));
    port_a == port_b && overlap
}

fn check_circle(
    config: &Config,
    id: &str,
    exporter: &Exporter,
    signal: Signal,
    listeners: &[Listener],
    errors: &mut Vec<Diagnostic>,
) {
    let endpoint = exporter.settings.endpoints.of(signal);
    let target = match endpoint.split_once("://") {
        Some(("unix", _)) => endpoint,
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => endpoint,
    };
    let leads_here = |listener: &&Listener| {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        // Another machine may have our port; this machine's loopback may not.
        let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        listener.is_receiver
            && (listener.address == target || (is_here && is_same(&listener.address, target)))
    };
    if let Some(listener) = listeners.iter().find(leads_here) {
        let own = format!("exporters.{id}.{}_endpoint", signal.name());
        let common = format!("exporters.{id}.endpoint");
        let path = if place(config, &own).is_some() {
            own
        } else {
            common
        };
        let message = format!(
            "{path} is where Petrel itself listens ({}): records would go in circles",
            listener.path
        );
        let told = errors.iter().any(|error| error.message == message);
        if !told {
            errors.push(
                error_at(config, &path, "PTL-C018", message)
                    .help("the address of the next Collector or backend"),
            );
        }
    }
}
