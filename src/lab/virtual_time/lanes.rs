//! What waits for the model: a lane for each device, served in turn, as in a node. Full, it takes no more.
//!
//! A node's queue also lets the devices that have more than their share lose first; here everyone is refused alike.

use std::collections::{HashMap, HashSet, VecDeque};

/// Lanes of waiting requests by device.
pub struct Lanes<R> {
    lanes: HashMap<u32, VecDeque<R>>,
    /// Devices that wait, in the order of their turns; those that a worker has are not among them.
    turns: VecDeque<u32>,
    held: HashSet<u32>,
    waiting: usize,
    requests_max: usize,
}

impl<R> Lanes<R> {
    /// Lanes that hold at most `requests_max`.
    pub fn new(requests_max: usize) -> Self {
        Self { lanes: HashMap::new(), turns: VecDeque::new(), held: HashSet::new(), waiting: 0, requests_max }
    }

    /// Appends a request; hands it back when there is no room.
    pub fn push(&mut self, device: u32, request: R) -> Result<(), R> {
        if self.waiting >= self.requests_max {
            return Err(request);
        }
        self.waiting += 1;
        let lane = self.lanes.entry(device).or_default();
        lane.push_back(request);
        if lane.len() == 1 && !self.held.contains(&device) {
            self.turns.push_back(device);
        }
        Ok(())
    }

    /// Takes up to `count` requests, one of each device in turn. Nobody else gets requests of those devices until they are
    /// released.
    pub fn take(&mut self, count: usize) -> Vec<(u32, R)> {
        let mut batch = Vec::new();
        let mut again = VecDeque::new();
        while batch.len() < count {
            let Some(device) = self.turns.pop_front().or_else(|| again.pop_front()) else { break };
            self.held.insert(device);
            let Some(lane) = self.lanes.get_mut(&device) else { continue };
            if let Some(request) = lane.pop_front() {
                self.waiting -= 1;
                batch.push((device, request));
            }
            if lane.is_empty() {
                self.lanes.remove(&device);
            } else {
                again.push_back(device);
            }
        }
        batch
    }

    /// Devices whose requests a worker has answered.
    pub fn release(&mut self, devices: impl IntoIterator<Item = u32>) {
        for device in devices {
            if self.held.remove(&device) && self.lanes.contains_key(&device) {
                self.turns.push_back(device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_turns_and_keep_their_order() {
        let mut lanes = Lanes::new(6);
        for (device, request) in [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (2, "f")] {
            lanes.push(device, request).unwrap();
        }
        assert_eq!(lanes.push(4, "g"), Err("g"));
        assert_eq!(lanes.take(4), [(1, "a"), (2, "d"), (3, "e"), (1, "b")]);
        // All three devices are with the worker.
        assert_eq!(lanes.take(4), []);
        lanes.push(3, "h").unwrap();
        lanes.release([1, 2, 3, 1]);
        assert_eq!(lanes.take(4), [(1, "c"), (2, "f"), (3, "h")]);
    }
}
