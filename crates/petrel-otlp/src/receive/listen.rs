//! Where a server listens: a port, or a unix socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, lookup_host};

use crate::net::{Stream, unix_path};

/// A server that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// As configured.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Where a server listens; shown as `127.0.0.1:4317` or `unix:///run/petrel.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// The file of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A place where connections come in. The file of a unix socket is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    /// Kept for its end alone.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Listens on `host:port`, where port 0 takes a free one, or on `unix:///path`. Of a name with several
/// addresses an IPv4 address is preferred, which is what clients of `localhost` try first. A socket
/// file that nobody listens on any more is removed.
///
/// # Errors
/// [`ServeError::Bind`], with the endpoint in its message.
pub async fn bind(endpoint: &str) -> Result<Listener, ServeError> {
    let listener = match unix_path(endpoint) {
        Some(path) => bind_unix(Path::new(path)),
        None => bind_tcp(endpoint).await,
    };
    listener.map_err(|source| ServeError::Bind {
        endpoint: endpoint.to_owned(),
        source,
    })
}

async fn bind_tcp(endpoint: &str) -> io::Result<Listener> {
    let mut addresses: Vec<SocketAddr> = lookup_host(endpoint).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let socket = TcpListener::bind(addresses.as_slice()).await?;
    Ok(Listener {
        address: Address::Tcp(socket.local_addr()?),
        socket: Socket::Tcp(socket),
        _file: None,
    })
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let socket = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    Ok(Listener {
        address: Address::Unix(path.to_owned()),
        socket: Socket::Unix(socket),
        _file: Some(SocketFile::of(path)?),
    })
}

/// Removes a socket file unless somebody listens on it; other files stay.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on it",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// The file of a unix socket, as it was made: one that took its place is not removed.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            inode: inode(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // Left behind, it is removed by the next to bind.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Listener {
    /// Where it listens; the port is the one that was taken.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                // Without it answers wait for a timer; a socket that cannot do it still works.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Socket::Unix(socket) => Ok(Box::new(socket.accept().await?.0)),
        }
    }
}
