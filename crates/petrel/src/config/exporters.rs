//! `exporters`: where requests go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::{TlsSays, is_loopback, target, tls_of};
use super::diagnostic::Diagnostic;
use super::extensions::{Extensions, type_of};
use super::field::Field;
use super::limits::{DAY, MIB};
use super::model::{Exporter, Sizer};
use super::queue::read_queue;
use super::read::{Report, Section, hide_scalars, nearest};
use super::security::{read_authenticator, read_client_tls, read_headers};
use super::set;
use super::wire::{
    ClientKeepalive, ClientTls, Compression, Encoding, Endpoints, Protocol, RetrySettings,
};

const ANY_TIME: (Duration, Duration) = (Duration::ZERO, DAY);
const SOME_TIME: (Duration, Duration) = (Duration::from_millis(1), DAY);

/// What is spoken by the type of an exporter's id; aliases are the Collector's old names.
pub(crate) fn protocol_of(id: &str) -> Option<Protocol> {
    match type_of(id) {
        "otlp_grpc" | "otlp" => Some(Protocol::Grpc),
        "otlp_http" | "otlphttp" => Some(Protocol::Http),
        _ => None,
    }
}

/// All exporters; one with an error is there all the same, so that who refers to it is not wrong too.
pub(crate) fn read_exporters(
    section: &Section<'_>,
    extensions: &mut Extensions,
    report: &mut Report,
) -> BTreeMap<String, Exporter> {
    let mut exporters = BTreeMap::new();
    for (entry, field) in section.rest_fields(report) {
        let Some(protocol) = protocol_of(&entry.key) else {
            hide_scalars(field.node, report);
            let kind = type_of(&entry.key);
            let known = ["otlp_grpc", "otlp_http", "otlp", "otlphttp"];
            let help = match nearest(kind, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "otlp_grpc or otlp_http: a Collector behind Petrel speaks anything else"
                    .to_owned(),
            };
            let message = format!("there is no exporter {}", entry.key);
            report.push(Diagnostic::new("PTL-C003", entry.key_span.clone(), message).help(help));
            continue;
        };
        let exporter = read_exporter(&field, protocol, extensions, report);
        exporters.insert(entry.key.clone(), exporter);
    }
    exporters
}

fn read_exporter(
    field: &Field<'_>,
    protocol: Protocol,
    extensions: &mut Extensions,
    report: &mut Report,
) -> Exporter {
    let mut section = Section::new(&field.path, field.node, report);
    let mut exporter = Exporter::to(protocol, "");
    let tls = section.section("tls", report);
    let (tls, says) = match tls.map(|tls| read_client_tls(tls, report)) {
        Some((tls, says)) => (Some(tls), says),
        None => (None, TlsSays::default()),
    };
    read_endpoints(&mut section, &mut exporter, tls, says, report);
    let settings = &mut exporter.settings;
    set(
        section.duration("timeout", SOME_TIME, report),
        &mut settings.timeout,
    );
    settings.compression = read_compression(&mut section, report);
    if protocol == Protocol::Http {
        let encodings = [("proto", Encoding::Protobuf), ("json", Encoding::Json)];
        set(
            section.choice("encoding", &encodings, report),
            &mut settings.encoding,
        );
    }
    if let Some(field) = section.get("headers", report) {
        settings.headers = read_headers(&field, report);
    }
    if let Some(auth) = section.section("auth", report) {
        settings.auth = read_authenticator(auth, extensions, report);
    }
    set(section.text("user_agent", report), &mut settings.user_agent);
    if protocol == Protocol::Grpc
        && let Some(section) = section.section("keepalive", report)
    {
        settings.keepalive = Some(read_keepalive(section, report));
    }
    if let Some(retry) = section.section("retry_on_failure", report) {
        exporter.retry_enabled = read_retry(retry, &mut exporter.retry, report);
    }
    read_sizes(&mut section, &mut exporter, extensions, report);
    read_ineffective(&mut section, protocol, report);
    warn_of_plaintext(&section, &exporter, report);
    section.finish(report);
    exporter
}

