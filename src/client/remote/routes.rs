//! The routing table: which conversation a received message belongs to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::partition::Partition;
use super::queue::Sender;
use crate::client::{Acknowledge, ClientError};
use crate::mqtt;
use crate::sync::lock;

/// The conversations of one connection.
#[derive(Default)]
pub struct Routes {
    table: Mutex<Vec<Route>>,
    /// Counts the changes to what is to be subscribed to.
    version: AtomicUsize,
}

/// Whom a message is for, where several nodes share requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The one whose turn or whose part it is.
    OneOfUs,
    /// Each of them.
    AllOfUs,
}

struct Route {
    name: String,
    filters: Vec<String>,
    acknowledge: Acknowledge,
    audience: Audience,
    /// None once the conversation has ended.
    sender: Option<Sender>,
    /// It takes what the broker has for it already, and nothing new.
    is_closing: bool,
}

/// Where a received message goes.
#[derive(Debug)]
pub enum Destination {
    /// To those, each with when it wants the message to be acknowledged.
    To(Vec<(Sender, Acknowledge)>),
    /// Another node has this device.
    ElsewhereByPartition,
    /// Nowhere any more: the conversation has ended, and the broker is to keep the message.
    Ended,
    /// No conversation ever asked for it.
    Unknown,
}

impl Routes {
    /// Adds a conversation.
    ///
    /// # Errors
    /// When a filter overlaps another conversation's without being the same: the broker
    /// may then send a message twice, and nobody could tell the copies from two requests.
    pub fn add(
        &self,
        name: &str,
        filters: &[String],
        acknowledge: Acknowledge,
        audience: Audience,
        sender: Sender,
    ) -> Result<(), ClientError> {
        let mut table = lock(&self.table);
        for filter in filters {
            // Of overlapping subscriptions a broker sends one copy for all or one for each (5.0, 3.3.4). The
            // alternative, to take the second of equal messages for a copy, would lose requests of devices
            // that say the same twice.
            let others = table.iter().flat_map(|route| &route.filters).chain(filters);
            if let Some(other) =
                others.into_iter().find(|other| *other != filter && mqtt::filters_overlap(other, filter))
            {
                let reason =
                    format!("it overlaps {other:?}; give every deployment the same or a disjoint filter");
                return Err(ClientError::SubscriptionRefused { filter: filter.clone(), reason });
            }
        }
        table.push(Route {
            name: name.to_owned(),
            filters: filters.to_vec(),
            acknowledge,
            audience,
            sender: Some(sender),
            is_closing: false,
        });
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Every filter of every conversation that goes on, each once.
    pub fn filters(&self) -> Vec<String> {
        let table = lock(&self.table);
        let open = table.iter().filter(|route| !route.is_closing);
        let mut filters: Vec<_> = open.flat_map(|route| route.filters.clone()).collect();
        filters.sort();
        filters.dedup();
        filters
    }

    /// Whether messages under `filter` are for every node.
    pub fn is_for_all(&self, filter: &str) -> bool {
        let for_all = |route: &Route| route.audience == Audience::AllOfUs;
        lock(&self.table).iter().any(|route| for_all(route) && route.filters.iter().any(|own| own == filter))
    }

    /// Marks the conversation `name` as ending.
    pub fn close(&self, name: &str) {
        for route in lock(&self.table).iter_mut().filter(|route| route.name == name) {
            route.is_closing = true;
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever [`filters`](Self::filters) may have.
    pub fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// Ends the conversations that were marked: their receivers see what was sent before, then the end.
    pub fn end_closed(&self) {
        for route in lock(&self.table).iter_mut().filter(|route| route.is_closing) {
            route.sender = None;
        }
    }

    /// Ends all conversations.
    pub fn end_all(&self) {
        for route in lock(&self.table).iter_mut() {
            route.sender = None;
        }
    }

    /// Where a message on `topic` goes.
    pub fn destination(&self, topic: &str, partition: Option<Partition>) -> Destination {
        let table = lock(&self.table);
        let (mut senders, mut is_known) = (Vec::new(), false);
        for route in table.iter() {
            let Some(filter) = route.filters.iter().find(|filter| mqtt::filter_matches(filter, topic)) else {
                continue;
            };
            is_known = true;
            if route.audience == Audience::OneOfUs
                && partition.is_some_and(|partition| !partition.has_topic(filter, topic))
            {
                return Destination::ElsewhereByPartition;
            }
            senders.extend(route.sender.clone().map(|sender| (sender, route.acknowledge)));
        }
        match (senders.is_empty(), is_known) {
            (false, _) => Destination::To(senders),
            (true, true) => Destination::Ended,
            (true, false) => Destination::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::queue;
    use super::*;

    #[test]
    fn a_message_goes_to_all_who_asked_for_it_until_they_have_ended() {
        let routes = Routes::default();
        let (sender, _receiver) = queue(1, 1_000);
        let filters = |filter: &str| vec![filter.to_owned()];
        routes.add("one", &filters("a/+"), Acknowledge::OnAnswer, Audience::OneOfUs, sender.clone()).unwrap();
        routes.add("two", &filters("a/+"), Acknowledge::OnAnswer, Audience::OneOfUs, sender.clone()).unwrap();
        assert!(
            routes.add("three", &filters("a/b"), Acknowledge::OnAnswer, Audience::OneOfUs, sender).is_err()
        );
        let count = |topic| match routes.destination(topic, None) {
            Destination::To(senders) => senders.len(),
            _ => 0,
        };
        assert_eq!((count("a/b"), count("b")), (2, 0));
        routes.close("one");
        assert_eq!((count("a/b"), routes.filters()), (2, filters("a/+")));
        routes.end_closed();
        assert_eq!(count("a/b"), 1);
        routes.close("two");
        assert_eq!((count("a/b"), routes.filters()), (1, Vec::new()));
        routes.end_closed();
        assert!(matches!(routes.destination("a/b", None), Destination::Ended));
        assert!(matches!(routes.destination("b", None), Destination::Unknown));
    }

    #[test]
    fn a_partition_has_some_of_the_devices() {
        let routes = Routes::default();
        let (sender, _receiver) = queue(1, 1_000);
        routes.add("one", &["in/+".to_owned()], Acknowledge::OnAnswer, Audience::OneOfUs, sender).unwrap();
        let (sender, _receiver) = queue(1, 1_000);
        routes.add("all", &["all/a".to_owned()], Acknowledge::OnReceipt, Audience::AllOfUs, sender).unwrap();
        let for_all = ["1/2", "2/2"].map(|part| routes.destination("all/a", Some(part.parse().unwrap())));
        assert!(for_all.iter().all(|destination| matches!(destination, Destination::To(_))));
        assert_eq!((routes.is_for_all("all/a"), routes.is_for_all("in/+")), (true, false));
        let part = |part: &str| routes.destination("in/pump", Some(part.parse().unwrap()));
        let taken = ["1/2", "2/2"].map(|text| matches!(part(text), Destination::To(_)));
        assert!(taken[0] != taken[1], "{taken:?}");
    }
}
