//! Configurations and what they become; the corpus of broken ones is in `tests/bad_configs/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;

fn env(name: &str) -> Option<String> {
    (name == "BACKEND").then(|| "backend:4317".to_owned())
}

fn parse(source: &str) -> Result<Config, Vec<Diagnostic>> {
    Config::parse(source, &env)
}

#[track_caller]
fn good(source: &str) -> Config {
    parse(source).unwrap_or_else(|errors| panic!("{source}\n{errors:#?}"))
}

fn without_places(config: Config) -> Config {
    Config {
        places: BTreeMap::new(),
        warnings: Vec::new(),
        ..config
    }
}

/// `code message | help` of everything that is said of a file.
fn said(source: &str) -> Vec<String> {
    let reading = Config::read(source, &env);
    let line = |it: &Diagnostic| {
        let help = it.help.as_deref().unwrap_or_default();
        format!("{} {} | {help}", it.code, it.message)
    };
    reading.diagnostics.iter().map(line).collect()
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(good(""), Config::default());
    assert_eq!(good("# nothing\n"), Config::default());
}

#[test]
fn the_default_file_says_what_holds_without_it() {
    let mut config = good(DEFAULT_FILE);
    let settings = std::mem::take(&mut config.detectors.settings);
    assert!(settings.keys().eq(BUILT_IN), "{settings:?}");
    assert!(settings.values().all(|it| it.enabled && it.json == "{}"));
    let telemetry = &mut config.telemetry;
    for endpoint in [
        &mut telemetry.metrics,
        &mut telemetry.health,
        &mut telemetry.admin,
    ] {
        endpoint.as_mut().expect("it is on").explicit = false;
    }
    assert_eq!(config.warnings, []);
    assert_eq!(without_places(config), Config::default());
}

/// The examples of the default file are right, and the keys that it lists are those that are read.
#[test]
fn the_default_file_has_every_key() {
    let source = default_file::with_examples();
    let mut report = Report::default();
    let any = |_: &str| Some("1".to_owned());
    let root = node::parse(&source, &any, &mut report).expect("it is YAML");
    read_config(&root, &any, &|| Some(1 << 30), &mut report);
    let named = |it: &Diagnostic| it.code == "PTL-C003" || it.code == "PTL-C007";
    let unknown: Vec<_> = report.diagnostics.iter().filter(|it| named(it)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");

    let listed: BTreeSet<String> = default_file::keys().into_iter().map(|it| it.path).collect();
    // HTTP exporters share the keys of gRPC's, and detectors and headers name their own.
    let own = [
        "exporters.otlp_http.",
        "extensions.file_storage.compaction.",
    ];
    let missing: Vec<_> = report
        .asked
        .iter()
        .filter(|path| !listed.contains(*path))
        .filter(|path| !own.iter().any(|own| path.starts_with(own)))
        .filter(|path| {
            !BUILT_IN
                .iter()
                .any(|name| path.starts_with(&format!("detectors.{name}.")))
        })
        .filter(|path| !path.ends_with(".processors") && !path.ends_with(".batch.enabled"))
        .collect();
    assert!(missing.is_empty(), "read and not listed: {missing:#?}");
    let named_by_users = [
        "exporters.otlp_grpc",
        "exporters.otlp_http",
        "extensions.",
        "detectors.",
    ];
    let idle: Vec<_> = listed
        .iter()
        .filter(|path| !report.asked.contains(*path))
        .filter(|path| !named_by_users.iter().any(|own| path.starts_with(own)))
        .collect();
    assert!(idle.is_empty(), "listed and not read: {idle:#?}");
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let made = reference();
    if std::env::var_os("PETREL_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is stale: see its first lines",
        path.display()
    );
    for line in default_file::keys() {
        assert!(
            !line.about.is_empty() || line.value.is_empty(),
            "what is {}?",
            line.path
        );
    }
}

#[test]
fn collector_names_are_understood() {
    let config = good(
        "receivers: {otlp: {protocols: {grpc: {endpoint: 'localhost:5317', max_recv_msg_size_mib: 16}}}}\n\
         exporters: {otlp: {endpoint: '${env:BACKEND}', tls: {insecure: true}, compression: zstd}}\n\
         detectors: {directory: /d, frequency: {learning_hours: 2}, silence: {enabled: false}}\n\
         state: {directory: /s, interval: 5s}\n",
    );
    let grpc = config.receivers.grpc.as_ref().expect("it is on");
    assert_eq!(grpc.endpoint, "localhost:5317");
    assert_eq!(grpc.settings.request_bytes_max, 16 << 20);
    assert_eq!(config.receivers.http, None);
    let exporter = config.logs_exporter().expect("the only one");
    assert_eq!(exporter.settings.protocol, Protocol::Grpc);
    assert_eq!(exporter.settings.compression, Compression::Zstd(3));
    assert_eq!(exporter.settings.endpoints.logs, "http://backend:4317");
    assert_eq!(exporter.settings.tls, None);
    assert_eq!(config.pipelines.anomalies.as_deref(), Some("otlp"));
    assert_eq!(config.settings_of("frequency"), r#"{"learning_hours":2}"#);
    assert!(!config.is_enabled("silence") && config.is_enabled("latency"));
    assert_eq!(
        config.state.map(|it| it.interval),
        Some(Duration::from_secs(5))
    );
}

#[test]
fn endpoints_become_those_of_signals() {
    let logs = |text: &str| {
        let config = good(text);
        let endpoints = config
            .logs_exporter()
            .expect("the only one")
            .settings
            .clone();
        (endpoints.endpoints.logs, endpoints.tls.is_some())
    };
    for (source, expected) in [
        (
            "exporters: {otlp_http: {endpoint: 'http://a:4318/'}}",
            ("http://a:4318/v1/logs", false),
        ),
        (
            "exporters: {otlphttp: {logs_endpoint: 'https://a/x'}}",
            ("https://a/x", true),
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'a:1'}}",
            ("https://a:1", true),
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1'}}",
            ("http://a:1", false),
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'unix:///s'}}",
            ("unix:///s", false),
        ),
        (
            "exporters: {otlp_grpc: {endpoint: '[::1]:1'}}",
            ("https://[::1]:1", true),
        ),
    ] {
        assert_eq!(
            logs(source),
            (expected.0.to_owned(), expected.1),
            "{source}"
        );
    }
    let unix = "receivers: {otlp: {protocols: {grpc: {transport: unix, endpoint: /run/s}}}}";
    assert_eq!(
        good(unix).receivers.grpc.expect("it is on").endpoint,
        "unix:///run/s"
    );
}

