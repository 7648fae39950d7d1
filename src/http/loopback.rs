//! A scripted HTTP/1.1 server on a loopback port, for the tests of this module.
//!
//! It can do what a well-behaved server library will not: hang up in the middle of an answer, or never answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::request::Request;

/// What the server does with a request that it has read.
pub(super) enum Reply {
    /// Writes these bytes and closes.
    Bytes(Vec<u8>),
    /// Writes these bytes and keeps the connection open without another word.
    Hang(Vec<u8>),
}

impl Reply {
    /// A complete answer.
    pub(super) fn status(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let length = body.len();
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let head = format!("HTTP/1.1 {status} Status\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}");
        Self::Bytes(format!("{head}\r\n{body}").into_bytes())
    }

    pub(super) fn ok(body: &str) -> Self {
        Self::status(200, &[], body)
    }

    /// Closes without an answer.
    pub(super) fn close() -> Self {
        Self::Bytes(Vec::new())
    }
}

/// A running server; it ends with the test's runtime.
pub(super) struct Server {
    pub(super) url: Url,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the `n`th request (from 0) with what `script` says.
    pub(super) async fn start(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { url, connections: Arc::clone(&connections), seen: Arc::clone(&seen) };
        let script = Arc::new(script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                tokio::spawn(serve(stream, script, seen));
            }
        });
        server
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far, as they came: head and body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<impl Fn(usize, &str) -> Reply>,
    seen: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let Some(request) = request(&mut stream).await? else { return Ok(()) };
    let reply = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        script(seen.len() - 1, &request)
    };
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await,
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            // Ends when the client gives up.
            stream.read(&mut [0]).await.map(|_| ())
        }
    }
}

/// Reads one request, or `None` when what comes is not HTTP.
async fn request(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await?;
        bytes.extend_from_slice(&buffer[..read]);
        if read == 0 || !bytes[0].is_ascii_uppercase() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Ok(Some(text.into_owned()));
            }
        }
    }
}

/// The value of a header in a request as [`Server::seen`] gives it.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A GET with a time-out that only a test for time-outs reaches.
pub(super) fn get(url: &Url) -> Request {
    Request::get(url.clone(), Duration::from_secs(30))
}
