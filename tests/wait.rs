//! Waiting for a condition instead of for a time, and ports nobody else uses.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longest wait for something that normally takes well under a second.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The first `Some` of `condition`, asked again and again.
///
/// # Panics
/// When `deadline` passes first, naming `what`.
#[expect(
    clippy::disallowed_methods,
    reason = "a deadline over other processes is wall time"
)]
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            started.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        std::thread::park_timeout(POLL_INTERVAL);
    }
}

/// A point in time after which it is no use to wait any longer.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline over other processes is wall time"
    )]
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Whether it has passed.
    pub(crate) fn is_over(self) -> bool {
        self.0.elapsed() > Duration::ZERO
    }
}

/// A pause between two looks at another process.
pub(crate) fn a_moment() {
    std::thread::park_timeout(POLL_INTERVAL);
}

/// What `deed` returns, and how long it took by the wall clock: for figures and generous bounds.
#[expect(
    clippy::disallowed_methods,
    reason = "what a sender waits is wall time"
)]
pub(crate) async fn timed<T>(deed: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let value = deed.await;
    (value, started.elapsed())
}

/// Whether somebody accepts connections on this port of the loopback interface.
pub(crate) fn listens(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_millis(250)).is_ok()
}

/// A port that is free now and that this process gives out once.
///
/// Taken from below the range of outgoing connections, so that none of those takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

    let mut guard = GIVEN
        .lock()
        .expect("no test panics while it asks for a port");
    let given = guard.get_or_insert_default();
    let start = std::process::id().wrapping_mul(97);
    for step in 0..COUNT {
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("below 32,000");
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// `127.0.0.1:` and a free port.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The port of an address.
pub(crate) fn port_of(address: &str) -> u16 {
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {address}"))
}
