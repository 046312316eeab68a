//! The load: requests as a real Collector encodes them, replayed with an event time that goes on.
//!
//! A pool of requests is made once, sent through a Collector, and kept as it came out: fields in descending
//! order and all. Each time one is sent again its times are written anew, in place.

mod make;
mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub(crate) use self::make::Shape;
use self::make::{FIRST_NS, request};
use self::times::{TimeField, times_of};
use crate::client::Grpc;
use crate::collector::Collector;
use crate::process::Scratch;
use crate::report::Run;
use crate::subject::Subject;
use crate::variants::{Kind, SYNCHRONOUS};
use crate::{sink, wait};

/// Requests made once; with so many the values in bodies look different for long enough.
const POOL: u64 = 64;
/// Requests without an answer at a time, as many as a Collector's exporter has by default.
pub(crate) const IN_FLIGHT: usize = 10;
/// Requests on their way at a time that are answered but have not come out: a queue is kept from
/// filling up (Petrel's in memory holds 64 MiB), so that what is measured is its steady state.
const QUEUED_MAX: u64 = 100;
/// Records before the measurement begins.
const WARM_UP_RECORDS: u64 = 50_000;
/// Requests one after the other, to see how long an answer takes.
const SINGLE: u64 = 100;
/// How long requests may take from one end to the other.
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// Counts the requests that the sink has received.
#[derive(Default)]
pub(crate) struct Arrivals {
    count: AtomicU64,
    changed: Notify,
}

impl Arrivals {
    /// A sink on `address` that counts what it gets of these loads; what is smaller by half is none of
    /// their requests, but anomaly events.
    pub(crate) fn serve<'a>(address: &str, loads: impl IntoIterator<Item = &'a Load>) -> Arc<Self> {
        let templates = loads.into_iter().flat_map(|load| &load.pool);
        let smallest = templates.map(|template| template.bytes.len()).min();
        let bytes_min = smallest.unwrap_or_default() / 2;
        let arrivals = Arc::new(Self::default());
        let counter = Arc::clone(&arrivals);
        sink::serve(address, move |body| {
            if body.len() >= bytes_min {
                counter.count.fetch_add(1, Ordering::Relaxed);
                counter.changed.notify_one();
            }
            Ok(())
        });
        arrivals
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until there are so many; one waits at a time.
    async fn reach(&self, count: u64) -> Result<()> {
        let reached = async {
            while self.count() < count {
                self.changed.notified().await;
            }
        };
        let in_time = tokio::time::timeout(ARRIVES_WITHIN, reached).await;
        in_time.with_context(|| format!("{} of {count} requests came out", self.count()))
    }
}

/// Requests to be replayed.
pub(crate) struct Load {
    shape: Shape,
    pool: Vec<Template>,
}

/// The bytes of a request, and where its times are.
struct Template {
    bytes: Vec<u8>,
    times: Vec<TimeField>,
}

/// What is sent to one subject: requests are numbered from one sending to the next.
pub(crate) struct Sending<'a> {
    load: &'a Load,
    address: &'a str,
    is_gzip: bool,
    next: u64,
    arrivals: &'a Arrivals,
    /// Of the sink when request 0 is sent.
    arrived_before: u64,
}

impl Load {
    /// Makes the requests and sends each through a Collector once.
    pub(crate) async fn as_sent_by(otelcol: Collector, shape: Shape) -> Result<Self> {
        let scratch = Scratch::new("load");
        let [address, captured_at] = std::array::from_fn(|_| wait::free_address());
        let kept = sink::keep(&captured_at, || Ok(()));
        let recorder = Kind::Collector(SYNCHRONOUS).config(&scratch, &address, &captured_at);
        let recorder = otelcol.start(&scratch, "recorder", &recorder, &[wait::port_of(&address)]);
        let mut client = Grpc::new(&address);
        let mut random = SmallRng::seed_from_u64(1);
        for number in 0..POOL {
            client.export(&request(shape, number, &mut random)).await?;
        }
        recorder.stop();

        let captured = kept.requests();
        ensure!(
            captured.len() as u64 == POOL,
            "the Collector has split or merged requests"
        );
        let pool = captured.iter().map(|bytes| Template::of(bytes, shape));
        Ok(Self {
            shape,
            pool: pool.collect::<Result<_>>()?,
        })
    }

    /// The one of this shape.
    ///
    /// # Panics
    /// When none is.
    pub(crate) fn of_shape(loads: &[Self], shape: Shape) -> &Self {
        let load = loads.iter().find(|load| load.shape == shape);
        load.expect("made for every variant")
    }

