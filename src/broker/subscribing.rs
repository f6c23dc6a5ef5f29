//! SUBSCRIBE and UNSUBSCRIBE: subscriptions made, changed and ended, and the retained messages that come with them.

use super::access::Grant;
use super::admission;
use super::codec::{self, Version};
use super::config::{RefusedSubscription, WideFilters};
use super::connection::{Connection, RetainedDelivery};
use super::hold::Hold;
use super::output::HIGH_BYTES;
use super::reached::Limit;
use super::reason::Reason;
use super::refused::Cause;
use super::session::{Delivery, Options};
use super::shared::{Judge, Member};
use super::subscriptions::Subscriber;
use super::sys;
use super::topic::{Subscribed, parse_filter};
use crate::mqtt::Qos;
use rumqttd::protocol::{Filter, Packet, RetainForwardRule};

/// What 3.1.1 answers for every filter that it refuses.
const FAILURE_311: u8 = 0x80;

/// What is wrong with a filter so that the connection ends.
fn check_filter(filter: &Filter) -> Result<(), Reason> {
    let subscribed = parse_filter(&filter.path).ok_or(Reason::FILTER_INVALID)?;
    if subscribed.group.is_some() && filter.nolocal { Err(Reason::PROTOCOL_ERROR) } else { Ok(()) }
}

impl Connection {
    pub(super) fn on_subscribe(&mut self, frame: &[u8]) -> Result<(), Reason> {
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
        // What this client published before goes first.
        self.push()?;
        let server = self.server.clone();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        {
            let hold = server.bus.hold();
            for filter in &subscribe.filters {
                let outcome = self.subscribe_filter(&hold, filter, identifier);
                codes.push(self.code(outcome));
            }
        }
        self.output.suback(subscribe.pkid, &codes);
        self.send_retained();
        Ok(())
    }

    fn code(&self, outcome: Result<Qos, Reason>) -> u8 {
        match outcome {
            Ok(qos) => qos as u8,
            Err(_) if self.version == Version::V311 => FAILURE_311,
            Err(reason) => reason.0,
        }
    }

    /// Judges one sound filter and makes its subscription.
    fn subscribe_filter(
        &mut self,
        hold: &Hold<'_>,
        filter: &Filter,
        identifier: Option<usize>,
    ) -> Result<Qos, Reason> {
        let Subscribed { group, path } = parse_filter(&filter.path).ok_or(Reason::FILTER_INVALID)?;
        let is_new = !self.session.is_subscribed(&filter.path);
        if let Some(reason) = self.subscribe_refusal(path, is_new, group.is_some()) {
            return Err(reason);
        }
        let qos = Qos::from_bits(filter.qos as u8).unwrap_or_default();
        let options = Options {
            qos,
            no_local: filter.nolocal,
            retain_as_published: filter.preserve_retain,
            identifier,
        };
        let id = self.session.upsert(&filter.path, path, group, options);
        self.session.judge(&filter.path, self.grant(path) == Grant::Some);
        if let Some(group) = group {
            if is_new {
                self.join(hold, id, group, path);
            }
            return Ok(qos);
        }
        if is_new {
            let mailbox = self.session.mailbox.clone();
            mailbox.widen(self.server.bus.lag_bytes(path));
            let registration = hold.subscribe(path, Subscriber::Session { mailbox, subscription: id });
            if let Some(subscription) = self.session.subscription_mut(id) {
                subscription.registration = Some(registration);
            }
        }
        let wants_retained = match filter.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => is_new,
            RetainForwardRule::Never => false,
        };
        if wants_retained {
            let kept = hold.retained(path).into_iter();
            self.retained.extend(kept.map(|(topic, message)| RetainedDelivery {
                subscription: id,
                topic,
                message,
            }));
        }
        Ok(qos)
    }

    /// How much of a filter the client may have, where a part of it is refused if that is the policy.
    pub(super) fn grant(&self, filter: &str) -> Grant {
        let config = &self.server.config;
        let who = &self.session.identity;
        if sys::is_about_the_broker(filter) {
            // Always taken, and withheld from those who may not read it: there are clients that subscribe to `#` and `$SYS/#` in one
            // packet, and give up both if one of them is refused.
            return if config.access.grant_sys(who, filter) == Grant::All { Grant::All } else { Grant::Some };
        }
        match config.access.grant(who, filter) {
            Grant::Some if config.wide_filters == WideFilters::Refuse => Grant::None,
            grant => grant,
        }
    }

    fn subscribe_refusal(&self, path: &str, is_new: bool, is_shared: bool) -> Option<Reason> {
        let server = &self.server;
        let is_reserved = path.starts_with('$') && !sys::is_about_the_broker(path);
        if is_reserved || self.grant(path) == Grant::None {
            let cause = if is_reserved { Cause::SubscribeReserved } else { Cause::SubscribeRules };
            self.note_refused(cause, path);
            return Some(match server.config.refused_subscription {
                RefusedSubscription::NotAuthorized => Reason::NOT_AUTHORIZED,
                RefusedSubscription::Unspecified => Reason::UNSPECIFIED,
            });
        }
        let limits = &server.config.limits;
        if is_new && self.session.subscription_count() >= limits.subscriptions_per_client_max {
            self.note_refused(Cause::Subscriptions, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        if is_new && !is_shared && self.session.overlapping(path) >= limits.overlapping_subscriptions_max {
            self.note_refused(Cause::Overlapping, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        if let Some(limit) = limits.broken_by(path) {
            let is_too_deep = limit == Limit::TopicLevels;
            self.note_refused(if is_too_deep { Cause::FilterLevels } else { Cause::FilterBytes }, path);
            return Some(Reason::FILTER_INVALID);
        }
        if !admission::makes_room_for(server, &self.session.standing, path) {
            self.note_refused(Cause::Filters, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        None
    }

    fn note_refused(&self, cause: Cause, path: &str) {
        self.server.bus.refuse(cause, "", &self.who(), path);
    }

    /// Takes a place in a shared group.
    pub(super) fn join(&mut self, hold: &Hold<'_>, id: usize, group: &str, path: &str) {
        let config = &self.server.config;
        let judge = (config.wide_filters == WideFilters::Withhold || sys::is_about_the_broker(path))
            .then(|| Judge { access: config.access.clone(), who: self.session.identity.clone() });
        let queue = self.shared_queue.clone();
        let holder = self.session.holder.clone();
        let member =
            Member { standing: self.session.standing.clone(), subscription: id, queue, judge, holder };
        let membership = hold.join(path, group, member);
        self.is_member = true;
        if let Some(subscription) = self.session.subscription_mut(id) {
            subscription.membership = Some(membership);
        }
    }

    /// Sends retained messages while there is room. Live messages wait behind them: an old value must not follow a new one.
    pub(super) fn send_retained(&mut self) {
        while self.output.unwritten().len() < HIGH_BYTES && self.has_pending_room() {
            let Some(RetainedDelivery { subscription, topic, message }) = self.retained.pop_front() else {
                return;
            };
            let Some(subscription) = self.session.subscription(subscription) else { continue };
            if subscription.is_judged && !self.session.may_have(topic.as_bytes(), &*self.server.config.access)
            {
                continue;
            }
            let options = subscription.options;
            self.emit(Delivery {
                topic: topic.into(),
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
        let code = |is_known| if is_known { Reason::SUCCESS.0 } else { Reason::NO_SUBSCRIPTION.0 };
        let codes: Vec<_> =
            unsubscribe.filters.iter().map(|filter| code(self.session.remove(filter))).collect();
        self.output.unsuback(unsubscribe.pkid, &codes);
        Ok(())
    }
}
