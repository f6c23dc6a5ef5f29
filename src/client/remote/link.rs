//! The socket of one connection, and what belongs to that connection alone.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::codec::{Accepted, Codec, Incoming};
use super::config::Config;
use super::failures::{Failure, Trouble};
use super::transport::Stream;
use crate::mqtt::{Message, Receipt};

/// No more messages are taken while this much is unwritten.
const OUTPUT_BYTES_HIGH: usize = 64 * 1024;
/// Room for reading, at least.
pub const READ_BYTES_MIN: usize = 4 * 1024;

/// The socket and what belongs to this one connection.
pub struct Link {
    pub reader: ReadHalf<Box<dyn Stream>>,
    pub writer: WriteHalf<Box<dyn Stream>>,
    pub codec: Codec,
    pub input: BytesMut,
    pub output: BytesMut,
    pub is_unflushed: bool,
    /// Of messages that leave at QoS 0: settled when they have left.
    pub leaving: Vec<Receipt>,
    /// Filters asked for on this connection.
    pub subscribed: Vec<String>,
    pub suback: Option<(u16, Vec<String>)>,
    /// Which version of the routes these subscriptions are of; none while an answer to
    /// one of them is still to be seen to.
    pub routes_seen: Option<usize>,
    pub unsuback: Option<u16>,
    pub is_refused: bool,
    pub drain: Drain,
    pub ping_interval: Option<Duration>,
    /// When the ping was sent that has no answer yet.
    pub pinged_at: Option<Instant>,
    /// The online status that has not been published.
    pub greeting: Option<Message>,
    /// When the connection is to be made anew, and why.
    pub remake: Option<(Instant, Failure)>,
    /// When to give up waiting for the last acknowledgements.
    pub leave_at: Option<Instant>,
}

/// Unsubscribed, but the broker may have messages for us that it has queued before: they
/// all come when we acknowledge, and none is left when one round of asking brings none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    No,
    Due,
    Asked { has_brought_some: bool },
}

impl Link {
    pub fn new(stream: Box<dyn Stream>, config: &Config) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            codec: Codec::new(config),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_unflushed: true,
            leaving: Vec::new(),
            subscribed: Vec::new(),
            suback: None,
            routes_seen: None,
            unsuback: None,
            is_refused: false,
            drain: Drain::No,
            ping_interval: Some(config.keep_alive),
            pinged_at: None,
            greeting: None,
            remake: None,
            leave_at: None,
        }
    }

    /// Sends what is written and waits for the first packet.
    pub async fn first_packet(&mut self) -> Result<Incoming, Failure> {
        self.writer.write_all_buf(&mut self.output).await.map_err(lost)?;
        self.writer.flush().await.map_err(lost)?;
        loop {
            if let Some(packet) = self.codec.read(&mut self.input).map_err(Failure::unreadable)? {
                return Ok(packet);
            }
            self.input.reserve(READ_BYTES_MIN);
            if self.reader.read_buf(&mut self.input).await.map_err(lost)? == 0 {
                return Err(Trouble::Lost.because("the broker closes the connection"));
            }
        }
    }

    /// The broker's own limits hold from now on.
    pub fn accepted(&mut self, config: &Config, accepted: &Accepted) {
        // What exceeds it must not be sent [MQTT-3.2.2-15]: the broker would end the connection, and again
        // after each reconnection, for the message would be sent again.
        if let Some(bytes) = accepted.packet_bytes_max {
            self.codec.bytes_out_max = bytes;
        }
        // A Server Keep Alive takes the place of what we asked for [MQTT-3.2.2-21]; 0 turns it off
        // (3.1.2.10).
        let keep_alive = accepted.keep_alive_s.map_or(config.keep_alive, |s| Duration::from_secs(s.into()));
        self.ping_interval = Some(keep_alive).filter(|interval| !interval.is_zero());
    }

    /// Asks whether the broker is there, unless it has been asked.
    pub fn ping(&mut self, now: Instant) {
        if self.pinged_at.is_none() {
            self.codec.ping(&mut self.output);
            self.pinged_at = Some(now);
        }
    }

    pub fn has_output_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_HIGH
    }
}

pub fn lost(cause: std::io::Error) -> Failure {
    Trouble::Lost.because(format!("the connection is lost: {cause}"))
}

/// How far [`write()`] came.
pub enum Written {
    Some,
    /// Everything, which has left this process.
    All,
}

/// Writes some of `output`; flushes when nothing is left of it. May be dropped half
/// way: nothing is written twice or lost.
pub async fn write(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    output: &mut BytesMut,
) -> std::io::Result<Written> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(Written::All);
    }
    writer.write_buf(output).await?;
    Ok(Written::Some)
}