fn read_endpoints(
    section: &mut Section<'_>,
    exporter: &mut Exporter,
    tls: Option<ClientTls>,
    says: TlsSays,
    report: &mut Report,
) {
    let settings = &mut exporter.settings;
    let protocol = settings.protocol;
    let mut is_tls = None;
    let mut has_any = false;
    let mut read = |section: &mut Section<'_>, key, report: &mut Report| {
        let field = section.get(key, report)?;
        has_any = true;
        let (endpoint, with_tls) = target(&field, protocol, says, report)?;
        if is_tls.is_some_and(|before| before != with_tls) {
            let message = format!("{} and another endpoint differ in TLS", section.path());
            report.push(
                field
                    .error("PTL-C012", message)
                    .help("all http:// or all https://; or an exporter each, as otlp_http/traces"),
            );
        }
        is_tls = Some(with_tls);
        Some(endpoint)
    };
    settings.endpoints = match read(section, "endpoint", report) {
        Some(endpoint) => Endpoints::under(protocol, &endpoint),
        None => Endpoints::none(),
    };
    if protocol == Protocol::Http {
        let endpoints = &mut settings.endpoints;
        for (key, target) in [
            ("logs_endpoint", &mut endpoints.logs),
            ("traces_endpoint", &mut endpoints.traces),
            ("metrics_endpoint", &mut endpoints.metrics),
        ] {
            set(read(section, key, report), target);
        }
    }
    settings.tls = tls_of(is_tls == Some(true), tls);
    if !has_any {
        let message = format!("{} is missing", section.join("endpoint"));
        let help = match protocol {
            Protocol::Grpc => "where records go next: host:port of a Collector or backend",
            Protocol::Http => "where records go next, as http://localhost:14318",
        };
        section.require_any(&[], &message, help, report);
    }
}

#[derive(Clone, Copy)]
enum Packing {
    None,
    Gzip,
    Zstd,
    NotSpoken,
}

fn read_compression(section: &mut Section<'_>, report: &mut Report) -> Compression {
    let words = [
        ("none", Packing::None),
        ("gzip", Packing::Gzip),
        ("zstd", Packing::Zstd),
        ("", Packing::None),
    ];
    let others = ["snappy", "zlib", "deflate", "lz4", "x-snappy-framed"];
    let field = section.get("compression", report);
    let packing = field.as_ref().and_then(|field| {
        let scalar = field.scalar(report)?;
        if !others.contains(&scalar.text.as_str()) {
            return field.choice(&words[..3 + usize::from(scalar.text.is_empty())], report);
        }
        let message = format!("{}: {} is not spoken", field.path, scalar.shown());
        let help = "gzip, zstd or none; every OTLP receiver understands gzip";
        report.push(field.error("PTL-C020", message).help(help));
        Some(Packing::NotSpoken)
    });
    let mut params = section.section("compression_params", report);
    let level = params
        .as_mut()
        .and_then(|params| params.get("level", report));
    let compression = match packing.unwrap_or(Packing::None) {
        Packing::Gzip => {
            let level = level
                .as_ref()
                .and_then(|level| level.integer((0, 9), report));
            let level = level.and_then(|level| u32::try_from(level).ok());
            level.map_or(Compression::default_gzip(), Compression::Gzip)
        }
        Packing::Zstd => {
            let level = level
                .as_ref()
                .and_then(|level| level.number((-7.0, 22.0), report));
            level.map_or(Compression::default_zstd(), |level| {
                Compression::Zstd(level.round() as i32)
            })
        }
        Packing::NotSpoken => Compression::None,
        Packing::None => {
            if let Some(level) = &level {
                let message = format!("{} has no effect without compression", level.path);
                report.push(
                    level
                        .warning("PTL-W006", message)
                        .help("compression: gzip or zstd"),
                );
            }
            Compression::None
        }
    };
    if let Some(params) = params {
        params.finish(report);
    }
    compression
}

fn read_keepalive(mut section: Section<'_>, report: &mut Report) -> ClientKeepalive {
    let mut keepalive = ClientKeepalive::default();
    set(
        section.duration("time", SOME_TIME, report),
        &mut keepalive.time,
    );
    set(
        section.duration("timeout", SOME_TIME, report),
        &mut keepalive.timeout,
    );
    set(
        section.boolean("permit_without_stream", report),
        &mut keepalive.permit_without_stream,
    );
    section.finish(report);
    keepalive
}

