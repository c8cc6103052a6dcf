//! A served broker of one test, and a socket that can say anything to it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use onceness_adapters::serve::Server;
use onceness_reference::rules::Rules;
use tokio::runtime::Runtime;

/// A broker on a free port, gone with the test.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) runtime: Runtime,
}

impl Served {
    pub(crate) fn start(rules: Rules) -> Served {
        let runtime = Runtime::new().expect("threads");
        let server = runtime.block_on(Server::listen(rules, "127.0.0.1:0")).expect("a free port");
        Served { server, runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn socket(&self) -> Socket {
        let stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Socket(stream)
    }
}

/// A connection by hand.
pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    /// Sends bytes; a server that has closed already does not take them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// The next frame, without its length. None when the server closed.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// Sends a request and returns the answer behind its correlation id.
    pub(crate) fn ask(&mut self, api: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        self.send(&request(api, version, body));
        Some(self.frame()?.split_off(4))
    }
}

/// A request in the older encoding, with its length.
pub(crate) fn request(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = [&api.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 9], &[0, 1, b'c']];
    frame(&[header.concat(), body.to_vec()].concat())
}

pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
