//! SUBSCRIBE and UNSUBSCRIBE: subscriptions made, changed and ended, and the retained messages that come with them.

use super::access::Action;
use super::codec::{self, Version};
use super::config::RefusedSubscription;
use super::connection::{Connection, PendingSubscribe, RetainedDelivery};
use super::output::HIGH_BYTES;
use super::reached::Limit;
use super::reason::Reason;
use super::session::{Delivery, Options};
use super::shared::Joining;
use super::topic::{self, Subscribed, parse_filter};
use crate::mqtt::Qos;
use bytes::Bytes;
use rumqttd::protocol::{Filter, Packet, RetainForwardRule};

/// What 3.1.1 answers for every filter that it refuses.
const FAILURE_311: u8 = 0x80;

/// What became of one filter of a SUBSCRIBE.
struct Outcome {
    code: Result<Qos, Reason>,
    /// A subscription that the router does not know yet.
    fresh: Option<(String, usize)>,
    /// A subscription that wants its retained messages.
    wants_retained: Option<usize>,
}

impl Outcome {
    fn refused(reason: Reason) -> Self {
        Self { code: Err(reason), fresh: None, wants_retained: None }
    }
}

/// What is wrong with a filter so that the connection ends.
fn check_filter(filter: &Filter) -> Result<(), Reason> {
    let subscribed = parse_filter(&filter.path).ok_or(Reason::FILTER_INVALID)?;
    if subscribed.group.is_some() && filter.nolocal { Err(Reason::PROTOCOL_ERROR) } else { Ok(()) }
}

impl Connection {
    pub(super) async fn on_subscribe(&mut self, frame: &[u8]) -> Result<(), Reason> {
        let Packet::Subscribe(subscribe, properties) = codec::decode(frame, self.version)? else {
            return Err(Reason::MALFORMED);
        };
        let identifier = properties.and_then(|own| own.id);
        if subscribe.pkid == 0 {
            return Err(Reason::MALFORMED);
        }
        if identifier == Some(0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if !self.output.takes_codes(subscribe.filters.len()) {
            return Err(Reason::PACKET_TOO_LARGE);
        }
        // A fault ends the connection, so it is found before the session has any of the subscriptions.
        subscribe.filters.iter().try_for_each(check_filter)?;
        let mut pending = PendingSubscribe {
            sequence: self.session.next_sequence(),
            answers_left: 0,
            packet_id: subscribe.pkid,
            codes: Vec::with_capacity(subscribe.filters.len()),
            wants_retained: Vec::new(),
        };
        let mut fresh = Vec::new();
        for filter in &subscribe.filters {
            let outcome = self.subscribe_filter(filter, identifier).await;
            pending.codes.push(self.code(outcome.code));
            pending.wants_retained.extend(outcome.wants_retained);
            fresh.extend(outcome.fresh);
        }
        if fresh.is_empty() {
            // The answer keeps its place behind those that are still to come.
            self.subscribing.push_back(pending);
            self.answer_subscriptions();
            return Ok(());
        }
        pending.answers_left = fresh.len();
        self.subscribe_at_router(pending, fresh).await
    }

    fn code(&self, outcome: Result<Qos, Reason>) -> u8 {
        match outcome {
            Ok(qos) => qos as u8,
            Err(_) if self.version == Version::V311 => FAILURE_311,
            Err(reason) => reason.0,
        }
    }

    async fn subscribe_at_router(
        &mut self,
        pending: PendingSubscribe,
        fresh: Vec<(String, usize)>,
    ) -> Result<(), Reason> {
        // What this client published before goes first.
        self.server.bus.push(&mut self.batch).map_err(|_| Reason::SHUTTING_DOWN)?;
        let link = match &mut self.session.link {
            Some(link) => link,
            none => none.insert(self.server.bus.link_soon().await.map_err(|_| Reason::SHUTTING_DOWN)?),
        };
        link.control.subscribe(pending.sequence, fresh).map_err(|_| Reason::SHUTTING_DOWN)?;
        self.subscribing.push_back(pending);
        Ok(())
    }

    /// Judges one sound filter and makes its subscription.
    async fn subscribe_filter(&mut self, filter: &Filter, identifier: Option<usize>) -> Outcome {
        let Some(Subscribed { group, path }) = parse_filter(&filter.path) else {
            return Outcome::refused(Reason::FILTER_INVALID);
        };
        let routed = topic::escape(path);
        let is_new = !self.session.is_subscribed(&filter.path);
        if let Some(reason) = self.subscribe_refusal(path, &routed, is_new, group.is_some()) {
            return Outcome::refused(reason);
        }
        let qos = Qos::from_bits(filter.qos as u8).unwrap_or_default();
        let options = Options {
            qos,
            no_local: filter.nolocal,
            retain_as_published: filter.preserve_retain,
            identifier,
        };
        let id = self.session.upsert(&filter.path, &routed, group, options);
        if let Some(group) = group {
            if is_new && !self.join(id, group, &routed).await {
                self.session.remove(&filter.path);
                return Outcome::refused(Reason::UNSPECIFIED);
            }
            return Outcome { code: Ok(qos), fresh: None, wants_retained: None };
        }
        let wants_retained = match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => is_new,
            RetainForwardRule::Never => false,
        };
        Outcome {
            code: Ok(qos),
            fresh: is_new.then_some((routed, id)),
            wants_retained: wants_retained.then_some(id),
        }
    }

