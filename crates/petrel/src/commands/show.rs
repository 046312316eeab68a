//! The status of a running Petrel as text for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// Streams that are shown; `-o json` has more.
const STREAMS_SHOWN: usize = 20;
/// Counts of records that are shown where they are not zero, and in which words.
const SKIPPED: [(&str, &str); 7] = [
    ("retries", "came again and were not learnt twice"),
    ("late", "late"),
    ("too_late", "too late for detectors"),
    ("too_far_ahead", "too far ahead of their stream"),
    ("over_budget", "not seen by some detector in time"),
    ("missed", "found no turn in time"),
    ("streams_evicted", "streams made room for others"),
];

/// The whole of it.
pub(super) fn text(status: &Value) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = write_all(&mut out, status);
    out
}

fn write_all(out: &mut String, status: &Value) -> std::fmt::Result {
    write!(
        out,
        "petrel {}, mode {}",
        text_of(&status["version"]),
        text_of(&status["mode"])
    )?;
    if status["mode_is_switched"] == true {
        write!(out, " (switched; `petrel mode configured` takes it back)")?;
    }
    if let Some(seconds) = status["uptime_seconds"].as_u64() {
        let uptime = humantime::format_duration(std::time::Duration::from_secs(seconds));
        write!(out, ", up {uptime}")?;
    }
    writeln!(out)?;
    let load = &status["load"];
    writeln!(
        out,
        "in flight: {} requests, {} of {}{}",
        load["requests_in_flight"],
        mib(&load["bytes_in_flight"]),
        mib(&load["bytes_in_flight_max"]),
        match load["memory_is_short"] == true {
            true => "; memory is short",
            false => "",
        }
    )?;
    writeln!(out, "resident memory: {}", mib(&load["resident_bytes"]))?;
    write_exporters(out, status)?;
    write_queues(out, status)?;
    let detection = &status["detection"];
    write_troubles(out, status)?;
    write_detectors(out, detection)?;
    write_records(out, &detection["totals"])?;
    write_streams(out, detection)
}

fn write_exporters(out: &mut String, status: &Value) -> std::fmt::Result {
    for (id, exporter) in status["exporters"].as_object().into_iter().flatten() {
        let now = match exporter["trouble"].is_string() {
            true => ", which takes nothing for now",
            false => "",
        };
        let mut to: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (what, endpoint) in exporter["endpoints"].as_object().into_iter().flatten() {
            to.entry(text_of(endpoint)).or_default().push(what);
        }
        for (endpoint, what) in to {
            writeln!(out, "exporter {id}: {} to {endpoint}{now}", what.join(", "))?;
        }
    }
    Ok(())
}

fn write_queues(out: &mut String, status: &Value) -> std::fmt::Result {
    for (exporter, queue) in status["queues"].as_object().into_iter().flatten() {
        let place = match queue["file"].as_str() {
            Some(file) => format!("in {file}"),
            None => "in memory".to_owned(),
        };
        writeln!(
            out,
            "queue of {exporter} {place}: {} requests, {} items, {}",
            queue["requests"],
            queue["items"],
            mib(&queue["bytes"])
        )?;
    }
    Ok(())
}

