//! A client at the other end of an in-memory stream: sends whole or in pieces, reads
//! or does not, and leaves as it likes.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::arena::{Arena, PATIENCE, nobody};
use crate::broker::bus::carrier::poll_now;
use crate::broker::front::arrival;
use crate::mqtt::packet::varint;

/// What the stream holds in each direction: little, so that the broker meets clients that do not read.
const STREAM_BYTES: usize = 4 * 1_024;
/// How often a client tries to get rid of bytes that the broker does not take.
const SEND_TRIES_MAX: usize = 20;
/// Packets that only a server sends, and acknowledgements.
const FROM_SERVER: [u8; 10] = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14];

pub struct Peer {
    stream: DuplexStream,
    received: Vec<u8>,
    is_closed: bool,
}

impl Peer {
    /// Opens a connection that the broker serves.
    pub fn open(arena: &mut Arena) -> Self {
        let (peer, server_end) = Self::pair();
        let (reader, writer) = tokio::io::split(server_end);
        arena.serve(|context, limits| arrival::serve(context, limits, nobody(), reader, writer));
        peer
    }

    /// A client, and the other end of its stream.
    pub fn pair() -> (Self, DuplexStream) {
        let (stream, server_end) = tokio::io::duplex(STREAM_BYTES);
        (Self { stream, received: Vec::new(), is_closed: false }, server_end)
    }

    /// What has come and was not taken by [`answers`](Self::answers).
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Whether the broker has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Sends one packet, sometimes in pieces. What the broker does not take is lost, which breaks the packet.
    pub async fn send(&mut self, arena: &mut Arena, packet: &[u8], rng: &mut ChaCha8Rng) {
        arena.packets += 1;
        self.send_all(packet, rng).await;
    }

    /// Sends bytes that are no packet.
    pub async fn send_all(&mut self, bytes: &[u8], rng: &mut ChaCha8Rng) {
        let mut rest = bytes;
        for _ in 0..SEND_TRIES_MAX {
            if rest.is_empty() || self.is_closed {
                return;
            }
            let piece = if rng.random_bool(0.2) { rng.random_range(1..=rest.len()) } else { rest.len() };
            match poll_now(self.stream.write(&rest[..piece])) {
                Some(Ok(sent)) => rest = &rest[sent..],
                Some(Err(_)) => self.is_closed = true,
                None => self.read(rng).await,
            }
            if rng.random_bool(0.3) || piece < rest.len() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is there, mostly, and checks that it is made of packets that a server sends.
    pub async fn read(&mut self, rng: &mut ChaCha8Rng) {
        tokio::task::yield_now().await;
        if rng.random_bool(0.2) {
            return;
        }
        let mut block = [0; 1_024];
        while let Some(Ok(read)) = poll_now(self.stream.read(&mut block)) {
            if read == 0 {
                self.is_closed = true;
                return;
            }
            self.received.extend_from_slice(&block[..read]);
        }
    }

    /// Reads until what has come is enough; false when the broker says nothing more.
    pub async fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> bool {
        let mut block = [0; 1_024];
        while !is_enough(&self.received) {
            match tokio::time::timeout(PATIENCE, self.stream.read(&mut block)).await {
                Ok(Ok(read)) if read > 0 => self.received.extend_from_slice(&block[..read]),
                _ => return false,
            }
        }
        true
    }

    /// What a client would acknowledge of what it has received.
    pub fn answers(&mut self, rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        while let Some(packet) = take_packet(&mut self.received) {
            let (first, body) = (packet[0], &packet[2..]);
            let id = match first >> 4 {
                3 if first & 6 != 0 => {
                    // The topic's length, the topic, and then the packet id; a longer packet has a
                    // longer length field.
                    let body = &packet[1 + varint(&packet[1..]).unwrap().unwrap().1..];
                    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    [body[at], body[at + 1]]
                }
                5 | 6 => [body[0], body[1]],
                _ => continue,
            };
            let answer = match first >> 4 {
                3 if first & 6 == 2 => 0x40,
                3 => 0x50,
                5 => 0x62,
                _ => 0x70,
            };
            if rng.random_bool(0.9) {
                answers.push(vec![answer, 2, id[0], id[1]]);
            }
        }
        answers
    }

    /// Goes: by dropping everything, or by closing its half first.
    pub async fn leave(mut self, rng: &mut ChaCha8Rng) {
        self.hang_up(rng).await;
        // What came is looked at last, so that every answer of the broker is checked.
        self.answers(rng);
    }

    /// Closes its half, or leaves that to the end of the stream.
    pub async fn hang_up(&mut self, rng: &mut ChaCha8Rng) {
        if rng.random_bool(0.3) {
            // An error means that the broker has closed it.
            self.stream.shutdown().await.ok();
            self.read(rng).await;
        }
    }
}

/// Takes the first packet of what a server sent, if it is whole.
pub fn take_packet(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let first = *received.first()?;
    assert!(FROM_SERVER.contains(&(first >> 4)), "the broker sent {first:#x}");
    let (body, length) = varint(&received[1..]).expect("the broker sends sound lengths")?;
    let end = 1 + length + body;
    (end <= received.len()).then(|| received.drain(..end).collect())
}
