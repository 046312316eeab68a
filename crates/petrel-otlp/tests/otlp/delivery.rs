//! Delivery against a model of a next hop that answers in every way there is: no record is lost that
//! was reported accepted, and none arrives twice unsaid.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use petrel_otlp::export::{
    Delivery, DeliverySettings, ExportError, Mode, Outcome, RetrySettings, Step,
};
use petrel_otlp::receive::{ExportReply, Refusal};
use petrel_otlp::{Code, Signal};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SEEDS: u64 = 5000;

fn request(n_records: u64) -> Bytes {
    let record = |n: u64| LogRecord {
        time_unix_nano: n + 1,
        severity_text: "text".repeat(10),
        ..LogRecord::default()
    };
    let resource = |records: Vec<LogRecord>| ResourceLogs {
        scope_logs: vec![ScopeLogs {
            log_records: records,
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    let half = n_records / 2;
    let request = ExportLogsServiceRequest {
        resource_logs: vec![
            resource((0..half).map(record).collect()),
            resource((half..n_records).map(record).collect()),
        ],
    };
    request.encode_to_vec().into()
}

fn records(part: &Bytes) -> Vec<u64> {
    let request = ExportLogsServiceRequest::decode(part.clone()).expect("valid");
    let scopes = request
        .resource_logs
        .into_iter()
        .flat_map(|it| it.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    records.map(|record| record.time_unix_nano).collect()
}

/// A next hop, what it holds, and how often it was told a record is too large.
struct NextHop {
    rng: SmallRng,
    bytes_max: usize,
    /// How many of a hundred answers are not plain success.
    trouble: u32,
    delivered: BTreeMap<u64, u32>,
    rejected: BTreeMap<u64, u32>,
    too_large: BTreeMap<u64, u32>,
}

impl NextHop {
    fn answer(&mut self, part: &Bytes) -> Result<ExportReply, ExportError> {
        let records = records(part);
        let count = |map: &mut BTreeMap<u64, u32>, records: &[u64]| {
            for &record in records {
                *map.entry(record).or_default() += 1;
            }
        };
        if part.len() > self.bytes_max {
            count(&mut self.too_large, &records);
            let refusal = Refusal::too_large("a request", self.bytes_max);
            return Err(ExportError::TooLarge(refusal));
        }
        if !self.rng.random_ratio(self.trouble, 100) {
            count(&mut self.delivered, &records);
            return Ok(ExportReply::default());
        }
        let said = |code| Refusal::new(code, "said");
        match self.rng.random_range(0..9) {
            0 => {
                let n_rejected = self.rng.random_range(0..=records.len());
                let (rejected, taken) = records.split_at(n_rejected);
                count(&mut self.rejected, rejected);
                count(&mut self.delivered, taken);
                Ok(ExportReply {
                    rejected: n_rejected as u64,
                    message: "some".to_owned(),
                })
            }
            1 => Err(ExportError::Retryable(said(Code::Unavailable))),
            2 => Err(ExportError::Retryable(Refusal::later(
                "busy",
                Duration::from_millis(self.rng.random_range(0..3000)),
            ))),
            3 => {
                count(&mut self.rejected, &records);
                Err(ExportError::Permanent(said(Code::InvalidArgument)))
            }
            4 => {
                count(&mut self.too_large, &records);
                Err(ExportError::TooLarge(said(Code::ResourceExhausted)))
            }
            // Taken, and the answer is lost.
            5 => {
                count(&mut self.delivered, &records);
                Err(ExportError::Unanswered(said(Code::DeadlineExceeded)))
            }
            // Cut before anything arrived.
            6 => Err(ExportError::Unanswered(said(Code::Unavailable))),
            // It says that it was late, and passed it on all the same.
            7 => {
                count(&mut self.delivered, &records);
                Err(ExportError::Retryable(said(Code::DeadlineExceeded)))
            }
            _ => Err(ExportError::Retryable(said(Code::Aborted))),
        }
    }
}

struct Run {
    hop: NextHop,
    outcome: Outcome,
    n_records: u64,
    settings: DeliverySettings,
}

/// One request, of sizes, bounds and a next hop that the seed decides.
fn run(seed: u64) -> Run {
    let mut rng = SmallRng::seed_from_u64(seed);
    let n_records = rng.random_range(0..60);
    let request = request(n_records);
    let bounds = [400, 1000, usize::MAX];
    let mode = match rng.random_range(0..3) {
        0 => Mode::Waiting {
            deadline: Some(Duration::from_millis(rng.random_range(0..20_000))),
            retry_until: Duration::from_secs(5),
        },
        1 => Mode::Waiting {
            deadline: None,
            retry_until: Duration::from_secs(5),
        },
        _ => Mode::Queued,
    };
    let settings = DeliverySettings {
        n_items: None,
        part_bytes_max: bounds[rng.random_range(0..3)],
        mode,
        retry: rng.random_bool(0.8).then(|| RetrySettings {
            initial_interval: Duration::from_millis(200),
            max_elapsed_time: Duration::from_secs(rng.random_range(1..60)),
            ..RetrySettings::default()
        }),
        seed,
    };
    let mut hop = NextHop {
        bytes_max: [300, 800, usize::MAX][rng.random_range(0..3)],
        trouble: [0, 20, 50, 100][rng.random_range(0..4)],
        rng: SmallRng::seed_from_u64(!seed),
        delivered: BTreeMap::new(),
        rejected: BTreeMap::new(),
        too_large: BTreeMap::new(),
    };
    let mut delivery = Delivery::new(Signal::Logs, &request, settings).expect("valid");
    let mut now = Duration::ZERO;
    let outcome = loop {
        match delivery.next(now) {
            Step::Send(part) => {
                if let Mode::Waiting {
                    deadline: Some(deadline),
                    ..
                } = mode
                {
                    assert!(now < deadline, "seed {seed}: sent after the deadline");
                }
                assert!(part.len() <= request.len());
                now += Duration::from_millis(rng.random_range(0..1000));
                delivery.answered(hop.answer(&part), now);
            }
            Step::Wait(delay) => {
                assert!(delay > Duration::ZERO, "seed {seed}");
                now += delay;
            }
            Step::Done(outcome) => break outcome,
        }
    };
    assert_eq!(
        delivery.next(now),
        Step::Done(outcome.clone()),
        "the end stays"
    );
    Run {
        hop,
        outcome,
        n_records,
        settings,
    }
}

#[test]
fn every_record_is_accounted_for() {
    let mut seen = BTreeMap::new();
    for seed in 0..SEEDS {
        let Run {
            hop,
            outcome,
            n_records,
            settings,
        } = run(seed);
        let said = format!("seed {seed}: {outcome:?} {settings:?}");
        let Outcome {
            accepted,
            rejected,
            refused,
            ..
        } = outcome;
        assert_eq!(accepted + rejected + refused, n_records, "{said}");
        // What is reported accepted is there, and all that is reported refused is an error.
        let n_delivered = hop.delivered.len() as u64;
        assert!(n_delivered >= accepted, "{said}");
        assert!(refused == 0 || outcome.error.is_some(), "{said}");
        // More is there than was reported only where that is said.
        let may_be_more = outcome.maybe_duplicates;
        assert!(may_be_more || n_delivered == accepted, "{said}");
        let is_twice = hop.delivered.values().any(|&times| times > 1);
        assert!(!is_twice || outcome.maybe_duplicates, "{said}");
        // A sender that is told to send again makes duplicates of what is there.
        let is_waiting = matches!(settings.mode, Mode::Waiting { .. });
        let is_retried = outcome
            .error
            .as_ref()
            .is_some_and(ExportError::is_retryable);
        if is_waiting && is_retried && n_delivered > 0 {
            assert!(outcome.maybe_duplicates, "{said}");
        }
        // Halved once: too large at most as a whole and as a half.
        assert!(hop.too_large.values().all(|&times| times <= 2), "{said}");
        // Nobody is told of success while nothing was taken of what there was.
        if outcome.error.is_none() && n_records > 0 && hop.trouble == 0 {
            assert!(accepted > 0, "{said}");
        }
        if let Ok(reply) = outcome.clone().into_result() {
            assert_eq!(reply.rejected, rejected, "{said}");
        }
        *seen
            .entry((is_waiting, outcome.error.is_some()))
            .or_insert(0) += 1;
        *seen
            .entry((outcome.maybe_duplicates, is_twice))
            .or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4, "every kind of end was reached: {seen:?}");
}

const REFUSED: ExportError = ExportError::Retryable(Refusal {
    code: Code::Unavailable,
    message: String::new(),
    retry_after: None,
    field: None,
});

fn waiting(part_bytes_max: usize) -> DeliverySettings {
    DeliverySettings {
        n_items: None,
        part_bytes_max,
        mode: Mode::Waiting {
            deadline: Some(Duration::from_secs(10)),
            retry_until: Duration::ZERO,
        },
        retry: Some(RetrySettings {
            initial_interval: Duration::from_secs(1),
            randomization_factor: 0.0,
            ..RetrySettings::default()
        }),
        seed: 0,
    }
}

#[test]
fn a_waiting_sender_is_answered_at_once_unless_a_part_was_taken() {
    let request = request(40);
    let mut delivery = Delivery::new(Signal::Logs, &request, waiting(1000)).expect("valid");
    let start = Duration::ZERO;
    assert!(matches!(delivery.next(start), Step::Send(_)));
    delivery.answered(Err(REFUSED), start);
    let Step::Done(outcome) = delivery.next(start) else {
        panic!("nothing was taken");
    };
    assert_eq!((outcome.refused, outcome.maybe_duplicates), (40, false));
    assert_eq!(outcome.into_result(), Err(REFUSED));

    let mut delivery = Delivery::new(Signal::Logs, &request, waiting(1000)).expect("valid");
    let mut taken = vec![];
    let Step::Send(first) = delivery.next(start) else {
        panic!("there is something to send");
    };
    taken.extend(records(&first));
    delivery.answered(Ok(ExportReply::default()), start);
    assert!(matches!(delivery.next(start), Step::Send(_)));
    delivery.answered(Err(REFUSED), start);
    assert_eq!(delivery.next(start), Step::Wait(Duration::from_secs(1)));
    let outcome = loop {
        match delivery.next(Duration::from_secs(1)) {
            Step::Send(part) => taken.extend(records(&part)),
            Step::Done(outcome) => break outcome,
            Step::Wait(_) => panic!("it may be sent now"),
        }
        delivery.answered(Ok(ExportReply::default()), Duration::from_secs(1));
    };
    assert_eq!(taken, (1..=40).collect::<Vec<_>>());
    assert_eq!((outcome.accepted, outcome.maybe_duplicates), (40, false));
}

#[test]
fn traces_go_whole() {
    let request = request(40);
    let mut delivery = Delivery::new(Signal::Traces, &request, waiting(100)).expect("valid");
    assert_eq!(delivery.next(Duration::ZERO), Step::Send(request));
    let refusal = Refusal::too_large("a request", 1);
    delivery.answered(Err(ExportError::TooLarge(refusal.clone())), Duration::ZERO);
    let Step::Done(outcome) = delivery.next(Duration::ZERO) else {
        panic!("it is not cut");
    };
    assert_eq!((outcome.accepted, outcome.rejected), (0, 40));
    assert_eq!(outcome.error, Some(ExportError::TooLarge(refusal)));
}
