//! What becomes of one request: cut, sent, sent again, given up. A state machine without a clock or a
//! socket; whoever drives it sends what it says and tells it the answers.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{Backoff, ExportError, RetrySettings};
use crate::items::count_items;
use crate::reply::ExportReply;
use crate::signal::Signal;
use crate::split::{halve, split};
use crate::status::{Code, Refusal};
use crate::wire::Malformed;

/// Who is to send a request again that was refused for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its sender, who waits. A request of which no part was taken is answered at once. Of one that was
    /// taken in parts the rest is sent again, so that its sender need not send all of it again.
    Waiting {
        /// Nothing is sent from then on, since the start.
        deadline: Option<Duration>,
        /// Without a deadline nothing is sent again from then on, since the start.
        retry_until: Duration,
    },
    /// Nobody else: it is sent again until it is taken, refused for good, or given up by the settings.
    Queued,
}

/// How a request is delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeliverySettings {
    /// Bytes of a part; requests of logs that are larger are cut. `usize::MAX` never cuts.
    pub part_bytes_max: usize,
    /// Who sends again.
    pub mode: Mode,
    /// Delays before a part is sent again; none = it is not.
    pub retry: Option<RetrySettings>,
    /// Of the delays' jitter.
    pub seed: u64,
    /// Items of the request, where the caller has counted them; else they are counted here.
    pub n_items: Option<u64>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes, then call [`Delivery::answered`].
    Send(Bytes),
    /// Come back after that long.
    Wait(Duration),
    /// It is over.
    Done(Outcome),
}

/// What became of a request; each of its items is in one of the three counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Items that the next hop took.
    pub accepted: u64,
    /// Items that it refused for good.
    pub rejected: u64,
    /// Items that it did not take for now. They are the sender's again or, queued, given up.
    pub refused: u64,
    /// What the sender is told where there is no error.
    pub reply: ExportReply,
    /// What the sender is told of the request as a whole.
    pub error: Option<ExportError>,
    /// Whether items may arrive twice: sent again after no answer, or by a sender that is told of an
    /// error though a part was taken. Queued, also whether items that were given up may have arrived.
    pub maybe_duplicates: bool,
}

impl Outcome {
    /// A request that was refused before anything was sent.
    pub(super) fn failed(n_items: u64, error: ExportError) -> Self {
        Self {
            rejected: n_items,
            error: Some(error),
            ..Self::default()
        }
    }

    /// The next hop's words, in an error or beside what it took.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.error {
            Some(error) => error.to_string(),
            None => self.reply.message.clone(),
        }
    }

    /// What the sender is told.
    ///
    /// # Errors
    /// The error, where there is one.
    pub fn into_result(self) -> Result<ExportReply, ExportError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.reply),
        }
    }
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Delivery {
    signal: Signal,
    mode: Mode,
    backoff: Option<Backoff>,
    /// What is not settled yet, in order; the first is the one being sent.
    parts: VecDeque<Part>,
    not_before: Duration,
    /// Parts that were taken.
    n_taken: u64,
    accepted: u64,
    rejected: u64,
    reply: ExportReply,
    first_refusal: Option<ExportError>,
    maybe_duplicates: bool,
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug)]
struct Part {
    request: Bytes,
    n_items: u64,
    is_half: bool,
    /// Sent, and not known whether it was taken.
    is_in_doubt: bool,
}

impl Delivery {
    /// A request that nothing was done with yet. Of traces and metrics it goes whole.
    ///
    /// # Errors
    /// [`Malformed`] when the framing around items is broken.
    pub fn new(
        signal: Signal,
        request: &Bytes,
        settings: DeliverySettings,
    ) -> Result<Self, Malformed> {
        let requests = match signal {
            Signal::Logs => split(request, settings.part_bytes_max)?,
            Signal::Traces | Signal::Metrics => vec![request.clone()],
        };
        let known = settings.n_items.filter(|_| requests.len() == 1);
        let parts = requests
            .into_iter()
            .map(|part| Part::new(signal, part, known, false));
        Ok(Self {
            signal,
            mode: settings.mode,
            backoff: settings
                .retry
                .map(|retry| Backoff::new(retry, settings.seed)),
            parts: parts.collect::<Result<_, _>>()?,
            not_before: Duration::ZERO,
            n_taken: 0,
            accepted: 0,
            rejected: 0,
            reply: ExportReply::default(),
            first_refusal: None,
            maybe_duplicates: false,
            outcome: None,
        })
    }

