//! Configurations and what they become, or what is said of them.

use super::*;

fn parse(source: &str) -> Result<Config, Vec<Diagnostic>> {
    Config::parse(source, &|name| {
        (name == "BACKEND").then(|| "backend:4317".to_owned())
    })
}

/// Each error as `line:column code message | help`.
fn check_errors(source: &str, expected: &[&str]) {
    let errors = parse(source).expect_err("has errors");
    let found: Vec<String> = errors
        .iter()
        .map(|error| {
            let (line, column) = error.position(source);
            let help = error.help.as_deref().unwrap_or_default();
            format!("{line}:{column} {} {} | {help}", error.code, error.message)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("# nothing\n").unwrap(), Config::default());
}

#[test]
fn collector_names_are_understood() {
    let config = parse(
        "receivers: {otlp: {protocols: {grpc: {endpoint: 'localhost:5317'}}}}\n\
         exporters: {otlp: {endpoint: '${env:BACKEND}', tls: {insecure: true}, compression: none}}\n\
         detectors: {directory: /d, frequency: {learning_hours: 2}, silence: {enabled: false}}\n\
         state: {directory: /s, interval: 5s}\n",
    )
    .unwrap();
    assert_eq!(config.receivers.grpc.as_deref(), Some("localhost:5317"));
    assert_eq!(config.receivers.http, None);
    let exporter = config.exporter.as_ref().unwrap();
    assert_eq!((exporter.protocol, exporter.gzip), (Protocol::Grpc, false));
    assert_eq!(exporter.endpoint, "http://backend:4317");
    assert_eq!(config.settings_of("frequency"), r#"{"learning_hours":2}"#);
    assert!(!config.is_enabled("silence") && config.is_enabled("latency"));
    assert_eq!(config.state.unwrap().interval, Duration::from_secs(5));
}

#[test]
fn each_receiver_may_have_its_own_bound() {
    let receivers = parse(
        "receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 16}, \
         http: {max_request_body_size: 20971520}}}}",
    )
    .unwrap()
    .receivers;
    assert_eq!(receivers.grpc_request_bytes_max, Some(16 << 20));
    assert_eq!(receivers.http_request_bytes_max, Some(20 << 20));
    check_errors(
        "receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 0}}}}",
        &[
            "1:62 PTL-C006 receivers.otlp.protocols.grpc.max_recv_msg_size_mib is 0 | from 1 to 65536",
        ],
    );
}

#[test]
fn the_http_exporter_appends_its_path() {
    let endpoint = |text: &str| parse(text).unwrap().exporter.unwrap().endpoint;
    assert_eq!(
        endpoint("exporters: {otlp_http: {endpoint: 'http://a:4318/'}}"),
        "http://a:4318/v1/logs"
    );
    assert_eq!(
        endpoint("exporters: {otlphttp: {logs_endpoint: 'http://a/x'}}"),
        "http://a/x"
    );
}

#[test]
fn all_errors_come_at_once_with_their_places() {
    check_errors(
        "enrichmnt: id\n\
         enrichment: all\n\
         workers: many\n\
         state:\n\
        \x20 interval: 1fortnight\n\
         exporters:\n\
        \x20 otlp_grpc: {endpoint: 'backend:4317'}\n\
         receivers: {otlp: {protocols: {grpc: {endpoint: localhost}}}}\n",
        &[
            "1:1 PTL-C003 unknown key enrichmnt | did you mean `enrichment`?",
            "2:13 PTL-C005 enrichment cannot be `all` | one of none, anomalies, id, template",
            "3:10 PTL-C004 workers must be a whole number, not `many` | from 1 to 256",
            "5:3 PTL-C011 state.directory is missing | a directory that Petrel may write, as /var/lib/petrel",
            "5:13 PTL-C007 state.interval is no length of time: `1fortnight` | a number and a unit: 200ms, 30s, 5m, 1h, 1m30s",
            "7:25 PTL-C012 exporters.otlp_grpc.endpoint would need TLS, which exporters do not speak yet | to a neighbour on the same host or in the same pod: tls: {insecure: true}",
            "8:49 PTL-C009 receivers.otlp.protocols.grpc.endpoint is no address to listen on: `localhost` | host:port, as localhost:4317",
        ],
    );
}

#[test]
fn rendered_errors_name_file_line_and_column() {
    let source = "workers: 0\n";
    let text = render(&parse(source).unwrap_err(), "petrel.yaml", source, false);
    assert!(text.contains("petrel.yaml:1:10: workers is 0"), "{text}");
    assert!(text.contains("from 1 to 256"), "{text}");
    assert!(text.contains("1 error in petrel.yaml"), "{text}");
}
