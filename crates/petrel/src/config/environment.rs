//! The exporter that `OTEL_EXPORTER_OTLP_*` describe, as every SDK reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use petrel_otlp::Signal;

use super::address::{TlsSays, target, tls_of};
use super::diagnostic::Diagnostic;
use super::field::Field;
use super::model::{Exporter, Pipelines};
use super::node::{Node, Scalar, Value};
use super::read::Report;
use super::wire::{
    ClientTls, Compression, Encoding, Endpoints, Identity, Protocol, Secret, Source,
};

/// Exporters that the environment describes, and what goes to them.
#[derive(Clone, Debug, PartialEq)]
pub struct FromEnvironment {
    /// One; several where a signal has settings of its own.
    pub exporters: BTreeMap<String, Exporter>,
    /// Signals that have an endpoint, by their own variable or the common one.
    pub pipelines: Pipelines,
}

/// The exporter that `OTEL_EXPORTER_OTLP_ENDPOINT` and its like describe; none where no endpoint for
/// logs is set. Variables of one signal, as `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`, take precedence.
///
/// # Errors
/// All variables that cannot be used, by name; never with their values.
pub fn exporter_from_env(
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<FromEnvironment>, Vec<Diagnostic>> {
    let mut report = Report::default();
    let mut found = FromEnvironment {
        exporters: BTreeMap::new(),
        pipelines: Pipelines::default(),
    };
    for signal in Signal::ALL {
        let variables = Variables { env, signal };
        let Some(exporter) = variables.exporter(&mut report) else {
            continue;
        };
        let id = found.add(exporter, signal);
        let pipelines = &mut found.pipelines;
        match signal {
            Signal::Logs => pipelines.logs = Some(id),
            Signal::Traces => pipelines.traces = Some(id),
            Signal::Metrics => pipelines.metrics = Some(id),
        }
    }
    if report.has_errors() {
        let mut errors = report.diagnostics;
        for error in &mut errors {
            error.span = None;
        }
        let mut seen = BTreeSet::new();
        errors.retain(|error| seen.insert(error.message.clone()));
        return Err(errors);
    }
    found.pipelines.anomalies.clone_from(&found.pipelines.logs);
    Ok(found.pipelines.logs.is_some().then_some(found))
}

impl FromEnvironment {
    /// Adds an exporter, or the endpoint to one that is the same but for endpoints; returns its id.
    fn add(&mut self, exporter: Exporter, signal: Signal) -> String {
        for (id, known) in &mut self.exporters {
            let mut same = exporter.clone();
            same.settings.endpoints = known.settings.endpoints.clone();
            if same == *known {
                let (from, to) = (&exporter.settings.endpoints, &mut known.settings.endpoints);
                match signal {
                    Signal::Logs => to.logs.clone_from(&from.logs),
                    Signal::Traces => to.traces.clone_from(&from.traces),
                    Signal::Metrics => to.metrics.clone_from(&from.metrics),
                }
                return id.clone();
            }
        }
        let kind = match exporter.settings.protocol {
            Protocol::Grpc => "otlp_grpc",
            Protocol::Http => "otlp_http",
        };
        let id = match signal {
            Signal::Logs => format!("{kind}/env"),
            other => format!("{kind}/env_{}", other.name()),
        };
        self.exporters.insert(id.clone(), exporter);
        id
    }
}

/// The variables of one signal.
struct Variables<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    signal: Signal,
}

