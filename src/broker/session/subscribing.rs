//! SUBSCRIBE and UNSUBSCRIBE: subscriptions made, changed and ended, and the
//! retained messages that come with them.

use bytes::Bytes;

use super::admission;
use super::client::Client;
use super::inbound::Progress;
use super::subscription::Options;
use crate::broker::access::Grant;
use crate::broker::bus::shared::{Judge, Member};
use crate::broker::bus::subscriptions::Subscriber;
use crate::broker::codec::Version;
use crate::broker::codec::listing::{Entry, Listing, PASSES, RetainHandling};
use crate::broker::codec::reason::Reason;
use crate::broker::codec::topic::{Subscribed, is_about_the_broker, parse_filter};
use crate::broker::config::{RefusedSubscription, WideFilters};
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::mqtt::Qos;

/// What 3.1.1 answers for every filter that it refuses.
const FAILURE_311: u8 = 0x80;
/// Units of work to judge a filter, beside what the rules take.
const JUDGE_UNITS: usize = 5;
/// To make a subscription or to end it.
pub const CHANGE_UNITS: usize = 30;

impl Client {
    /// Goes on with a SUBSCRIBE or UNSUBSCRIBE until the slice is over; its answer comes at the end.
    pub fn on_list(&mut self, frame: &Bytes, is_subscribe: bool) -> Result<Progress, Reason> {
        let mut listing = match self.unfinished.listing.take() {
            Some(listing) => listing,
            None => Box::new(Listing::new(frame, self.version)?),
        };
        let progress = self.go_on_with(&mut listing, is_subscribe)?;
        if progress == Progress::Wait {
            self.unfinished.listing = Some(listing);
        }
        Ok(progress)
    }

    fn go_on_with(&mut self, listing: &mut Listing, is_subscribe: bool) -> Result<Progress, Reason> {
        if !listing.check(&mut self.slice)? {
            return Ok(Progress::Wait);
        }
        if !self.output.takes_codes(listing.count()) {
            return Err(Reason::PACKET_TOO_LARGE);
        }
        if is_subscribe {
            // What this client published before goes first.
            self.push()?;
            self.subscribe_some(listing)?;
        } else {
            self.unsubscribe_some(listing)?;
        }
        if !listing.is_answered() {
            return Ok(Progress::Wait);
        }
        if is_subscribe {
            self.output.suback(listing.packet_id, &listing.codes);
        } else {
            self.output.unsuback(listing.packet_id, &listing.codes);
        }
        Ok(Progress::Done)
    }

    fn subscribe_some(&mut self, listing: &mut Listing) -> Result<(), Reason> {
        while !listing.is_answered() && !self.slice.is_over() {
            let outcome = self.subscribe_filter(&listing.next()?, listing.identifier);
            listing.answer(self.code(outcome))?;
        }
        Ok(())
    }