/// What somebody has to know first, each with what to do.
fn write_troubles(out: &mut String, status: &Value) -> std::fmt::Result {
    let detection = &status["detection"];
    let mut troubles = Vec::new();
    if let Some(why) = status["refused_reload"].as_str() {
        troubles.push(format!(
            "the configuration file was read again and not taken: {why}"
        ));
    }
    for (id, exporter) in status["exporters"].as_object().into_iter().flatten() {
        if let Some(trouble) = exporter["trouble"].as_str() {
            troubles.push(format!(
                "exporter {id}: the next hop takes nothing for now: {trouble}"
            ));
        }
        if let Some(lost) = exporter["lost"]["items"].as_u64().filter(|lost| *lost > 0) {
            let why = text_of(&exporter["lost"]["last_reason"]);
            troubles.push(format!(
                "exporter {id}: {lost} items that were accepted are lost, the next hop refused them: {why}"
            ));
        }
    }
    if status["mode"] == "off" {
        troubles.push("detection is off: nothing is looked into".to_owned());
    }
    for detector in list(&status["detectors_off"]) {
        let name = text_of(detector);
        troubles.push(format!(
            "detector {name} is switched off; `petrel detector enable {name}` takes it back"
        ));
    }
    for detector in list(&detection["detectors"]) {
        let (name, health) = (text_of(&detector["name"]), text_of(&detector["health"]));
        if health != "live" && health != "disabled" {
            troubles.push(format!(
                "detector {name} is {health}; records go on without it"
            ));
        }
    }
    if let Some(gone) = detection["workers_gone"].as_u64().filter(|gone| *gone > 0) {
        troubles.push(format!(
            "{gone} workers do not answer: what follows leaves out theirs"
        ));
    }
    if status["load"]["memory_is_short"] == true {
        troubles
            .push("memory is short (memory_limiter): senders are asked to come later".to_owned());
    }
    if !troubles.is_empty() {
        writeln!(out, "\nattention")?;
    }
    troubles
        .iter()
        .try_for_each(|trouble| writeln!(out, "  {trouble}"))
}

fn write_detectors(out: &mut String, detection: &Value) -> std::fmt::Result {
    writeln!(out, "\ndetectors")?;
    for detector in list(&detection["detectors"]) {
        write!(
            out,
            "  {:<16}{:<10}{}",
            text_of(&detector["name"]),
            text_of(&detector["version"]),
            text_of(&detector["health"])
        )?;
        if let Some(reason) = detector["reason"].as_str() {
            write!(out, ": {reason}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_records(out: &mut String, totals: &Value) -> std::fmt::Result {
    writeln!(
        out,
        "\nrecords: {} seen by detection since the start, {} anomalies",
        totals["records"], totals["detected"]
    )?;
    for (key, words) in SKIPPED {
        if totals[key].as_u64().is_some_and(|count| count > 0) {
            writeln!(out, "  {} {words}", totals[key])?;
        }
    }
    Ok(())
}

fn write_streams(out: &mut String, detection: &Value) -> std::fmt::Result {
    let streams = list(&detection["streams"]);
    let omitted = detection["streams_omitted"].as_u64().unwrap_or(0) as usize;
    let n_streams = streams.len() + omitted;
    if n_streams == 0 {
        return writeln!(out, "\nno stream has been seen yet");
    }
    writeln!(
        out,
        "\nstreams: {n_streams}, those with the newest records first"
    )?;
    for stream in streams.iter().take(STREAMS_SHOWN) {
        write_stream(out, stream)?;
    }
    let left = n_streams - streams.len().min(STREAMS_SHOWN);
    if left > 0 {
        writeln!(out, "  and {left} more: `petrel status -o json`")?;
    }
    Ok(())
}

fn write_stream(out: &mut String, stream: &Value) -> std::fmt::Result {
    write!(out, "  {}", text_of(&stream["name"]))?;
    if let Some(tenant) = stream["tenant"]
        .as_str()
        .filter(|tenant| !tenant.is_empty())
    {
        write!(out, " of tenant {}", tenant.replace('\u{1f}', "/"))?;
    }
    writeln!(
        out,
        ": {} records, {} templates, {} open anomalies",
        stream["counts"]["records"], stream["n_templates"], stream["n_open"]
    )?;
    for detector in list(&stream["detectors"]) {
        let name = text_of(&detector["detector"]);
        let kinds = list(&detector["kinds"]);
        if kinds.is_empty() {
            writeln!(out, "    {name:<16}no window has closed yet")?;
        }
        for kind in kinds {
            let level = text_of(&kind["level"]);
            let what = Some(text_of(&kind["kind"])).filter(|what| *what != name);
            write!(out, "    {name:<16}{:<12}{level}", what.unwrap_or_default())?;
            match kind["missing"].as_str() {
                Some(missing) if !missing.is_empty() => writeln!(out, ": {missing}")?,
                _ => writeln!(out)?,
            }
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn mib(value: &Value) -> String {
    match value.as_f64() {
        Some(bytes) => format!("{:.1} MiB", bytes / f64::from(1 << 20)),
        None => "unknown".to_owned(),
    }
}
