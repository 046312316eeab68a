//! The OTLP/JSON samples of the evaluation data, where they are present.
