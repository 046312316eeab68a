//! Values of a configuration that says nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{
    Config, Detectors, Endpoint, Enrichment, Limits, LogSampling, Mode, Pipelines, Privacy,
    Receiver, Receivers, Streams, Telemetry,
};

const MIB: usize = 1024 * 1024;

impl Default for Config {
    fn default() -> Self {
        Self {
            receivers: Receivers {
                grpc: Some(Receiver::at("localhost:4317")),
                http: Some(Receiver::at("localhost:4318")),
            },
            exporters: BTreeMap::new(),
            storages: Vec::new(),
            pipelines: Pipelines::default(),
            streams: Streams::default(),
            mode: Mode::Enrich,
            enrichment: Enrichment::Template,
            templates: true,
            accept_enriched: false,
            privacy: Privacy::default(),
            detectors: Detectors::default(),
            state: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            limits: Limits::default(),
            memory_limiter: None,
            telemetry: Telemetry::default(),
            drain_timeout: Duration::from_secs(10),
            event_name_attribute: true,
            places: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            key: owned(&[
                "service.namespace",
                "service.name",
                "deployment.environment.name",
            ]),
            fallback: owned(&[
                "k8s.deployment.name",
                "k8s.pod.name",
                "log.file.name",
                "host.name",
            ]),
            metadata_keys: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl Default for Detectors {
    fn default() -> Self {
        Self {
            directory: None,
            rescan_interval: Duration::from_secs(1),
            settings: BTreeMap::new(),
            budget: Duration::from_millis(200),
            call_cpu_max: Duration::from_millis(50),
            memory_bytes_max: 64 * MIB,
            native: false,
            threshold: 6.0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 64 * MIB,
            in_flight_bytes_max: 96 * MIB,
            outbox_bytes_max: 16 * MIB,
            retry_digests: 65_536,
            retry_window: Duration::from_secs(600),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let unasked = |address: &str| {
            Some(Endpoint {
                address: address.to_owned(),
                explicit: false,
            })
        };
        Self {
            metrics: unasked("localhost:8888"),
            health: unasked("localhost:13133"),
            admin: unasked("localhost:8890"),
            log_level: "info".to_owned(),
            log_json: false,
            log_sampling: Some(LogSampling::default()),
            otlp: None,
        }
    }
}

impl Default for LogSampling {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(10),
            initial: 10,
            thereafter: 100,
        }
    }
}
