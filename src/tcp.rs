//! TCP sockets that keep nobody waiting: for an acknowledgement, or for a packet to fill.
//!
//! Most MQTT clients leave Nagle's algorithm on (RFC 896): a small packet behind another one
//! stays with them until that one is acknowledged. The acknowledgement is delayed here (RFC
//! 1122, 4.2.3.2), by 40 ms on Linux, for something that could carry it. Where nothing is to
//! be said, as behind a PUBACK, each waits for the other: a round trip at QoS 1 took 44 ms in
//! place of 0.1 (docs/performance.md). Only this side can be mended. It acknowledges at once
//! what it is sent by a peer that has been seen to wait like that, unless something that it
//! writes does so. Not what every peer sends: of a hundred connections with one request in
//! flight each that took an eighth of the throughput.

use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
    /// Since when it has been waiting for more with something unacknowledged, where it was let be.
    waits_since: Option<Instant>,
    peer: Peer,
}

/// The half that writes: what it sends carries the acknowledgement of what was read before.
pub struct Writer {
    half: OwnedWriteHalf,
    owed: Owed,
}

/// What is known of the other side's habit.
struct Peer {
    /// How many more acknowledgements are sent at once.
    prompt: u32,
    /// How many will be, when it is seen to wait the next time.
    next_prompt: u32,
}

/// A peer that holds something back sends it as soon as the system's own acknowledgement arrives:
/// 40 ms after the last packet, and a way there and back. Whoever sends later had nothing to send.
const HELD_BACK: RangeInclusive<Duration> = Duration::from_millis(35)..=Duration::from_millis(500);
/// How many acknowledgements a peer gets at once that has waited for the first time,
/// and how many times as many each further time. One that was only idle is soon no
/// burden any more, and one that does wait does so three times in the first 250,000.
const PROMPT_FIRST: u32 = 64;

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
        let reader = Reader { half: reader, owed: owed.clone(), waits_since: None, peer: Peer::default() };
        Self { reader, writer: Writer { half: writer, owed } }
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

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self { prompt: 0, next_prompt: PROMPT_FIRST }
    }
}

impl Peer {
    /// Notes that it has sent something only so long after what went before was left unacknowledged.
    fn sent_after(&mut self, wait: Duration) {
        if HELD_BACK.contains(&wait) {
            self.prompt = self.next_prompt;
            self.next_prompt = self.next_prompt.saturating_mul(PROMPT_FIRST);
        } else if wait < *HELD_BACK.start() {
            // It does not wait for acknowledgements.
            self.next_prompt = PROMPT_FIRST;
        }
    }

    /// Whether what it has sent is acknowledged at once.
    fn is_prompted(&mut self) -> bool {
        let is_prompted = self.prompt > 0;
        self.prompt = self.prompt.saturating_sub(1);
        is_prompted
    }
}

impl Reader {
    /// Something has been read.
    fn note_read(&mut self) {
        let waited = self.waits_since.take().filter(|_| self.owed.is_set());
        if let Some(since) = waited {
            self.peer.sent_after(since.elapsed());
        }
        self.owed.set(true);
    }

    /// There is nothing more to be read now.
    fn note_waits(&mut self) {
        if !self.owed.is_set() {
            self.waits_since = None;
        } else if self.waits_since.is_none() {
            if self.peer.is_prompted() {
                acknowledge(self.half.as_ref());
                self.owed.set(false);
            } else {
                self.waits_since = Some(Instant::now());
            }
        }
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
            self.note_read();
        } else if read.is_pending() {
            self.note_waits();
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
    async fn what_a_peer_sends_that_waits_is_acknowledged_as_soon_as_more_is_waited_for() {
        let (mut socket, mut client) = connected().await;
        socket.reader.peer.sent_after(Duration::from_millis(40));
        socket.delay();
        client.write_all(b"PUBACK").await.unwrap();
        socket.read_exact(&mut [0; 6]).await.unwrap();
        assert!(!socket.acknowledges_at_once(), "something may still be said");
        assert!(socket.waits().await && socket.acknowledges_at_once());
    }

    #[tokio::test]
    async fn a_peer_that_was_not_seen_to_wait_is_let_be() {
        let (mut socket, mut client) = connected().await;
        client.write_all(b"PUBACK").await.unwrap();
        socket.read_exact(&mut [0; 6]).await.unwrap();
        socket.delay();
        assert!(socket.waits().await && !socket.acknowledges_at_once());
        assert!(socket.reader.waits_since.is_some(), "from here on it is seen");
    }

    #[tokio::test]
    async fn what_is_written_carries_the_acknowledgement() {
        let (mut socket, mut client) = connected().await;
        socket.reader.peer.sent_after(Duration::from_millis(40));
        client.write_all(b"PUBLISH").await.unwrap();
        socket.read_exact(&mut [0; 7]).await.unwrap();
        socket.write_all(b"PUBACK").await.unwrap();
        socket.delay();
        assert!(socket.waits().await && !socket.acknowledges_at_once());
        assert!(socket.reader.waits_since.is_none(), "nobody waits for what is acknowledged");
    }

    #[tokio::test]
    async fn the_halves_know_of_each_other() {
        let (mut socket, mut client) = connected().await;
        client.write_all(b"PUBLISH").await.unwrap();
        socket.read_exact(&mut [0; 7]).await.unwrap();
        let (reader, mut writer) = socket.into_split();
        writer.write_all(b"PUBACK").await.unwrap();
        assert!(!reader.owed.is_set());
    }

    #[test]
    fn a_peer_is_judged_by_how_it_waits() {
        let prompted = |peer: &mut Peer| {
            std::iter::repeat_with(|| peer.is_prompted()).take(9_999).take_while(|is| *is).count()
        };
        let ms = Duration::from_millis;
        let mut peer = Peer::default();
        assert_eq!(prompted(&mut peer), 0);
        for (wait, expected) in [(ms(3), 0), (ms(600), 0), (ms(44), 64), (ms(44), 4_096), (ms(44), 9_999)] {
            peer.sent_after(wait);
            assert_eq!(prompted(&mut peer), expected, "after {wait:?}");
        }
        let mut idle = Peer::default();
        for wait in [100, 1, 100, 2, 100] {
            idle.sent_after(ms(wait));
        }
        assert_eq!(prompted(&mut idle), 64, "what it sent soon speaks against a habit");
    }

    #[tokio::test]
    async fn small_packets_are_not_held_back() {
        let (socket, _client) = connected().await;
        assert!(socket.reader.half.as_ref().nodelay().unwrap());
    }
}
