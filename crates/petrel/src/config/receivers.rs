//! `receivers`: where OTLP comes in.

use std::time::Duration;

use super::address::listen_address;
use super::extensions::Extensions;
use super::limits::{DAY, MIB};
use super::model::{Limits, Receiver, Receivers};
use super::read::{Report, Section};
use super::security::{read_authenticator, read_server_tls};
use super::wire::{ReceiveSettings, ServerKeepalive};
use super::{diagnostic::Diagnostic, set};

const ANY_TIME: (Duration, Duration) = (Duration::ZERO, DAY);
const SOME_TIME: (Duration, Duration) = (Duration::from_millis(1), DAY);
const CONNECTIONS: (u64, u64) = (1, 1_000_000);
/// A request counts its length in 32 bits.
const REQUEST_MIB_MAX: u64 = 4095;
const NO_BUFFERS: &str = "buffers are sized by what comes in";
const METADATA: &str = "headers that streams.metadata_keys names are always read, others never";

/// What all receivers share.
pub(crate) struct Common<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) extensions: &'a mut Extensions,
}

pub(crate) fn read_receivers(
    mut section: Section<'_>,
    receivers: &mut Receivers,
    common: &mut Common<'_>,
    report: &mut Report,
) {
    if let Some(mut otlp) = section.section("otlp", report) {
        // As in the Collector: once protocols are named, one that is not named is off.
        if let Some(mut protocols) = otlp.section("protocols", report) {
            let grpc = protocols.section("grpc", report);
            let http = protocols.section("http", report);
            if grpc.is_none() && http.is_none() {
                let message = format!("{} names no protocol", protocols.path());
                report.push(
                    Diagnostic::new("PTL-C008", protocols.span(), message)
                        .help("protocols: {grpc: {}, http: {}}, or one of them"),
                );
            }
            receivers.grpc = grpc.map(|grpc| read_grpc(grpc, common, report));
            receivers.http = http.map(|http| read_http(http, common, report));
            protocols.finish(report);
        }
        otlp.finish(report);
    }
    for entry in section.rest() {
        let is_second = entry.key.starts_with("otlp/");
        let (code, help) = if is_second {
            (
                "PTL-C010",
                "one otlp receiver serves all senders: keep `otlp`",
            )
        } else {
            (
                "PTL-C003",
                "otlp is the only receiver: let a Collector in front receive anything else",
            )
        };
        let message = format!("there is no receiver {}", entry.key);
        report.push(Diagnostic::new(code, entry.key_span.clone(), message).help(help));
        super::read::hide_scalars(&entry.node, report);
    }
}

fn read_grpc(mut section: Section<'_>, common: &mut Common<'_>, report: &mut Report) -> Receiver {
    let mut receiver = Receiver::at("localhost:4317");
    let settings = &mut receiver.settings;
    read_endpoint(&mut section, &mut receiver.endpoint, report);
    let mib = section.size("max_recv_msg_size_mib", (1, REQUEST_MIB_MAX), report);
    settings.request_bytes_max = mib.map_or(common.limits.request_bytes_max, |mib| mib * MIB);
    if let Some(section) = section.section("keepalive", report) {
        read_keepalive(section, &mut settings.keepalive, report);
    }
    section.without_effect("read_buffer_size", NO_BUFFERS, report);
    section.without_effect("write_buffer_size", NO_BUFFERS, report);
    read_shared(&mut section, settings, common, report);
    section.finish(report);
    receiver
}

fn read_http(mut section: Section<'_>, common: &mut Common<'_>, report: &mut Report) -> Receiver {
    let mut receiver = Receiver::at("localhost:4318");
    let settings = &mut receiver.settings;
    read_endpoint(&mut section, &mut receiver.endpoint, report);
    let bounds = (1024, REQUEST_MIB_MAX * MIB as u64);
    let bytes = section.size("max_request_body_size", bounds, report);
    settings.request_bytes_max = bytes.unwrap_or(common.limits.request_bytes_max);
    read_paths(&mut section, settings, report);
    set(
        section.duration("read_timeout", SOME_TIME, report),
        &mut settings.receive_timeout,
    );
    set(
        section.duration("read_header_timeout", SOME_TIME, report),
        &mut settings.header_timeout,
    );
    if let Some(timeout) = section.duration("idle_timeout", ANY_TIME, report) {
        settings.idle_timeout = (!timeout.is_zero()).then_some(timeout);
    }
    let why = "an answer is small and written at once";
    section.without_effect("write_timeout", why, report);
    let why = "gzip and zstd are understood, others are refused";
    section.without_effect("compression_algorithms", why, report);
    if let Some(mut cors) = section.section("cors", report) {
        let why = "browsers are not answered";
        for key in ["allowed_origins", "allowed_headers", "max_age"] {
            cors.without_effect(key, why, report);
        }
        cors.finish(report);
    }
    read_shared(&mut section, settings, common, report);
    section.finish(report);
    receiver
}

