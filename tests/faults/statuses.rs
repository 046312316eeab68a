//! A next hop that answers with each status that may be tried again, and with each that may not.

use std::time::Duration;

use tonic::Code;

use crate::answering::{Answer, Answering, Asked};
use crate::collector::Collector;
use crate::load::{self, RECORDS_A_REQUEST, Shape};
use crate::scene::{Mode, Plan, Scene, Upstream};
use crate::table::{Extent, Row, Table};
use crate::wait;

/// One request in so many gets a status, each in turn.
const EVERY: u64 = 3;
/// How often a request is told to come back.
const N_POSTPONED: u32 = 2;
const ASKED: Option<Duration> = Some(Duration::from_millis(700));

const GRPC_LATER: [Answer; 8] = [
    Answer::Later(Code::Cancelled, None),
    Answer::Later(Code::DeadlineExceeded, None),
    Answer::Later(Code::Aborted, None),
    Answer::Later(Code::OutOfRange, None),
    Answer::Later(Code::Unavailable, None),
    Answer::Later(Code::Unavailable, ASKED),
    Answer::Later(Code::DataLoss, None),
    Answer::Later(Code::ResourceExhausted, ASKED),
];
const GRPC_NEVER: [Answer; 11] = [
    Answer::Refuse(Code::Unknown),
    Answer::Refuse(Code::InvalidArgument),
    Answer::Refuse(Code::NotFound),
    Answer::Refuse(Code::AlreadyExists),
    Answer::Refuse(Code::PermissionDenied),
    // Halved once, and each half refused again.
    Answer::Refuse(Code::ResourceExhausted),
    Answer::Refuse(Code::FailedPrecondition),
    Answer::Refuse(Code::Unimplemented),
    Answer::Refuse(Code::Internal),
    Answer::Refuse(Code::Unauthenticated),
    Answer::Reject(7),
];
const HTTP_LATER: [Answer; 6] = [
    Answer::HttpLater(429, None),
    Answer::HttpLater(429, Some(1)),
    Answer::HttpLater(502, None),
    Answer::HttpLater(503, None),
    Answer::HttpLater(503, Some(1)),
    Answer::HttpLater(504, None),
];
const HTTP_NEVER: [Answer; 8] = [
    Answer::HttpRefuse(400),
    Answer::HttpRefuse(401),
    Answer::HttpRefuse(403),
    Answer::HttpRefuse(404),
    // Halved once, and each half refused again.
    Answer::HttpRefuse(413),
    Answer::HttpRefuse(500),
    Answer::HttpRefuse(501),
    Answer::Reject(7),
];

/// The answers of one row.
#[derive(Clone, Copy)]
pub(crate) struct Statuses {
    pub(crate) name: &'static str,
    answers: &'static [Answer],
    is_http: bool,
    is_retryable: bool,
}

/// Those that every sender can ride out.
pub(crate) const RETRYABLE: Statuses = Statuses {
    name: "each retryable gRPC status",
    answers: &GRPC_LATER,
    is_http: false,
    is_retryable: true,
};

const STATUSES: [Statuses; 4] = [
    RETRYABLE,
    Statuses {
        name: "each permanent gRPC status, partial success",
        answers: &GRPC_NEVER,
        is_http: false,
        is_retryable: false,
    },
    Statuses {
        name: "each retryable HTTP status",
        answers: &HTTP_LATER,
        is_http: true,
        is_retryable: true,
    },
    Statuses {
        name: "each permanent HTTP status, partial success",
        answers: &HTTP_NEVER,
        is_http: true,
        is_retryable: false,
    },
];

impl Statuses {
    fn choose(self, asked: Asked) -> Answer {
        let index = asked.first / RECORDS_A_REQUEST;
        if !index.is_multiple_of(EVERY) || (self.is_retryable && asked.n_before >= N_POSTPONED) {
            return Answer::Pass;
        }
        self.answers[(index / EVERY) as usize % self.answers.len()].clone()
    }
}

