//! A wire between the process and the simulator, on which a test acts at exact moments of a request.
//!
//! It takes in a request as a whole, hands it on in two halves and a last byte, takes in the answer as a whole, and hands
//! that back in two halves. In between it asks the test, which may kill the process right there, or do something else
//! meanwhile.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A moment in the life of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The process has sent it; nothing of it has arrived.
    Sent,
    /// The first half has arrived.
    PartlyArrived,
    /// All but its last byte has arrived: nothing can have been done of it.
    AllButArrived,
    /// All of it has arrived; it is being worked on.
    Arrived,
    /// It was answered; nothing of that has reached the process.
    Answered,
    /// The first half of the answer has reached the process.
    PartlyAnswered,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// On.
    On,
    /// It is cut.
    Off,
}

type Act = Box<dyn FnMut(&str, Moment) -> Go + Send>;

/// The wire. It lasts as long as the runtime.
pub(crate) struct Wire {
    /// What the process takes for Business Central.
    pub(crate) url: String,
    act: Arc<Mutex<Option<Act>>>,
    process: Arc<Mutex<Option<Pid>>>,
}

impl Wire {
    /// A wire to the server at `url`, which is `http://HOST:PORT`.
    pub(crate) async fn to(url: &str) -> Self {
        let target = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let act: Arc<Mutex<Option<Act>>> = Arc::default();
        let own = Arc::clone(&act);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // However a connection ends, the one at its other end sees that it did.
                tokio::spawn(carry(client, target.clone(), Arc::clone(&own)));
            }
        });
        Self { url: format!("http://{address}"), act, process: Arc::default() }
    }

    /// Has `act` asked at every moment of every request, which is given as its text.
    pub(crate) fn arm(&self, act: impl FnMut(&str, Moment) -> Go + Send + 'static) {
        *self.act.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
    }

    /// Lets everything pass.
    pub(crate) fn disarm(&self) {
        *self.act.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells whose the requests are.
    pub(crate) fn belongs_to(&self, process: u32) {
        *self.process.lock().unwrap() = Pid::from_raw(i32::try_from(process).unwrap());
    }

    /// Sends a signal to the process when the `nth` write comes to this moment. With `SIGKILL` the wire is cut too.
    pub(crate) fn signal_at(&self, signal: Signal, at: Moment, nth: usize) {
        self.signals_at([(signal, at)], nth);
    }

    /// The same with a signal for each of several moments.
    pub(crate) fn signals_at<const N: usize>(&self, signals: [(Signal, Moment); N], nth: usize) {
        let process = Arc::clone(&self.process);
        let mut writes = [0; N];
        self.arm(move |request, moment| {
            let mut go = Go::On;
            for ((signal, at), writes) in signals.iter().zip(&mut writes) {
                *writes += usize::from(moment == *at && is_write(request));
                if moment == *at && is_write(request) && *writes == nth {
                    // Its number is stored right after its start, long before it has a token.
                    let process = process.lock().unwrap().expect("a process that sends has been started");
                    let _ = kill_process(process, *signal);
                    if *signal == Signal::KILL {
                        go = Go::Off;
                    }
                }
            }
            go
        });
    }
}

/// Whether a request writes: a batch that has more than reads.
pub(crate) fn is_write(request: &str) -> bool {
    ["\"POST\"", "\"PATCH\"", "\"DELETE\""].iter().any(|method| request.contains(method))
}

async fn carry(mut client: TcpStream, target: String, act: Arc<Mutex<Option<Act>>>) -> io::Result<()> {
    let ask = |request: &str, moment| {
        let mut act = act.lock().unwrap_or_else(PoisonError::into_inner);
        match act.as_mut().map_or(Go::On, |act| act(request, moment)) {
            Go::On => Ok(()),
            Go::Off => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        }
    };
    let mut server = TcpStream::connect(target).await?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    while let Some(request) = message(&mut client).await? {
        let text = String::from_utf8_lossy(&request).into_owned();
        ask(&text, Moment::Sent)?;
        let (first, rest) = request.split_at(request.len() / 2);
        server.write_all(first).await?;
        ask(&text, Moment::PartlyArrived)?;
        let (rest, last) = rest.split_at(rest.len() - 1);
        server.write_all(rest).await?;
        let held = ask(&text, Moment::AllButArrived);
        server.write_all(last).await?;
        if let Err(cut) = held.and_then(|()| ask(&text, Moment::Arrived)) {
            drop(client);
            // The server does not notice: it works on what the process has sent.
            message(&mut server).await?;
            return Err(cut);
        }
        let Some(answer) = message(&mut server).await? else { return Ok(()) };
        ask(&text, Moment::Answered)?;
        let (first, rest) = answer.split_at(answer.len() / 2);
        client.write_all(first).await?;
        ask(&text, Moment::PartlyAnswered)?;
        client.write_all(rest).await?;
    }
    Ok(())
}

/// One HTTP message with all of its body; `None` at the end of the connection.
async fn message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some(length) = length(&bytes)
            && bytes.len() >= length
        {
            return Ok(Some(bytes));
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// How long a message is; `None` while its head has not come as a whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Some(head + body.unwrap_or(0))
}
