//! The ingress: everything that is published goes through it, in one order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Bus;
use super::batch::Batch;
use super::carrier::backlog::Backlog;
use super::carrier::lane::Lane;
use super::carrier::{CarrierGone, Feed, Parcel, Parcels};
use super::hold::{Hold, Registration};
use super::publication::Publication;
use super::retained::{Applied, Change, GaveWay, RetainedMessage};
use super::source::Source;
use super::subscriptions::Targets;
use crate::broker::limits::charge::Holder;
use crate::broker::limits::dropped::Dropped;
use crate::broker::limits::refused::Who;
use crate::sync::lock;

/// The one link through which everything is published: one order for all, and one event for each batch.
pub struct Ingress {
    feed: Feed,
    /// Whether the router was told to end: it may take a moment, but takes no more messages.
    is_ended: bool,
    backlog: Backlog,
}

impl Ingress {
    pub fn new(feed: Feed) -> Self {
        Self { feed, is_ended: false, backlog: Backlog::default() }
    }
}

impl Bus {
    /// Publishes a batch and empties it: one lock, at most one event, retained messages in the same order.
    /// Returns whether publishers have to wait for the router.
    pub fn push(&self, batch: &mut Batch) -> Result<bool, CarrierGone> {
        if batch.is_empty() {
            return Ok(false);
        }
        let messages = batch.len();
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            *batch = Batch { holder: batch.holder.take(), ..Batch::default() };
            return Err(CarrierGone);
        }
        if !batch.changes.is_empty() {
            let mut retained = lock(&self.retained);
            for change in batch.changes.drain(..) {
                let Applied { gave_way, not_kept } = retained.apply(change);
                batch.not_kept.extend(not_kept);
                if let Some(GaveWay { limit, hog, newcomer }) = gave_way {
                    self.reached.note_gave_way(limit, &hog, &newcomer);
                }
            }
        }
        let version = self.version();
        let Ingress { feed, backlog, .. } = &mut *ingress;
        feed.push(|parcels| {
            let before = parcels.len();
            for (publication, targets) in batch.publications.drain(..) {
                let targets =
                    if targets.version == version { targets } else { self.targets_now(&publication.topic) };
                self.address(publication, targets, parcels);
            }
            batch.began = None;
            if backlog.publish(parcels.len() - before, std::mem::take(&mut batch.load).bytes) {
                parcels.push(Parcel::ping());
            }
        })?;
        self.published.fetch_add(messages as u64, Ordering::Relaxed);
        Ok(ingress.backlog.is_full())
    }

    /// Sends a message on each lane where somebody waits for it.
    fn address(&self, mut publication: Publication, targets: Arc<Targets>, parcels: &mut Parcels<'_>) {
        let receipt = publication.receipt.take();
        // Taken just before whoever would have answered it left, which comes when a node stops: nobody does.
        let is_from_client = publication.origin.is_some();
        let mut is_lost = is_from_client && self.is_draining() && !targets.wait_for_answers();
        let mut send = |lane: &Lane, publication| {
            // Whoever settles it has a part of the receipt.
            let receipt = receipt.as_ref().filter(|_| lane.is_answering).cloned();
            match lane.send(Publication { receipt, ..publication }, targets.clone()) {
                Some(parcel) => parcels.push(parcel),
                None => {
                    is_lost = true;
                    self.dropped.note(Dropped::RouterFull, "", b"", 1);
                }
            }
        };
        match (targets.has_clients(), targets.links.as_slice()) {
            (false, [lane]) => send(lane, publication),
            (has_clients, links) => {
                links.iter().for_each(|lane| send(lane, publication.clone()));
                if has_clients {
                    send(&self.connections, publication);
                }
            }
        }
        if let Some(receipt) = receipt
            && !is_lost
        {
            receipt.settle();
        }
    }

    /// Sends a beat to whoever has none under way: through the router and back, and to each watched link.
    pub fn beat(&self) -> Result<(), CarrierGone> {
        let now_ms = self.now_ms();
        self.pulse.come_round(now_ms);
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            return Err(CarrierGone);
        }
        let links: Vec<_> = lock(&self.links).iter().filter_map(Weak::upgrade).collect();
        let Ingress { feed, backlog, .. } = &mut *ingress;
        feed.push(|parcels| {
            links.iter().filter_map(|lane| lane.beat(now_ms)).for_each(|beat| parcels.push(beat));
            if self.pulse.router.begin(now_ms) {
                backlog.note_ping();
                parcels.push(Parcel::ping());
            }
        })
    }

    /// Publishes one message, and waits for nothing. `source` is kept with it where it
    /// is retained, and it is counted to `holder` then.
    pub fn publish(
        &self,
        publication: Publication,
        source: Option<Arc<Source>>,
        holder: Option<Arc<Holder>>,
    ) -> Result<(), CarrierGone> {
        let mut batch = Batch { holder, ..Batch::default() };
        let targets = self.targets_now(&publication.topic);
        batch.add(publication, targets, source);
        let pushed = self.push(&mut batch).map(drop);
        self.note_not_kept(batch.not_kept, &Who::default());
        pushed
    }

    /// Publishes what the broker tells of itself, topics and payloads: kept for those
    /// who subscribe later, and counted as nobody's.
    pub fn tell(&self, changes: Vec<(String, String)>) -> Result<(), CarrierGone> {
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            return Err(CarrierGone);
        }
        ingress.feed.push(|parcels| {
            for (topic, payload) in changes {
                let publication = Publication {
                    topic: topic.clone().into(),
                    payload: payload.into(),
                    retain: true,
                    ..Publication::default()
                };
                let message = Some(RetainedMessage::of(&publication, None));
                // The broker's own store has room for all that the broker tells.
                let _kept = lock(&self.own).apply(Change { topic, message });
                let targets = self.targets_now(&publication.topic);
                if targets.has_clients() {
                    self.address(publication, targets, parcels);
                }
            }
        })
    }

    /// Keeps everybody from publishing for as long as the value lives.
    pub fn hold(self: &Arc<Self>) -> Hold<'_> {
        Hold::new(self, lock(&self.ingress))
    }

    /// What is published from now on no longer goes to this link: its subscriptions,
    /// which are dropped here, have ended.
    pub fn close(&self, lane: &Lane, registrations: Vec<Registration>) {
        {
            let mut ingress = lock(&self.ingress);
            drop(registrations);
            // An error means that the router is gone, which the receiver is told too.
            let _gone = ingress.feed.push(|parcels| parcels.push(lane.end()));
        }
        lane.open();
    }

    /// The router has answered a ping of the ingress, so publishers may have room again.
    pub fn note_pong(&self) {
        lock(&self.ingress).backlog.note_pong();
        self.pulse.router.arrive();
        self.note_progress();
    }

    /// Whether publishers have to wait for the router.
    pub fn is_behind(&self) -> bool {
        lock(&self.ingress).backlog.is_full()
    }

    /// Asks the router for a sign of life. It also wakes a router that a vanished client left waiting.
    pub fn ping(&self) -> Result<(), CarrierGone> {
        let mut ingress = lock(&self.ingress);
        ingress.backlog.note_ping();
        ingress.feed.push(|parcels| parcels.push(Parcel::ping()))
    }

    /// Ends the router's thread; it drops everything it holds.
    pub fn end_router(&self) {
        *lock(&self.is_ended) = true;
        let mut ingress = lock(&self.ingress);
        ingress.is_ended = true;
        // An error means that it has ended already.
        let _gone = ingress.feed.end();
    }
}
