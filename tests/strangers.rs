//! Connections of nobody who has anything to say: begun, and never finished.

use std::io::Write;
use std::net::TcpStream;

/// What they say before they fall silent.
const BEGINNINGS: [&[u8]; 5] = [
    b"",
    b"POST /v1/logs HTTP/1.1\r\nhost: petrel\r\ncontent-le",
    b"POST /v1/logs HTTP/1.1\r\nhost: petrel\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{\"res",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00 no handshake at all",
];

/// So many connections, to each of the addresses in turn; they are abandoned when dropped.
pub(crate) fn begin(addresses: [&str; 2], n_connections: usize) -> Vec<TcpStream> {
    let begin = |index: usize| {
        let mut stream = TcpStream::connect(addresses[index % 2]).expect("it is taken");
        // Petrel may have cut it already.
        let _ = stream.write_all(BEGINNINGS[index / 2 % BEGINNINGS.len()]);
        stream
    };
    (0..n_connections).map(begin).collect()
}
