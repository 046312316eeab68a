//! TLS both ways with real Collectors, certificates and tokens that change under load, and secrets that
//! are told to nobody.

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tonic::{Code, Status};

use crate::authority::{Authority, replace};
use crate::client::{self, EXPORT_PATH, Grpc};
use crate::collector::{self, Collector};
use crate::front::{self, Front, Ports};
use crate::process::{Process, Scratch};
use crate::records::{self, Output};
use crate::stage::records_of;
use crate::{linux, petrel, sink, wait};

const NATIVE: &str = "detectors: { native: true }\n";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn order(number: usize) -> Bytes {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some(records::string_value(format!("order {number} accepted"))),
        ..LogRecord::default()
    };
    records::request("shop", vec![record])
        .encode_to_vec()
        .into()
}

/// A Collector that sends what it gets to `target` at once, with this `tls`; and its address.
fn edge(
    collector: Collector,
    scratch: &Scratch,
    name: &str,
    target: &str,
    tls: &str,
) -> (Process, String) {
    let address = wait::free_address();
    let port = wait::port_of(target);
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters:
  otlp_grpc: {{ endpoint: 'localhost:{port}', compression: none, tls: {{ {tls} }}, sending_queue: {{ enabled: false }}, retry_on_failure: {{ enabled: false }} }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp_grpc] }} }} }}
"
    );
    let edge = collector.start(scratch, name, &config, &[wait::port_of(&address)]);
    (edge, address)
}

