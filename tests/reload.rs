//! SIGHUP: another configuration while traffic goes on. All of a good one is in force at once, nothing of
//! a bad one; no request and no connection is lost either way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::task::JoinSet;
use tonic::Code;

use crate::client::{self, Grpc};
use crate::front::{self, Front, Ports};
use crate::process::Scratch;
use crate::records::{self, Record};
use crate::sink::{self, Kept};
use crate::stage::records_of;
use crate::{linux, story, wait};

/// These tests wait for log lines that others would be glad to see thinned.
const ALL_LOGS: &str = ", logs: { sampling: { enabled: false } }";
const SENDERS: usize = 4;

/// Petrel before a sink, with the configuration that [`Scene::config`] gives without changes.
struct Scene {
    front: Front,
    kept: Kept,
    sink: String,
    state: String,
}

impl Scene {
    #[track_caller]
    fn new(more: &str) -> Self {
        let (scratch, ports) = (Scratch::new("reload"), Ports::new());
        let sink = wait::free_address();
        let kept = sink::keep(&sink, || Ok(()));
        let state = scratch.directory("state").display().to_string();
        let config = config(&ports, &sink, &state, more);
        Self {
            front: Front::start(scratch, ports, &config),
            kept,
            sink,
            state,
        }
    }

    /// The configuration that it runs with, and `more`.
    fn config(&self, more: &str) -> String {
        config(&self.front.ports, &self.sink, &self.state, more)
    }

    async fn sends(&self, service: &str, body: &str) -> Record {
        let request = request(service, body).encode_to_vec();
        let mut client = Grpc::new(&self.front.ports.grpc);
        let answer = client.send(request.into()).await;
        answer.expect("Petrel and the sink accept");
        self.last()
    }

    fn last(&self) -> Record {
        let requests = self.kept.requests().into_iter();
        let mut records = requests.flat_map(records_of);
        records
            .rfind(|record| !record.is_event())
            .expect("one was sent")
    }
}

fn config(ports: &Ports, sink: &str, state: &str, more: &str) -> String {
    let (receivers, telemetry) = (ports.receivers(), ports.telemetry(ALL_LOGS));
    let exporters = front::exporters(sink);
    format!("{receivers}{exporters}{telemetry}state: {{ directory: '{state}' }}\n{more}")
}

fn request(service: &str, body: &str) -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: Some(records::string_value(body)),
        ..LogRecord::default()
    };
    records::request(service, vec![record])
}

/// Senders with a connection each that go on until they are told to end, and never accept a refusal.
struct Traffic {
    is_ending: Arc<AtomicBool>,
    senders: JoinSet<usize>,
}

