//! A limit of connections, fair by address: nobody keeps others from asking after the node's health by
//! holding all that may be open.

use std::net::IpAddr;

use tokio::task::AbortHandle;

/// A connection that is open.
struct Caller {
    address: IpAddr,
    task: AbortHandle,
}

/// All of them, in the order in which they came.
pub struct Callers {
    open: Vec<Caller>,
    connections_max: usize,
}

impl Callers {
    pub fn new(connections_max: usize) -> Self {
        Self { open: Vec::new(), connections_max }
    }

    /// Makes room for one more from `address`. When all connections are taken, the oldest of the
    /// address that has most ends for it, or its own oldest if that is this one: what is asked for is
    /// answered at once, so that an old connection is one that asks for nothing. Whether one ends.
    pub fn make_room(&mut self, address: IpAddr) -> bool {
        self.open.retain(|caller| !caller.task.is_finished());
        if self.open.len() < self.connections_max {
            return false;
        }
        let count = |address| self.open.iter().filter(|caller| caller.address == address).count();
        // By address, not by age alone: whoever opens connections one after the other would end everybody's.
        let most = self.open.iter().map(|caller| count(caller.address)).max().unwrap_or(0);
        let is_hog = |caller: &Caller| count(caller.address) == most;
        // The first of those that have most, which is the oldest of all where everybody has one.
        let oldest = match count(address) < most {
            true => self.open.iter().position(is_hog),
            false => self.open.iter().position(|caller| caller.address == address),
        };
        oldest.map(|oldest| self.open.remove(oldest).task.abort()).is_some()
    }

    pub fn add(&mut self, address: IpAddr, task: AbortHandle) {
        self.open.push(Caller { address, task });
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn address(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    #[tokio::test]
    async fn the_oldest_of_who_has_most_ends() {
        let (mut callers, mut tasks) = (Callers::new(4), JoinSet::<()>::new());
        for host in [1, 2, 2, 1, 2, 3, 3] {
            callers.make_room(address(host));
            callers.add(address(host), tasks.spawn(std::future::pending()));
        }
        let open: Vec<_> = callers.open.iter().map(|caller| caller.address).collect();
        assert_eq!(open, [1, 2, 3, 3].map(address));
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        callers.make_room(address(1));
        assert!(callers.open.is_empty(), "who has ended takes no place");
    }
}
