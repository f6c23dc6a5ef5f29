//! What all copies of a model share: a detection, and what it knows of each device.

use std::sync::{Arc, Mutex};

use super::detect::Row;
use super::devices::Devices;
use super::pipeline::Detection;
use super::record::{self, RecordError};
use super::seen::Seen;
use crate::inference::DeviceId;
use crate::sync::lock;

/// A detection with the devices that it knows. Clones are the same memory, so that it does not matter which
/// thread takes a row; the rows of one device must come one after another.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    detection: Arc<Detection>,
    /// What it is and what it was made of, for records to be told apart.
    digest: Digest,
    devices: Mutex<Devices>,
}

/// A SHA-256 of all that the meaning of a device's state depends on.
pub type Digest = [u8; 32];

/// Which devices to begin anew with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// This one.
    One(DeviceId),
}

impl Memory {
    /// A memory that knows nobody, of at most `devices_max` devices. `digest` stands for all that made
    /// `detection`: states of another one mean something else.
    pub fn new(detection: Detection, digest: Digest, devices_max: usize) -> Self {
        let devices = Mutex::new(Devices::new(&detection, devices_max));
        Self { shared: Arc::new(Shared { detection: Arc::new(detection), digest, devices }) }
    }

    /// The same detection with a memory of its own, which knows nobody.
    pub fn apart(&self) -> Self {
        let Shared { detection, digest, devices } = &*self.shared;
        let devices = Mutex::new(Devices::new(detection, lock(devices).devices_max()));
        Self { shared: Arc::new(Shared { detection: Arc::clone(detection), digest: *digest, devices }) }
    }

    /// Takes the next row of a device; rows of nobody in particular are those of one more device.
    pub fn see(&self, device: Option<&DeviceId>, row: &Row<'_>) -> Seen {
        lock(&self.shared.devices).see(device, row, &self.shared.detection)
    }

    /// Calls `f` with what takes rows, which nobody else does meanwhile.
    pub fn with<T>(&self, f: impl FnOnce(&mut dyn FnMut(Option<&DeviceId>, &Row<'_>) -> Seen) -> T) -> T {
        let mut devices = lock(&self.shared.devices);
        f(&mut |device, row| devices.see(device, row, &self.shared.detection))
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        lock(&self.shared.devices).len()
    }

    /// How many rows were taken since it began.
    pub fn rows(&self) -> u64 {
        lock(&self.shared.devices).rows()
    }

    /// How many devices gave way to others, because more came than there is room for.
    pub fn forgotten(&self) -> u64 {
        lock(&self.shared.devices).forgotten()
    }

    /// Forgets what was learnt of devices, so that they learn anew; how many those were.
    pub fn relearn(&self, which: &Which) -> usize {
        lock(&self.shared.devices).relearn(which, &self.shared.detection)
    }

    /// All that is known of all devices, as a file may hold it; see [`restore`](Self::restore).
    pub fn save(&self) -> Vec<u8> {
        record::write(&lock(&self.shared.devices), &self.shared.digest)
    }

    /// Puts what [`save`](Self::save) gave in place of all that is known. What comes then is answered as if
    /// there had been no interruption, bit for bit.
    ///
    /// # Errors
    /// When `bytes` were cut off or altered, or are of another detection. Nothing changes then.
    pub fn restore(&self, bytes: &[u8]) -> Result<usize, RecordError> {
        let mut devices = lock(&self.shared.devices);
        record::read(bytes, &self.shared.digest, &self.shared.detection, &mut devices)?;
        Ok(devices.len())
    }

    /// Takes over what `other` knows, if that means the same here; whether it does.
    pub fn take_over(&self, other: &Self) -> bool {
        let means_the_same = self.shared.digest == other.shared.digest;
        if means_the_same && !Arc::ptr_eq(&self.shared, &other.shared) {
            // One lock at a time.
            let known = record::write(&lock(&other.shared.devices), &other.shared.digest);
            return self.restore(&known).is_ok();
        }
        means_the_same
    }
}