    fn subscribe_refusal(&self, path: &str, routed: &str, is_new: bool, is_shared: bool) -> Option<Reason> {
        let server = &self.server;
        if path.starts_with('$') || !server.config.access.authorize(&self.identity, Action::Subscribe, path) {
            return Some(match server.config.refused_subscription {
                RefusedSubscription::NotAuthorized => Reason::NOT_AUTHORIZED,
                RefusedSubscription::Unspecified => Reason::UNSPECIFIED,
            });
        }
        let limits = &server.config.limits;
        if is_new && self.session.subscription_count() >= limits.subscriptions_per_client_max {
            server.bus.reached.note(Limit::SubscriptionsPerClient, &self.client_id);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        if is_new && !is_shared && self.session.overlapping(routed) >= limits.overlapping_subscriptions_max {
            server.bus.reached.note(Limit::OverlappingSubscriptions, &self.client_id);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        if let Some(limit) = limits.broken_by(path) {
            server.bus.reached.note(limit, &self.client_id);
            return Some(Reason::FILTER_INVALID);
        }
        if let Err(limit) = server.bus.filters.admit(routed.as_bytes()) {
            server.bus.reached.note(limit, &self.client_id);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        None
    }

    /// Takes a place in a shared group.
    pub(super) async fn join(&mut self, id: usize, group: &str, routed: &str) -> bool {
        let who = Joining { session: self.session.uid, subscription: id, queue: self.shared_queue.clone() };
        let Ok(membership) = self.server.shared.join(&self.server.bus, group, routed, who).await else {
            return false;
        };
        if let Some(subscription) = self.session.subscription_mut(id) {
            subscription.membership = Some(membership);
        }
        true
    }

    /// Counts one answer of the router to a SUBSCRIBE of ours.
    pub(super) fn on_router_suback(&mut self, sequence: u16) {
        if let Some(pending) = self.subscribing.iter_mut().find(|pending| pending.sequence == sequence) {
            pending.answers_left = pending.answers_left.saturating_sub(1);
        }
        self.answer_subscriptions();
    }

    /// Answers every SUBSCRIBE that the router has answered, in their order.
    fn answer_subscriptions(&mut self) {
        while self.subscribing.front().is_some_and(|pending| pending.answers_left == 0) {
            let Some(done) = self.subscribing.pop_front() else { return };
            self.output.suback(done.packet_id, &done.codes);
            for id in done.wants_retained {
                let Some(subscription) = self.session.subscription(id) else { continue };
                for (topic, message) in self.server.bus.retained(&subscription.path) {
                    self.retained.push_back(RetainedDelivery { subscription: id, topic, message });
                }
            }
        }
        self.send_retained();
    }

    /// Sends retained messages while there is room. Live messages wait behind them: an old value must not follow a new one.
    pub(super) fn send_retained(&mut self) {
        while self.output.unwritten().len() < HIGH_BYTES && self.has_pending_room() {
            let Some(RetainedDelivery { subscription, topic, message }) = self.retained.pop_front() else {
                return;
            };
            let Some(subscription) = self.session.subscription(subscription) else { continue };
            let options = subscription.options;
            self.emit(Delivery {
                topic: topic::unescape(&Bytes::from(topic)),
                payload: message.payload,
                properties: message.properties,
                qos: message.qos.min(options.qos),
                retain: true,
                identifiers: options.identifier.into_iter().collect(),
                deadline_ms: message.deadline_ms,
                group: None,
            });
        }
    }

    pub(super) fn on_unsubscribe(&mut self, frame: &[u8]) -> Result<(), Reason> {
        let Packet::Unsubscribe(unsubscribe, _) = codec::decode(frame, self.version)? else {
            return Err(Reason::MALFORMED);
        };
        if unsubscribe.pkid == 0 || unsubscribe.filters.is_empty() {
            return Err(Reason::MALFORMED);
        }
        if !self.output.takes_codes(unsubscribe.filters.len()) {
            return Err(Reason::PACKET_TOO_LARGE);
        }
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        let mut gone = Vec::new();
        for filter in &unsubscribe.filters {
            let removed = self.session.remove(filter);
            codes.push(if removed.is_some() { Reason::SUCCESS.0 } else { Reason::NO_SUBSCRIPTION.0 });
            // Dropping a shared one gives up its place in the group.
            gone.extend(removed.filter(|removed| removed.group.is_none()).map(|removed| removed.path));
        }
        if let Some(link) = self.session.link.as_mut().filter(|_| !gone.is_empty()) {
            link.control.unsubscribe(gone).map_err(|_| Reason::SHUTTING_DOWN)?;
        }
        self.output.unsuback(unsubscribe.pkid, &codes);
        Ok(())
    }
}
