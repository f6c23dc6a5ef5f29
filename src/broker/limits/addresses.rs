//! Sockets by address: those that are open, by address, so that one of them cannot take
//! everybody's; and those that have not said CONNECT.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::task::AbortHandle;

use super::network::network;
use super::refused::Cause;
use super::shares::{Owner, Shares};
use crate::sync::lock;

/// Open sockets by address.
pub struct Addresses {
    state: Mutex<State>,
    each_max: usize,
    sockets_max: usize,
}

#[derive(Default)]
struct State {
    open: Shares<IpAddr>,
    sockets: HashMap<u64, Socket>,
    /// Those of them whose client has not said CONNECT, by address, the one that has waited longest first.
    arriving: HashMap<IpAddr, BTreeSet<u64>>,
    arriving_shares: Shares<IpAddr>,
    numbers: u64,
}

struct Socket {
    address: IpAddr,
    task: Option<AbortHandle>,
}

/// A socket's place among those of its address; dropped, it is free again.
pub struct Place {
    addresses: Arc<Addresses>,
    /// The socket's number, by which it is known; never 0.
    pub number: u64,
}

/// A place, and at whose expense.
pub struct Entered {
    pub place: Place,
    pub gave_way: Option<Owner>,
}

impl Addresses {
    /// So many sockets of each address, and of all together.
    pub fn new(each_max: usize, sockets_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), each_max, sockets_max })
    }

    /// A place for a socket of `peer`. Where all are taken, a socket that has not said
    /// CONNECT is closed for it: of the address that has most of those, if that is more
    /// than this one has, the one that has waited longest.
    ///
    /// # Errors
    /// Why there is no place.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Entered, Cause> {
        let address = network(peer);
        let mut state = lock(&self.state);
        if state.open.of(&address) >= self.each_max {
            return Err(Cause::ConnectionsPerAddress);
        }
        let mut gave_way = None;
        if state.sockets.len() >= self.sockets_max {
            let hog = state.arriving_shares.gives_way(&address, 1).ok_or(Cause::Connecting)?;
            state.close_oldest(&hog);
            gave_way = Some(Owner::Address(hog));
        }
        let number = state.add(address);
        Ok(Entered { place: Place { addresses: self.clone(), number }, gave_way })
    }

    /// The task that serves a socket: it is ended when the socket is closed.
    pub fn watch(&self, number: u64, task: AbortHandle) {
        if let Some(socket) = lock(&self.state).sockets.get_mut(&number) {
            socket.task = Some(task);
        }
    }

    /// The client of a socket has said CONNECT and was let in.
    pub fn note_arrived(&self, number: u64) {
        lock(&self.state).arrived(number);
    }
}

impl State {
    fn add(&mut self, address: IpAddr) -> u64 {
        self.numbers += 1;
        self.open.add(&address, 1);
        self.arriving_shares.add(&address, 1);
        self.arriving.entry(address).or_default().insert(self.numbers);
        self.sockets.insert(self.numbers, Socket { address, task: None });
        self.numbers
    }

    fn arrived(&mut self, number: u64) {
        let Some(Socket { address, .. }) = self.sockets.get(&number) else { return };
        let Some(arriving) = self.arriving.get_mut(address) else { return };
        if arriving.remove(&number) {
            self.arriving_shares.subtract(address, 1);
        }
        if arriving.is_empty() {
            self.arriving.remove(address);
        }
    }

    /// Forgets a socket, unless that was done before.
    fn remove(&mut self, number: u64) -> Option<Socket> {
        self.arrived(number);
        let socket = self.sockets.remove(&number)?;
        self.open.subtract(&socket.address, 1);
        Some(socket)
    }

    fn close_oldest(&mut self, address: &IpAddr) {
        let oldest = self.arriving.get(address).and_then(|arriving| arriving.first().copied());
        if let Some(task) = oldest.and_then(|number| self.remove(number)).and_then(|socket| socket.task) {
            task.abort();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.addresses.state).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn enter(addresses: &Arc<Addresses>, address: &str) -> Option<Place> {
        addresses.enter(ip(address)).ok().map(|entered| entered.place)
    }

    #[test]
    fn a_full_address_is_refused_until_one_leaves_and_others_never_are() {
        let addresses = Addresses::new(2, 100);
        let (first, _second) = (enter(&addresses, "10.0.0.1"), enter(&addresses, "10.0.0.1"));
        assert!(enter(&addresses, "10.0.0.1").is_none());
        assert!(enter(&addresses, "10.0.0.2").is_some());
        drop(first);
        assert!(enter(&addresses, "::ffff:10.0.0.1").is_some(), "the same address, written in IPv6");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_nothing_is_remembered_of_those_who_left() {
        let addresses = Addresses::new(1, 100);
        let place = enter(&addresses, "2001:db8::1");
        assert!(enter(&addresses, "2001:db8::2").is_none());
        assert!(enter(&addresses, "2001:db8:0:1::1").is_some());
        drop(place);
        let state = lock(&addresses.state);
        assert!(state.sockets.is_empty() && state.arriving.is_empty());
        assert_eq!((state.open.most(), state.arriving_shares.most()), (None, None));
    }

    #[tokio::test]
    async fn of_many_silent_sockets_of_one_address_the_oldest_goes_and_never_one_that_has_connected() {
        let addresses = Addresses::new(10, 4);
        let places: Vec<_> = (0..4).filter_map(|_| enter(&addresses, "10.0.0.1")).collect();
        let tasks: Vec<_> = places.iter().map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        for (place, task) in places.iter().zip(&tasks) {
            addresses.watch(place.number, task.abort_handle());
        }
        addresses.note_arrived(places[0].number);
        assert!(matches!(addresses.enter(ip("10.0.0.1")), Err(Cause::Connecting)));
        let entered = addresses.enter(ip("10.0.0.2")).unwrap_or_else(|_| panic!("there is a place"));
        assert_eq!(entered.gave_way, Some(Owner::Address(ip("10.0.0.1"))));
        let mut tasks = tasks.into_iter();
        let (connected, oldest) = (tasks.next().unwrap(), tasks.next().unwrap());
        assert!(oldest.await.is_err_and(|error| error.is_cancelled()));
        assert!(!connected.is_finished());
        drop(places);
        assert_eq!(lock(&addresses.state).sockets.len(), 1, "a place that was taken is not given back twice");
    }
}