    /// What to do at `now`, a time since the start.
    pub fn next(&mut self, now: Duration) -> Step {
        if let Some(outcome) = &self.outcome {
            return Step::Done(outcome.clone());
        }
        if self.parts.is_empty() {
            return self.finish();
        }
        if let Mode::Waiting {
            deadline: Some(deadline),
            ..
        } = self.mode
            && now >= deadline
        {
            let message = "no time is left to send it";
            let refusal = Refusal::new(Code::DeadlineExceeded, message);
            return self.give_up(ExportError::Retryable(refusal));
        }
        if now < self.not_before {
            return Step::Wait(self.not_before - now);
        }
        let Some(part) = self.parts.front() else {
            return self.finish();
        };
        self.maybe_duplicates |= part.is_in_doubt;
        Step::Send(part.request.clone())
    }

    /// Takes the answer to what was sent last, which came at `now`.
    pub fn answered(&mut self, answer: Result<ExportReply, ExportError>, now: Duration) {
        let Some(mut part) = self.parts.pop_front() else {
            return;
        };
        match answer {
            Ok(reply) => self.taken(&part, reply),
            Err(ExportError::TooLarge(refusal)) if self.can_halve(&part) => {
                self.halve(part, refusal);
            }
            Err(error @ (ExportError::TooLarge(_) | ExportError::Permanent(_))) => {
                self.reject(&part, error);
            }
            Err(error) => {
                part.is_in_doubt |= error.is_in_doubt();
                self.parts.push_front(part);
                self.postpone(error, now);
            }
        }
    }

    fn taken(&mut self, part: &Part, mut reply: ExportReply) {
        reply.rejected = reply.rejected.min(part.n_items);
        self.n_taken += 1;
        self.accepted += part.n_items - reply.rejected;
        self.rejected += reply.rejected;
        self.reply.merge(reply);
        if let Some(backoff) = &mut self.backoff {
            backoff.reset();
        }
    }

    fn can_halve(&self, part: &Part) -> bool {
        self.signal == Signal::Logs && !part.is_half
    }

    fn halve(&mut self, part: Part, refusal: Refusal) {
        let halves = match halve(&part.request) {
            Ok(Some(halves)) => halves.into_iter(),
            _ => return self.reject(&part, ExportError::TooLarge(refusal)),
        };
        let halves = halves.map(|half| Part::new(self.signal, half, None, true));
        match halves.collect::<Result<Vec<_>, _>>() {
            Ok(halves) => {
                for half in halves.into_iter().rev() {
                    self.parts.push_front(half);
                }
                self.first_refusal
                    .get_or_insert(ExportError::TooLarge(refusal));
            }
            Err(malformed) => self.reject(&part, ExportError::Permanent(malformed.into())),
        }
    }

    fn reject(&mut self, part: &Part, error: ExportError) {
        self.rejected += part.n_items;
        self.reply.merge(ExportReply {
            rejected: part.n_items,
            message: error.refusal().message.clone(),
        });
        self.first_refusal.get_or_insert(error);
    }

    /// The first part is to be sent again, or all is given up.
    fn postpone(&mut self, error: ExportError, now: Duration) {
        let until = match self.mode {
            Mode::Waiting { .. } if self.n_taken == 0 => Duration::ZERO,
            Mode::Waiting {
                deadline,
                retry_until,
            } => deadline.unwrap_or(retry_until),
            Mode::Queued => Duration::MAX,
        };
        let asked = error.refusal().retry_after;
        let delay = self.backoff.as_mut().and_then(|it| it.delay(now, asked));
        match delay.and_then(|delay| now.checked_add(delay)) {
            Some(at) if at < until => self.not_before = at,
            _ => drop(self.give_up(error)),
        }
    }

    fn give_up(&mut self, error: ExportError) -> Step {
        let is_in_doubt = self.parts.iter().any(|part| part.is_in_doubt);
        // Who waits sends all of it again.
        let is_sent_again = matches!(self.mode, Mode::Waiting { .. });
        self.maybe_duplicates |= is_in_doubt || is_sent_again && self.n_taken > 0;
        self.end(Some(error))
    }

    fn finish(&mut self) -> Step {
        let error = match self.n_taken {
            0 => self.first_refusal.take(),
            _ => None,
        };
        self.end(error)
    }

    fn end(&mut self, error: Option<ExportError>) -> Step {
        let outcome = Outcome {
            accepted: self.accepted,
            rejected: self.rejected,
            refused: self.parts.iter().map(|part| part.n_items).sum(),
            reply: std::mem::take(&mut self.reply),
            error,
            maybe_duplicates: self.maybe_duplicates,
        };
        self.outcome = Some(outcome.clone());
        Step::Done(outcome)
    }
}

impl Part {
    fn new(
        signal: Signal,
        request: Bytes,
        known: Option<u64>,
        is_half: bool,
    ) -> Result<Self, Malformed> {
        let n_items = known.map_or_else(|| count_items(signal, &request), Ok)?;
        Ok(Self {
            n_items,
            request,
            is_half,
            is_in_doubt: false,
        })
    }
}
