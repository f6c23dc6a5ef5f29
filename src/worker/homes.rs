//! Which of several workers a device's requests go to. Pure: it counts, and knows no queue and no thread.

use std::collections::HashMap;

/// Keeps each device's requests together: while one of them is under way, the next goes to the same worker, behind it. A
/// device that has none under way goes to the worker with the fewest.
///
/// A fixed worker for each device would need no memory, but a handful of devices would often meet at one worker while the
/// others stand idle. Only devices with requests under way are remembered, so the bounds on requests bound this too.
pub struct Homes {
    /// By the key that stands for a device.
    homes: HashMap<u64, Home>,
    /// Requests under way at each worker: they wait, are with the model, or are being handed on.
    under_way: Vec<usize>,
}

struct Home {
    worker: usize,
    under_way: usize,
}

impl Homes {
    /// No device has a home yet; `workers` is at least one.
    pub fn new(workers: usize) -> Self {
        Self { homes: HashMap::new(), under_way: vec![0; workers] }
    }

    /// Counts one more request of the device `key` as under way. Returns the worker that it must go to, counted from 0.
    pub fn enter(&mut self, key: u64) -> usize {
        let under_way = &mut self.under_way;
        let home = self.homes.entry(key).or_insert_with(|| {
            let fewest = (0..under_way.len()).min_by_key(|&worker| under_way[worker]);
            Home { worker: fewest.unwrap_or(0), under_way: 0 }
        });
        home.under_way += 1;
        under_way[home.worker] += 1;
        home.worker
    }

    /// Counts a request that has [entered](Self::enter) as gone: its answer has been handed on, or it was refused.
    pub fn leave(&mut self, key: u64) {
        let Some(home) = self.homes.get_mut(&key) else { return };
        self.under_way[home.worker] -= 1;
        home.under_way -= 1;
        if home.under_way == 0 {
            self.homes.remove(&key);
        }
    }

    /// How many devices have requests under way.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.homes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const WORKERS: usize = 3;

    proptest! {
        #[test]
        fn requests_of_one_device_that_are_under_way_are_with_one_worker(
            steps in prop::collection::vec((0u64..6, any::<bool>()), 0..300),
        ) {
            let mut homes = Homes::new(WORKERS);
            let mut under_way: HashMap<u64, VecDeque<usize>> = HashMap::new();
            for (device, enters) in steps {
                let workers = under_way.entry(device).or_default();
                if enters {
                    let fewest = homes.under_way.iter().min().copied().unwrap();
                    let chosen = homes.under_way.clone();
                    let worker = homes.enter(device);
                    match workers.back() {
                        Some(home) => prop_assert_eq!(worker, *home),
                        None => prop_assert_eq!(chosen[worker], fewest),
                    }
                    workers.push_back(worker);
                } else if workers.pop_front().is_some() {
                    homes.leave(device);
                }
                let mut counts = vec![0; WORKERS];
                under_way.values().flatten().for_each(|&worker| counts[worker] += 1);
                prop_assert_eq!(&homes.under_way, &counts);
                let remembered = under_way.values().filter(|workers| !workers.is_empty()).count();
                prop_assert_eq!(homes.remembered(), remembered);
            }
        }
    }
}
