//! Traces and metrics: through both servers and both clients, in JSON and protobuf, and counted.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use petrel_otlp::export::{Encoding, Exporter, ExporterSettings, Protocol};
use petrel_otlp::receive::{Admission, ExportReply, ReceiveSettings, Received, Transport};
use petrel_otlp::{Code, Signal, count_items, json_to_protobuf, protobuf_to_json};
use prost::Message;

use crate::generate;
use crate::loopback::{accepting, loopback};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn traces() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        trace_state: "a=b".to_owned(),
        parent_span_id: vec![9; 8],
        flags: 257,
        name: "GET \"/\"\n".to_owned(),
        kind: 2,
        start_time_unix_nano: u64::MAX,
        end_time_unix_nano: 1_700_000_000_000_000_000,
        attributes: vec![
            attribute("ü", Value::IntValue(i64::MIN)),
            attribute("b", Value::BytesValue(vec![1, 2, 255])),
        ],
        dropped_attributes_count: 3,
        events: vec![Event {
            time_unix_nano: 5,
            name: "event".to_owned(),
            attributes: vec![attribute("d", Value::DoubleValue(1e300))],
            dropped_attributes_count: 1,
        }],
        dropped_events_count: 4,
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "c".to_owned(),
            attributes: vec![attribute("t", Value::BoolValue(true))],
            dropped_attributes_count: 6,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status {
            message: "no".to_owned(),
            code: 2,
        }),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span.clone(), span, Span::default()],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn metrics() -> ExportMetricsServiceRequest {
    let exemplar = Exemplar {
        filtered_attributes: vec![attribute("f", Value::StringValue("g".to_owned()))],
        time_unix_nano: 3,
        span_id: vec![1; 8],
        trace_id: vec![2; 16],
        value: Some(exemplar::Value::AsInt(-7)),
    };
    let number = |value| NumberDataPoint {
        time_unix_nano: 12,
        exemplars: vec![exemplar.clone()],
        flags: 1,
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let histogram = HistogramDataPoint {
        count: 10,
        sum: Some(0.0),
        bucket_counts: vec![0, 10, 0],
        explicit_bounds: vec![0.0, -1.5],
        min: None,
        max: Some(2.5),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        count: 10,
        scale: -3,
        zero_count: 1,
        positive: Some(Buckets {
            offset: i32::MIN,
            bucket_counts: vec![0, 1 << 40, 3],
        }),
        negative: Some(Buckets::default()),
        zero_threshold: 0.5,
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        count: 2,
        sum: 3.5,
        quantile_values: vec![ValueAtQuantile {
            quantile: 0.99,
            value: 17.0,
        }],
        ..SummaryDataPoint::default()
    };
    let data = [
        Data::Gauge(Gauge {
            data_points: vec![
                number(number_data_point::Value::AsDouble(0.0)),
                number(number_data_point::Value::AsInt(i64::MIN)),
            ],
        }),
        Data::Sum(Sum {
            data_points: vec![number(number_data_point::Value::AsInt(0))],
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        Data::Histogram(Histogram {
            data_points: vec![histogram],
            aggregation_temporality: 1,
        }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 1,
        }),
        Data::Summary(Summary {
            data_points: vec![summary],
        }),
    ];
    let metric = |data: Option<Data>| Metric {
        name: "m".to_owned(),
        unit: "By".to_owned(),
        metadata: vec![attribute("k", Value::IntValue(0))],
        data,
        ..Metric::default()
    };
    let metrics = data.into_iter().map(Some).chain([None]).map(metric);
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

#[test]
fn items_are_counted() {
    let metrics = metrics().encode_to_vec();
    assert_eq!(count_items(Signal::Metrics, &metrics), Ok(6));
    let traces = traces().encode_to_vec();
    assert_eq!(count_items(Signal::Traces, &traces), Ok(3));
    for signal in Signal::ALL {
        assert_eq!(count_items(signal, &[]), Ok(0));
        let cut = &metrics[..metrics.len() - 1];
        assert!(count_items(signal, cut).is_err(), "{signal:?}");
    }
}

/// JSON of both implementations, read by both.
#[test]
fn json_means_the_same_to_others() {
    let (traces, metrics) = (traces(), metrics());
    let encoded = traces.encode_to_vec();
    let ours = protobuf_to_json(Signal::Traces, &encoded).expect("valid");
    let read: ExportTraceServiceRequest = serde_json::from_slice(&ours).expect("JSON");
    assert_eq!(read, traces);
    let theirs = serde_json::to_vec(&traces).expect("JSON");
    for json in [theirs, ours.to_vec()] {
        let read = json_to_protobuf(Signal::Traces, &json).expect("valid");
        let read = ExportTraceServiceRequest::decode(read).expect("valid");
        assert_eq!(read, traces);
    }
    let encoded = metrics.encode_to_vec();
    let ours = protobuf_to_json(Signal::Metrics, &encoded).expect("valid");
    let read: ExportMetricsServiceRequest = serde_json::from_slice(&ours).expect("JSON");
    assert_eq!(read, metrics);
    let theirs = serde_json::to_vec(&metrics).expect("JSON");
    for json in [theirs, ours.to_vec()] {
        let read = json_to_protobuf(Signal::Metrics, &json).expect("valid");
        let read = ExportMetricsServiceRequest::decode(read).expect("valid");
        assert_eq!(read, metrics);
    }
    let text = String::from_utf8(ours.to_vec()).expect("text");
    assert!(text.contains(r#""scale":-3"#) && text.contains(r#""asInt":"-9223372036854775808""#));
}

#[test]
fn json_of_odd_protobuf_is_read_as_it_was_meant() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let checked = runner.run(&generate::request(), |request| {
        let decoded = ExportLogsServiceRequest::decode(request.as_slice()).expect("valid");
        let text = format!("{decoded:?}");
        // For profiles alone; and text that is no UTF-8 was refused above.
        prop_assume!(!text.contains("Strindex(") && !text.contains("NaN"));
        let Ok(json) = protobuf_to_json(Signal::Logs, &request) else {
            return Ok(());
        };
        let Ok(read) = json_to_protobuf(Signal::Logs, &json) else {
            // Nested deeper than a JSON reader goes.
            return Ok(());
        };
        let read = ExportLogsServiceRequest::decode(read).expect("valid");
        let without_index = |text: String| {
            let mut parts = text.split("key_strindex: ");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |out, part| {
                out + part.trim_start_matches(|it: char| it.is_ascii_digit() || it == '-')
            })
        };
        prop_assert_eq!(without_index(format!("{read:?}")), without_index(text));
        Ok(())
    });
    checked.expect("it holds");
}

#[tokio::test]
async fn all_signals_pass_by_all_ways() {
    let loopback = accepting().await;
    let requests = [
        (Signal::Traces, Bytes::from(traces().encode_to_vec())),
        (Signal::Metrics, Bytes::from(metrics().encode_to_vec())),
    ];
    let ways = [
        (Protocol::Grpc, Encoding::Protobuf, Transport::Grpc),
        (Protocol::Http, Encoding::Protobuf, Transport::HttpProtobuf),
        (Protocol::Http, Encoding::Json, Transport::HttpJson),
    ];
    for (protocol, encoding, transport) in ways {
        let endpoint = match protocol {
            Protocol::Grpc => &loopback.grpc,
            Protocol::Http => &loopback.http,
        };
        let exporter = Exporter::new(&ExporterSettings {
            encoding,
            ..ExporterSettings::new(protocol, endpoint)
        })
        .expect("a valid endpoint");
        for (signal, request) in &requests {
            let reply = exporter.export(*signal, request.clone(), &[], None).await;
            assert_eq!(reply, Ok(ExportReply::default()));
            let received = loopback.recorder.pop();
            assert_eq!((received.signal, received.transport), (*signal, transport));
            let n_items = count_items(*signal, request);
            assert_eq!(count_items(*signal, &received.request), n_items);
            if encoding == Encoding::Protobuf {
                assert_eq!(received.request, *request);
            }
        }
    }
    let endpoint = format!("http://{}", loopback.grpc);
    let mut client = TraceServiceClient::connect(endpoint.clone())
        .await
        .expect("it listens");
    client.export(traces()).await.expect("taken");
    assert_eq!(loopback.recorder.pop().signal, Signal::Traces);
    let mut client = MetricsServiceClient::connect(endpoint)
        .await
        .expect("it listens");
    client.export(metrics()).await.expect("taken");
    assert_eq!(loopback.recorder.pop().signal, Signal::Metrics);
}

#[tokio::test]
async fn partial_success_of_each_signal_comes_back() {
    let answer = |_: &Received| {
        Ok(ExportReply {
            rejected: 2,
            message: "two".to_owned(),
        })
    };
    let loopback = loopback(ReceiveSettings::default(), Admission::default(), answer).await;
    let logs = Bytes::from(generate_logs(5));
    let requests = [
        (Signal::Logs, logs),
        (Signal::Traces, traces().encode_to_vec().into()),
        (Signal::Metrics, metrics().encode_to_vec().into()),
    ];
    for (protocol, encoding) in [
        (Protocol::Grpc, Encoding::Protobuf),
        (Protocol::Http, Encoding::Protobuf),
        (Protocol::Http, Encoding::Json),
    ] {
        let endpoint = match protocol {
            Protocol::Grpc => &loopback.grpc,
            Protocol::Http => &loopback.http,
        };
        let exporter = Exporter::new(&ExporterSettings {
            encoding,
            ..ExporterSettings::new(protocol, endpoint)
        })
        .expect("a valid endpoint");
        for (signal, request) in &requests {
            let reply = exporter.export(*signal, request.clone(), &[], None).await;
            let reply = reply.expect("taken");
            assert_eq!((reply.rejected, reply.message.as_str()), (2, "two"));
        }
    }
    let client = TraceServiceClient::connect(format!("http://{}", loopback.grpc)).await;
    let reply = client
        .expect("it listens")
        .export(traces())
        .await
        .expect("taken");
    let partial = reply.into_inner().partial_success.expect("partial");
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (2, "two")
    );
}

fn generate_logs(n_records: usize) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord::default(); n_records],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec()
}

#[tokio::test]
async fn malformed_json_of_a_signal_is_refused() {
    let loopback = accepting().await;
    let exporter = Exporter::new(&ExporterSettings {
        encoding: Encoding::Json,
        ..ExporterSettings::new(Protocol::Http, &loopback.http)
    })
    .expect("a valid endpoint");
    let malformed = Bytes::from_static(&[0x0a, 0x05, 0x01]);
    let error = exporter.export(Signal::Traces, malformed, &[], None).await;
    let error = error.expect_err("no protobuf");
    assert_eq!(error.refusal().code, Code::InvalidArgument);
    assert!(!error.is_retryable());
    let refused = json_to_protobuf(
        Signal::Metrics,
        br#"{"resourceMetrics":[{"scopeMetrics":7}]}"#,
    );
    assert_eq!(refused.expect_err("no list").code, Code::InvalidArgument);
}
