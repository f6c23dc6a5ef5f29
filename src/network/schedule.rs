//! The pure half of the delay line, a priority queue by due time: what is under way, in order of arrival.
//! Time is an argument.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

/// Entries ordered by when they are due; those due at the same instant leave in the order they came.
///
/// With a constant latency they come in that order, or nearly: the two directions of a link
/// take turns. So each entry is put behind the last one of a run where that keeps the run in
/// order, at a cost that does not depend on how many are under way, and on a heap otherwise.
pub struct Schedule<T> {
    runs: [VecDeque<Entry<T>>; RUNS],
    others: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

impl<T> std::fmt::Debug for Schedule<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}

/// How many directions there are.
const RUNS: usize = 2;

struct Entry<T> {
    due: Instant,
    sequence: u64,
    value: T,
}

/// Where an entry is the next to leave.
enum Front {
    Run(usize),
    Others,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { runs: Default::default(), others: BinaryHeap::new(), sequence: 0 }
    }
}

impl<T> Schedule<T> {
    /// Adds `value`, to leave at `due`. Returns whether it is now the first to leave.
    pub fn push(&mut self, due: Instant, value: T) -> bool {
        let first = self.next_due().is_none_or(|next| due < next);
        self.sequence += 1;
        let entry = Entry { due, sequence: self.sequence, value };
        // Of the runs that it may follow the one that ends last, so that the others stay
        // open for what is due earlier.
        let last_due = |run: &VecDeque<Entry<T>>| run.back().map(|last| last.due);
        let open = self.runs.iter_mut().filter(|run| last_due(run).is_none_or(|last| last <= due));
        // A heap alone would do. With the runs, and a small model called by the line's thread, the cloud role
        // had 1.15 to 1.35 times the rate (docs/performance.md).
        match open.max_by_key(|run| last_due(run)) {
            Some(run) => run.push_back(entry),
            None => self.others.push(Reverse(entry)),
        }
        first
    }

    /// When the next entry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.front().map(|(due, _)| due)
    }

    fn front(&self) -> Option<(Instant, Front)> {
        let runs = self.runs.iter().enumerate();
        let of_runs = runs.filter_map(|(at, run)| Some((run.front()?, Front::Run(at))));
        let other = self.others.peek().map(|Reverse(entry)| (entry, Front::Others));
        let first = of_runs.chain(other).min_by(|(one, _), (other, _)| one.cmp(other));
        first.map(|(entry, front)| (entry.due, front))
    }

    /// Moves every entry that is due at `now` to `due`, in order.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<T>) {
        while let Some((at, front)) = self.front()
            && at <= now
        {
            let entry = match front {
                Front::Run(run) => self.runs[run].pop_front(),
                Front::Others => self.others.pop().map(|Reverse(entry)| entry),
            };
            due.extend(entry.map(|entry| entry.value));
        }
    }

    /// Every entry with when it is due, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, &T)> {
        let others = self.others.iter().map(|Reverse(entry)| entry);
        self.runs.iter().flatten().chain(others).map(|entry| (entry.due, &entry.value))
    }

    /// How many entries are under way.
    pub fn len(&self) -> usize {
        self.runs.iter().map(VecDeque::len).sum::<usize>() + self.others.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.next_due().is_none()
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

    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn whatever_comes_leaves_in_order_of_due_time_then_of_arrival(
            steps in proptest::collection::vec((0..40_u64, proptest::option::of(0..40_u64)), 1..200),
        ) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let (mut schedule, mut expected) = (Schedule::default(), Vec::new());
            for (number, (due_ms, now_ms)) in steps.into_iter().enumerate() {
                let is_first = expected.iter().all(|(other_ms, _)| due_ms < *other_ms);
                prop_assert_eq!(schedule.push(at(due_ms), number), is_first);
                expected.push((due_ms, number));
                expected.sort_unstable();
                let Some(now_ms) = now_ms else { continue };
                let mut left = Vec::new();
                schedule.take_due(at(now_ms), &mut left);
                let due = expected.extract_if(.., |(due_ms, _)| *due_ms <= now_ms).map(|(_, number)| number);
                prop_assert_eq!(left, due.collect::<Vec<_>>());
                prop_assert_eq!(schedule.len(), expected.len());
                prop_assert_eq!(schedule.is_empty(), expected.is_empty());
                prop_assert_eq!(schedule.next_due(), expected.first().map(|(due_ms, _)| at(*due_ms)));
                prop_assert_eq!(schedule.iter().count(), expected.len());
            }
        }
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