impl Variables<'_> {
    /// A variable's name and value: the signal's own, else the common one. Empty is not set.
    fn get(&self, name: &str) -> Option<(String, String)> {
        let own = self.own(name);
        let common = format!("OTEL_EXPORTER_OTLP_{name}");
        own.or_else(|| (self.env)(&common).map(|value| (common, value)))
            .filter(|(_, value)| !value.is_empty())
    }

    fn own(&self, name: &str) -> Option<(String, String)> {
        let signal = self.signal.name().to_ascii_uppercase();
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
        (self.env)(&own)
            .filter(|value| !value.is_empty())
            .map(|value| (own, value))
    }

    fn exporter(&self, report: &mut Report) -> Option<Exporter> {
        let (name, endpoint) = self.get("ENDPOINT")?;
        let (protocol, encoding) = self.protocol(report)?;
        let insecure = self
            .get("INSECURE")
            .map(|(_, value)| value.eq_ignore_ascii_case("true"));
        let says = TlsSays {
            // A scheme takes precedence over the variable.
            insecure: insecure.filter(|_| !endpoint.contains("://")),
            has_settings: false,
        };
        let node = node(&name, endpoint);
        let field = Field {
            path: name,
            node: &node,
        };
        let (endpoint, is_tls) = target(&field, protocol, says, report)?;
        let mut exporter = Exporter::to(protocol, &endpoint);
        let settings = &mut exporter.settings;
        if protocol == Protocol::Http && self.own("ENDPOINT").is_some() {
            settings.endpoints = Endpoints {
                logs: endpoint.clone(),
                traces: endpoint.clone(),
                metrics: endpoint,
            };
        }
        settings.encoding = encoding;
        settings.timeout = self.timeout(report);
        settings.compression = self.compression(report);
        settings.headers = self.headers(report);
        settings.tls = tls_of(is_tls, Some(self.tls(report)));
        Some(exporter)
    }

    fn protocol(&self, report: &mut Report) -> Option<(Protocol, Encoding)> {
        let Some((name, value)) = self.get("PROTOCOL") else {
            return Some((Protocol::Http, Encoding::Protobuf));
        };
        match value.as_str() {
            "grpc" => Some((Protocol::Grpc, Encoding::Protobuf)),
            "http/protobuf" => Some((Protocol::Http, Encoding::Protobuf)),
            "http/json" => Some((Protocol::Http, Encoding::Json)),
            _ => {
                fail(
                    &name,
                    "names no protocol",
                    "grpc, http/protobuf or http/json",
                    report,
                );
                None
            }
        }
    }

    fn timeout(&self, report: &mut Report) -> Duration {
        // The specification's default, not the Collector's.
        const DEFAULT: Duration = Duration::from_secs(10);
        let Some((name, value)) = self.get("TIMEOUT") else {
            return DEFAULT;
        };
        match value.parse() {
            Ok(millis) if millis > 0 => Duration::from_millis(millis),
            _ => {
                fail(
                    &name,
                    "is no time",
                    "milliseconds as a whole number, as 10000",
                    report,
                );
                DEFAULT
            }
        }
    }

    fn compression(&self, report: &mut Report) -> Compression {
        let Some((name, value)) = self.get("COMPRESSION") else {
            return Compression::None;
        };
        match value.as_str() {
            "none" => Compression::None,
            "gzip" => Compression::default_gzip(),
            "zstd" => Compression::default_zstd(),
            _ => {
                fail(
                    &name,
                    "names a compression that is not spoken",
                    "gzip, zstd or none",
                    report,
                );
                Compression::None
            }
        }
    }

    fn headers(&self, report: &mut Report) -> Vec<(String, Secret)> {
        let Some((name, value)) = self.get("HEADERS") else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
            let header = pair.split_once('=').and_then(|(key, value)| {
                let key = decoded(key.trim())?.to_ascii_lowercase();
                let value = decoded(value.trim())?;
                http::HeaderName::from_bytes(key.as_bytes()).ok()?;
                http::HeaderValue::from_str(&value).ok()?;
                Some((key, Secret::new(value)))
            });
            match header {
                Some(header) => headers.push(header),
                None => fail(
                    &name,
                    "has an entry that is no header",
                    "name=value,name=value, with %20 and the like for what is special",
                    report,
                ),
            }
        }
        headers
    }

    fn tls(&self, report: &mut Report) -> ClientTls {
        let file = |name| {
            let path = self.get(name).map(|(_, value)| PathBuf::from(value));
            path.map(Source::File)
        };
        let identity = match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            (None, None) => None,
            _ => {
                fail(
                    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                    "and OTEL_EXPORTER_OTLP_CLIENT_KEY go together",
                    "set both, or neither",
                    report,
                );
                None
            }
        };
        ClientTls {
            ca: file("CERTIFICATE"),
            identity,
            ..ClientTls::default()
        }
    }
}

fn fail(name: &str, what: &str, help: &str, report: &mut Report) {
    let message = format!("the environment's {name} {what}");
    report.push(Diagnostic::without_place("PTL-C027", message).help(help));
}

/// A variable as a node whose value is not shown.
fn node(name: &str, text: String) -> Node {
    Node {
        value: Value::Scalar(Scalar {
            text,
            written: Some(format!("${{{name}}}")),
        }),
        span: 0..0,
    }
}

/// A text with `%20` and its like replaced.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let digits = tail.get(..2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, render};

    #[test]
    fn the_environment_makes_an_exporter() {
        let with = |variables: &'static [(&str, &str)]| {
            exporter_from_env(&move |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[]), Ok(None));
        let found = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=b%20c, x-d=e"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/t"),
        ]);
        let found = found.expect("it is right").expect("there is one");
        let settings = &found.exporters["otlp_http/env"].settings;
        assert_eq!(found.exporters.len(), 1, "the same but for endpoints");
        assert_eq!(settings.endpoints.logs, "http://collector:4318/v1/logs");
        assert_eq!(settings.endpoints.traces, "http://traces/t");
        assert_eq!(settings.headers[0], ("x-a".to_owned(), Secret::new("b c")));
        assert_eq!(settings.timeout, Duration::from_secs(2));
        assert_eq!(found.pipelines.metrics.as_deref(), Some("otlp_http/env"));

        let found = with(&[
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ]);
        let found = found.expect("it is right").expect("there is one");
        let settings = &found.exporters["otlp_grpc/env"].settings;
        assert_eq!(settings.endpoints.logs, "http://collector:4317");
        assert_eq!(found.pipelines.traces, None);

        let errors = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:SECRET@a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "SECRET"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "SECRET"),
        ]);
        let errors = errors.expect_err("three are wrong");
        let text = render(&errors, "petrel.yaml", "", false);
        assert!(!text.contains("SECRET"), "{text}");
        for name in ["_ENDPOINT", "_TIMEOUT", "_HEADERS"] {
            assert!(
                text.contains(&format!("OTEL_EXPORTER_OTLP{name}")),
                "{name} in {text}"
            );
        }
        let file = "exporters: {otlp_grpc: {endpoint: 'http://a:1'}}";
        let any = |_: &str| Some("SECRET".to_owned());
        assert!(
            Config::parse(file, &any).is_ok(),
            "a file's exporter is stronger"
        );
    }
}