/// Collector, Petrel, Collector, each wanting the other's certificate; then everything that Petrel shows and
/// trusts is changed to another authority while requests come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load() {
    const BEFORE: usize = 20;
    let name = "security::certificates_change_under_load";
    let Some(collector) = collector::available(name) else {
        return;
    };
    let scratch = Scratch::new("tls");
    let old = Authority::new("the old authority");
    let own = old.issue(&scratch, "petrel");
    let edge_files = old.issue(&scratch, "edge");
    let sink_files = old.issue(&scratch, "sink");

    let (sink_at, path) = (wait::free_address(), scratch.path("arrived.binpb"));
    let tls = format!(
        "grpc: {{ endpoint: '{sink_at}', tls: {{ {} }} }}",
        sink_files.server()
    );
    let sink_config = collector::sink_config(&sink_at, &path)
        .replace(&format!("grpc: {{ endpoint: '{sink_at}' }}"), &tls);
    let sink = collector.start(&scratch, "sink", &sink_config, &[wait::port_of(&sink_at)]);

    let ports = Ports::new();
    let port = wait::port_of(&sink_at);
    let tls = format!(", tls: {{ {}, reload_interval: 100ms }}", own.server());
    let (receivers, telemetry) = (ports.receivers_with(&tls, &tls), ports.telemetry(""));
    let client = sink_files.client();
    let exporters = format!(
        "exporters: {{ otlp_grpc: {{ endpoint: 'localhost:{port}', tls: {{ {client} }} }} }}\n"
    );
    let config = format!("{receivers}{exporters}{telemetry}{NATIVE}");
    let front = Front::start(scratch, ports, &config);
    let (scratch, grpc) = (&front.scratch, &front.ports.grpc);

    let (first, first_at) = edge(collector, scratch, "first", grpc, &edge_files.client());
    let mut sender = Grpc::new(&first_at);
    for number in 0..BEFORE {
        sender
            .send(order(number))
            .await
            .expect("over TLS all the way");
    }
    let no_certificate = format!("ca_file: '{}'", edge_files.ca.display());
    let (stranger, stranger_at) = edge(collector, scratch, "stranger", grpc, &no_certificate);
    let refusal = Grpc::new(&stranger_at).send(order(0)).await;
    assert_eq!(
        refusal.expect_err("no certificate").code(),
        Code::Unavailable
    );
    assert!(stranger.stop().success());
    let connections = linux::connected_from(grpc);

    let new = Authority::new("the new authority");
    new.issue(scratch, "petrel");
    let (second, second_at) = edge(
        collector,
        scratch,
        "second",
        grpc,
        &new.issue(scratch, "second").client(),
    );
    // The second trusts the new authority alone: it is answered once the new certificate is shown.
    let mut number = BEFORE;
    let deadline = wait::Deadline::after(wait::SOON);
    let mut newcomer = Grpc::new(&second_at);
    loop {
        sender
            .send(order(number))
            .await
            .expect("the old connection goes on");
        number += 1;
        match newcomer.send(order(number)).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
        assert!(!deadline.is_over(), "the new certificate is never shown");
        wait::a_moment();
    }
    for number in number + 1..number + BEFORE {
        sender
            .send(order(number))
            .await
            .expect("the old connection goes on");
        newcomer
            .send(order(number))
            .await
            .expect("the new one, too");
    }
    let now = linux::connected_from(grpc);
    assert!(
        connections.is_subset(&now),
        "{connections:?} before, {now:?} after"
    );
    // The file has two of each of the last ones, and one of each before.
    let n_records = number + 1 + 2 * (BEFORE - 1);
    let arrived = Output::new(path).wait_for(n_records, wait::SOON);
    assert_eq!(arrived.len(), n_records);

    for process in [first, second, front.petrel, sink] {
        assert!(process.stop().success());
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn grpc_with(address: &str, authorization: Option<&str>) -> Result<(), Status> {
    let headers: Vec<_> = authorization
        .into_iter()
        .map(|value| ("authorization", value))
        .collect();
    let mut client = Grpc::new(address);
    client.call(EXPORT_PATH, &headers, order(1)).await.map(drop)
}

async fn http_with(address: &str, authorization: Option<&str>) -> u16 {
    let mut headers = vec![PROTOBUF];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let answer = client::post(address, &headers, order(1)).await;
    answer.expect("Petrel answers").status
}

/// A token in a file opens the receiver, another one does not; the file changes and with it who may come in.
/// What is sent on brings a token of its own, and never the sender's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_wanted_shown_and_changed() {
    let scratch = Scratch::new("bearer");
    let token_file = replace(&scratch, "token", "first-token\n");
    let sink = wait::free_address();
    let kept = sink::keep(&sink, || Ok(()));
    // The next hop wants a token, too: another Petrel.
    let next = Ports::new();
    let auth = ", auth: { authenticator: bearertokenauth }";
    let config = format!(
        "{}{}{}{NATIVE}extensions: {{ bearertokenauth: {{ token: 'of-the-next-hop' }} }}\n",
        next.receivers_with(auth, auth),
        front::exporters(&sink),
        next.telemetry("")
    );
    let next = Front::start(Scratch::new("bearer-next"), next, &config);

    let ports = Ports::new();
    let config = format!(
        "{}{}exporters: {{ otlp_grpc: {{ endpoint: '{}', tls: {{ insecure: true }}, auth: {{ authenticator: bearertokenauth/out }} }} }}
extensions: {{ bearertokenauth: {{ filename: '{}' }}, bearertokenauth/out: {{ token: 'of-the-next-hop' }} }}
{NATIVE}",
        ports.receivers_with(auth, auth),
        ports.telemetry(""),
        next.ports.grpc,
        token_file.display()
    );
    let front = Front::start(scratch, ports, &config);
    let (grpc, http) = (&front.ports.grpc, &front.ports.http);

    let refused = [
        None,
        Some(bearer("second-token")),
        Some(bearer("first-toke")),
        Some(bearer("first-token-and-more")),
        Some(bearer("of-the-next-hop")),
        Some("first-token".to_owned()),
        Some("Basic first-token".to_owned()),
    ];
    for authorization in refused {
        let authorization = authorization.as_deref();
        let refusal = grpc_with(grpc, authorization).await.expect_err("no entry");
        assert_eq!(refusal.code(), Code::Unauthenticated, "{authorization:?}");
        assert_eq!(
            http_with(http, authorization).await,
            401,
            "{authorization:?}"
        );
    }
    assert!(kept.requests().is_empty());
    let (first, second) = (bearer("first-token"), bearer("second-token"));
    grpc_with(grpc, Some(&first))
        .await
        .expect("the right token");
    assert_eq!(http_with(http, Some(&first)).await, 200);
    assert_eq!(kept.requests().len(), 2);

    replace(&front.scratch, "token", "second-token\nfirst-token\n");
    let deadline = wait::Deadline::after(wait::SOON);
    while grpc_with(grpc, Some(&second)).await.is_err() {
        assert!(!deadline.is_over(), "the new token is never taken");
        grpc_with(grpc, Some(&first))
            .await
            .expect("the old one is good all the time");
        wait::a_moment();
    }
    replace(&front.scratch, "token", "second-token\n");
    let deadline = wait::Deadline::after(wait::SOON);
    while grpc_with(grpc, Some(&first)).await.is_ok() {
        assert!(!deadline.is_over(), "the old token is good for ever");
        wait::a_moment();
    }
    assert_eq!(http_with(http, Some(&second)).await, 200);
    for front in [front, next] {
        assert!(front.petrel.stop().success());
    }
}

