//! A Collector before Petrel: takes everything at once and keeps it until Petrel has it.

/// Its configuration, listening on `address`.
pub(crate) fn config(address: &str, petrel: &str) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{address}' }} }} }} }}
exporters:
  otlp_grpc:
    endpoint: '{petrel}'
    compression: none
    tls: {{ insecure: true }}
    sending_queue: {{ queue_size: 100000, num_consumers: 4 }}
    retry_on_failure: {{ initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0s }}
service: {{ pipelines: {{ logs: {{ receivers: [otlp], exporters: [otlp_grpc] }} }} }}
"
    )
}
