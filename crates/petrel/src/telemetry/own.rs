//! Petrel's own metrics and logs as OTLP, through one of the configured exporters.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use petrel_otlp::Signal;
use petrel_otlp::export::Exporter;
use prost::Message;
use tokio::runtime::Handle;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::{Layer, Registry};

use crate::config::Config;

/// What a log line of ours begins with, as the name of its module.
const OWN_TARGET: &str = "petrel";
/// Names the instrumentation scope.
const SCOPE: &str = "petrel";

/// Where own telemetry goes. Dropped, it sends what it has.
pub struct OwnTelemetry {
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
    meter: Meter,
}

impl fmt::Debug for OwnTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTelemetry").finish_non_exhaustive()
    }
}

impl OwnTelemetry {
    /// What a configuration asks for. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// When its exporter cannot be built.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(wanted) = &config.telemetry.otlp else {
            return Ok(None);
        };
        let exporter = config
            .exporters
            .get(&wanted.exporter)
            .with_context(|| format!("telemetry.otlp: no exporter is named {}", wanted.exporter))?;
        let exporter = Exporter::new(&exporter.settings)?;
        Ok(Some(Self::new(exporter, wanted.interval)))
    }

    /// Sends metrics every `interval`, and logs as they come, through `exporter`. Must be called on a
    /// Tokio runtime, which does the sending.
    ///
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are honoured: they are about Petrel, never about
    /// what passes through it.
    #[must_use]
    pub fn new(exporter: Exporter, interval: Duration) -> Self {
        let way = Way {
            exporter,
            runtime: Handle::current(),
        };
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("petrel");
        }
        let resource = resource.build();
        let reader = PeriodicReader::builder(way.clone())
            .with_interval(interval)
            .build();
        let metrics = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource.clone())
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_batch_exporter(LogWay {
                way,
                resource: ResourceAttributesWithSchema::default(),
            })
            .with_resource(resource)
            .build();
        Self {
            meter: metrics.meter(SCOPE),
            metrics,
            logs,
        }
    }

    /// What takes Petrel's log lines; lines of the libraries beneath it are left out, since those that
    /// send would tell of their own sending.
    pub(super) fn log_layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let is_own = FilterFn::new(|metadata| metadata.target().starts_with(OWN_TARGET));
        Box::new(OpenTelemetryTracingBridge::new(&self.logs).with_filter(is_own))
    }

    /// What takes Petrel's metrics.
    pub(super) fn recorder(&self) -> Bridge {
        Bridge {
            meter: self.meter.clone(),
        }
    }

    /// Sends what there is, for a few seconds at most. Blocks: not to be called on a thread that serves.
    pub fn shutdown(&self) {
        for ended in [self.metrics.shutdown(), self.logs.shutdown()] {
            if let Err(error) = ended {
                tracing::debug!(%error, "own telemetry did not end in good order");
            }
        }
    }
}

/// An exporter for threads that are not the runtime's.
#[derive(Clone, Debug)]
struct Way {
    exporter: Exporter,
    runtime: Handle,
}

impl Way {
    async fn send(&self, signal: Signal, request: Bytes) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sending = async move { exporter.export(signal, request, &[], None).await.map(drop) };
        match self.runtime.spawn(sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(OTelSdkError::InternalFailure(error.to_string())),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        }
    }
}

impl PushMetricExporter for Way {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let request = ExportMetricsServiceRequest::from(metrics).encode_to_vec();
        self.send(Signal::Metrics, request.into()).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[derive(Debug)]
struct LogWay {
    way: Way,
    resource: ResourceAttributesWithSchema,
}

impl LogExporter for LogWay {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        self.way.send(Signal::Logs, request.into()).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// The `metrics` macros on an OpenTelemetry meter.
#[derive(Debug)]
pub(super) struct Bridge {
    meter: Meter,
}

impl Recorder for Bridge {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let instrument = self.meter.u64_counter(key.name().to_owned()).build();
        Counter::from_arc(Arc::new(Instrument::of(key, instrument)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let instrument = self.meter.f64_gauge(key.name().to_owned()).build();
        Gauge::from_arc(Arc::new(Instrument::of(key, instrument)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let instrument = self.meter.f64_histogram(key.name().to_owned()).build();
        Histogram::from_arc(Arc::new(Instrument::of(key, instrument)))
    }
}

/// An instrument with the labels of one series, and the last value of a gauge that is stepped.
struct Instrument<I> {
    instrument: I,
    attributes: Vec<KeyValue>,
    last: Mutex<f64>,
}

impl<I> Instrument<I> {
    fn of(key: &Key, instrument: I) -> Self {
        let attributes = key.labels().map(|label| {
            let (name, value) = (label.key().to_owned(), label.value().to_owned());
            KeyValue::new(name, value)
        });
        Self {
            instrument,
            attributes: attributes.collect(),
            last: Mutex::new(0.0),
        }
    }
}

impl CounterFn for Instrument<opentelemetry::metrics::Counter<u64>> {
    fn increment(&self, value: u64) {
        self.instrument.add(value, &self.attributes);
    }

    fn absolute(&self, value: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let added = value.saturating_sub(*last as u64);
        *last += added as f64;
        self.instrument.add(added, &self.attributes);
    }
}

impl GaugeFn for Instrument<opentelemetry::metrics::Gauge<f64>> {
    fn increment(&self, value: f64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += value;
        self.instrument.record(*last, &self.attributes);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = value;
        self.instrument.record(value, &self.attributes);
    }
}

impl HistogramFn for Instrument<opentelemetry::metrics::Histogram<f64>> {
    fn record(&self, value: f64) {
        self.instrument.record(value, &self.attributes);
    }
}