impl Traffic {
    fn start(address: &str) -> Self {
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let (mut client, is_ending) = (Grpc::new(address), Arc::clone(&is_ending));
            senders.spawn(async move {
                let mut n_sent = 0;
                while !is_ending.load(Ordering::Relaxed) {
                    let request = request("shop", &format!("sender {sender} order {n_sent}"));
                    client
                        .export(&request)
                        .await
                        .expect("no request is refused by a reload");
                    n_sent += 1;
                }
                n_sent
            });
        }
        Self { is_ending, senders }
    }

    /// How much each sender has sent.
    async fn end(self) -> usize {
        self.is_ending.store(true, Ordering::Relaxed);
        self.senders.join_all().await.into_iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_and_no_connection_is_lost() {
    const ROUNDS: usize = 4;
    let scene = Scene::new("");
    let traffic = Traffic::start(&scene.front.ports.grpc);
    let connections = || linux::connected_from(&scene.front.ports.grpc);
    wait::until("all senders to be connected", wait::SOON, || {
        (connections().len() >= SENDERS && !scene.kept.requests().is_empty()).then_some(())
    });
    let before = connections();
    for round in 0..ROUNDS {
        scene
            .front
            .reloads(&scene.config(&format!("enrichment: none\nworkers: {}\n", 1 + round % 2)));
        scene.front.reloads(&scene.config("mode: observe\n"));
        scene.front.refuses(&scene.config("mode: sideways\n"));
        scene.front.reloads(&scene.config(""));
    }
    assert!(
        before.is_subset(&connections()),
        "{before:?} before, {:?} after",
        connections()
    );
    let n_sent = traffic.end().await;
    let mut copies: HashMap<String, usize> = HashMap::new();
    let requests = scene.kept.requests().into_iter();
    for record in requests
        .flat_map(records_of)
        .filter(|record| !record.is_event())
    {
        *copies.entry(record.body().to_owned()).or_default() += 1;
    }
    assert_eq!(copies.len(), n_sent, "every request has arrived");
    assert!(copies.values().all(|count| *count == 1), "and only once");
    assert!(scene.front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_added_to_records_changes() {
    let scene = Scene::new("");
    assert!(scene.sends("shop", "order 1 accepted").await.is_enriched());

    scene.front.reloads(&scene.config("enrichment: none\n"));
    assert!(!scene.sends("shop", "order 2 accepted").await.is_enriched());

    scene.front.reloads(&scene.config("enrichment: id\n"));
    let record = scene.sends("shop", "order 3 accepted").await;
    assert!(record.is_enriched() && record.text("log.record.template").is_none());

    for mode in ["observe", "off"] {
        scene
            .front
            .reloads(&scene.config(&format!("mode: {mode}\n")));
        assert!(!scene.sends("shop", "order 4 accepted").await.is_enriched());
        assert_eq!(scene.front.status()["mode"], mode);
        let metrics = scene.front.metrics();
        assert_eq!(metrics.sum("petrel_mode", &[("mode", mode)]), 1.0);
        assert_eq!(metrics.sum("petrel_mode", &[("mode", "enrich")]), 0.0);
    }

    let exclude = "streams: { exclude: [{ service.name: 'batch-*' }] }\n";
    scene.front.reloads(&scene.config(exclude));
    assert!(
        !scene
            .sends("batch-7", "order 5 accepted")
            .await
            .is_enriched()
    );
    assert!(scene.sends("shop", "order 5 accepted").await.is_enriched());
    let excluded = [("reason", "excluded")];
    let metrics = scene.front.metrics();
    assert_eq!(metrics.sum("petrel_records_skipped", &excluded), 1.0);
    assert!(scene.front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_hop_changes() {
    let scene = Scene::new("");
    scene.sends("shop", "order 1 accepted").await;
    let other = wait::free_address();
    let kept = sink::keep(&other, || Ok(()));
    let moved = config(&scene.front.ports, &other, &scene.state, "");
    scene.front.reloads(&moved);
    scene.sends("shop", "order 2 accepted").await;
    assert_eq!(scene.kept.requests().len(), 1, "the old one gets no more");
    let arrived: Vec<Record> = kept.requests().into_iter().flat_map(records_of).collect();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].body(), "order 2 accepted");
    assert!(scene.front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_changes() {
    let scene = Scene::new("");
    let (ports, telemetry) = (&scene.front.ports, scene.front.ports.telemetry(ALL_LOGS));
    let rest = format!(
        "{}{telemetry}state: {{ directory: '{}' }}\n",
        front::exporters(&scene.sink),
        scene.state
    );
    // One connection all the time: a reload must not need a new one.
    let mut client = Grpc::new(&ports.grpc);
    client
        .export(&request("shop", "order 1"))
        .await
        .expect("no token is wanted");

    let auth = ", auth: { authenticator: bearertokenauth }";
    let with_token = |token: &str| {
        let receivers = ports.receivers_with(auth, auth);
        format!("{receivers}{rest}extensions: {{ bearertokenauth: {{ token: '{token}' }} }}\n")
    };
    for token in ["first", "second"] {
        scene.front.reloads(&with_token(token));
        let refusal = client.export(&request("shop", "order 2")).await;
        let refusal = refusal.expect_err("a token is wanted");
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal}");
        for (sent, status) in [("first", "second"), ("second", "first")]
            .map(|(own, _)| (own, if own == token { 200 } else { 401 }))
        {
            let authorization = format!("Bearer {sent}");
            let headers = [
                ("content-type", "application/x-protobuf"),
                ("authorization", authorization.as_str()),
            ];
            let body: Bytes = request("shop", "order 3").encode_to_vec().into();
            let answer = client::post(&ports.http, &headers, body).await;
            assert_eq!(
                answer.expect("Petrel answers").status,
                status,
                "{sent} of {token}"
            );
        }
    }

    let moved = Ports::new();
    let receivers = moved.receivers();
    scene.front.reloads(&format!("{receivers}{rest}"));
    Grpc::new(&moved.grpc)
        .export(&request("shop", "order 4"))
        .await
        .expect("served where it is now");
    for address in [&ports.grpc, &ports.http] {
        let port = wait::port_of(address);
        wait::until("the old port to be closed", wait::SOON, || {
            (!wait::listens(port)).then_some(())
        });
    }
    assert!(scene.front.petrel.stop().success());
}

/// Eight hours are learnt, then everything is read again: what is new is found at once, as it would have
/// been without, and the templates are those of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learnt_stays() {
    let scene = Scene::new("");
    let address = scene.front.ports.grpc.clone();
    story::tell(&address, &story::history()).await;
    let before = stream(&scene.front);
    scene
        .front
        .reloads(&scene.config("workers: 3\ndetectors: { latency: { enabled: false } }\n"));
    let after = stream(&scene.front);
    assert_eq!(before["n_templates"], after["n_templates"]);
    assert_eq!(before["n_templates"], 4);
    let names = |status: &serde_json::Value| {
        let detectors = status["detection"]["detectors"].as_array();
        let names = detectors.into_iter().flatten();
        names
            .map(|detector| detector["name"].to_string())
            .collect::<String>()
    };
    let status = scene.front.status();
    assert!(!names(&status).contains("latency"), "{}", names(&status));

    story::tell(&address, &story::afterwards()).await;
    let event = wait::until("the new line to be found", wait::SOON, || {
        let requests = scene.kept.requests().into_iter();
        let mut records = requests.flat_map(records_of).filter(Record::is_event);
        records.find(|event| event.body().contains(story::NEW))
    });
    assert_eq!(event.record.event_name, "anomaly.detected");

    scene.front.reloads(&scene.config(""));
    let status = scene.front.status();
    assert!(names(&status).contains("latency"), "{}", names(&status));
    assert!(scene.front.petrel.stop().success());
}

fn stream(front: &Front) -> serde_json::Value {
    let status = front.status();
    let streams = status["detection"]["streams"].as_array();
    let stream = streams.into_iter().flatten().next();
    stream.expect("one stream has been seen").clone()
}

/// A bad file, and what must be said of it.
fn bad(scene: &Scene, taken: &str) -> Vec<(&'static str, String, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let ports = &scene.front.ports;
    let elsewhere = config(ports, &scene.sink, &format!("{}-2", scene.state), "");
    let mut occupied = Ports::new();
    occupied.http = taken.to_owned();
    let rest = |ports: &Ports| {
        let (receivers, telemetry) = (ports.receivers(), scene.front.ports.telemetry(ALL_LOGS));
        let exporters = front::exporters(&scene.sink);
        let state = &scene.state;
        format!("{receivers}{exporters}{telemetry}state: {{ directory: '{state}' }}\n")
    };
    let telemetry = |changed: &str| {
        let changed = ports.telemetry(changed);
        scene
            .config("")
            .replace(&ports.telemetry(ALL_LOGS), &changed)
    };
    let mut moved = Ports::new();
    moved.metrics.clone_from(&ports.metrics);
    moved.health.clone_from(&ports.health);
    let admin = scene
        .config("")
        .replace(&ports.telemetry(ALL_LOGS), &moved.telemetry(""));
    vec![
        (
            "a file cut short",
            "receivers: {".to_owned(),
            words(&["PTL-C001"]),
        ),
        (
            "an unknown key",
            scene.config("enrichmnt: none\n"),
            words(&["PTL-C003", "enrichment", "petrel.yaml:"]),
        ),
        (
            "a word out of range",
            scene.config("workers: many\n"),
            words(&["workers"]),
        ),
        (
            "a detector's setting",
            scene.config("detectors: { novelty: { no_such_setting: 1 } }\n"),
            words(&["no_such_setting"]),
        ),
        (
            "another state directory",
            elsewhere,
            words(&["state.directory", "restart"]),
        ),
        ("a port that is taken", rest(&occupied), words(&[taken])),
        (
            "another level of logs",
            telemetry(", logs: { level: warn }"),
            words(&["telemetry.logs"]),
        ),
        (
            "another thinning of logs",
            telemetry(", logs: { sampling: { initial: 3 } }"),
            words(&["telemetry.logs"]),
        ),
        ("another admin endpoint", admin, words(&["telemetry.admin"])),
        (
            "own telemetry",
            telemetry(", otlp: { exporter: otlp_grpc }"),
            words(&["telemetry.otlp"]),
        ),
        (
            "a certificate that is missing",
            scene
                .config("")
                .replace("tls: { insecure: true }", "tls: { ca_file: /no/where.pem }"),
            words(&["/no/where.pem"]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing() {
    let scene = Scene::new("");
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = occupied.local_addr().expect("bound").to_string();
    let traffic = Traffic::start(&scene.front.ports.grpc);
    for (what, config, words) in bad(&scene, &taken) {
        // With it, something that would be seen at once.
        let said = scene
            .front
            .refuses(&format!("{config}\nenrichment: none\n"));
        for word in words {
            assert!(said.contains(&word), "{what}: {word:?} is not in {said}");
        }
        let record = scene.sends("shop", "order 17 accepted").await;
        assert!(record.is_enriched(), "{what}: the old one is in force");
    }
    traffic.end().await;
    scene.front.reloads(&scene.config("enrichment: none\n"));
    assert!(!scene.sends("shop", "order 18 accepted").await.is_enriched());
    assert!(scene.front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reloads_leave_nothing_behind() {
    const WARM_UP: usize = 4;
    const RELOADS: usize = 24;
    let scene = Scene::new("");
    let traffic = Traffic::start(&scene.front.ports.grpc);
    let reload = |round: usize| {
        let more = ["enrichment: id\n", "", "workers: 3\n", ""][round % 4];
        scene.front.reloads(&scene.config(more));
    };
    let counts = || ["task", "fd"].map(|what| linux::count_of(&scene.front.petrel, what));
    (0..WARM_UP).for_each(reload);
    let before = counts();
    (WARM_UP..WARM_UP + RELOADS).for_each(reload);
    let after = wait::until("threads of before to end", wait::SOON, || {
        let after = counts();
        (after[0] <= before[0]).then_some(after)
    });
    // A connection to the sink and one of a question may come between.
    let fds = |counts: [Option<usize>; 2]| counts[1].unwrap_or_default();
    assert!(
        fds(after) <= fds(before) + 4,
        "{before:?} before, {after:?} after"
    );
    traffic.end().await;
    assert!(scene.front.petrel.stop().success());
}

/// Own logs in JSON stay JSON when a file is not taken: each error is a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_a_reload_are_json_where_logs_are() {
    let (scratch, ports) = (Scratch::new("json_logs"), Ports::new());
    let telemetry = ports.telemetry(", logs: { encoding: json }");
    let config = format!("{}{telemetry}", ports.receivers());
    let front = Front::start(scratch, ports, &config);
    front.refuses(&format!("{config}mode: sideways\nworkers: none\n"));
    let said = front.petrel.stderr();
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for words in ["sideways", "workers"] {
        let errors = lines.iter().filter(|line| line["level"] == "ERROR");
        let mut messages = errors.map(|line| line["fields"]["message"].to_string());
        assert!(messages.any(|it| it.contains(words)), "{words}: {said}");
    }
    assert!(front.petrel.stop().success());
}

/// Requests that were accepted into a file are not forgotten when the configuration says no more of it, and
/// leave when it does again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_taken_away_keeps_what_it_has() {
    let (scratch, ports) = (Scratch::new("left"), Ports::new());
    let (nobody, directory) = (wait::free_address(), scratch.directory("queue"));
    let config = |queue: &str| {
        format!(
            "{}{}extensions: {{ file_storage: {{ directory: '{}' }} }}\n\
             exporters: {{ otlp_grpc: {{ endpoint: '{nobody}', tls: {{ insecure: true }}{queue} }} }}\n\
             service: {{ extensions: [file_storage], pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp_grpc] }} }} }}\n\
             drain_timeout: 100ms\n",
            ports.receivers(),
            ports.telemetry(""),
            directory.display(),
        )
    };
    let queued = config(
        ", retry_on_failure: { initial_interval: 100ms, max_interval: 200ms }, sending_queue: { wait_for_result: false, storage: file_storage }",
    );
    let direct = config("");
    let front = Front::start(scratch, ports, &queued);
    let request = records::request("shop", vec![LogRecord::default()]);
    let mut client = Grpc::new(&front.ports.grpc);
    client.export(&request).await.expect("the file takes it");

    let waiting = |front: &Front, queue: &str| front.status()["queues"][queue]["requests"].clone();
    front.reloads(&direct);
    assert_eq!(waiting(&front, "otlp_grpc (retired)"), 1);
    front.reloads(&queued);
    assert_eq!(waiting(&front, "otlp_grpc"), 1);
    front.reloads(&direct);
    let Front {
        petrel,
        scratch,
        ports,
    } = front;
    assert!(petrel.stop().success());

    let front = Front::start(scratch, ports, &direct);
    let said = front.petrel.stderr();
    assert!(
        said.contains("1 requests that were accepted wait in the file of a queue"),
        "{said}"
    );
    let left = [("reason", "left")];
    assert_eq!(front.metrics().sum("petrel_queue_file_errors", &left), 1.0);
    front.reloads(&queued);
    let kept = sink::keep(&nobody, || Ok(()));
    wait::until("what waited to arrive", wait::SOON, || {
        (kept.requests().len() == 1).then_some(())
    });
    wait::until("the queue to be empty", wait::SOON, || {
        (waiting(&front, "otlp_grpc") == 0).then_some(())
    });
    // Empty, it is ended, and its file is free for who comes next.
    front.reloads(&direct);
    front.reloads(&direct);
    front.reloads(&queued);
    assert!(front.petrel.stop().success());
}

/// What one exporter was to send is never sent to where another does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_in_memory_stays_with_its_exporter() {
    let (scratch, ports) = (Scratch::new("apart"), Ports::new());
    let [nobody, sink] = std::array::from_fn(|_| wait::free_address());
    let kept = sink::keep(&sink, || Ok(()));
    let config = |name: &str, target: &str| {
        format!(
            "{}{}exporters: {{ otlp_grpc/{name}: {{ endpoint: '{target}', tls: {{ insecure: true }}, sending_queue: {{ wait_for_result: false }} }} }}\n\
             drain_timeout: 100ms\n",
            ports.receivers(),
            ports.telemetry(""),
        )
    };
    let (before, after) = (config("a", &nobody), config("b", &sink));
    let front = Front::start(scratch, ports, &before);
    let request = records::request("shop", vec![LogRecord::default()]);
    let mut client = Grpc::new(&front.ports.grpc);
    client.export(&request).await.expect("it is in memory");
    // First it is nobody's any more, then another exporter has one.
    front.reloads(&before.replace("wait_for_result: false", "wait_for_result: true"));
    front.reloads(&after);
    let queues = front.status()["queues"].clone();
    assert_eq!(queues["otlp_grpc/a (retired)"]["requests"], 1, "{queues}");
    assert_eq!(queues["otlp_grpc/b"]["requests"], 0, "{queues}");
    client.export(&request).await.expect("it is in memory");
    wait::until("the second to arrive", wait::SOON, || {
        (kept.requests().len() == 1).then_some(())
    });
    assert!(front.petrel.stop().success());
    assert_eq!(kept.requests().len(), 1, "the first was another's");
}
