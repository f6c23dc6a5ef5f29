//! Passwords that wait to be checked. Each address has its turn, so that one that
//! tries many keeps no other from logging in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex};

use crate::broker::limits::network::network;
use crate::broker::limits::shares::Shares;
use crate::sync::{lock, wait};

/// What waits, by address.
pub struct LoginQueue<T> {
    waiting_max: usize,
    state: Mutex<State<T>>,
    /// Something has come, or nothing will come any more.
    news: Condvar,
}

struct State<T> {
    lanes: HashMap<IpAddr, VecDeque<T>>,
    /// The addresses with something that waits, in the order of their turns.
    turns: VecDeque<IpAddr>,
    waiting: Shares<IpAddr>,
    is_closed: bool,
}

/// More waits than may, and nobody has more of it than the newcomer.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy;

impl<T> LoginQueue<T> {
    pub fn new(waiting_max: usize) -> Self {
        let state = State {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: Shares::default(),
            is_closed: false,
        };
        Self { waiting_max, state: Mutex::new(state), news: Condvar::new() }
    }

    /// Puts `login` behind the others of its address. Where too many wait, the one that
    /// came last from the address with most is dropped for it.
    pub fn put(&self, peer: IpAddr, login: T) -> Result<(), Busy> {
        let address = network(peer);
        let mut state = lock(&self.state);
        if state.waiting.total() >= self.waiting_max {
            let hog = state.waiting.gives_way(&address, 1).ok_or(Busy)?;
            state.lanes.get_mut(&hog).and_then(VecDeque::pop_back);
            state.waiting.subtract(&hog, 1);
        }
        let lane = state.lanes.entry(address).or_default();
        lane.push_back(login);
        if lane.len() == 1 {
            state.turns.push_back(address);
        }
        state.waiting.add(&address, 1);
        self.news.notify_one();
        Ok(())
    }

    /// Waits for the next one; `None` when the queue was closed.
    pub fn take(&self) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(next) = state.next() {
                return Some(next);
            }
            state = wait(&self.news, state);
        }
    }

    /// What waits is dropped.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.lanes.clear();
        self.news.notify_all();
    }
}

impl<T> State<T> {
    fn next(&mut self) -> Option<T> {
        let address = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&address)?;
        let next = lane.pop_front();
        if lane.is_empty() {
            self.lanes.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        self.waiting.subtract(&address, 1);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn address(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    #[test]
    fn addresses_have_their_turns_and_each_its_order() {
        let queue = LoginQueue::new(10);
        for (host, login) in [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (3, "e"), (2, "f")] {
            queue.put(address(host), login).unwrap();
        }
        let order: Vec<_> = (0..6).filter_map(|_| queue.take()).collect();
        assert_eq!(order, ["a", "d", "e", "b", "f", "c"]);
        let state = lock(&queue.state);
        assert!(state.lanes.is_empty() && state.turns.is_empty() && state.waiting.most().is_none());
    }

    #[test]
    fn a_full_queue_drops_the_last_of_who_has_most_and_refuses_that_one_itself() {
        let queue = LoginQueue::new(3);
        for login in ["a", "b", "c"] {
            queue.put(address(1), login).unwrap();
        }
        assert_eq!(queue.put(address(1), "d"), Err(Busy));
        assert_eq!(queue.put(address(2), "e"), Ok(()));
        assert_eq!(queue.put(address(2), "f"), Err(Busy), "they are as good as level");
        assert_eq!((0..3).filter_map(|_| queue.take()).collect::<Vec<_>>(), ["a", "e", "b"]);
    }

    #[test]
    fn a_closed_queue_gives_nothing_more() {
        let queue = LoginQueue::new(3);
        queue.put(address(1), "a").unwrap();
        queue.close();
        assert_eq!(queue.take(), None);
    }

    proptest! {
        /// Steps: an address and how many logins come from it, or that one is taken.
        #[test]
        fn every_login_is_taken_in_its_turn_or_told_that_it_was_not(
            waiting_max in 1_usize..12,
            steps in prop::collection::vec((0..5_u8, 0..4_u8), 1..120),
        ) {
            let queue = LoginQueue::new(waiting_max);
            let (mut kept, mut refused, mut taken) = (Vec::new(), 0, Vec::new());
            let mut put = 0;
            for (host, logins) in steps {
                for _ in 0..logins {
                    let login = Arc::new((host, put));
                    match queue.put(address(host), login.clone()) {
                        Ok(()) => kept.push(login),
                        Err(Busy) => refused += 1,
                    }
                    put += 1;
                }
                if logins == 0 && lock(&queue.state).waiting.total() > 0 {
                    taken.push(lock(&queue.state).next().expect("it waits"));
                }
                prop_assert!(lock(&queue.state).waiting.total() <= waiting_max);
            }
            let is_left: Vec<_> = kept.iter().filter(|login| Arc::strong_count(login) > 1).collect();
            let waiting = is_left.len() - taken.len();
            prop_assert_eq!(lock(&queue.state).waiting.total(), waiting);
            // From here on nobody comes, so each address has had its turn before another has its second.
            let mut turns = Vec::new();
            for _ in 0..waiting {
                let login = lock(&queue.state).next().expect("it waits");
                turns.push(login.0);
                taken.push(login);
            }
            let addresses = turns.iter().collect::<std::collections::HashSet<_>>().len();
            let first = &turns[..addresses];
            prop_assert!(first.iter().all(|host| first.iter().filter(|other| *other == host).count() == 1), "{turns:?}");
            let dropped = kept.iter().filter(|login| Arc::strong_count(login) == 1).count();
            prop_assert_eq!(taken.len() + dropped + refused, put);
            for host in 0..5 {
                let order: Vec<_> = taken.iter().filter(|login| login.0 == host).map(|login| login.1).collect();
                prop_assert!(order.is_sorted(), "{order:?}");
            }
            let state = lock(&queue.state);
            prop_assert!(state.lanes.is_empty() && state.turns.is_empty() && state.waiting.most().is_none());
        }
    }

    #[test]
    fn whoever_waits_for_logins_gets_all_of_them_and_hears_of_the_end() {
        const LOGINS: u8 = 40;
        for round in 0..20 {
            let queue = Arc::new(LoginQueue::new(usize::from(LOGINS) * 3));
            let (answer, answers) = mpsc::channel();
            let takers: Vec<_> = (0..1 + round % 3)
                .map(|_| {
                    let (queue, answer) = (queue.clone(), answer.clone());
                    thread::spawn(move || {
                        while let Some(login) = queue.take() {
                            answer.send(login).unwrap();
                        }
                    })
                })
                .collect();
            let clients: Vec<_> = (0..3_u8)
                .map(|host| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        for login in 0..LOGINS {
                            queue.put(address(host), (host, login)).unwrap();
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            let patience = Duration::from_secs(60);
            let mut all: Vec<_> =
                (0..3 * LOGINS).map(|_| answers.recv_timeout(patience).expect("it is taken")).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 3 * usize::from(LOGINS));
            queue.close();
            takers.into_iter().for_each(|taker| taker.join().unwrap());
        }
    }
}
