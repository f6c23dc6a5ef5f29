//! What each sender sent, what was acknowledged, and what was answered.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use serde_json::Value;

use crate::support::PATIENCE;

/// The requests of one device, by their numbers.
#[derive(Default)]
pub struct Ledger {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    acknowledged: u64,
    /// Each answered request's prediction, or its error code.
    answers: BTreeMap<u64, String>,
    /// Answers that came more than once.
    repeated: u64,
    /// The largest number that was answered, and answers to smaller ones that came for
    /// the first time behind it.
    last: u64,
    out_of_order: u64,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An answer has come.
    pub fn answered(&self, payload: &[u8]) {
        let body: Value = serde_json::from_slice(payload).expect("answers are JSON");
        let number = body["request_id"].as_str().expect("it is echoed").parse().expect("it is ours");
        let said = if body["code"].is_null() { &body["prediction"] } else { &body["code"] }.to_string();
        let mut state = self.lock();
        match state.answers.insert(number, said.clone()) {
            Some(before) => {
                assert_eq!(before, said, "request {number} has two answers: {body}");
                state.repeated += 1;
            }
            None if number < state.last => state.out_of_order += 1,
            None => state.last = number,
        }
        self.changed.notify_all();
    }

    /// The request `number` was acknowledged, as all before it were.
    pub fn acknowledged(&self, number: u64) {
        let mut state = self.lock();
        assert_eq!(number, state.acknowledged + 1, "acknowledgements keep the order");
        state.acknowledged = number;
        self.changed.notify_all();
    }

    /// Whether `number` has been answered.
    pub fn is_answered(&self, number: u64) -> bool {
        self.lock().answers.contains_key(&number)
    }

    /// How many requests have been answered.
    pub fn answered_count(&self) -> u64 {
        self.lock().answers.len() as u64
    }

    /// How many requests have been acknowledged.
    pub fn count(&self) -> u64 {
        self.lock().acknowledged
    }

    /// Waits until `count` requests have been acknowledged.
    #[track_caller]
    pub fn wait_until_acknowledged(&self, count: u64) {
        self.wait_while("acknowledgements", |state| state.acknowledged < count);
    }

    /// Whether every acknowledged request has its answer.
    pub fn is_settled(&self) -> bool {
        let state = self.lock();
        (1..=state.acknowledged).all(|number| state.answers.contains_key(&number))
    }

    /// Waits until every acknowledged request has its answer. Returns what came:
    /// acknowledged, repeated, out of order.
    #[track_caller]
    pub fn settle(&self) -> (u64, u64, u64) {
        let missing =
            |state: &State| (1..=state.acknowledged).find(|number| !state.answers.contains_key(number));
        self.wait_while("answers", |state| missing(state).is_some());
        let state = self.lock();
        (state.acknowledged, state.repeated, state.out_of_order)
    }

    #[track_caller]
    fn wait_while(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let waited =
            self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| condition(state)).unwrap();
        let state = &waited.0;
        let missing: Vec<_> =
            (1..=state.acknowledged).filter(|number| !state.answers.contains_key(number)).collect();
        assert!(
            !waited.1.timed_out(),
            "no more {what}: {} acknowledged, without answer {missing:?}",
            state.acknowledged
        );
    }
}
