//! A real OTLP SDK as the client: the Rust SDK's exporter over gRPC and over HTTP, with and without gzip,
//! through Petrel to a real Collector.

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::layer::SubscriberExt;

use crate::collector;
use crate::process::Scratch;
use crate::records::{Output, Record};
use crate::{petrel, wait};

const N_RECORDS: usize = 600;

#[test]
fn grpc() {
    check("sdk::grpc", |setup| grpc_exporter(setup, None));
}

#[test]
fn grpc_gzip() {
    check("sdk::grpc_gzip", |setup| {
        grpc_exporter(setup, Some(Compression::Gzip))
    });
}

#[test]
fn http_protobuf() {
    check("sdk::http_protobuf", |setup| http_exporter(setup, None));
}

#[test]
fn http_protobuf_gzip() {
    check("sdk::http_protobuf_gzip", |setup| {
        http_exporter(setup, Some(Compression::Gzip))
    });
}

/// The way most Rust programs do it: `tracing` with the OpenTelemetry bridge.
#[test]
fn tracing_bridge() {
    let name = "sdk::tracing_bridge";
    let arrived = through_petrel(name, 1, |setup| {
        let provider = provider(grpc_exporter(setup, None));
        let bridge = OpenTelemetryTracingBridge::new(&provider);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(bridge), || {
            tracing::warn!(name: "order.rejected", order = 17, "order rejected by the warehouse");
        });
        provider
    });
    let Some(arrived) = arrived else { return };
    assert_eq!(arrived[0].record.event_name, "order.rejected");
    assert_eq!(arrived[0].body(), "order rejected by the warehouse");
    assert!(arrived[0].is_enriched());
}

fn grpc_exporter(setup: &petrel::Setup, compression: Option<Compression>) -> LogExporter {
    let mut builder = LogExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{}", setup.grpc));
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    builder.build().expect("a valid endpoint")
}

fn http_exporter(setup: &petrel::Setup, compression: Option<Compression>) -> LogExporter {
    let endpoint = format!("http://{}/v1/logs", setup.http);
    let mut builder = LogExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint);
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    builder.build().expect("a valid endpoint")
}

fn provider(exporter: LogExporter) -> SdkLoggerProvider {
    let resource = Resource::builder().with_service_name("shop").build();
    SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build()
}

/// Sends [`N_RECORDS`] records with the SDK and looks at each of them at the other end.
#[track_caller]
fn check(name: &str, exporter: impl FnOnce(&petrel::Setup) -> LogExporter) {
    let arrived = through_petrel(name, N_RECORDS, |setup| {
        let provider = provider(exporter(setup));
        let logger = provider.logger("orders");
        for number in 0..N_RECORDS {
            let mut record = logger.create_log_record();
            record.set_event_name("order.accepted");
            record.set_severity_number(Severity::Info);
            record.set_severity_text("INFO");
            record.set_body(AnyValue::from(format!(
                "order {number} accepted in {} ms",
                number % 50
            )));
            record.add_attribute(
                "order.number",
                i64::try_from(number).expect("a small number"),
            );
            logger.emit(record);
        }
        provider
    });
    let Some(mut arrived) = arrived else { return };
    arrived.sort_by_key(|record| {
        record
            .body()
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse::<usize>().ok())
    });
    for (number, record) in arrived.iter().enumerate() {
        assert_eq!(
            record.body(),
            format!("order {number} accepted in {} ms", number % 50)
        );
        assert_eq!(record.service(), "shop");
        assert_eq!(record.scope.name, "orders");
        assert_eq!(record.record.event_name, "order.accepted");
        assert_eq!(
            (
                record.record.severity_number,
                record.record.severity_text.as_str()
            ),
            (9, "INFO")
        );
        assert!(record.is_enriched());
        let own = record.clone().without_ours().record.attributes;
        assert_eq!(
            own.len(),
            1,
            "only the attribute that was sent is left: {own:?}"
        );
        assert_eq!(own[0].key, "order.number");
    }
}

/// Runs Petrel before a Collector, lets `send` use it, and returns the `count` records that arrived.
#[track_caller]
fn through_petrel(
    name: &str,
    count: usize,
    send: impl FnOnce(&petrel::Setup) -> SdkLoggerProvider,
) -> Option<Vec<Record>> {
    let collector = collector::available(name)?;
    let scratch = Scratch::new("sdk");
    let (sink_address, path) = (wait::free_address(), scratch.path("arrived.binpb"));
    let config = collector::sink_config(&sink_address, &path);
    let _sink = collector.start(&scratch, "sink", &config, &[wait::port_of(&sink_address)]);
    let setup = petrel::Setup::new(&scratch, "petrel", &sink_address, "");
    let petrel = setup.start(&scratch);

    // The gRPC exporter lives on a tokio runtime, which must outlast it; the HTTP one brings its own.
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let provider = {
        let _context = runtime.enter();
        send(&setup)
    };
    provider
        .shutdown()
        .expect("everything is exported before the deadline");
    let arrived = Output::new(path).wait_for(count, wait::SOON);
    assert_eq!(arrived.len(), count);
    assert!(petrel.stop().success());
    Some(arrived)
}
