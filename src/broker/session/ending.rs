//! The end of a connection: why it comes, and what becomes of its session.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Session;
use super::client::Client;
use super::parked::{self, KEEP_UNITS};
use super::registry::Order;
use super::subscribing::CHANGE_UNITS;
use crate::broker::bus::publication::Publication;
use crate::broker::bus::shared::Heir;
use crate::broker::codec::reason::Reason;
use crate::broker::limits::dropped::Dropped;
use crate::broker::limits::ended::Ended;
use crate::broker::limits::shares::Owner;
use crate::broker::work::Slice;

/// How a connection ends.
pub enum End {
    /// The client said DISCONNECT.
    Goodbye { publishes_will: bool },
    /// The socket is gone, or good for nothing any more.
    Lost(Ended),
    /// A packet of the client was not whole in time.
    Overdue,
    /// The client broke a rule.
    Fault(Reason),
    /// Another connection has the client id now.
    TakenOver { is_clean: bool, reply: oneshot::Sender<Option<Box<Session>>> },
    /// Somebody who has less needs what it takes.
    GivesWay { ends_session: bool },
    /// The broker is ending.
    Closing(Reason),
}

impl End {
    /// How an order ends a connection, if it does.
    pub fn ordered(order: Option<Order>) -> Option<Self> {
        Some(match order {
            Some(Order::HandOver { is_clean, reply }) => Self::TakenOver { is_clean, reply },
            Some(Order::GiveWay { ends_session }) => Self::GivesWay { ends_session },
            // What it asks for happens before the next thing does.
            Some(Order::Review(reviewing)) => {
                reviewing.begin();
                return None;
            }
            Some(Order::End(reason)) => Self::Closing(reason),
            None => Self::Closing(Reason::SHUTTING_DOWN),
        })
    }

    /// What the client is told, if anything.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Goodbye { .. } | Self::Lost(_) => None,
            Self::Fault(reason) | Self::Closing(reason) => Some(*reason),
            Self::TakenOver { .. } => Some(Reason::TAKEN_OVER),
            Self::Overdue | Self::GivesWay { .. } => Some(Reason::QUOTA_EXCEEDED),
        }
    }
}

impl From<&End> for Ended {
    fn from(end: &End) -> Self {
        match end {
            End::Goodbye { .. } => Self::Disconnect,
            End::Lost(ended) => *ended,
            End::Fault(reason) | End::Closing(reason) => Self::by(*reason),
            End::Overdue => Self::PacketTimeout,
            End::GivesWay { .. } => Self::GaveWay,
            End::TakenOver { .. } => Self::TakenOver,
        }
    }
}

impl Client {
    /// Gives up everything that is bound to the connection, and passes the session on.
    pub async fn leave(&mut self, end: End, generation: u64, orders: mpsc::Receiver<Order>) {
        let mut slice = self.context.turns.take().await;
        self.context.bus.note_end(Ended::from(&end), &self.who());
        if let End::Goodbye { publishes_will: false } = end {
            self.will = None;
        }
        if let End::GivesWay { ends_session: true } = end {
            self.session.expiry_s = 0;
        }
        // The rules may have changed since it was left.
        let (context, who) = (self.context.clone(), &self.session.identity);
        self.will = self.will.take().filter(|will| will.judge(&context, who).is_ok());
        // Nobody works it off any more.
        self.input.clear();
        self.leave_groups(&mut slice).await;
        self.tell_traffic();
        self.waiting.visit.leave();
        self.note_waiting();
        self.session.live.mailbox.gate.open();
        self.session.live.unanswered.extend(self.owed.unanswered());
        let session = std::mem::replace(&mut self.session, Box::new(Session::new(0, Owner::Node)));
        let leaving = parked::Leaving {
            client_id: self.client_id.clone(),
            generation,
            session,
            will: self.will.take(),
        };
        match end {
            End::TakenOver { is_clean, reply } => {
                leaving.hand_over(&self.context, is_clean, reply, &mut slice).await
            }
            _ => leaving.leave(&self.context, orders, &mut slice).await,
        }
    }

    /// Gives up the places in shared groups; what waits here for this client goes to
    /// another member, or stays in the session.
    ///
    /// It may be much, so the others have their turn in between.
    async fn leave_groups(&mut self, slice: &mut Slice) {
        let context = self.context.clone();
        let members = self.session.subscriptions_mut();
        let mut places: Vec<_> = members
            .filter_map(|(id, subscription)| Some((id, subscription.live.membership.take()?)))
            .collect();
        let mut deserted = Vec::new();
        for (id, place) in &mut places {
            if place.leave() {
                deserted.push((*id, place.group.clone()));
            }
            context.turns.go_on(slice, CHANGE_UNITS).await;
        }
        let member_of: HashSet<_> = places.iter().map(|(id, _)| *id).collect();
        for waiting in self.shared_queue.close() {
            let Some(publication) = waiting.group.dispatch(waiting.publication) else { continue };
            if !self.keeps(&member_of, waiting.subscription, &publication)
                && !waiting.group.give_back(publication)
            {
                self.note_deserted(1);
            }
        }
        for (id, group) in deserted {
            if self.session.expiry_s > 0 {
                group.bequeath(Heir { mailbox: self.session.live.mailbox.clone(), subscription: id });
            }
            for publication in group.take_waiting() {
                if !self.keeps(&member_of, id, &publication) {
                    self.note_deserted(1);
                }
                context.turns.go_on(slice, KEEP_UNITS).await;
            }
        }
        // Now what waits in the groups goes to others, behind what waited here.
        for place in places {
            drop(place);
            context.turns.go_on(slice, CHANGE_UNITS).await;
        }
    }

    /// Keeps a message of a shared group in the session, if that outlives the connection
    /// and still has the subscription.
    fn keeps(
        &mut self,
        member_of: &HashSet<usize>,
        subscription: usize,
        publication: &Arc<Publication>,
    ) -> bool {
        let is_kept = self.session.expiry_s > 0 && member_of.contains(&subscription);
        if is_kept {
            parked::keep(&self.context, &mut self.session, publication.clone(), &[subscription]);
        }
        is_kept
    }

    fn note_deserted(&self, dropped: u64) {
        self.context.bus.dropped.note(Dropped::NoMembers, &self.client_id, b"", dropped);
    }
}