#[test]
fn security_comes_from_extensions_files_and_headers() {
    let source = r#"
extensions:
  bearer_token_auth/in: {tokens: ["${env:BACKEND}"], header: X-Key, scheme: ""}
  bearertokenauth: {filename: /t}
receivers:
  otlp:
    protocols:
      http:
        auth: {authenticator: bearertokenauth/in}
        tls: {cert_file: /c, key_file: /k, client_ca_file: /ca, min_version: "1.3"}
exporters:
  otlp_grpc:
    endpoint: backend:4317
    headers: {X-Scope-OrgID: a}
    auth: {authenticator: bearertokenauth}
    tls: {ca_file: /ca, server_name_override: b}
"#;
    let config = good(source);
    let http = config.receivers.http.expect("it is on").settings;
    let auth = http.auth.expect("it is set");
    assert_eq!((auth.header.as_str(), auth.scheme.as_str()), ("x-key", ""));
    assert_eq!(auth.tokens, [Source::Text(Secret::new("backend:4317"))]);
    let tls = http.tls.expect("it is set");
    assert_eq!(
        (tls.min_version, tls.client_ca.is_some()),
        (TlsVersion::V1_3, true)
    );
    let exporter = &config.exporters["otlp_grpc"].settings;
    assert_eq!(
        exporter.headers,
        [("x-scope-orgid".to_owned(), Secret::new("a"))]
    );
    let tokens = exporter.auth.as_ref().map(|it| it.tokens.clone());
    assert_eq!(tokens, Some(vec![Source::File("/t".into())]));
    let name = exporter
        .tls
        .as_ref()
        .and_then(|it| it.server_name_override.as_deref());
    assert_eq!(name, Some("b"));
}

#[test]
fn queues_and_pipelines() {
    let source = r"
extensions: {file_storage: {directory: /q}}
streams: {metadata_keys: [X-Tenant]}
exporters:
  otlp_grpc/a:
    endpoint: http://a:1
    sending_queue: {wait_for_result: false, storage: file_storage, batch: {sizer: bytes, max_size: 2000000, partition: {metadata_keys: [x-org]}}}
  otlp_http/b:
    endpoint: http://b:1
    sending_queue: {wait_for_result: false, sizer: requests}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [otlp_grpc/a]}
    traces: {exporters: [otlp_http/b]}
    anomalies: {exporters: [otlp_http/b]}
telemetry: {otlp: {exporter: otlp_http/b, interval: 5s}}
";
    let config = good(source);
    let queue = &config.exporters["otlp_grpc/a"].queue;
    assert_eq!(
        queue.mode,
        QueueMode::File {
            directory: "/q".into()
        }
    );
    assert_eq!(queue.capacity, Queue::FILE_BYTES_DEFAULT);
    assert_eq!(
        config.exporters["otlp_grpc/a"].settings.part_bytes_max,
        2_000_000
    );
    let queue = &config.exporters["otlp_http/b"].queue;
    assert_eq!((&queue.mode, queue.capacity), (&QueueMode::Memory, 1000));
    let pipelines = &config.pipelines;
    assert_eq!(pipelines.logs.as_deref(), Some("otlp_grpc/a"));
    assert_eq!(pipelines.traces.as_deref(), Some("otlp_http/b"));
    assert_eq!(pipelines.metrics, None);
    assert_eq!(pipelines.anomalies.as_deref(), Some("otlp_http/b"));
    let keys = config
        .receivers
        .grpc
        .expect("it is on")
        .settings
        .metadata_keys;
    assert_eq!(keys, ["x-org", "x-tenant"], "both are read");
}

