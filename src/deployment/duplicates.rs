//! Requests that come again (deduplication, so that a request is idempotent): a sender that was not
//! acknowledged sends its request a second time, and gets the same answer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::config::Window;
use super::ticket::{Answer, Identity, KnownAnswer, Ticket};
use crate::inference::{Authored, Refusal};
use crate::sync::lock;

/// What became of a request when it came.
pub enum Entry {
    /// It is new: it goes on.
    New(Box<Ticket>),
    /// It is under way already, and is answered together with the first one.
    Waits,
    /// It was answered before: like this.
    Known(Box<Ticket>, KnownAnswer),
}

/// The requests of a deployment that are known. Clones share them.
#[derive(Clone)]
pub struct Duplicates {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    window: Window,
    hashers: [RandomState; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Identity, Known>,
    /// The answered ones, the first answered first.
    answered: VecDeque<Answered>,
    /// How many have been forgotten, which is the first one's number.
    forgotten: u64,
}

enum Known {
    /// With those that have come again meanwhile.
    UnderWay(Vec<Box<Ticket>>),
    /// The number of its answer.
    Answered(u64),
}

struct Answered {
    identity: Identity,
    at: Instant,
    given: KnownAnswer,
}

impl Duplicates {
    pub fn new(window: Window) -> Self {
        let is_on = !window.duration.is_zero() && window.requests_max > 0;
        let shared = is_on.then(|| {
            let hashers = [RandomState::new(), RandomState::new()];
            Arc::new(Shared { window, hashers, state: Mutex::default() })
        });
        Self { shared }
    }

    /// Looks a valid request up, and notes it where it is new. `is_resent`: MQTT says
    /// that it may have been sent before.
    pub fn enter(&self, mut ticket: Box<Ticket>, features: &[f32], is_resent: bool, now: Instant) -> Entry {
        let Some(shared) = &self.shared else { return Entry::New(ticket) };
        let Some(identity) = shared.identity(&ticket, features) else { return Entry::New(ticket) };
        let mut state = shared.lock();
        state.forget(shared.window, now);
        match state.known.get_mut(&identity) {
            Some(Known::UnderWay(again)) => {
                again.push(ticket);
                return Entry::Waits;
            }
            Some(&mut Known::Answered(number)) => match state.given(number) {
                // DUP says that it is the same packet as before [MQTT-3.3.1-1], and so the same attempt.
                // Whoever was told to try again, and does, wants another answer than that.
                Some(given) if is_resent || !is_retryable(&given.outcome) => {
                    return Entry::Known(ticket, given.clone());
                }
                _ => {}
            },
            None => {}
        }
        state.known.insert(identity, Known::UnderWay(Vec::new()));
        ticket.identity = Some(identity);
        Entry::New(ticket)
    }

    /// Notes how requests were answered. Returns the answers to those that have come
    /// again meanwhile: the same ones.
    pub fn answered(&self, answered: Vec<(Identity, KnownAnswer)>, now: Instant) -> Vec<Answer> {
        let mut again = Vec::new();
        let Some(shared) = self.shared.as_ref().filter(|_| !answered.is_empty()) else { return again };
        let mut state = shared.lock();
        for (identity, given) in answered {
            let number = state.forgotten + state.answered.len() as u64;
            if let Some(Known::UnderWay(tickets)) = state.known.insert(identity, Known::Answered(number)) {
                again.extend(tickets.into_iter().map(|ticket| ticket.again(&given)));
            }
            state.answered.push_back(Answered { identity, at: now, given });
        }
        state.forget(shared.window, now);
        again
    }

