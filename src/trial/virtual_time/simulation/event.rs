//! The event list: what is still to happen, in the order of times.

use std::time::Duration;

use super::leg::Leg;
use crate::inference::Site;

/// Something that will happen.
pub struct Event {
    pub at: Duration,
    /// Events of one time happen in the order they were made.
    pub number: u64,
    pub kind: Kind,
}

/// What happens when an event is due.
pub enum Kind {
    /// A leg reaches the model's end.
    Arrive(Leg),
    /// A worker has answered these.
    Done(Site, Vec<Leg>, Vec<usize>),
    /// Word of a hybrid's leg reaches the place where the two sites meet.
    Back(Leg),
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}