const SECRETS: [&str; 4] = [
    "hunter2-header",
    "hunter2-token",
    "hunter2-inward",
    "hunter2-wrong",
];

/// Everything that Petrel says while it is used, refuses and fails, at the level that tells most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_told_to_nobody() {
    let scratch = Scratch::new("secrets");
    let authority = Authority::new("an authority");
    let files = authority.issue(&scratch, "petrel");
    let key = std::fs::read_to_string(&files.key).expect("it was written");
    // The second line of a key is its own.
    let key_line = key.lines().nth(1).expect("a key has lines").to_owned();
    let pem = |text: &str| text.trim_end().replace('\n', "\\n");
    let cert = std::fs::read_to_string(&files.cert).expect("it was written");
    let sink = wait::free_address();
    let kept = sink::keep(&sink, || Err(Status::unavailable("not now")));
    let ports = Ports::new();
    let auth = ", auth: { authenticator: bearertokenauth }";
    let tls = format!(
        "{auth}, tls: {{ cert_pem: \"{}\", key_pem: \"{}\" }}",
        pem(&cert),
        pem(&key)
    );
    let config = format!(
        "{}{}exporters:
  otlp_grpc: {{ endpoint: '{sink}', tls: {{ insecure: true }}, headers: {{ x-api-key: hunter2-header }}, auth: {{ authenticator: bearertokenauth/out }} }}
extensions: {{ bearertokenauth: {{ token: hunter2-inward }}, bearertokenauth/out: {{ token: hunter2-token }} }}
streams: {{ metadata_keys: [x-scope-orgid] }}
{NATIVE}",
        ports.receivers_with(auth, &tls),
        ports.telemetry(", logs: { level: trace }")
    );
    let front = Front::start(scratch, ports, &config);
    let file = front.scratch.path("petrel.yaml");
    let grpc = &front.ports.grpc;
    let wrong = bearer("hunter2-wrong");
    grpc_with(grpc, Some(&wrong)).await.expect_err("wrong");
    let inward = bearer("hunter2-inward");
    let headers = [
        ("authorization", inward.as_str()),
        ("x-scope-orgid", "hunter2-organisation"),
    ];
    let refusal = Grpc::new(grpc).call(EXPORT_PATH, &headers, order(1)).await;
    let refusal = refusal.expect_err("the sink refuses");
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(kept.requests().len(), 1, "it got as far as the sink");
    // A secret under a name that is misspelt is a secret all the same.
    front.refuses(&config.replace("{ token: hunter2-token }", "{ tokn: hunter2-token }"));
    front.refuses(&config.replace("headers: {", "heders: {"));
    front.scratch.write("petrel.yaml", &config);

    let mut said = vec![
        ("the refusal", refusal.to_string()),
        ("status", front.tell(&["status"])),
    ];
    let mut command = petrel::command(&[]);
    command.args(["config", "print", "-c"]).arg(&file);
    let printed = command.output().expect("the binary under test runs");
    assert!(printed.status.success());
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("x-api-key"), "{printed}");
    said.push(("config print", printed));
    let mut command = petrel::command(&[]);
    command.args(["validate", "-o", "json", "-c"]).arg(&file);
    let validated = command.output().expect("the binary under test runs");
    said.push((
        "validate",
        String::from_utf8_lossy(&validated.stdout).into_owned(),
    ));
    said.push(("stdout", front.petrel.stdout()));
    said.push(("the log", front.petrel.stderr()));
    assert!(
        front.petrel.stderr().contains("DEBUG"),
        "the level is in force"
    );
    for (what, text) in &said {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{what} tells {secret}:\n{text}");
        }
        assert!(!text.contains(&key_line), "{what} tells the key");
    }
    assert!(records_of(kept.requests().remove(0)).len() == 1);
    assert!(front.petrel.stop().success());
}
