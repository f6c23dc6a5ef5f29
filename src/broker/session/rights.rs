//! A connected client's rights: asked for before the router sees anything, and asked
//! for again when the rules have changed.

use std::sync::Arc;

use super::Session;
use super::client::Client;
use crate::broker::access::{Access, Action, Grant};
use crate::broker::bus::source::Source;
use crate::broker::codec::Version;
use crate::broker::codec::reason::Reason;
use crate::broker::config::RefusedPublish;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::tally::Shown;

/// Filters that a topic is matched with for one unit of work.
const FILTERS_PER_UNIT: usize = 8;

/// What is left to judge by a version of the rules.
pub struct Review {
    version: u64,
    /// The filters as the client spells them, and without the group.
    filters: Vec<(String, String)>,
    /// Messages that wait for the client.
    pending: usize,
}

impl Review {
    fn of(session: &Session, version: u64) -> Self {
        let own = |(filter, path): (&str, &str)| (filter.to_owned(), path.to_owned());
        Self { version, filters: session.filters().map(own).collect(), pending: session.pending.len() }
    }
}

impl Client {
    /// Judges the client and its subscriptions again if the rules have changed, as far as the slice goes.
    /// Returns whether that is done; an error ends the connection.
    ///
    /// It must be before anything is delivered or accepted.
    pub fn review_rights(&mut self) -> Result<bool, Reason> {
        // They may change again meanwhile.
        while self.has_stale_rights() {
            let access = self.context.config.access.clone();
            let version = access.version();
            if self.unfinished.review.as_ref().is_none_or(|review| review.version != version) {
                if !access.is_welcome(&self.session.identity) {
                    let (who, user) = (self.who(), self.session.identity.user.as_deref().unwrap_or_default());
                    let (address, listener) = (who.address.map(tracing::field::display), who.listener);
                    tracing::info!(
                        user = ?Shown(user),
                        address,
                        listener,
                        client_id = ?Shown(who.client_id),
                        "its user is not among the users any more: the client is turned away"
                    );
                    return Err(Reason::NOT_AUTHORIZED);
                }
                self.unfinished.review = Some(Review::of(&self.session, version));
            }
            if !self.review_some(&*access) {
                return Ok(false);
            }
            self.unfinished.review = None;
            self.session.rights_version = version;
        }
        Ok(true)
    }

    /// Goes on with a review until the slice is over. Returns whether it is done.
    fn review_some(&mut self, access: &dyn Access) -> bool {
        while let Some(review) = &mut self.unfinished.review {
            if self.slice.is_over() {
                return false;
            }
            if let Some((filter, path)) = review.filters.pop() {
                self.review_filter(&filter, &path);
                self.slice.spend(access.effort());
            } else if review.pending > 0 {
                review.pending -= 1;
                self.session.review_pending(access);
                self.slice.spend(access.effort() + self.session.subscription_count() / FILTERS_PER_UNIT);
            } else {
                return true;
            }
        }
        true
    }

    /// Whether the rules have changed since the session was judged by them.
    pub fn has_stale_rights(&self) -> bool {
        self.session.rights_version != self.context.config.access.version()
    }

    fn review_filter(&mut self, filter: &str, path: &str) {
        match self.grant(path) {
            Grant::None => {
                self.context.bus.refuse(Cause::Revoked, "", &self.who(), filter);
                self.session.remove(filter);
            }
            grant => self.session.judge(filter, grant == Grant::Some),
        }
    }

    /// Whether the client may have answers to its publish sent to `topic`: only where it
    /// may publish itself, because whoever answers does so on its behalf.
    pub fn may_be_answered_on(&mut self, topic: Option<&str>) -> bool {
        let Some(topic) = topic else { return true };
        let access = &self.context.config.access;
        let version = access.version();
        if self.publisher.route.answers_version == version && self.publisher.route.answers_topic == topic {
            return true;
        }
        let is_allowed = access.authorize(&self.session.identity, Action::Publish, topic);
        if is_allowed {
            topic.clone_into(&mut self.publisher.route.answers_topic);
            self.publisher.route.answers_version = version;
        }
        is_allowed
    }

    /// What is kept of the client with a retained message that it may publish, or leave as its will, now.
    pub fn source(&self, action: Action) -> Option<Arc<Source>> {
        let config = &self.context.config;
        config
            .check_retain_source
            .then(|| Source::new(&self.session.identity, action, config.access.version()))
    }

    /// Counts a publish that is refused, and says how it goes on: 3.1.1 has no way to
    /// tell the client, so it is either acknowledged as if nothing had happened, or the
    /// connection ends where the rules were what refused it.
    pub fn refuse_publish(&self, cause: Cause, topic: &[u8]) -> Result<(), Reason> {
        self.context.bus.refuse(cause, "", &self.who(), &String::from_utf8_lossy(topic));
        let is_forbidden = cause.limit().is_none();
        match self.context.config.refused_publish {
            RefusedPublish::Disconnect if is_forbidden && self.version == Version::V311 => {
                Err(Reason::NOT_AUTHORIZED)
            }
            _ => Ok(()),
        }
    }
}
