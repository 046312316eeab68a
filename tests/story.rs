//! A service's log as a test tells it: eight steady hours, then an error that nobody has seen before, again
//! and again. Told in event time, as fast as it is taken.

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::client::Grpc;
use crate::records;

pub(crate) const SERVICE: &str = "ledger";
/// The text that its template begins with, of what comes after the history.
pub(crate) const NEW: &str = "Ledger checksum";
/// When the new line first comes.
pub(crate) const NEW_FROM_NS: u64 = FIRST_NS + HISTORY_SECONDS * SECOND_NS;

const SECOND_NS: u64 = 1_000_000_000;
const FIRST_NS: u64 = 1_700_000_000 * SECOND_NS;
const HISTORY_SECONDS: u64 = 8 * 3_600;
const AFTERWARDS_SECONDS: u64 = 1_800;
const SEVERITY_ERROR: i32 = 17;
const RECORDS_A_REQUEST: usize = 1_000;
const LINES: [&str; 4] = [
    "Booked entry {} on account 4{}",
    "Balance of account 4{} read in {} ms",
    "Statement {} queued for printing",
    "Heartbeat {}: ledger open",
];

/// The steady hours: a line a second, of four templates.
pub(crate) fn history() -> Vec<LogRecord> {
    (0..HISTORY_SECONDS).map(usual).collect()
}

/// What follows: half an hour as before, in whose first ten minutes there is a new line every five seconds.
pub(crate) fn afterwards() -> Vec<LogRecord> {
    (HISTORY_SECONDS..HISTORY_SECONDS + AFTERWARDS_SECONDS)
        .flat_map(|second| {
            let is_new = second % 5 == 0 && second < HISTORY_SECONDS + 600;
            let new = is_new.then(|| {
                let mut record = record(second, format!("{NEW} failed in batch {second}"));
                record.severity_number = SEVERITY_ERROR;
                record
            });
            [Some(usual(second)), new].into_iter().flatten()
        })
        .collect()
}

fn usual(second: u64) -> LogRecord {
    let line = LINES[usize::try_from(second % 4).expect("below four")];
    record(second, line.replace("{}", &(second % 977).to_string()))
}

fn record(second: u64, body: String) -> LogRecord {
    LogRecord {
        time_unix_nano: FIRST_NS + second * SECOND_NS,
        severity_number: 9,
        body: Some(records::string_value(body)),
        ..LogRecord::default()
    }
}

/// Sends a part of the story; all of it must be accepted.
pub(crate) async fn tell(address: &str, part: &[LogRecord]) {
    let mut client = Grpc::new(address);
    for records in part.chunks(RECORDS_A_REQUEST) {
        let request = records::request(SERVICE, records.to_vec());
        client
            .export(&request)
            .await
            .expect("Petrel accepts the story");
    }
}