    /// Forgets a request that is under way and will not be answered. Returns those that
    /// have come again meanwhile.
    pub fn forget(&self, identity: Identity) -> Vec<Box<Ticket>> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let mut state = shared.lock();
        match state.known.remove(&identity) {
            Some(Known::UnderWay(again)) => again,
            Some(answered @ Known::Answered(..)) => {
                state.known.insert(identity, answered);
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}

impl Shared {
    /// What tells a request from others: its device, its time and its name, or its
    /// correlation data; and its features, for a device without a clock may give every
    /// reading the same time. `None` for a request that says nothing of itself.
    fn identity(&self, ticket: &Ticket, features: &[f32]) -> Option<Identity> {
        let caller = &ticket.caller;
        let correlation = ticket.reply.correlation_data();
        if caller.timestamp_us.is_none() && caller.request_id.is_none() && correlation.is_none() {
            return None;
        }
        let device = caller.device_id.as_ref().map(|device| device.as_str());
        let name = (device, caller.timestamp_us, caller.request_id.as_deref(), correlation);
        // 128 bits, for to take one request for another is to give it a stranger's answer: with 64, a node
        // that knows 32,768 requests and gets 200,000 a second would do so every ninety years. Both are
        // seeded at random, so that nobody can look for two requests that collide.
        let [one, other] = &self.hashers;
        Some(Identity(one.hash_one(name), other.hash_one((name, Bits(features)))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Floats as they are stored, so that they can be hashed.
struct Bits<'a>(&'a [f32]);

impl Hash for Bits<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Equal bits are asked for, not equal numbers: what is sent again was read from the same bytes. So
        // that 0 and -0 differ does no harm.
        self.0.iter().for_each(|feature| feature.to_bits().hash(state));
    }
}

impl State {
    fn given(&self, number: u64) -> Option<&KnownAnswer> {
        let at = usize::try_from(number.checked_sub(self.forgotten)?).ok()?;
        self.answered.get(at).map(|answered| &answered.given)
    }

    /// Forgets what is too old, and what is too much.
    fn forget(&mut self, window: Window, now: Instant) {
        while let Some(first) = self.answered.front() {
            let is_old = now.saturating_duration_since(first.at) > window.duration;
            if !is_old && self.answered.len() <= window.requests_max {
                return;
            }
            // It may be under way again, or have been answered again since.
            if matches!(self.known.get(&first.identity), Some(Known::Answered(number)) if *number == self.forgotten)
            {
                self.known.remove(&first.identity);
            }
            self.answered.pop_front();
            self.forgotten += 1;
        }
    }
}

fn is_retryable(outcome: &Result<Authored, Box<Refusal>>) -> bool {
    outcome.as_ref().is_err_and(|refusal| refusal.retryable)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deployment::reply::Reply;
    use crate::deployment::ticket::Revisions;
    use crate::inference::{Author, Caller, DeviceId, ErrorCode, Outcome, Stages};

    fn ticket(device: &str, timestamp_us: Option<i64>) -> Box<Ticket> {
        let device_id = Some(DeviceId::new(device).unwrap());
        let caller = Caller { device_id, timestamp_us, request_id: None };
        Box::new(Ticket::new(caller, Reply::Nobody, Instant::now(), None, 0))
    }

    fn says(score: f32) -> Outcome {
        let (placement, model) = ("edge".to_owned(), "model".to_owned());
        let by =
            Arc::new(Author { placement, model, version: None, threshold: 0.5, revision: 0, detects: None });
        Ok(Authored { prediction: score.into(), by })
    }

    fn given(outcome: Outcome) -> KnownAnswer {
        KnownAnswer {
            outcome: outcome.map_err(Box::new),
            network: Duration::ZERO,
            revisions: Revisions::default(),
            total: Duration::from_millis(3),
            stages: Stages::default(),
            decision: None,
        }
    }

    fn enter(duplicates: &Duplicates, device: &str, time: i64, feature: f32, now: Instant) -> Entry {
        duplicates.enter(ticket(device, Some(time)), &[feature], false, now)
    }

    fn identity(entry: Entry) -> Identity {
        let Entry::New(ticket) = entry else { panic!("it is known") };
        ticket.identity.unwrap()
    }

    #[test]
    fn what_was_lost_is_new_when_it_comes_again() {
        let (duplicates, now) = (Duplicates::new(Window::default()), Instant::now());
        let lost = identity(enter(&duplicates, "a", 1, 0.5, now));
        assert!(matches!(enter(&duplicates, "a", 1, 0.5, now), Entry::Waits));
        assert_eq!(duplicates.forget(lost).len(), 1);
        let answered = identity(enter(&duplicates, "a", 1, 0.5, now));
        duplicates.answered(vec![(answered, given(says(0.75)))], now);
        assert!(duplicates.forget(answered).is_empty());
        assert!(matches!(enter(&duplicates, "a", 1, 0.5, now), Entry::Known(..)));
    }

    #[test]
    fn what_comes_again_waits_and_then_gets_the_answer_of_the_first() {
        let (duplicates, now) = (Duplicates::new(Window::default()), Instant::now());
        let first = identity(enter(&duplicates, "a", 1, 0.5, now));
        assert!(matches!(enter(&duplicates, "a", 1, 0.5, now), Entry::Waits));
        assert_eq!(duplicates.answered(vec![(first, given(says(0.75)))], now).len(), 1);
        let Entry::Known(_, again) = enter(&duplicates, "a", 1, 0.5, now) else { panic!("it is new") };
        assert_eq!((again.outcome, again.total), (says(0.75).map_err(Box::new), Duration::from_millis(3)));
        for (device, time, feature) in [("b", 1, 0.5), ("a", 2, 0.5), ("a", 1, 0.25)] {
            assert!(matches!(enter(&duplicates, device, time, feature, now), Entry::New(_)));
        }
    }

    #[test]
    fn a_request_that_was_told_to_try_again_is_tried_again_unless_it_is_the_same_packet() {
        let (duplicates, now) = (Duplicates::new(Window::default()), Instant::now());
        let first = identity(enter(&duplicates, "a", 1, 0.5, now));
        let refusal = given(Err(Refusal::new(ErrorCode::Overloaded, "full")));
        duplicates.answered(vec![(first, refusal)], now);
        let resent = duplicates.enter(ticket("a", Some(1)), &[0.5], true, now);
        assert!(matches!(resent, Entry::Known(..)));
        assert!(matches!(enter(&duplicates, "a", 1, 0.5, now), Entry::New(_)));
    }

    #[test]
    fn the_window_ends_by_time_and_by_number() {
        let window = Window { duration: Duration::from_secs(10), requests_max: 2 };
        let (duplicates, start) = (Duplicates::new(window), Instant::now());
        for time in 1..=3 {
            let first = identity(enter(&duplicates, "a", time, 0.5, start));
            duplicates.answered(vec![(first, given(says(0.5)))], start);
        }
        assert!(matches!(enter(&duplicates, "a", 3, 0.5, start), Entry::Known(..)));
        assert!(matches!(enter(&duplicates, "a", 1, 0.5, start), Entry::New(_)), "only two are known");
        let later = start + Duration::from_secs(11);
        assert!(matches!(enter(&duplicates, "a", 3, 0.5, later), Entry::New(_)));
    }

    #[test]
    fn without_a_window_or_a_name_nothing_is_a_duplicate() {
        let now = Instant::now();
        let off = Duplicates::new(Window { duration: Duration::ZERO, ..Window::default() });
        let nameless = Duplicates::new(Window::default());
        for _ in 0..2 {
            assert!(matches!(enter(&off, "a", 1, 0.5, now), Entry::New(_)));
            assert!(matches!(nameless.enter(ticket("a", None), &[0.5], false, now), Entry::New(_)));
        }
    }
}
