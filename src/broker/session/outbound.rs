//! To the client: what its mailbox, the shared groups and the session have for it.

use super::client::Client;
use super::delivery::Delivery;
use super::inflight::Inflight;
use super::output::HIGH_BYTES;
use super::pending::Kept;
use super::subscribing::CHANGE_UNITS;
use super::subscription::Subscription;
use crate::broker::bus::mailbox::Copy;
use crate::broker::bus::member_queue::SharedDelivery;
use crate::broker::codec::reason::Reason;
use crate::broker::config::PendingPolicy;
use crate::broker::limits::dropped::Dropped;
use crate::broker::limits::reached::Limit;
use crate::mqtt::Qos;
use crate::mqtt::packet::first;

/// Messages that one connection is given in a row.
const ROUND_MESSAGES_MAX: usize = 256;

impl Client {
    /// Takes up the session where the last connection left it, as far as the slice goes: shared groups, what
    /// is in flight, what waits. Returns whether that is done; an error ends the connection.
    pub fn take_up(&mut self) -> Result<bool, Reason> {
        if self.unfinished.to_join.is_none() {
            // The rules may have changed while the client was away.
            if !self.review_rights()? {
                return Ok(false);
            }
            let own = self.session.subscriptions_mut();
            let place =
                |(id, own): (usize, &mut Subscription)| Some((id, own.group.clone()?, own.path.clone()));
            self.unfinished.to_join = Some(own.filter_map(place).collect());
        }
        while let Some(places) = &mut self.unfinished.to_join {
            if self.slice.is_over() {
                return Ok(false);
            }
            let Some((id, group, path)) = places.pop() else { break };
            self.slice.spend(CHANGE_UNITS);
            self.join(id, &group, &path);
        }
        self.unfinished.to_join = None;
        self.session.unsent = self.session.inflight.len();
        self.refill();
        Ok(true)
    }

    /// Sends the next message again that the last connection left unacknowledged.
    fn resend(&mut self) {
        let index = self.session.sent();
        self.session.unsent -= 1;
        let message = &self.session.inflight[index];
        let Some(delivery) = &message.delivery else {
            return self.output.ack(first::PUBREL, message.packet_id, Reason::SUCCESS);
        };
        if !self.output.publish(delivery, message.packet_id, true, || self.context.bus.now_ms()) {
            self.note_unsendable(delivery);
            self.session.inflight.remove(index);
        }
    }

    /// Whether the client keeps up, so that more may be taken for it.
    pub fn takes_more(&self) -> bool {
        self.retained.is_empty()
            && !self.is_overrun
            && self.output.unwritten().len() < HIGH_BYTES
            && (!self.context.config.limits.pending_policy.holds_back() || self.has_pending_room())
    }

    pub fn has_pending_room(&self) -> bool {
        self.session.pending.full(&self.context.config.limits).is_none()
    }

    /// Whether the client may get one more message that it has to acknowledge, or the limit it has reached.
    fn window_limit(&self) -> Option<Limit> {
        let inflight = &self.session.inflight;
        if self.session.sent() >= self.window {
            Some(Limit::InflightMessages)
        } else if self.session.unsent == 0
            && inflight.bytes() >= self.context.config.limits.inflight_bytes_max
        {
            Some(Limit::InflightBytes)
        } else {
            None
        }
    }

    /// Takes what is ready, at most so much that the other connections have their turn; one write follows.
    /// Returns whether it was so much.
    pub fn take_ready(&mut self) -> bool {
        self.catch_up();
        let skipped = self.session.live.mailbox.take_skipped();
        if skipped.total() > 0 {
            let drops = &self.context.bus.dropped;
            drops.note(Dropped::Lagged, &self.client_id, &skipped.topic, skipped.lagged);
            drops.note(Dropped::Memory, &self.client_id, &skipped.topic, skipped.for_memory);
            if self.context.config.limits.pending_policy == PendingPolicy::Disconnect {
                self.overrun();
            }
        }
        for _ in 0..ROUND_MESSAGES_MAX {
            if !self.takes_more() {
                return false;
            }
            // By turns, so that neither way keeps the other waiting.
            let copy = self.session.live.mailbox.take();
            self.given += u64::from(copy.is_some());
            let is_empty = copy.is_none();
            copy.into_iter().for_each(|copy| self.deliver(copy));
            let shared = if self.is_member && self.takes_more() { self.shared_queue.take() } else { None };
            if is_empty && shared.is_none() {
                return false;
            }
            self.given += u64::from(shared.is_some());
            shared.into_iter().for_each(|shared| self.deliver_shared(shared));
        }
        true
    }

