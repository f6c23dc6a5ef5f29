//! What is known of each device: one flat table with a bound, in which the one that was silent for longest
//! gives way.

use std::collections::HashMap;

use super::block::Word;
use super::detect::Row;
use super::memory::Which;
use super::pipeline::Detection;
use super::seen::Seen;
use crate::inference::DeviceId;

/// How many words are one piece of the table, so that it grows without being copied.
const PIECE_WORDS: usize = 1 << 16;
/// No device.
const NOBODY: u32 = u32::MAX;

/// The states of devices.
pub struct Devices {
    words: usize,
    devices_max: usize,
    places: HashMap<DeviceId, u32>,
    /// Where rows of nobody in particular belong.
    unnamed: Option<u32>,
    /// What all of them share of a budget, where that is one for all.
    common: Option<Vec<Word>>,
    pieces: Vec<Vec<Word>>,
    /// Of each, who was heard of last before it, and first after it.
    order: Vec<[u32; 2]>,
    names: Vec<Option<DeviceId>>,
    /// The one that was heard of last, and the one that was silent for longest.
    newest: u32,
    oldest: u32,
    forgotten: u64,
    rows: u64,
}

impl Devices {
    /// A table that knows nobody, of at most `devices_max` devices.
    pub fn new(detection: &Detection, devices_max: usize) -> Self {
        Self {
            words: detection.words(),
            devices_max,
            places: HashMap::new(),
            unnamed: None,
            common: detection.common(),
            pieces: Vec::new(),
            order: Vec::new(),
            names: Vec::new(),
            newest: NOBODY,
            oldest: NOBODY,
            forgotten: 0,
            rows: 0,
        }
    }

    /// How many devices are known.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many gave way to others.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many rows were taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many words are kept of each.
    pub fn words(&self) -> usize {
        self.words
    }

    /// How many there may be.
    pub fn devices_max(&self) -> usize {
        self.devices_max
    }

    /// Takes a row of `device`; those of nobody in particular are of one more device.
    pub fn see(&mut self, device: Option<&DeviceId>, row: &Row<'_>, detection: &Detection) -> Seen {
        let place = self.find(device).unwrap_or_else(|| self.enter(device.cloned(), detection));
        self.touch(place);
        self.rows += 1;
        let (piece, at) = self.whereabouts(place);
        let block = &mut self.pieces[piece][at..at + self.words];
        match &mut self.common {
            None => detection.see(row, block),
            Some(common) => detection.see_together(row, block, common),
        }
    }

    /// What all devices share of a budget; nothing where each has its own.
    pub fn common(&self) -> &[Word] {
        self.common.as_deref().unwrap_or_default()
    }

    /// Takes that over from where it was kept, of the same length.
    pub fn set_common(&mut self, common: &[Word]) {
        if let Some(own) = &mut self.common {
            own.copy_from_slice(common);
        }
    }

    fn find(&self, device: Option<&DeviceId>) -> Option<u32> {
        device.map_or(self.unnamed, |device| self.places.get(device).copied())
    }

    /// Makes it known, or unknown, where the device is.
    fn place(&mut self, device: Option<&DeviceId>, place: Option<u32>) {
        match (device, place) {
            (None, place) => self.unnamed = place,
            (Some(device), Some(place)) => drop(self.places.insert(device.clone(), place)),
            (Some(device), None) => drop(self.places.remove(device)),
        }
    }

    /// Puts a device with a state that it had.
    pub fn put(&mut self, device: Option<DeviceId>, block: &[Word], detection: &Detection) {
        let known = self.find(device.as_ref());
        let place = known.unwrap_or_else(|| self.enter(device, detection));
        self.touch(place);
        self.block(place).copy_from_slice(block);
    }

    /// Each device with its state, the one that was silent for longest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = (Option<&DeviceId>, &[Word])> {
        let first = (self.oldest != NOBODY).then_some(self.oldest);
        let next = |place: &u32| Some(self.order[*place as usize][1]).filter(|next| *next != NOBODY);
        std::iter::successors(first, next).map(|place| {
            let (piece, at) = self.whereabouts(place);
            (self.names[place as usize].as_ref(), &self.pieces[piece][at..at + self.words])
        })
    }

    /// Begins anew with some devices; how many of them there are.
    pub fn relearn(&mut self, which: &Which, detection: &Detection) -> usize {
        let places: Vec<u32> = match which {
            Which::All => (0..self.names.len() as u32).collect(),
            Which::One(device) => self.find(Some(device)).into_iter().collect(),
        };
        for place in &places {
            detection.relearn(self.block(*place));
        }
        places.len()
    }

    fn block(&mut self, place: u32) -> &mut [Word] {
        let (piece, at) = self.whereabouts(place);
        &mut self.pieces[piece][at..at + self.words]
    }

    /// In which piece a state stands, and where in it.
    fn whereabouts(&self, place: u32) -> (usize, usize) {
        let in_a_piece = self.in_a_piece();
        (place as usize / in_a_piece, place as usize % in_a_piece * self.words)
    }

    fn in_a_piece(&self) -> usize {
        (PIECE_WORDS / self.words).max(1)
    }

    fn enter(&mut self, device: Option<DeviceId>, detection: &Detection) -> u32 {
        let place = if self.names.len() < self.devices_max {
            let place = self.names.len() as u32;
            self.names.push(device.clone());
            self.order.push([NOBODY; 2]);
            if self.whereabouts(place).0 == self.pieces.len() {
                self.pieces.push(vec![0; self.in_a_piece() * self.words]);
            }
            self.link(place);
            place
        } else {
            let place = self.oldest;
            self.forgotten += 1;
            let before = std::mem::replace(&mut self.names[place as usize], device.clone());
            self.place(before.as_ref(), None);
            place
        };
        self.place(device.as_ref(), Some(place));
        detection.begin(self.block(place));
        place
    }

    /// Makes it the one that was heard of last.
    fn touch(&mut self, place: u32) {
        if self.newest == place {
            return;
        }
        self.unlink(place);
        self.link(place);
    }

    fn link(&mut self, place: u32) {
        self.order[place as usize] = [self.newest, NOBODY];
        match self.newest {
            NOBODY => self.oldest = place,
            newest => self.order[newest as usize][1] = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let [before, after] = self.order[place as usize];
        match before {
            NOBODY => self.oldest = after,
            before => self.order[before as usize][1] = after,
        }
        match after {
            NOBODY => self.newest = before,
            after => self.order[after as usize][0] = before,
        }
    }
}