#[test]
fn memory_is_limited_by_bytes_or_by_share() {
    let limit = |source: &str| {
        let reading = read_whole(source, &env, &|| Some(1000 << 20));
        let limiter = reading.config.memory_limiter.expect("it is set");
        (limiter.limit_bytes >> 20, limiter.spike_limit_bytes >> 20)
    };
    assert_eq!(limit("memory_limiter: {limit_mib: 500}"), (500, 100));
    assert_eq!(
        limit("memory_limiter: {limit_percentage: 80, spike_limit_percentage: 10}"),
        (800, 100)
    );
}

#[test]
fn what_has_no_effect_or_surprises_is_told() {
    for (source, expected) in [
        (
            "receivers: {otlp: {protocols: {grpc: {endpoint: '0.0.0.0:4317'}}}}",
            "PTL-W003 receivers.otlp.protocols.grpc takes plaintext",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1', headers: {authorization: x}}}",
            "PTL-W002 exporters.otlp_grpc.headers.authorization is a secret in plain text",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1', headers: {authorization: '${BACKEND}'}}}",
            "PTL-W004 exporters.otlp_grpc sends credentials in plaintext",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1', sending_queue: {queue_size: 10}}}",
            "PTL-W006 exporters.otlp_grpc.sending_queue: queue_size has no effect",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1', balancer_name: pick_first}}",
            "PTL-W001 exporters.otlp_grpc.balancer_name has no effect here",
        ),
        (
            "{exporters: {otlp_grpc: {endpoint: 'http://a:1'}}, enrichment: none}",
            "PTL-W007 with this enrichment records carry no mark",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'http://a:1'}}",
            "PTL-W008 traces and metrics are refused",
        ),
        (
            "extensions: {file_storage: {directory: /q}}",
            "PTL-W005 nothing refers to extensions.file_storage",
        ),
        (
            "exporters: {otlp_grpc: {endpoint: 'a:1', tls: {insecure_skip_verify: true}}}",
            "PTL-W009 exporters.otlp_grpc.tls.insecure_skip_verify lets anybody",
        ),
    ] {
        good(source);
        let said = said(source);
        assert!(
            said.iter().any(|it| it.starts_with(expected)),
            "{expected} in {said:#?}"
        );
    }
    assert_eq!(said(""), [""; 0]);
}

#[test]
fn what_holds_can_be_printed_and_read_again() {
    let source = "exporters: {otlp_http/x: {endpoint: 'http://a:1', headers: {x-key: SECRET}, timeout: 7s}}\n\
                  receivers: {otlp: {protocols: {http: {endpoint: 'localhost:1'}}}}\n\
                  streams: {exclude: [{service.name: 'batch-*'}]}\nworkers: 3\n\
                  privacy: {mask: [{pattern: '\\d+'}]}\n";
    let any = |_: &str| Some("SECRET".to_owned());
    let text = effective(source, &any, &|| None).unwrap_or_else(|it| panic!("{it:?}"));
    assert!(!text.contains("SECRET"), "{text}");
    for part in [
        "x-key: \"[redacted]\"",
        "timeout: 7s",
        "max_elapsed_time: 0s",
        "outbox_mib_max: 16",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let (mut before, mut after) = (good(source), good(&text));
    after.detectors.settings.clear();
    for config in [&mut before, &mut after] {
        config.telemetry.metrics = None;
        config.telemetry.health = None;
        config.telemetry.admin = None;
        let exporter = config
            .exporters
            .get_mut("otlp_http/x")
            .expect("it is there");
        exporter.settings.headers.clear();
    }
    assert_eq!(without_places(before), without_places(after));
}

#[test]
fn secrets_are_not_in_debug() {
    let source = "extensions: {bearertokenauth: {token: SECRET}}\n\
        exporters: {otlp_grpc: {endpoint: 'https://a:1', headers: {a: SECRET}, auth: {authenticator: bearertokenauth}}}";
    assert!(!format!("{:?}", good(source)).contains("SECRET"));
}

/// What the corpus and the tests here say has codes that the reference explains.
#[test]
fn every_code_is_explained() {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![sources.join("config"), sources.join("validate")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("sources are there") {
            let text = std::fs::read_to_string(entry.expect("readable").path()).unwrap_or_default();
            for part in text.split("\"PTL-").skip(1) {
                let code = format!("PTL-{}", &part[..4.min(part.len())]);
                let is_whole = part.as_bytes().get(4) == Some(&b'"');
                assert!(
                    !is_whole || reference::is_code(&code),
                    "{code} is not explained"
                );
            }
        }
    }
}
