//! A wire that a test can cut, slow down or take away, in front of a neighbour that stays as it is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Bytes that are passed on at a time.
const CHUNK: usize = 16 << 10;

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire {
    /// Passes everything on.
    Whole,
    /// Nobody listens; what was connected is reset.
    Down,
    /// Takes what is sent and passes nothing on, either way.
    Silent,
    /// Passes on so many bytes a second towards the target.
    Slow(usize),
    /// Resets each connection after so many bytes towards the target.
    CutAfter(usize),
    /// Passes everything on towards the target, and resets before the answer.
    CutAnswers,
}

/// A relay; it ends with the runtime that it was started on.
#[derive(Clone)]
pub(crate) struct Relay {
    wire: watch::Sender<Wire>,
}

impl Relay {
    /// Listens on `address` and passes on to `target`.
    pub(crate) fn start(address: &str, target: &str) -> Self {
        let (address, target) = (socket(address), socket(target));
        let relay = Self {
            wire: watch::Sender::new(Wire::Whole),
        };
        // Bound before anybody is told, so that the port is taken.
        let listener = listen(address);
        tokio::spawn(relay.clone().serve(listener, address, target));
        relay
    }

    /// From now on the wire does this, standing connections included.
    pub(crate) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    async fn serve(self, listener: TcpListener, address: SocketAddr, target: SocketAddr) {
        let mut wire = self.wire.subscribe();
        let mut listener = Some(listener);
        loop {
            let is_down = *wire.borrow_and_update() == Wire::Down;
            match &listener {
                Some(_) if is_down => listener = None,
                None if !is_down => listener = Some(listen(address)),
                Some(listener) => {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let Ok((stream, _)) = accepted else { continue };
                            tokio::spawn(pass(stream, target, self.wire.subscribe()));
                        }
                        changed = wire.changed() => if changed.is_err() { return },
                    }
                }
                None => {
                    if wire.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn socket(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    // Connections of before may linger.
    socket.set_reuseaddr(true).expect("the system allows it");
    socket.bind(address).expect("the port was ours");
    socket.listen(1024).expect("the system allows it")
}

/// Passes one connection on until either side ends it or the wire says otherwise.
async fn pass(client: TcpStream, target: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut sent = 0;
    let (mut up, mut down) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let now = *wire.borrow_and_update();
        if now == Wire::Down {
            break;
        }
        let is_silent = now == Wire::Silent;
        tokio::select! {
            read = from_client.read(&mut up), if !is_silent => {
                let Ok(n_bytes @ 1..) = read else { break };
                // One that was made before the cut has had its bytes.
                let n_bytes = match now {
                    Wire::CutAfter(most) => n_bytes.min(most.saturating_sub(sent)),
                    _ => n_bytes,
                };
                if to_server.write_all(&up[..n_bytes]).await.is_err() {
                    break;
                }
                sent += n_bytes;
                match now {
                    Wire::CutAfter(most) if sent >= most => break,
                    Wire::Slow(rate) => {
                        tokio::time::sleep(Duration::from_secs_f64(n_bytes as f64 / rate as f64)).await;
                    }
                    _ => {}
                }
            }
            read = from_server.read(&mut down), if !is_silent => {
                let Ok(n_bytes @ 1..) = read else { break };
                if now == Wire::CutAnswers && sent > CHUNK {
                    break;
                }
                if to_client.write_all(&down[..n_bytes]).await.is_err() {
                    break;
                }
            }
            changed = wire.changed() => if changed.is_err() { break },
        }
    }
    for stream in [
        from_client.reunite(to_client),
        from_server.reunite(to_server),
    ]
    .into_iter()
    .flatten()
    {
        reset(&stream);
    }
}

/// Makes the close that follows a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // Where the system does not, it is an orderly end.
    let _ = stream.set_zero_linger();
}