/// Reads `retry_on_failure`; returns whether it is on.
fn read_retry(mut section: Section<'_>, retry: &mut RetrySettings, report: &mut Report) -> bool {
    let enabled = section.boolean("enabled", report).unwrap_or(true);
    for (key, bounds, target) in [
        ("initial_interval", SOME_TIME, &mut retry.initial_interval),
        ("max_interval", SOME_TIME, &mut retry.max_interval),
        ("max_elapsed_time", ANY_TIME, &mut retry.max_elapsed_time),
    ] {
        set(section.duration(key, bounds, report), target);
    }
    for (key, bounds, target) in [
        ("multiplier", (1.0, 100.0), &mut retry.multiplier),
        (
            "randomization_factor",
            (0.0, 1.0),
            &mut retry.randomization_factor,
        ),
    ] {
        let field = section.get(key, report);
        set(field.and_then(|field| field.number(bounds, report)), target);
    }
    if retry.initial_interval > retry.max_interval {
        let message = format!(
            "{} is longer than max_interval",
            section.join("initial_interval")
        );
        report.push(
            Diagnostic::new("PTL-C022", section.span(), message)
                .help("max_interval is what the wait grows to; 30s unless set"),
        );
    }
    section.finish(report);
    enabled
}

/// The queue, and how large a request may be.
fn read_sizes(
    section: &mut Section<'_>,
    exporter: &mut Exporter,
    extensions: &mut Extensions,
    report: &mut Report,
) {
    if let Some(queue) = section.section("sending_queue", report) {
        exporter.queue = read_queue(queue, extensions, report);
    }
    let field = section.get("max_request_bytes", report);
    let least = 1024;
    let part_bytes_max = field.as_ref().and_then(|field| {
        let bytes = field.integer((0, 64 * MIB as u64), report)?;
        if bytes != 0 && bytes < least {
            let message = format!("{} is {bytes}, out of range", field.path);
            let help = format!("0 for never cut, or at least {least}");
            report.push(field.error("PTL-C006", message).help(help));
        }
        usize::try_from(bytes).ok()
    });
    let batch = exporter.queue.batch.as_ref();
    let batch_max = batch.filter(|batch| batch.sizer == Sizer::Bytes && batch.max_size > 0);
    let fallback = batch_max.map(|batch| batch.max_size);
    set(
        part_bytes_max.or(fallback),
        &mut exporter.settings.part_bytes_max,
    );
}

fn read_ineffective(section: &mut Section<'_>, protocol: Protocol, report: &mut Report) {
    let why = "buffers are sized by what is sent";
    section.without_effect("read_buffer_size", why, report);
    section.without_effect("write_buffer_size", why, report);
    if protocol == Protocol::Grpc {
        let why =
            "one connection carries all requests; a proxy or a Collector in front spreads them";
        section.without_effect("balancer_name", why, report);
        let why = "a request that finds no connection is answered as retryable at once";
        section.without_effect("wait_for_ready", why, report);
        let instead = "tls.server_name_override for the certificate's name";
        section.unsupported("authority", instead, report);
    } else {
        let why = "connections are kept and used again";
        for key in [
            "max_idle_conns",
            "max_idle_conns_per_host",
            "max_conns_per_host",
        ] {
            if section.has(key) {
                section.without_effect(key, why, report);
            }
        }
    }
    if section.has("proxy_url") {
        section.unsupported(
            "proxy_url",
            "send to the proxy's host, or to a Collector",
            report,
        );
    }
}

/// Tokens and keys that everybody on the way could read.
fn warn_of_plaintext(section: &Section<'_>, exporter: &Exporter, report: &mut Report) {
    let settings = &exporter.settings;
    let header = |(name, _): &(String, _)| super::hide::is_secret(name);
    let has_secret = settings.auth.is_some() || settings.headers.iter().any(header);
    let endpoint = &settings.endpoints.logs;
    let is_plain = settings.tls.is_none() && !endpoint.is_empty();
    if has_secret && is_plain && !is_loopback(endpoint) {
        let message = format!("{} sends credentials in plaintext", section.path());
        let place = report.places.get(&section.join("endpoint")).cloned();
        report.push(
            Diagnostic::warning("PTL-W004", place.or(Some(section.span())), message)
                .help("speak TLS: https://, and no tls.insecure"),
        );
    }
}
