//! The three kinds of telemetry that OTLP carries.

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Logs: looked into, enriched, sent on.
    Logs,
    /// Traces: sent on as the bytes they are.
    Traces,
    /// Metrics: sent on as the bytes they are.
    Metrics,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// The name that a pipeline of a Collector has: `logs`, `traces`, `metrics`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    /// What a Collector's metrics call its items: `log_records`, `spans`, `metric_points`.
    #[must_use]
    pub const fn items(self) -> &'static str {
        match self {
            Self::Logs => "log_records",
            Self::Traces => "spans",
            Self::Metrics => "metric_points",
        }
    }

    /// Where OTLP/HTTP takes it, unless configured otherwise: `/v1/logs`.
    #[must_use]
    pub const fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Where OTLP/gRPC takes it.
    pub(crate) const fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// What JSON calls the number of items that were rejected.
    pub(crate) const fn rejected_field(self) -> &'static str {
        match self {
            Self::Logs => "rejectedLogRecords",
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}
