//! Repeats in Petrel's own logs are thinned out as the Collector thins out its own: of each line the
//! first few in a while, then one in many.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

use crate::config::LogSampling;
use crate::telemetry::name;

/// Lets a line through or not, by how often it came in the current tick.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: LogSampling,
    lines: Mutex<HashMap<Identifier, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    count: u64,
}

impl Sampler {
    /// A sampler; the places in the program that log bound what it holds.
    #[must_use]
    pub(super) fn new(sampling: LogSampling) -> Self {
        Self {
            sampling,
            lines: Mutex::default(),
        }
    }

    fn lets_through(&self, line: Identifier, now: Instant) -> bool {
        let LogSampling {
            tick,
            initial,
            thereafter,
        } = self.sampling;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let window = lines.entry(line).or_insert(Window {
            began: now,
            count: 0,
        });
        if elapsed(window.began, now) >= tick {
            *window = Window {
                began: now,
                count: 0,
            };
        }
        window.count += 1;
        let beyond = window.count.saturating_sub(initial);
        beyond == 0 || (thereafter > 0 && beyond % thereafter == 0)
    }
}

fn elapsed(from: Instant, to: Instant) -> Duration {
    to.saturating_duration_since(from)
}

#[expect(clippy::disallowed_methods, reason = "own logs follow the wall clock")]
fn now() -> Instant {
    Instant::now()
}

impl<S> Filter<S> for Sampler {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Who asks for details wants all of them.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let is_shown = self.lets_through(metadata.callsite(), now());
        if !is_shown {
            metrics::counter!(name::LOG_LINES_LEFT_OUT).increment(1);
        }
        is_shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_of_a_tick_then_one_in_many() {
        let sampler = Sampler::new(LogSampling {
            tick: Duration::from_secs(10),
            initial: 2,
            thereafter: 3,
        });
        tracing::trace!("gives the line below its identity");
        let line = tracing::callsite!(
            name: "line",
            kind: tracing::metadata::Kind::EVENT,
            fields: message
        );
        let line = Identifier(line);
        let start = now();
        let shown: Vec<_> = (0..9)
            .filter(|_| sampler.lets_through(line.clone(), start))
            .collect();
        assert_eq!(shown, [0, 1, 4, 7]);
        let later = start + Duration::from_secs(10);
        assert!(sampler.lets_through(line, later), "a new tick begins anew");
    }
}