pub(crate) async fn run(
    collector: Collector,
    statuses: Statuses,
    plan: Plan,
    n_requests: u64,
) -> Row {
    let (mode, upstream) = (plan.mode, plan.upstream);
    let mut answering = None;
    let mut scene = Scene::before_petrel(collector, plan, |sink| {
        let address = wait::free_address();
        let choose = move |asked| statuses.choose(asked);
        answering = Some(Answering::start(&address, &sink, choose));
        address
    });
    let answering = answering.expect("it was started");
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    scene.start_upstream(collector);
    let shape = Shape {
        n_requests,
        ..Shape::default()
    };
    let mut told = scene.load(shape).done().await;
    if let Upstream::RustSdk(_) | Upstream::PythonSdk(_) = upstream {
        assert_eq!(told.n_retried, 0, "what the SDK tries again is enough");
    }
    settle(&mut scene, &answering, n_requests);
    if mode == Mode::Wait && upstream == Upstream::Collector {
        // Only the Collector heard what Petrel refused, not its sender.
        let facts = answering.facts();
        for number in facts.refused.iter().chain(&facts.rejected) {
            told.acknowledged.remove(number);
            told.refused.insert(*number);
        }
    }
    let failed = "otelcol_exporter_send_failed_log_records";
    let (n_refused, n_rejected) = {
        let facts = answering.facts();
        (facts.refused.len() as u64, facts.rejected.len() as u64)
    };
    let n_failed = (n_refused + n_rejected) as f64;
    if !statuses.is_retryable {
        scene.wait_for_metric(failed, &[], n_failed);
        let n_said = scene.metrics().sum(failed, &[]);
        assert_eq!(n_said, n_failed, "Petrel counts what is refused for good");
    }
    if mode != Mode::Wait && !statuses.is_retryable {
        assert!(scene.log().contains("are lost, the next hop refuses them"));
    }
    let row = scene.balance(statuses.name, &told);
    let facts = answering.facts();
    match mode {
        Mode::Wait => assert_eq!((row.refused, row.said_lost), (n_failed as u64, 0), "{row}"),
        _ => assert_eq!((row.refused, row.said_lost), (0, n_failed as u64), "{row}"),
    }
    if statuses.is_retryable {
        let expected = n_requests.div_ceil(EVERY) * u64::from(N_POSTPONED);
        assert_eq!(facts.n_postponed, expected, "each was told to come back");
        assert_eq!(n_failed, 0.0);
    }
    // The client of these tests comes back when it likes.
    if (mode, upstream) != (Mode::Wait, Upstream::Client) {
        assert_eq!(facts.n_too_early, 0, "RetryInfo and Retry-After are kept");
    }
    row
}

/// Waits until each record has arrived or is refused for good.
fn settle(scene: &mut Scene, answering: &Answering, n_requests: u64) {
    let n_records = (n_requests * RECORDS_A_REQUEST) as usize;
    tokio::task::block_in_place(|| {
        wait::until("each record to arrive or to be refused", wait::SOON, || {
            let n_arrived = load::arrivals(scene.arrived()).len();
            let facts = answering.facts();
            (n_arrived + facts.refused.len() + facts.rejected.len() >= n_records).then_some(())
        });
    });
}

pub(crate) async fn rows(table: &mut Table) {
    let collector = table.collector;
    for (index, statuses) in STATUSES.into_iter().enumerate() {
        for mode in Mode::ALL {
            for upstream in Upstream::USUAL {
                let quick = [Mode::File, Mode::Wait, Mode::Wait, Mode::Memory];
                let is_quick = mode == quick[index] && upstream == Upstream::Client && index != 2;
                if table.extent == Extent::Quick && !is_quick {
                    continue;
                }
                let plan = Plan {
                    is_http: statuses.is_http,
                    ..Plan::new(mode, upstream)
                };
                let title = plan.title(statuses.name);
                let n_requests = table.choose(66, 264);
                let row = run(collector, statuses, plan, n_requests);
                table.run(&title, row).await;
            }
        }
    }
}
