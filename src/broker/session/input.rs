//! What was read from a client and is not worked off: a block that is read into, and the whole packets before
//! it.

use bytes::{Bytes, BytesMut};

use super::hello::Arrived;
use super::peer::UnderWay;
use crate::broker::codec::complete;
use crate::broker::codec::reason::Reason;

/// The first read of a connection, and the least that is read at once.
const READ_BYTES_LEAST: usize = 512;
pub const READ_BLOCK_BYTES_FIRST: usize = 2 * 1024;
/// A block has room for this many reads like the last one.
const READS_PER_BLOCK: usize = 4;
/// Blocks are not larger, because what was read into one keeps all of it.
const READ_BLOCK_BYTES_MAX: usize = 64 * 1024;

/// The input of one client.
pub struct Input {
    /// What is read goes here.
    pub unread: BytesMut,
    /// The whole packets that were taken from it.
    pub frames: Bytes,
    /// What has come beside `unread` and is no bytes of MQTT yet.
    under_way: UnderWay,
    packet_bytes_max: usize,
    /// The size of the packet that is not whole yet; 0 when unknown.
    needed_bytes: usize,
    /// What the last read brought.
    read_bytes: usize,
    /// The size of the block that is read into.
    block_bytes: usize,
    /// A whole packet has come since it was asked for.
    has_packet: bool,
}

impl Input {
    pub fn new(arrived: Arrived, packet_bytes_max: usize) -> Self {
        Self {
            unread: arrived.unread,
            frames: Bytes::new(),
            under_way: arrived.under_way,
            packet_bytes_max,
            needed_bytes: 0,
            read_bytes: 0,
            block_bytes: READ_BLOCK_BYTES_FIRST,
            has_packet: false,
        }
    }

    /// A read has brought so many bytes.
    pub fn note_read(&mut self, bytes: usize) {
        self.read_bytes = bytes;
    }

    /// Makes room for the next read: little at first, more for a client that fills it.
    pub fn reserve(&mut self) {
        let missing = self.needed_bytes.saturating_sub(self.unread.len());
        if missing == 0 && self.block_bytes > READ_BLOCK_BYTES_MAX && self.frames.is_empty() {
            // That of a large packet goes with it.
            (self.unread, self.block_bytes) = (BytesMut::from(&self.unread[..]), 0);
        }
        let spare = self.unread.capacity() - self.unread.len();
        // No more than the packet needs, so that a large one is not copied for its last bytes.
        if spare < if missing > 0 { missing } else { READ_BYTES_LEAST } {
            let block =
                (READS_PER_BLOCK * self.read_bytes).clamp(READ_BLOCK_BYTES_FIRST, READ_BLOCK_BYTES_MAX);
            self.block_bytes = missing.max(block);
            if !self.unread.try_reclaim(self.block_bytes) {
                // No `reserve`, which may take twice as much.
                let mut block = BytesMut::with_capacity(self.unread.len() + self.block_bytes);
                block.extend_from_slice(&self.unread);
                self.unread = block;
            }
        }
    }

    /// Takes the whole packets that have been read into `frames`, which is empty. `false` when there is none.
    ///
    /// # Errors
    /// Why what follows cannot be read, where no packet is before that.
    pub fn take_frames(&mut self) -> Result<bool, Reason> {
        let found = complete(&self.unread, self.packet_bytes_max);
        if found.bytes == 0 {
            self.needed_bytes = found.next?;
            return Ok(false);
        }
        self.frames = self.take(found.bytes);
        Ok(true)
    }

    /// Takes the whole packets that have been read behind those in `frames`. What cannot be
    /// read is found again when its turn comes.
    pub fn take_behind(&mut self) -> Option<Bytes> {
        let found = complete(&self.unread, self.packet_bytes_max);
        self.needed_bytes = found.next.unwrap_or(0);
        (found.bytes > 0).then(|| self.take(found.bytes))
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.has_packet = true;
        self.unread.split_to(bytes).freeze()
    }

    /// Whether a whole packet has come since this was asked last.
    pub fn had_packet(&mut self) -> bool {
        std::mem::take(&mut self.has_packet)
    }

    /// Bytes that have come of a packet that is not whole. No packet has more than it
    /// may, however many a WebSocket spends on it.
    pub fn bytes_under_way(&self) -> usize {
        (self.unread.len() + self.under_way.bytes()).min(self.packet_bytes_max)
    }

    /// What it takes of memory. It is the whole block, of which unread bytes and frames are parts: a sum that
    /// does not move with each read. A larger one, for a packet under way, is not in memory before it is
    /// filled.
    pub fn held_bytes(&self) -> usize {
        let filled = if self.frames.is_empty() { READ_BLOCK_BYTES_MAX } else { usize::MAX };
        (self.unread.len() + self.frames.len()).max(self.block_bytes.min(filled))
    }

    /// Nobody works it off any more.
    pub fn clear(&mut self) {
        (self.unread, self.frames) = Default::default();
    }
}
