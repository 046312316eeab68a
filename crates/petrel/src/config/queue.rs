//! `sending_queue`: what stands between a request and its reply.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::extensions::Extensions;
use super::limits::DAY;
use super::model::{Batch, Queue, QueueMode, Sizer};
use super::read::{Report, Section};
use super::security::name_fault;
use super::set;

const FLUSH: (Duration, Duration) = (Duration::from_millis(1), DAY);
const SIZE_MAX: u64 = 1 << 50;

pub(crate) fn read_queue(
    mut section: Section<'_>,
    extensions: &mut Extensions,
    report: &mut Report,
) -> Queue {
    let mut queue = Queue::default();
    let enabled = section.boolean("enabled", report).unwrap_or(true);
    let waits = section.boolean("wait_for_result", report).unwrap_or(true);
    let storage = section.get("storage", report);
    let directory = storage
        .as_ref()
        .and_then(|field| extensions.storage(field, report));
    queue.mode = match (enabled && !waits, directory) {
        (false, _) => QueueMode::Wait,
        (true, Some(directory)) => QueueMode::File { directory },
        (true, None) => QueueMode::Memory,
    };
    let sizers = [
        ("bytes", Sizer::Bytes),
        ("items", Sizer::Items),
        ("requests", Sizer::Requests),
    ];
    set(section.choice("sizer", &sizers, report), &mut queue.sizer);
    let size = section.size("queue_size", (1, SIZE_MAX), report);
    queue.capacity = size.unwrap_or(Queue::capacity_default(&queue.mode, queue.sizer));
    warn_of_unit(&section, size, queue.sizer, report);
    set(
        section.size("num_consumers", (1, 1000), report),
        &mut queue.consumers,
    );
    set(
        section.boolean("block_on_overflow", report),
        &mut queue.block_on_overflow,
    );
    if let Some(batch) = section.section("batch", report) {
        queue.batch = read_batch(batch, report);
    }
    if queue.mode == QueueMode::Wait {
        warn_of_wait(&section, enabled, report);
    }
    section.finish(report);
    queue
}

/// A file of a Collector counts requests; the same number of bytes would hold next to nothing.
fn warn_of_unit(section: &Section<'_>, size: Option<usize>, sizer: Sizer, report: &mut Report) {
    const BYTES_LIKELY_MIN: usize = 1 << 20;
    if let Some(size) = size.filter(|size| sizer == Sizer::Bytes && *size < BYTES_LIKELY_MIN) {
        let path = section.join("queue_size");
        let place = report.places.get(&path).cloned();
        let message = format!("{path} is {size} bytes, which holds hardly a request");
        report.push(
            Diagnostic::warning("PTL-W006", place, message)
                .help("sizer: requests counts as the Collector does by default"),
        );
    }
}

/// Keys of a queue that is none.
fn warn_of_wait(section: &Section<'_>, enabled: bool, report: &mut Report) {
    let keys = [
        "storage",
        "queue_size",
        "sizer",
        "num_consumers",
        "block_on_overflow",
        "batch",
    ];
    let idle: Vec<&str> = keys.into_iter().filter(|key| section.has(key)).collect();
    if idle.is_empty() {
        return;
    }
    let verb = if idle.len() == 1 { "has" } else { "have" };
    let why = if enabled {
        "wait_for_result is true, the default here"
    } else {
        "enabled is false"
    };
    let message = format!(
        "{}: {} {verb} no effect: {why}",
        section.path(),
        idle.join(", ")
    );
    let place = report.places.get(&section.join(idle[0])).cloned();
    let help = if enabled {
        "wait_for_result: false makes it a queue; or take these keys out"
    } else {
        "enabled: true and wait_for_result: false make it a queue; or take these keys out"
    };
    report.push(Diagnostic::warning("PTL-W006", place, message).help(help));
}

fn read_batch(mut section: Section<'_>, report: &mut Report) -> Option<Batch> {
    // `enabled` came to the Collector with the feature that turns batches on by default.
    let enabled = section.boolean("enabled", report).unwrap_or(true);
    let sizers = [("items", Sizer::Items), ("bytes", Sizer::Bytes)];
    let sizer = section
        .choice("sizer", &sizers, report)
        .unwrap_or(Sizer::Items);
    let mut batch = Batch {
        flush_timeout: Duration::from_millis(200),
        min_size: match sizer {
            Sizer::Bytes => Batch::MIN_BYTES_DEFAULT,
            _ => Batch::MIN_ITEMS_DEFAULT,
        },
        max_size: 0,
        sizer,
        metadata_keys: Vec::new(),
    };
    set(
        section.duration("flush_timeout", FLUSH, report),
        &mut batch.flush_timeout,
    );
    set(
        section.size("min_size", (0, SIZE_MAX), report),
        &mut batch.min_size,
    );
    set(
        section.size("max_size", (0, SIZE_MAX), report),
        &mut batch.max_size,
    );
    if batch.max_size > 0 && batch.max_size < batch.min_size {
        let message = format!(
            "{} is {}, less than min_size, which is {}",
            section.join("max_size"),
            batch.max_size,
            batch.min_size
        );
        let place = report.places.get(&section.join("max_size")).cloned();
        let span = place.unwrap_or(section.span());
        report.push(
            Diagnostic::new("PTL-C022", span, message)
                .help("set both, max_size the larger; 0 is no limit"),
        );
    }
    if let Some(mut partition) = section.section("partition", report) {
        batch.metadata_keys = read_metadata_keys(&mut partition, report).unwrap_or_default();
        partition.finish(report);
    }
    section.finish(report);
    enabled.then_some(batch)
}

/// `metadata_keys`: names of headers, in lower case.
pub(crate) fn read_metadata_keys(
    section: &mut Section<'_>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let field = section.get("metadata_keys", report)?;
    let mut keys: Vec<String> = Vec::new();
    for item in field.items(report)? {
        let Some(key) = item.text(report) else {
            continue;
        };
        let key = key.to_ascii_lowercase();
        if let Some(fault) = name_fault(&key) {
            let message = format!("{} cannot be a header: {fault}", item.path);
            report.push(
                item.error("PTL-C025", message)
                    .help("the name of a header of your own, as x-scope-orgid"),
            );
        } else if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Some(keys)
}
