//! Somebody's web server: takes every request and remembers it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// A server that listens until the end of the process.
#[derive(Clone)]
pub(crate) struct Listener {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Verb and path.
    pub(crate) what: String,
    /// The content type; empty without one.
    pub(crate) content_type: String,
    /// The body.
    pub(crate) body: String,
}

impl Listener {
    /// Starts one that answers 200.
    pub(crate) fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Self { address, status: Arc::new(AtomicU16::new(200)), calls: Arc::default() };
        let serving = listener.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                // Whoever hangs up early has not called.
                let _ = serving.serve(&stream.unwrap());
            }
        });
        listener
    }

    /// The address of `path` here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The requests whose path is `path`, so far.
    pub(crate) fn calls(&self, path: &str) -> Vec<Call> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.retain(|call| call.what.ends_with(&format!(" {path}")));
        calls
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let what = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let (mut length, mut content_type) = (0, String::new());
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("content-type", value)) => value.clone_into(&mut content_type),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        self.calls.lock().unwrap().push(Call { what, content_type, body });
        let status = self.status.load(Ordering::SeqCst);
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    }
}
