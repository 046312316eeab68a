//! `detectors`: their limits, and settings by name.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::field::to_json;
use super::limits::MIB;
use super::model::{DetectorSettings, Detectors};
use super::node::Value;
use super::read::{Report, Section};
use super::set;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn read_detectors(
    mut section: Section<'_>,
    detectors: &mut Detectors,
    report: &mut Report,
) {
    detectors.directory = section.text("directory", report).map(PathBuf::from);
    let millis = Duration::from_millis;
    for (key, bounds, target) in [
        (
            "rescan_interval",
            (millis(100), HOUR),
            &mut detectors.rescan_interval,
        ),
        ("budget", (millis(1), HOUR), &mut detectors.budget),
        (
            "call_cpu_max",
            (millis(5), Duration::from_secs(60)),
            &mut detectors.call_cpu_max,
        ),
    ] {
        set(section.duration(key, bounds, report), target);
    }
    let mib = section.size("memory_mib_max", (1, 4096), report);
    set(mib.map(|mib| mib * MIB), &mut detectors.memory_bytes_max);
    set(section.boolean("native", report), &mut detectors.native);
    let threshold = section.integer("threshold", (2, 40), report);
    set(
        threshold.map(|threshold| threshold as f64),
        &mut detectors.threshold,
    );
    // What is left are detectors by name; that a name exists is known once modules are loaded.
    for (entry, field) in section.rest_fields(report) {
        if let Value::Scalar(_) = &field.node.value {
            let message = format!("unknown key {}", field.path);
            let span = entry.key_span.clone();
            report
                .push(Diagnostic::new("PTL-C003", span, message).help(section.advice(&entry.key)));
            continue;
        }
        let mut settings = Section::new(&field.path, field.node, report);
        let enabled = settings.boolean("enabled", report);
        let fields = settings.rest_fields(report);
        let object: serde_json::Map<_, _> = fields
            .iter()
            .map(|(setting, field)| (setting.key.clone(), to_json(field.node)))
            .collect();
        for (setting, field) in fields {
            // A setting that its detector does not know is pointed at by its name.
            report.places.insert(field.path, setting.key_span.clone());
        }
        detectors.settings.insert(
            entry.key.clone(),
            DetectorSettings {
                enabled: enabled.unwrap_or(true),
                json: serde_json::Value::Object(object).to_string(),
                span: entry.key_span.clone(),
            },
        );
    }
}