    /// What it is, for people.
    pub(crate) fn description(&self) -> String {
        let bytes: usize = self.pool.iter().map(|template| template.bytes.len()).sum();
        let Shape {
            records, services, ..
        } = self.shape;
        let each = bytes as f64 / (POOL * records) as f64;
        format!(
            "requests of {records} records of {each:.0} bytes from {services} services, in the Collector's own encoding"
        )
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The request with this number, whose records are `number` steps after the first request's.
    pub(crate) fn request(&self, number: u64) -> Bytes {
        let index = usize::try_from(number % POOL).expect("the pool is small");
        let template = &self.pool[index];
        let mut bytes = template.bytes.clone();
        let first_ns = FIRST_NS + number * self.shape.step_ns();
        for field in &template.times {
            let time = (first_ns + field.since_first_ns).to_le_bytes();
            bytes[field.offset..field.offset + time.len()].copy_from_slice(&time);
        }
        bytes.into()
    }

    /// Begins to send to `subject`, whose requests come out at `arrivals`.
    pub(crate) fn sending<'a>(
        &'a self,
        subject: &'a Subject,
        arrivals: &'a Arrivals,
    ) -> Sending<'a> {
        self.sending_to(&subject.address, subject.is_gzip, arrivals)
    }

    /// Begins to send to an address.
    pub(crate) fn sending_to<'a>(
        &'a self,
        address: &'a str,
        is_gzip: bool,
        arrivals: &'a Arrivals,
    ) -> Sending<'a> {
        Sending {
            load: self,
            address,
            is_gzip,
            next: 0,
            arrivals,
            arrived_before: arrivals.count(),
        }
    }

    /// Sends so many records to `subject` and takes its figures.
    #[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
    pub(crate) async fn run(
        &self,
        subject: &Subject,
        arrivals: &Arrivals,
        records: u64,
    ) -> Result<Run> {
        let requests = records.div_ceil(self.shape.records);
        let mut sending = self.sending(subject, arrivals);
        sending.warm_up().await?;

        let (cpu, started) = (subject.cpu_seconds()?, Instant::now());
        sending.send(requests).await?;
        let (cpu, elapsed) = (subject.cpu_seconds()? - cpu, started.elapsed());

        let n_records = (requests * self.shape.records) as f64;
        Ok(Run {
            cpu: cpu / n_records * 1e6,
            rate: n_records / elapsed.as_secs_f64(),
            latency_p50: sending.latency_p50().await?,
            peak_mib: subject.peak_mib()?,
        })
    }
}

impl Sending<'_> {
    /// Sends what comes before a measurement.
    pub(crate) async fn warm_up(&mut self) -> Result<()> {
        self.send(WARM_UP_RECORDS.div_ceil(self.load.shape.records))
            .await
    }

    /// The bytes of the next request.
    pub(crate) fn next(&mut self) -> Bytes {
        let number = self.next;
        self.next += 1;
        self.load.request(number)
    }

    /// A connection of its own.
    pub(crate) fn client(&self) -> Grpc {
        match self.is_gzip {
            true => Grpc::gzip(self.address),
            false => Grpc::new(self.address),
        }
    }

    /// Sends so many requests, some at a time over one connection, and waits until they have come out.
    async fn send(&mut self, requests: u64) -> Result<()> {
        let client = self.client();
        let mut in_flight: JoinSet<Result<(), tonic::Status>> = JoinSet::new();
        for _ in 0..requests {
            if in_flight.len() == IN_FLIGHT
                && let Some(sent) = in_flight.join_next().await
            {
                sent??;
            }
            self.arrived(self.next.saturating_sub(QUEUED_MAX)).await?;
            let (mut client, request) = (client.clone(), self.next());
            in_flight.spawn(async move { client.send(request).await.map(drop) });
        }
        while let Some(sent) = in_flight.join_next().await {
            sent??;
        }
        self.arrived(self.next).await
    }

    async fn arrived(&self, requests: u64) -> Result<()> {
        self.arrivals.reach(self.arrived_before + requests).await
    }

    /// The median time to an answer with nothing else in flight.
    #[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
    async fn latency_p50(&mut self) -> Result<Duration> {
        let mut client = self.client();
        let mut latencies = Vec::new();
        for _ in 0..SINGLE {
            let request = self.next();
            let started = Instant::now();
            client.send(request).await?;
            latencies.push(started.elapsed());
        }
        self.arrived(self.next).await?;
        latencies.sort_unstable();
        Ok(latencies[latencies.len() / 2])
    }
}

impl Template {
    fn of(bytes: &[u8], shape: Shape) -> Result<Self> {
        let times = times_of(bytes)?;
        let n_times = times.len() as u64;
        ensure!(n_times == 2 * shape.records, "{n_times} times in a request");
        Ok(Self {
            bytes: bytes.to_vec(),
            times,
        })
    }
}
