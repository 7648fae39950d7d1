//! TCP connections that a handler can cut before its answer leaves.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The switch of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Scissors(Arc<AtomicBool>);

impl Scissors {
    /// Cuts the connection: nothing is read or written any more.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn are_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A listener whose connections carry [`Scissors`].
#[derive(Debug)]
pub(super) struct CuttableListener {
    listener: TcpListener,
    all: Scissors,
}

impl CuttableListener {
    /// Wraps `listener`; `all` cuts every connection at once.
    pub(super) fn new(listener: TcpListener, all: Scissors) -> Self {
        Self { listener, all }
    }
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = Scissors;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, _): (TcpStream, SocketAddr) = Listener::accept(&mut self.listener).await;
        // Answers are small and come one at a time: waiting to fill a segment would only add latency.
        let _ = stream.set_nodelay(true);
        let own = Scissors::default();
        (CuttableStream { stream, own: own.clone(), all: self.all.clone() }, own)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Scissors::default())
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection that fails once it has been cut.
#[derive(Debug)]
pub(super) struct CuttableStream {
    stream: TcpStream,
    own: Scissors,
    all: Scissors,
}

impl CuttableStream {
    fn check(&self) -> io::Result<()> {
        if self.own.are_closed() || self.all.are_closed() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        slices: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
