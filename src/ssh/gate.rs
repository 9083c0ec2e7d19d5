//! Flow control that russh lacks: a connection is not read while what it sent is still waiting for its children.
//!
//! russh grants a client new window for what it has received, not for what was consumed, and its own way to slow a
//! client down is to stop the whole session, output and all: a child that waits for us to take its output before it
//! reads on would then wait for ever. So the session never stops. Instead its socket is wrapped in a [`Gated`]
//! stream that gives nothing to read while more than [`HIGH_WATER`] bytes are queued; writing goes on.
//!
//! One knot is left: output may itself wait for a window grant that stands in the unread bytes. Then reading goes on,
//! and the client is granted no more than [`Gate::window`] says, a trickle: what it may still send is soon read, its
//! grants come alone, and the trickle brings russh to grant the full window again when the knot is untied.
//!
//! While nothing is read, nothing tells that the client is gone: `connection` asks the socket ([`super::peer`]) as long as
//! [`Gate::is_closed`], and [`Gate::taken`] tells whether anything still moves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::door::{Place, Stage};

/// Bytes queued at which reading stops.
const HIGH_WATER: usize = 1 << 20;

/// Bytes queued at which a connection is ended. A client that heeds its window comes nowhere near.
const CEILING: usize = 32 << 20;

/// The window, in bytes, of a client that is only read for its grants. Not 0, because russh grants anew only when it
/// receives something.
const TRICKLE: u32 = 64;

/// What a queued chunk costs beside its bytes, so that many tiny ones count as well.
const CHUNK_COST: usize = 128;

/// Decides whether a connection is read, and can end it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    queued: AtomicUsize,
    taken: AtomicUsize,
    stalled: AtomicUsize,
    shut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Gate {
    /// Queues bytes from the client: they count until the chunk is dropped.
    pub(super) fn chunk(self: &Arc<Self>, bytes: &[u8]) -> Chunk {
        self.queued.fetch_add(bytes.len() + CHUNK_COST, Ordering::SeqCst);
        Chunk { bytes: bytes.to_vec(), gate: Arc::clone(self) }
    }

    /// Says that output waits for a window grant, until the value is dropped.
    pub(super) fn stalled(self: &Arc<Self>) -> Stalled {
        self.stalled.fetch_add(1, Ordering::SeqCst);
        self.reader.wake();
        Stalled(Arc::clone(self))
    }

    /// Ends the connection: it reads as ended and cannot be written.
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// How many bytes a client may be allowed to send ahead, where it usually is `full`.
    pub(super) fn window(&self, full: u32) -> u32 {
        if self.is_full() { TRICKLE.min(full) } else { full }
    }

    /// Whether nothing is read now.
    pub(super) fn is_closed(&self) -> bool {
        self.is_full() && !self.is_stalled()
    }

    /// How many pieces of what the client sent were taken by its children so far.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    fn is_full(&self) -> bool {
        self.queued.load(Ordering::SeqCst) >= HIGH_WATER
    }

    fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::SeqCst) > 0
    }
}

/// Bytes from the client on their way to a child.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    gate: Arc<Gate>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let cost = self.bytes.len() + CHUNK_COST;
        self.gate.taken.fetch_add(1, Ordering::SeqCst);
        let before = self.gate.queued.fetch_sub(cost, Ordering::SeqCst);
        if before >= HIGH_WATER && before - cost < HIGH_WATER {
            self.gate.reader.wake();
        }
    }
}

/// Output that waits for a window grant.
#[derive(Debug)]
pub(super) struct Stalled(Arc<Gate>);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.stalled.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream that is read only while its gate is open.
#[derive(Debug)]
pub(super) struct Gated<S> {
    /// The stream.
    pub(super) stream: S,
    /// The gate.
    pub(super) gate: Arc<Gate>,
    /// Its place among those that are silent, until it has sent something.
    pub(super) silent: Option<Arc<Place>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Before the state is looked at, or a wake between the two would be lost.
        this.gate.reader.register(context.waker());
        if this.gate.shut.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        if this.gate.is_closed() {
            return Poll::Pending;
        }
        if this.gate.queued.load(Ordering::SeqCst) >= CEILING {
            return Poll::Ready(Err(io::Error::other("it sent more than its window allows")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before
            && let Some(place) = this.silent.take()
        {
            place.reached(Stage::Spoke);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.gate.writer.register(context.waker());
        if this.gate.shut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn try_read(stream: &mut Gated<tokio::io::DuplexStream>) -> Poll<usize> {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(stream).poll_read(&mut context, &mut buffer).map(|_| buffer.filled().len())
    }

    #[tokio::test]
    async fn a_full_queue_stops_reading_until_it_drains_or_output_stalls() {
        let (mut client, stream) = tokio::io::duplex(64);
        let gate = Arc::new(Gate::default());
        let mut stream = Gated { stream, gate: Arc::clone(&gate), silent: None };
        client.write_all(b"abcd").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        let chunk = gate.chunk(&vec![0; HIGH_WATER]);
        assert_eq!(try_read(&mut stream), Poll::Pending);
        let stalled = gate.stalled();
        assert_eq!(try_read(&mut stream), Poll::Ready(1));
        assert_eq!(gate.window(1000), TRICKLE);
        drop(stalled);
        assert_eq!(try_read(&mut stream), Poll::Pending);
        drop(chunk);
        assert_eq!(gate.window(1000), 1000);
        assert_eq!(try_read(&mut stream), Poll::Ready(1));
    }

    #[tokio::test]
    async fn a_shut_gate_reads_as_ended() {
        let (_client, stream) = tokio::io::duplex(64);
        let gate = Arc::new(Gate::default());
        let mut stream = Gated { stream, gate: Arc::clone(&gate), silent: None };
        let reading = tokio::spawn(async move {
            let read = stream.read(&mut [0; 8]).await.unwrap();
            (read, stream.write_all(b"x").await.is_err())
        });
        tokio::task::yield_now().await;
        gate.shut();
        assert_eq!(reading.await.unwrap(), (0, true));
    }
}