    fn unsubscribe_some(&mut self, listing: &mut Listing) -> Result<(), Reason> {
        while !listing.is_answered() && !self.slice.is_over() {
            let filter = listing.next()?.filter;
            self.slice.spend(JUDGE_UNITS);
            self.slice.spend_bytes(PASSES * filter.len());
            let is_known = self.session.remove(filter);
            if is_known {
                self.slice.spend(CHANGE_UNITS);
            }
            listing.answer(if is_known { Reason::SUCCESS.0 } else { Reason::NO_SUBSCRIPTION.0 })?;
        }
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
    fn subscribe_filter(&mut self, entry: &Entry<'_>, identifier: Option<usize>) -> Result<Qos, Reason> {
        let Subscribed { group, path } = parse_filter(entry.filter).ok_or(Reason::FILTER_INVALID)?;
        self.slice.spend_bytes(PASSES * entry.filter.len());
        // First of all, because what comes then grows with the levels.
        if let Some(limit) = self.context.config.limits.broken_by(path) {
            let is_too_deep = limit == Limit::TopicLevels;
            self.note_refused(if is_too_deep { Cause::FilterLevels } else { Cause::FilterBytes }, path);
            return Err(Reason::FILTER_INVALID);
        }
        let is_new = !self.session.is_subscribed(entry.filter);
        self.slice.spend(JUDGE_UNITS + self.context.config.access.effort());
        let grant = self.grant(path);
        if let Some(reason) = self.subscribe_refusal(path, group, grant, is_new) {
            return Err(reason);
        }
        let options = Options {
            qos: entry.qos(),
            no_local: entry.no_local(),
            retain_as_published: entry.retain_as_published(),
            identifier,
        };
        let id = self.session.upsert(entry.filter, path, group, options);
        self.session.judge(entry.filter, grant == Grant::Some);
        if is_new {
            self.slice.spend(CHANGE_UNITS);
        }
        if let Some(group) = group {
            if is_new {
                self.join(id, group, path);
            }
            return Ok(options.qos);
        }
        // Nothing is published between the subscription and what it finds retained, and for
        // no longer: others wait for that.
        let context = self.context.clone();
        let hold = context.bus.hold();
        if is_new {
            let mailbox = self.session.live.mailbox.clone();
            mailbox.widen(context.bus.lag_bytes(path));
            let registration = hold.subscribe(path, Subscriber::Session { mailbox, subscription: id });
            if let Some(subscription) = self.session.subscription_mut(id) {
                subscription.live.registration = Some(registration);
            }
        }
        let wants_retained = match entry.retain_handling() {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        if wants_retained && let Some(subscription) = self.session.subscription_mut(id) {
            // Asked for a second time, they come a second time, but not twice at once.
            if subscription.live.walk.replace(hold.walk(path)).is_none() {
                self.retained.add(id);
                self.retained.tidy(&self.session);
            }
        }
        Ok(options.qos)
    }

    /// How much of a filter the client may have, where a part of it is refused if that is the policy.
    pub fn grant(&self, filter: &str) -> Grant {
        let config = &self.context.config;
        let who = &self.session.identity;
        if is_about_the_broker(filter) {
            // Always taken, and withheld from those who may not read it: there are clients that
            // subscribe to `#` and `$SYS/#` in one packet, and give up both if one of them is refused.
            return if config.access.grant_sys(who, filter) == Grant::All { Grant::All } else { Grant::Some };
        }
        match config.access.grant(who, filter) {
            Grant::Some if config.wide_filters == WideFilters::Refuse => Grant::None,
            grant => grant,
        }
    }

    fn subscribe_refusal(
        &mut self,
        path: &str,
        group: Option<&str>,
        grant: Grant,
        is_new: bool,
    ) -> Option<Reason> {
        let context = &self.context;
        let is_reserved = path.starts_with('$') && !is_about_the_broker(path);
        if is_reserved || grant == Grant::None {
            let cause = if is_reserved { Cause::SubscribeReserved } else { Cause::SubscribeRules };
            self.note_refused(cause, path);
            return Some(match context.config.refused_subscription {
                RefusedSubscription::NotAuthorized => Reason::NOT_AUTHORIZED,
                RefusedSubscription::Unspecified => Reason::UNSPECIFIED,
            });
        }
        let limits = &context.config.limits;
        if is_new && self.session.subscription_count() >= limits.subscriptions_per_client_max {
            self.note_refused(Cause::Subscriptions, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        let overlapping_max = limits.overlapping_subscriptions_max;
        if is_new && self.session.overlaps(path, overlapping_max, &mut self.slice) {
            self.note_refused(Cause::Overlapping, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        if !admission::makes_room_for(context, &self.session.live.standing, path, group, &mut self.slice) {
            self.note_refused(Cause::Filters, path);
            return Some(Reason::QUOTA_EXCEEDED);
        }
        None
    }

    fn note_refused(&self, cause: Cause, path: &str) {
        self.context.bus.refuse(cause, "", &self.who(), path);
    }

    /// Takes a place in a shared group.
    pub fn join(&mut self, id: usize, group: &str, path: &str) {
        let config = &self.context.config;
        let judge = (config.wide_filters == WideFilters::Withhold || is_about_the_broker(path))
            .then(|| Judge { access: config.access.clone(), who: self.session.identity.clone() });
        let queue = self.shared_queue.clone();
        let holder = self.session.live.holder.clone();
        let member =
            Member { standing: self.session.live.standing.clone(), subscription: id, queue, judge, holder };
        let membership = self.context.bus.hold().join(path, group, member);
        self.is_member = true;
        if let Some(subscription) = self.session.subscription_mut(id) {
            subscription.live.membership = Some(membership);
        }
    }
}
