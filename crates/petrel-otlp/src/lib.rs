//! petrel-otlp
