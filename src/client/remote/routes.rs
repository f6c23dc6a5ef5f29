//! Which conversation a received message belongs to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::client::ClientError;
use crate::mqtt::{self, Message};

/// The conversations of one connection.
#[derive(Default)]
pub struct Routes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    routes: Vec<Route>,
    connected: bool,
    /// SUBACKs that have not come.
    subacks_expected: usize,
}

struct Route {
    name: String,
    filters: Vec<String>,
    sender: mpsc::Sender<Message>,
    closing: bool,
}

impl Routes {
    /// Adds a conversation.
    ///
    /// # Errors
    /// When a filter overlaps another conversation's without being the same: the broker may then send a message twice,
    /// and nobody could tell the copies from two requests.
    pub fn add(
        &self,
        name: &str,
        filters: &[String],
        sender: mpsc::Sender<Message>,
    ) -> Result<(), ClientError> {
        let mut table = self.lock();
        for filter in filters {
            let others = table.routes.iter().flat_map(|route| &route.filters).chain(filters);
            if let Some(other) =
                others.into_iter().find(|other| *other != filter && mqtt::filters_overlap(other, filter))
            {
                let reason =
                    format!("it overlaps {other:?}; give every deployment the same or a disjoint filter");
                return Err(ClientError::SubscriptionRefused { filter: filter.clone(), reason });
            }
        }
        table.routes.push(Route { name: name.to_owned(), filters: filters.to_vec(), sender, closing: false });
        Ok(())
    }

    /// Every filter of every conversation that goes on.
    pub fn filters(&self) -> Vec<String> {
        let table = self.lock();
        let open = table.routes.iter().filter(|route| !route.closing);
        let mut filters: Vec<_> = open.flat_map(|route| route.filters.clone()).collect();
        filters.sort();
        filters.dedup();
        filters
    }

    /// Marks the conversation `name` as ending; returns the filters that nobody else uses.
    pub fn close(&self, name: &str) -> Vec<String> {
        let mut table = self.lock();
        for route in table.routes.iter_mut().filter(|route| route.name == name) {
            route.closing = true;
        }
        let of = |closing: bool| {
            let routes = table.routes.iter().filter(move |route| route.closing == closing);
            routes.flat_map(|route| &route.filters)
        };
        let mine = of(true).filter(|filter| !of(false).any(|other| other == *filter));
        mine.cloned().collect()
    }

    /// Ends the conversations that were marked: their receivers see what was sent before, then the end.
    pub fn drop_closed(&self) {
        self.lock().routes.retain(|route| !route.closing);
    }

    /// Ends all conversations.
    pub fn drop_all(&self) {
        self.lock().routes.clear();
    }

    /// The receivers of a message on `topic`.
    pub fn receivers(&self, topic: &str) -> Vec<mpsc::Sender<Message>> {
        let table = self.lock();
        let wanted = table
            .routes
            .iter()
            .filter(|route| route.filters.iter().any(|filter| mqtt::filter_matches(filter, topic)));
        wanted.map(|route| route.sender.clone()).collect()
    }

    /// A new connection is there and one SUBSCRIBE for everything is on its way.
    pub fn connected(&self) {
        let mut table = self.lock();
        table.connected = true;
        table.subacks_expected = 1;
    }

    /// The connection is lost.
    pub fn disconnected(&self) {
        let mut table = self.lock();
        table.connected = false;
        table.subacks_expected = 0;
    }

    /// Counts a SUBSCRIBE that is about to be sent; false when there is no connection to send it on.
    pub fn expect_suback(&self) -> bool {
        let mut table = self.lock();
        table.subacks_expected += usize::from(table.connected);
        table.connected
    }

    /// Counts a SUBACK; true when it was the last that was expected.
    pub fn suback(&self) -> bool {
        let mut table = self.lock();
        table.subacks_expected = table.subacks_expected.saturating_sub(1);
        table.subacks_expected == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
