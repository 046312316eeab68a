//! What can be asked and switched while Petrel runs: `petrel status`, `mode` and `detector`, and who is
//! answered at all.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use crate::client::Grpc;
use crate::front::{self, Front, Ports};
use crate::process::Scratch;
use crate::records::{self, Record};
use crate::sink::{self, Kept};
use crate::stage::records_of;
use crate::{petrel, story, wait};

/// Exit code when nobody answers.
const EXIT_UNREACHABLE: i32 = 69;
/// The story's second part, told of another service so that it has no history.
const RECORDS_OF_HISTORY: usize = 200;

struct Scene {
    front: Front,
    kept: Kept,
}

impl Scene {
    #[track_caller]
    fn new(more: &str) -> Self {
        let (scratch, ports) = (Scratch::new("control"), Ports::new());
        let sink = wait::free_address();
        let kept = sink::keep(&sink, || Ok(()));
        let (receivers, telemetry) = (ports.receivers(), ports.telemetry(""));
        let exporters = front::exporters(&sink);
        let config = format!("{receivers}{exporters}{telemetry}{more}");
        Self {
            front: Front::start(scratch, ports, &config),
            kept,
        }
    }

    /// Sends a request; what came out of it, byte for byte.
    async fn sends(&self, body: &Bytes) -> Bytes {
        let mut client = Grpc::new(&self.front.ports.grpc);
        let answer = client.send(body.clone()).await;
        answer.expect("Petrel and the sink accept");
        let mut requests = self.kept.requests();
        requests.retain(|request| {
            let is_event = records_of(request.clone()).iter().any(Record::is_event);
            !is_event
        });
        requests.pop().expect("one was sent")
    }

    fn mode(&self, mode: &str) {
        self.front.tell(&["mode", mode]);
    }

    fn events(&self) -> Vec<Record> {
        let requests = self.kept.requests().into_iter();
        requests
            .flat_map(records_of)
            .filter(Record::is_event)
            .collect()
    }

