//! TCP sockets that keep nobody waiting: for an acknowledgement, or for a packet to fill.
//!
//! Most MQTT clients leave Nagle's algorithm on (RFC 896): a small packet behind another one
//! stays with them until that one is acknowledged. The acknowledgement is delayed here (RFC
//! 1122, 4.2.3.2), by 40 ms on Linux, for something that could carry it. Where nothing is to
//! be said, as behind a PUBACK, each waits for the other: a round trip at QoS 1 took 44 ms in
//! place of 0.1 (docs/performance.md). Only this side can be mended, so it acknowledges what
//! it has read as soon as it waits for more, unless something that it wrote has done so.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connected socket.
pub struct Socket {
    reader: Reader,
    writer: Writer,
}

/// The half that reads, and acknowledges.
pub struct Reader {
    half: OwnedReadHalf,
    owed: Owed,
}

/// The half that writes: what it sends carries the acknowledgement of what was read before.
pub struct Writer {
    half: OwnedWriteHalf,
    owed: Owed,
}

/// Whether something has been read since the last write. Both halves are polled by
/// one task, so that the order of the memory around it is of no concern.
#[derive(Clone, Default)]
struct Owed(Arc<AtomicBool>);

impl Socket {
    /// Takes a stream over, and turns Nagle's algorithm off for what is sent on it:
    /// packets are gathered before they are written, so that it has nothing to gain.
    pub fn new(stream: TcpStream) -> Self {
        // A peer that is gone needs none.
        let _gone = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let owed = Owed::default();
        Self { reader: Reader { half: reader, owed: owed.clone() }, writer: Writer { half: writer, owed } }
    }

    /// The two halves, which need no lock between them.
    pub fn into_split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// The first byte that the peer has sent, which stays to be read; `None` when it has left without one.
    pub async fn first_byte(&mut self) -> Option<u8> {
        let mut first = [0];
        match self.reader.half.peek(&mut first).await {
            Ok(bytes) if bytes > 0 => Some(first[0]),
            _ => None,
        }
    }
}

impl Owed {
    fn set(&self, is_owed: bool) {
        self.0.store(is_owed, Ordering::Relaxed);
    }

    /// Whether an acknowledgement is owed, from now on no more.
    fn take(&self) -> bool {
        let is_owed = self.0.load(Ordering::Relaxed);
        if is_owed {
            self.set(false);
        }
        is_owed
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.half).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.owed.set(true);
        } else if read.is_pending() && self.owed.take() {
            acknowledge(self.half.as_ref());
        }
        read
    }
}

/// Sends an acknowledgement that the system would delay. It is asked each time: the system
/// goes back to delaying as soon as something is sent in turn (tcp(7), TCP_QUICKACK).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn acknowledge(stream: &TcpStream) {
    // Whether the peer is still there shows at the next read.
    let _gone = stream.set_quickack(true);
}

/// Other systems have no word for it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn acknowledge(_: &TcpStream) {}

impl Writer {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.owed.set(false);
        }
        written
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.half).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.half).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.half.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(context)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        (Socket::new(accepted.unwrap().0), client.unwrap())
    }

    impl Socket {
        /// Lets the system delay acknowledgements, as it does once something was sent in turn.
        fn delay(&self) {
            self.reader.half.as_ref().set_quickack(false).unwrap();
        }

        fn acknowledges_at_once(&self) -> bool {
            self.reader.half.as_ref().quickack().unwrap()
        }

        /// Waits for more, in vain.
        async fn waits(&mut self) -> bool {
            let mut bytes = [0];
            let mut buffer = ReadBuf::new(&mut bytes);
            poll_fn(|context| Poll::Ready(Pin::new(&mut *self).poll_read(context, &mut buffer).is_pending()))
                .await
        }
    }

    #[tokio::test]
    async fn what_was_read_is_acknowledged_as_soon_as_more_is_waited_for() {
        let (mut socket, mut client) = connected().await;
        socket.delay();
        client.write_all(b"PUBACK").await.unwrap();
        socket.read_exact(&mut [0; 6]).await.unwrap();
        assert!(!socket.acknowledges_at_once(), "something may still be said");
        assert!(socket.waits().await && socket.acknowledges_at_once());
    }

    #[tokio::test]
    async fn what_is_written_carries_the_acknowledgement() {
        let (mut socket, mut client) = connected().await;
        client.write_all(b"PUBLISH").await.unwrap();
        socket.read_exact(&mut [0; 7]).await.unwrap();
        socket.write_all(b"PUBACK").await.unwrap();
        socket.delay();
        assert!(socket.waits().await && !socket.acknowledges_at_once());
    }

    #[tokio::test]
    async fn the_halves_know_of_each_other() {
        let (mut socket, mut client) = connected().await;
        client.write_all(b"PUBLISH").await.unwrap();
        socket.read_exact(&mut [0; 7]).await.unwrap();
        let (reader, mut writer) = socket.into_split();
        writer.write_all(b"PUBACK").await.unwrap();
        assert!(!reader.owed.take());
    }

    #[tokio::test]
    async fn small_packets_are_not_held_back() {
        let (socket, _client) = connected().await;
        assert!(socket.reader.half.as_ref().nodelay().unwrap());
    }
}
