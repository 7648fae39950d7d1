//! A TCP proxy between the program and the simulator that does to connections what networks do: it delays, cuts, resets,
//! falls silent, and lets bytes through one by one.
//!
//! It reads each request whole before it passes anything on, so that a trouble strikes exactly the request it is meant
//! for and exactly at its byte. Beyond length and end of a message it knows nothing of HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// With a FIN.
    Close,
    /// With an RST.
    Reset,
    /// Not at all: nobody says anything any more.
    Silence,
}

/// A place in a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum At {
    /// Before its n-th byte, from 0.
    Byte(usize),
    /// In the middle of its header.
    Header,
    /// Between header and body.
    Body,
    /// In the middle of its body.
    HalfBody,
    /// Before its last byte.
    LastByte,
    /// Behind its last byte.
    End,
}

/// What happens to one request and its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    /// The request is passed on up to there. Behind its last byte: Business Central carries it out, and its answer goes
    /// nowhere.
    CutRequest(At, End),
    /// The answer is passed on up to there.
    CutAnswer(At, End),
    /// The answer is passed on byte by byte from there, so slowly.
    Drip(At, Duration),
    /// The request is passed on so late.
    Late(Duration),
}

/// A trouble and the requests that it strikes.
#[derive(Debug)]
struct Rule {
    /// Bytes that the request has.
    needle: &'static str,
    trouble: Trouble,
    /// How often it strikes yet.
    left: u32,
}

/// A running proxy; it ends with the test's runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    upstream: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before `upstream`, as in `http://127.0.0.1:1234`.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut proxy = Self { address, upstream, rules: Arc::default(), accepting: None };
        proxy.accept(listener);
        proxy
    }

    /// Its address, as in `http://127.0.0.1:1234`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Strikes the next `times` requests that have the bytes `needle`.
    pub(crate) fn strike(&self, needle: &'static str, trouble: Trouble, times: u32) {
        self.rules.lock().unwrap().push(Rule { needle, trouble, left: times });
    }

    /// How often the troubles can still strike.
    pub(crate) fn left(&self) -> u32 {
        self.rules.lock().unwrap().iter().map(|rule| rule.left).sum()
    }

    /// From here on every connection is refused, and those that are open are closed.
    pub(crate) async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Only when the task is gone the port is closed.
            let _ = accepting.await;
        }
    }

    /// Accepts connections again.
    pub(crate) async fn resume(&mut self) {
        self.accept(TcpListener::bind(self.address).await.unwrap());
    }

    fn accept(&mut self, listener: TcpListener) {
        let (upstream, rules) = (self.upstream, Arc::clone(&self.rules));
        self.accepting = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // A connection that fails is what this is for.
                connections.spawn(serve(client, upstream, Arc::clone(&rules)));
            }
        }));
    }
}

/// Passes on request after request until one side closes, or a trouble ends it.
async fn serve(mut client: TcpStream, upstream: SocketAddr, rules: Arc<Mutex<Vec<Rule>>>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(upstream).await?;
    loop {
        let request = message(&mut client).await?;
        let trouble = pick(&rules, &request);
        if let Some(Trouble::Late(delay)) = trouble {
            sleep(delay).await;
        }
        if let Some(Trouble::CutRequest(at, how)) = trouble {
            let passed = at.within(&request);
            server.write_all(&request[..passed]).await?;
            if passed == request.len() {
                message(&mut server).await?;
            }
            drop(server);
            return end(client, how).await;
        }
        server.write_all(&request).await?;
        let answer = message(&mut server).await?;
        match trouble {
            Some(Trouble::CutAnswer(at, how)) => {
                client.write_all(&answer[..at.within(&answer)]).await?;
                return end(client, how).await;
            }
            Some(Trouble::Drip(at, every)) => {
                let (fast, slow) = answer.split_at(at.within(&answer));
                client.write_all(fast).await?;
                for byte in slow {
                    sleep(every).await;
                    client.write_all(&[*byte]).await?;
                }
            }
            _ => client.write_all(&answer).await?,
        }
    }
}

fn pick(rules: &Mutex<Vec<Rule>>, request: &[u8]) -> Option<Trouble> {
    let mut rules = rules.lock().unwrap();
    let has = |needle: &str| request.windows(needle.len()).any(|window| window == needle.as_bytes());
    let rule = rules.iter_mut().find(|rule| rule.left > 0 && has(rule.needle))?;
    rule.left -= 1;
    Some(rule.trouble)
}

async fn end(client: TcpStream, how: End) -> io::Result<()> {
    match how {
        End::Close => {}
        End::Reset => client.set_zero_linger()?,
        End::Silence => {
            // As long as the client waits: it hangs up first.
            let mut client = client;
            let _ = client.read(&mut [0]).await;
        }
    }
    Ok(())
}

/// Reads one message: header, and as much body as it announces. An error when the connection ends before.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(header) = header_of(&bytes)
            && bytes.len() >= header + announced(&bytes[..header])
        {
            return Ok(bytes);
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The length of the header with the empty line that ends it.
fn header_of(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn announced(header: &[u8]) -> usize {
    let header = String::from_utf8_lossy(header).to_ascii_lowercase();
    assert!(!header.contains("transfer-encoding"), "neither side sends in chunks: {header}");
    let length = header.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}

impl At {
    /// How many bytes of `message` come before this place.
    fn within(self, message: &[u8]) -> usize {
        let header = header_of(message).unwrap_or_default();
        match self {
            Self::Byte(at) => at.min(message.len()),
            Self::Header => header / 2,
            Self::Body => header,
            Self::HalfBody => header + (message.len() - header) / 2,
            Self::LastByte => message.len() - 1,
            Self::End => message.len(),
        }
    }
}