    fn skipped(&self, reason: &str) -> f64 {
        let labels = [("reason", reason)];
        self.front.metrics().sum("petrel_records_skipped", &labels)
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_is_in_force_at_once() {
    let scene = Scene::new("mode: observe\n");
    let is_same = async |number| {
        let body = order(number);
        scene.sends(&body).await == body
    };
    assert!(is_same(1).await, "the configured mode");

    scene.mode("enrich");
    assert!(!is_same(2).await);
    let status = scene.front.status();
    assert_eq!(status["mode"], "enrich");
    assert_eq!(status["mode_is_switched"], true);
    let text = scene.front.tell(&["status"]);
    assert!(
        text.contains("mode enrich") && text.contains("petrel mode configured"),
        "{text}"
    );

    scene.mode("off");
    assert!(is_same(3).await);
    assert_eq!(scene.skipped("off"), 1.0);
    let metrics = scene.front.metrics();
    assert_eq!(metrics.sum("petrel_mode", &[("mode", "off")]), 1.0);
    assert_eq!(metrics.sum("petrel_mode", &[]), 1.0, "in one mode only");

    scene.mode("configured");
    assert!(is_same(4).await);
    let status = scene.front.status();
    assert_eq!(
        (&status["mode"], &status["mode_is_switched"]),
        (&"observe".into(), &false.into())
    );
    assert_eq!(scene.skipped("off"), 1.0, "observed again");
    assert!(scene.front.petrel.stop().success());
}

/// `observe`: nothing is added to what passes, and what is odd is told all the same. `off`: not a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_while_observing_and_not_while_off() {
    let scene = Scene::new("");
    let address = &scene.front.ports.grpc;
    scene.mode("observe");
    story::tell(address, &story::history()).await;
    story::tell(address, &story::afterwards()).await;
    wait::until("the new line to be found", wait::SOON, || {
        let events = scene.events();
        let found = events.iter().any(|event| event.body().contains(story::NEW));
        found.then_some(())
    });
    let passed = scene.kept.requests().into_iter().flat_map(records_of);
    let mut passed = passed.filter(|record| !record.is_event());
    assert!(passed.all(|record| !record.is_enriched()));

    scene.mode("off");
    let before = scene.front.status()["detection"]["totals"]["records"].clone();
    let some = &story::history()[..RECORDS_OF_HISTORY];
    story::tell(address, some).await;
    assert_eq!(scene.skipped("off"), RECORDS_OF_HISTORY as f64);
    let after = &scene.front.status()["detection"]["totals"]["records"];
    assert_eq!(&before, after, "detection has seen none of them");
    assert!(scene.front.petrel.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detector_is_switched() {
    let scene = Scene::new("");
    let seen = |detector: &str| {
        let labels = [("detector", detector)];
        scene
            .front
            .metrics()
            .sum("petrel_detector_records", &labels)
    };
    let off = |detector: &str| {
        let labels = [("detector", detector)];
        scene
            .front
            .metrics()
            .sum("petrel_detector_switched_off", &labels)
    };
    scene.sends(&order(1)).await;
    let n_seen = wait::until("novelty to see a record", wait::SOON, || {
        Some(seen("novelty")).filter(|count| *count > 0.0)
    });

    let said = scene.front.tell(&["detector", "disable", "novelty"]);
    assert!(said.contains("novelty is off until Petrel ends"), "{said}");
    assert_eq!(off("novelty"), 1.0);
    let out = scene.sends(&order(2)).await;
    assert!(records_of(out)[0].is_enriched(), "the rest goes on");
    wait::until("frequency to see both", wait::SOON, || {
        (seen("frequency") >= 2.0).then_some(())
    });
    assert_eq!(seen("novelty"), n_seen, "it hears of nothing");
    let status = scene.front.status();
    assert_eq!(status["detectors_off"], serde_json::json!(["novelty"]));
    let text = scene.front.tell(&["status"]);
    assert!(
        text.contains("novelty") && text.contains("petrel detector enable"),
        "{text}"
    );

    // A reload must not switch on again what somebody switched off.
    let file = std::fs::read_to_string(scene.front.scratch.path("petrel.yaml"));
    scene
        .front
        .reloads(&format!("{}\nworkers: 3\n", file.expect("it was written")));
    assert_eq!(
        scene.front.status()["detectors_off"],
        serde_json::json!(["novelty"])
    );

    scene.front.tell(&["detector", "enable", "novelty"]);
    assert_eq!(off("novelty"), 0.0);
    scene.sends(&order(3)).await;
    wait::until("novelty to see records again", wait::SOON, || {
        (seen("novelty") > n_seen).then_some(())
    });
    assert_eq!(scene.front.status()["detectors_off"], serde_json::json!([]));

    let refused = scene.front.ask(&["detector", "disable", "nonesuch"]);
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        complaint.contains("nonesuch") && complaint.contains("petrel status"),
        "{complaint}"
    );
    assert!(scene.front.petrel.stop().success());
}

/// Who switches something off in an incident must not find it on again after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_outlives_a_crash() {
    let (scratch, ports) = (Scratch::new("switched"), Ports::new());
    let state = scratch.directory("state");
    let (receivers, telemetry) = (ports.receivers(), ports.telemetry(""));
    let config = format!(
        "{receivers}{telemetry}state: {{ directory: '{}', interval: 1h }}\n",
        state.display()
    );
    let front = Front::start(scratch, ports, &config);
    front.tell(&["detector", "disable", "novelty"]);
    front.tell(&["mode", "observe"]);

    let front = front.crashes(&config);
    let status = front.status();
    assert_eq!(status["detectors_off"], serde_json::json!(["novelty"]));
    assert_eq!(
        (&status["mode"], &status["mode_is_switched"]),
        (&"observe".into(), &true.into())
    );
    let metrics = front.metrics();
    assert_eq!(
        metrics.sum("petrel_detector_switched_off", &[("detector", "novelty")]),
        1.0
    );

    // One that is configured no more is taken back all the same.
    let front = front.crashes(&format!(
        "{config}detectors: {{ novelty: {{ enabled: false }} }}\n"
    ));
    front.tell(&["detector", "enable", "novelty"]);
    front.tell(&["mode", "configured"]);
    let front = front.crashes(&config);
    let status = front.status();
    assert_eq!(status["detectors_off"], serde_json::json!([]));
    assert_eq!(status["mode_is_switched"], false);
    assert!(front.petrel.stop().success());
}

/// What is wrong stands under `attention`, and goes when it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_is_wrong() {
    let (scratch, ports) = (Scratch::new("attention"), Ports::new());
    let sink = wait::free_address();
    let (receivers, telemetry) = (ports.receivers(), ports.telemetry(""));
    let exporters = front::exporters(&sink);
    let config = format!("{receivers}{exporters}{telemetry}");
    let front = Front::start(scratch, ports, &config);
    let mut client = Grpc::new(&front.ports.grpc);
    client.send(order(1)).await.expect_err("nobody is there");
    front.refuses(&format!("{config}mode: sideways\n"));
    let text = wait::until("what is wrong", wait::SOON, || {
        Some(front.tell(&["status"])).filter(|text| text.contains("not taken"))
    });
    crate::collector::build::announce(&format!("petrel status says:\n{text}"));
    for words in [
        "attention\n",
        "exporter otlp_grpc: the next hop takes nothing for now: ",
        "the configuration file was read again and not taken: ",
        "sideways",
        &sink,
        ", up ",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }

    let _kept = sink::keep(&sink, || Ok(()));
    let deadline = wait::Deadline::after(wait::SOON);
    while let Err(refused) = client.send(order(2)).await {
        assert!(!deadline.is_over(), "{refused}");
        wait::a_moment();
    }
    front.reloads(&config);
    let text = wait::until("nothing to be wrong", wait::SOON, || {
        Some(front.tell(&["status"])).filter(|text| !text.contains("attention"))
    });
    let line = "exporter otlp_grpc: anomalies, logs to ";
    assert!(text.contains(line), "{text}");
    let said = front.petrel.stderr();
    assert!(said.contains("takes logs again"), "{said}");
    assert!(front.petrel.stop().success());
}

