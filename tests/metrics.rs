//! What a running Petrel says of itself on its metrics endpoint.

use std::io::{Read, Write};
use std::net::TcpStream;

/// All samples at one moment, in Prometheus' text format.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Asks the endpoint at `address`.
    #[track_caller]
    pub(crate) fn of(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the metrics endpoint listens");
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("the metrics endpoint reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the metrics endpoint answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Self(answer)
    }

    /// Sum of a metric's samples that have all these labels; 0 where there is none.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        self.0
            .lines()
            .filter_map(|line| {
                let (sample, value) = line.rsplit_once(' ')?;
                let (sample_name, sample_labels) = sample.split_once('{').unwrap_or((sample, ""));
                let matches =
                    sample_name == name && labels.iter().all(|label| sample_labels.contains(label));
                matches.then(|| value.parse::<f64>().expect("a sample is a number"))
            })
            .sum()
    }
}
