//! The pure half of the delay line: what is under way, in order of arrival. Time is an argument.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Entries ordered by when they are due; those due at the same instant leave in the order they came.
pub struct Schedule<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

struct Entry<T> {
    due: Instant,
    sequence: u64,
    value: T,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), sequence: 0 }
    }
}

impl<T> Schedule<T> {
    /// Adds `value`, to leave at `due`. Returns whether it is now the first to leave.
    pub fn push(&mut self, due: Instant, value: T) -> bool {
        let first = self.next_due().is_none_or(|next| due < next);
        self.sequence += 1;
        self.entries.push(Reverse(Entry { due, sequence: self.sequence, value }));
        first
    }

    /// When the next entry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse(entry)| entry.due)
    }

    /// Moves every entry that is due at `now` to `due`, in order.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<T>) {
        while let Some(entry) = self.entries.peek_mut() {
            if entry.0.due > now {
                break;
            }
            due.push(std::collections::binary_heap::PeekMut::pop(entry).0.value);
        }
    }

    /// Every entry with when it is due, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.entries.iter().map(|Reverse(entry)| (entry.due, &entry.value))
    }

    /// How many entries are under way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn due_at(schedule: &mut Schedule<&'static str>, now: Instant) -> Vec<&'static str> {
        let mut due = Vec::new();
        schedule.take_due(now, &mut due);
        due
    }

    #[test]
    fn entries_leave_when_due_and_never_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        assert!(schedule.push(at(20), "late"));
        assert!(schedule.push(at(10), "early"));
        assert!(!schedule.push(at(15), "middle"));
        assert_eq!(due_at(&mut schedule, at(9)), [""; 0]);
        assert_eq!(schedule.next_due(), Some(at(10)));
        assert_eq!(due_at(&mut schedule, at(15)), ["early", "middle"]);
        assert_eq!(due_at(&mut schedule, at(60)), ["late"]);
        assert!(schedule.is_empty());
    }

    #[test]
    fn entries_due_together_keep_their_order() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        for name in ["a", "b", "c", "d"] {
            schedule.push(start, name);
        }
        assert_eq!(due_at(&mut schedule, start), ["a", "b", "c", "d"]);
    }
}