/// Keys that gRPC and HTTP have alike.
fn read_shared(
    section: &mut Section<'_>,
    settings: &mut ReceiveSettings,
    common: &mut Common<'_>,
    report: &mut Report,
) {
    let streams = section.integer("max_concurrent_streams", CONNECTIONS, report);
    set(
        streams.and_then(|streams| u32::try_from(streams).ok()),
        &mut settings.concurrent_streams_max,
    );
    set(
        section.size("max_connections", CONNECTIONS, report),
        &mut settings.connections_max,
    );
    section.without_effect("include_metadata", METADATA, report);
    if let Some(tls) = section.section("tls", report) {
        settings.tls = read_server_tls(tls, report);
    }
    if let Some(auth) = section.section("auth", report) {
        settings.auth = read_authenticator(auth, common.extensions, report);
    }
}

fn read_endpoint(section: &mut Section<'_>, target: &mut String, report: &mut Report) {
    let transports = [("tcp", false), ("unix", true)];
    let is_unix = section.choice("transport", &transports, report) == Some(true);
    let field = section.get("endpoint", report);
    if is_unix && field.is_none() {
        report.push(
            Diagnostic::new(
                "PTL-C011",
                section.span(),
                format!("{} is missing", section.join("endpoint")),
            )
            .help("with transport: unix it is the path of a socket, as /run/petrel/otlp.sock"),
        );
    }
    set(
        field.and_then(|field| listen_address(&field, is_unix, report)),
        target,
    );
}

fn read_paths(section: &mut Section<'_>, settings: &mut ReceiveSettings, report: &mut Report) {
    let paths = &mut settings.paths;
    for (key, target) in [
        ("logs_url_path", &mut paths.logs),
        ("traces_url_path", &mut paths.traces),
        ("metrics_url_path", &mut paths.metrics),
    ] {
        let Some(field) = section.get(key, report) else {
            continue;
        };
        let Some(scalar) = field.scalar(report) else {
            continue;
        };
        if scalar.text.starts_with('/') && !scalar.text.contains([' ', '?', '#']) {
            target.clone_from(&scalar.text);
        } else {
            let message = format!("{} is no path: `{}`", field.path, scalar.shown());
            report.push(
                field
                    .error("PTL-C009", message)
                    .help("it begins with a slash, as /v1/logs"),
            );
        }
    }
    let paths = [&paths.logs, &paths.traces, &paths.metrics];
    if paths[0] == paths[1] || paths[0] == paths[2] || paths[1] == paths[2] {
        let message = format!("two kinds of telemetry have one path in {}", section.path());
        report.push(
            Diagnostic::new("PTL-C022", section.span(), message)
                .help("logs_url_path, traces_url_path and metrics_url_path must differ"),
        );
    }
}

fn read_keepalive(mut section: Section<'_>, keepalive: &mut ServerKeepalive, report: &mut Report) {
    if let Some(mut server) = section.section("server_parameters", report) {
        for (key, target) in [
            ("max_connection_idle", &mut keepalive.connection_idle_max),
            ("max_connection_age", &mut keepalive.connection_age_max),
            (
                "max_connection_age_grace",
                &mut keepalive.connection_age_grace,
            ),
        ] {
            // Zero is for ever, as in the Collector.
            if let Some(time) = server.duration(key, ANY_TIME, report) {
                *target = (!time.is_zero()).then_some(time);
            }
        }
        for (key, target) in [
            ("time", &mut keepalive.time),
            ("timeout", &mut keepalive.timeout),
        ] {
            set(server.duration(key, SOME_TIME, report), target);
        }
        server.finish(report);
    }
    if let Some(mut policy) = section.section("enforcement_policy", report) {
        let why = "pings of clients are answered and not counted";
        policy.without_effect("min_time", why, report);
        policy.without_effect("permit_without_stream", why, report);
        policy.finish(report);
    }
    section.finish(report);
}
