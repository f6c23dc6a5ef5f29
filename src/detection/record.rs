//! What is known of devices as bytes: one versioned record that is refused unless it is whole and means the
//! same here.
//!
//! ```text
//!  magic "NEARFAR\x1a", version u32, words of a device u32, digest 32 bytes, devices u64
//!  what they share of one budget: how many words u32, words
//!  each device, the one that was silent for longest first: length of its name u16 (0xffff for nobody), name, words
//!  CRC-32 of all of that (ISO 3309, as in gzip)
//! ```
//! Numbers are little-endian.

use super::block::Word;
use super::devices::Devices;
use super::memory::Digest;
use super::pipeline::Detection;
use crate::inference::DeviceId;

const MAGIC: &[u8; 8] = b"NEARFAR\x1a";
const VERSION: u32 = 1;
/// The length that stands for a device without a name.
const NOBODY: u16 = u16::MAX;

/// Why a record is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It begins with something else.
    #[error("it is no record of devices, which begins with NEARFAR")]
    Foreign,
    /// It was written by another version of the format.
    #[error("it has version {found} of the format, expected {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// It ends too early.
    #[error("it was cut off after {bytes} bytes")]
    CutOff {
        /// How many there are.
        bytes: usize,
    },
    /// Its checksum is not that of what stands before.
    #[error("it was altered: its checksum is not that of its content")]
    Altered,
    /// It is of a detector with other settings, or other weights.
    #[error("it is of another detector, or of one with other settings; its devices learn anew")]
    OtherDetector,
    /// It holds more devices than there is room for.
    #[error("it holds {devices} devices, more than {devices_max} (devices_max)")]
    Devices {
        /// How many it holds.
        devices: u64,
        /// The bound.
        devices_max: usize,
    },
    /// A name in it is none of a device.
    #[error("a name in it is none of a device: {0}")]
    Name(String),
}

/// All of `devices`.
pub fn write(devices: &Devices, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + devices.len() * (devices.words() * 8 + 32));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(devices.words() as u32).to_le_bytes());
    bytes.extend_from_slice(digest);
    bytes.extend_from_slice(&(devices.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(devices.common().len() as u32).to_le_bytes());
    devices.common().iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    for (name, block) in devices.oldest_first() {
        let name = name.map(DeviceId::as_str);
        bytes.extend_from_slice(&name.map_or(NOBODY, |name| name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name.unwrap_or_default().as_bytes());
        block.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Puts the devices of a record in place of those that are in `devices`.
pub fn read(
    bytes: &[u8],
    digest: &Digest,
    detection: &Detection,
    devices: &mut Devices,
) -> Result<(), RecordError> {
    let mut reader = Reader { bytes, at: 0 };
    if bytes.is_empty() || !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
        return Err(RecordError::Foreign);
    }
    reader.take(MAGIC.len())?;
    let version = u32::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(RecordError::Version { found: version });
    }
    let words = u32::from_le_bytes(reader.array()?) as usize;
    let its_digest: Digest = reader.array()?;
    let count = u64::from_le_bytes(reader.array()?);
    let (content, checksum) = bytes.split_at_checked(bytes.len() - 4).ok_or(reader.cut_off())?;
    let is_whole = checksum == crc32fast::hash(content).to_le_bytes();
    if !is_whole {
        // What was cut off has no checksum at its end: which of the two it is, its own counts say.
        return Err(if whole_length(&mut reader, words, count).is_none() {
            reader.cut_off()
        } else {
            RecordError::Altered
        });
    }
    if its_digest != *digest || words != detection.words() {
        return Err(RecordError::OtherDetector);
    }
    if count > devices.devices_max() as u64 {
        return Err(RecordError::Devices { devices: count, devices_max: devices.devices_max() });
    }
    let mut fresh = Devices::new(detection, devices.devices_max());
    let mut reader = Reader { bytes: content, at: reader.at };
    let common = u32::from_le_bytes(reader.array()?) as usize;
    if common != fresh.common().len() {
        return Err(RecordError::OtherDetector);
    }
    let mut block: Vec<Word> = Vec::with_capacity(words);
    reader.words(common, &mut block)?;
    fresh.set_common(&block);
    for _ in 0..count {
        let name = reader.name()?;
        reader.words(words, &mut block)?;
        fresh.put(name, &block, detection);
    }
    *devices = fresh;
    Ok(())
}

/// Where a record that says it has so many devices ends, if all of it is there.
fn whole_length(reader: &mut Reader<'_>, words: usize, devices: u64) -> Option<usize> {
    let common = u32::from_le_bytes(reader.array().ok()?) as usize;
    reader.take(common.checked_mul(size_of::<Word>())?).ok()?;
    for _ in 0..devices {
        reader.name().ok()?;
        reader.take(words.checked_mul(size_of::<Word>())?).ok()?;
    }
    reader.take(4).ok()?;
    Some(reader.at)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], RecordError> {
        let taken = self.bytes.get(self.at..self.at.saturating_add(bytes)).ok_or(self.cut_off())?;
        self.at += bytes;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.cut_off())
    }

    /// So many words, in the place of those that are in `into`.
    fn words(&mut self, words: usize, into: &mut Vec<Word>) -> Result<(), RecordError> {
        into.clear();
        for _ in 0..words {
            into.push(Word::from_le_bytes(self.array()?));
        }
        Ok(())
    }

    fn name(&mut self) -> Result<Option<DeviceId>, RecordError> {
        let length = u16::from_le_bytes(self.array()?);
        if length == NOBODY {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(self.take(length.into())?);
        DeviceId::new(&*name).map(Some).map_err(|refusal| RecordError::Name(refusal.message))
    }

    fn cut_off(&self) -> RecordError {
        RecordError::CutOff { bytes: self.bytes.len() }
    }
}