/// The page of `petrel status` has what somebody looks for who was woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_for_people_and_for_programs() {
    let scene = Scene::new("memory_limiter: { limit_mib: 4096 }\n");
    let text = scene.front.tell(&["status"]);
    assert!(text.contains("no stream has been seen yet"), "{text}");
    let address = &scene.front.ports.grpc;
    story::tell(address, &story::history()[..RECORDS_OF_HISTORY]).await;
    let text = wait::until("the stream to be seen", wait::SOON, || {
        Some(scene.front.tell(&["status"])).filter(|text| text.contains(story::SERVICE))
    });
    crate::collector::build::announce(&format!("petrel status says:\n{text}"));
    for words in [
        env!("CARGO_PKG_VERSION"),
        "mode enrich",
        "in flight: 0 requests, 0.0 MiB of 96.0 MiB",
        "resident memory",
        "frequency",
        "live",
        "records: 200 seen by detection",
        "4 templates",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");

    let status = scene.front.status();
    assert_eq!(status["schema_version"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["detection"]["totals"]["records"], RECORDS_OF_HISTORY);
    assert_eq!(status["detection"]["streams"][0]["n_templates"], 4);
    assert!(scene.front.petrel.stop().success());
}

#[test]
fn nobody_answers() {
    let address = wait::free_address();
    for arguments in [
        &["status"][..],
        &["mode", "off"],
        &["detector", "disable", "latency"],
    ] {
        let mut command = petrel::command(&[]);
        command.args(arguments).args(["--admin", &address]);
        let output = command.output().expect("the binary under test runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_UNREACHABLE), "{complaint}");
        assert!(
            complaint.contains(&address) && complaint.contains("--admin"),
            "{complaint}"
        );
        assert!(output.stdout.is_empty());
    }
}

const JSON: &str = "content-type: application/json";

/// What is sent to the admin endpoint, and what it answers.
fn answer(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin endpoint listens");
    let length = body.len();
    let request = format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_a_browser_is_not_answered() {
    let scene = Scene::new("");
    let admin = &scene.front.ports.admin;
    let off = "{\"mode\":\"off\"}";
    let post = "POST /api/v1/mode HTTP/1.1";
    let refused = [
        // A page elsewhere, and one whose name was made to point here.
        format!("{post}\r\nhost: {admin}\r\norigin: https://example.org"),
        format!("{post}\r\nhost: example.org"),
        format!("{post}\r\nhost: 127.0.0.1.example.org"),
        format!("{post}\r\nhost: localhost.example.org:8890"),
        format!("{post}\r\nhost: {admin}\r\norigin: null"),
        "GET /api/v1/status HTTP/1.1\r\nhost: example.org".to_owned(),
        "POST /api/v1/detectors/novelty HTTP/1.1\r\nhost: example.org".to_owned(),
    ];
    for head in refused {
        let answer = answer(admin, &head, off);
        assert!(answer.starts_with("HTTP/1.1 403"), "{head}: {answer}");
        assert!(!answer.contains("novelty\":"), "{answer}");
    }
    assert_eq!(scene.front.status()["mode"], "enrich");

    let bad = [
        (off.replace("off", "sideways"), "400"),
        ("{".to_owned(), "400"),
    ];
    for (body, status) in bad {
        let head = format!("{post}\r\nhost: {admin}\r\n{JSON}");
        let answer = answer(admin, &head, &body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // A form in a page needs no leave to be sent, but is never JSON.
    let form = format!("{post}\r\nhost: {admin}\r\ncontent-type: text/plain");
    let answered = answer(admin, &form, off);
    assert!(answered.starts_with("HTTP/1.1 415"), "{answered}");
    assert_eq!(scene.front.status()["mode"], "enrich");
    let answered = answer(admin, &format!("{post}\r\nhost: {admin}\r\n{JSON}"), off);
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert_eq!(scene.front.status()["mode"], "off");
    assert!(scene.front.petrel.stop().success());
}

#[test]
fn the_admin_endpoint_is_for_this_host_only() {
    let scratch = Scratch::new("admin");
    for address in ["0.0.0.0:8890", "192.0.2.1:8890", "'[::]:8890'"] {
        let config = format!(
            "exporters: {{ otlp_grpc: {{ endpoint: 'localhost:14317', tls: {{ insecure: true }} }} }}
telemetry:
  admin:
    endpoint: {address}
"
        );
        let file = scratch.write("petrel.yaml", config);
        let complaint = petrel::validate(&file, &[]).expect_err(address);
        assert!(
            complaint.contains("petrel.yaml:") && complaint.contains("telemetry.admin"),
            "{complaint}"
        );
    }
}