    /// Delivers a message from a shared group, unless the client has left the group:
    /// then another member gets it.
    fn deliver_shared(&mut self, shared: SharedDelivery) {
        let SharedDelivery { subscription, publication, group } = shared;
        if self.session.subscription(subscription).is_none() {
            let topic = publication.topic.clone();
            let dropped = u64::from(!group.give_back(publication));
            return self.context.bus.dropped.note(Dropped::NoMembers, &self.client_id, &topic, dropped);
        }
        let access = &*self.context.config.access;
        if let Some(delivery) = self.session.accept(publication, &[subscription], access) {
            self.emit(Delivery { group: Some(group), ..delivery });
        }
    }

    fn deliver(&mut self, copy: Copy) {
        let access = &*self.context.config.access;
        if let Some(delivery) = self.session.accept(copy.publication, &copy.subscriptions, access) {
            self.emit(delivery);
        }
    }

    /// Writes a message, or lets it wait for the client's window.
    pub fn emit(&mut self, delivery: Delivery) {
        if delivery.qos == Qos::AtMostOnce {
            if !self.output.publish(&delivery, 0, false, || self.context.bus.now_ms()) {
                self.note_unsendable(&delivery);
            }
            return;
        }
        if self.session.unsent > 0 {
            // What was in flight before goes first.
            return self.queue(delivery);
        }
        if let Some(limit) = self.window_limit() {
            self.context.bus.reached.count(limit);
            return self.queue(delivery);
        }
        if !self.session.pending.is_empty() {
            // There is room for what waits, which goes first.
            return self.queue(delivery);
        }
        self.send(delivery);
    }

    /// Writes a message that the client has to acknowledge.
    fn send(&mut self, delivery: Delivery) {
        let packet_id = self.session.next_packet_id();
        if self.output.publish(&delivery, packet_id, false, || self.context.bus.now_ms()) {
            self.session.inflight.push_back(Inflight { packet_id, delivery: Some(delivery) });
        } else {
            self.note_unsendable(&delivery);
        }
    }

    fn queue(&mut self, delivery: Delivery) {
        let limits = &self.context.config.limits;
        if limits.pending_policy.holds_back() {
            // Nothing is taken without room, so the bound is kept.
            self.session.pending.push_back(delivery);
            if let Some(limit) = self.session.pending.full(limits) {
                self.context.bus.reached.count(limit);
            }
            return;
        }
        let topic = delivery.publication.topic.clone();
        match self.session.pending.keep(delivery, limits) {
            Kept::Yes => {}
            Kept::Dropped(count, limit) => {
                self.context.bus.reached.note(limit, &self.client_id);
                self.context.bus.dropped.note(limit.into(), &self.client_id, &topic, count);
            }
            Kept::Ends(limit) => {
                self.context.bus.reached.note(limit, &self.client_id);
                self.overrun();
            }
        }
    }

    /// The client has missed something, and the policy is that its session ends then.
    fn overrun(&mut self) {
        self.is_overrun = true;
        self.session.expiry_s = 0;
    }

    fn note_unsendable(&self, delivery: &Delivery) {
        let bus = &self.context.bus;
        let reason = if delivery.publication.is_expired(|| bus.now_ms()) {
            Dropped::Expired
        } else {
            Dropped::TooLarge
        };
        bus.dropped.note(reason, &self.client_id, &delivery.publication.topic, 1);
    }

    /// Whether something waits that the window has room for.
    pub fn may_refill(&self) -> bool {
        (self.session.unsent > 0 || !self.session.pending.is_empty()) && self.window_limit().is_none()
    }

    /// Sends what waits, as far as the window has room, and not more than one connection is given in a row.
    pub fn refill(&mut self) {
        for _ in 0..ROUND_MESSAGES_MAX {
            if self.window_limit().is_some() {
                return;
            }
            if self.session.unsent > 0 {
                self.resend();
                continue;
            }
            let Some(delivery) = self.session.pending.pop_front() else { return };
            self.send(delivery);
        }
    }
}
